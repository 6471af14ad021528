/* logcap's own log: text on a terminal, JSON lines elsewhere, to standard error.
 *
 *     lc_log(LC_LOG_WARN, "file_monitor", "cannot open file", LC_S("path", path), LC_S("error", error.message));
 *
 * Any thread. One write(2) a line. Never called per record: callers limit repeated messages with lc_log_limit. */
#ifndef LC_BASE_LOG_H
#define LC_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum lc_log_level { LC_LOG_DEBUG, LC_LOG_INFO, LC_LOG_WARN, LC_LOG_ERROR } lc_log_level;
typedef enum lc_log_format { LC_LOG_AUTO, LC_LOG_TEXT, LC_LOG_JSON } lc_log_format;

typedef struct lc_log_field {
  const char *key;
  const char *string; /* NULL: the number counts */
  int64_t number;
} lc_log_field;
#define LC_S(key, string) ((lc_log_field){(key), (string) != NULL ? (string) : "", 0})
#define LC_I(key, number) ((lc_log_field){(key), NULL, (int64_t)(number)})

/* Process-wide settings, set once before threads start: the one mutable global there is. */
void lc_log_setup(int fd, lc_log_level least, lc_log_format format);
bool lc_log_enabled(lc_log_level level);

void lc_log_write(lc_log_level level, const char *component, const char *message, const lc_log_field *fields, size_t n);
#define lc_log(level, component, ...) LC_LOG_(level, component, __VA_ARGS__, (lc_log_field){NULL, NULL, 0})
#define LC_LOG_(level, component, message, ...)                                      \
  lc_log_write((level), (component), (message), (const lc_log_field[]){__VA_ARGS__}, \
               sizeof((const lc_log_field[]){__VA_ARGS__}) / sizeof(lc_log_field) - 1)

/* One line from a signal handler: it allocates nothing and takes no lock. `message` and `key` are plain words; what is
 * not plain ASCII in `value` becomes a question mark. */
void lc_log_in_signal(lc_log_level level, const char *component, const char *message, const char *key,
                      const char *value);

/* Lets a message through at most once per `interval_ns`; *ret_held is how many were held back since the last. */
typedef struct lc_log_limit {
  int64_t next_ns;
  uint64_t held;
} lc_log_limit;
bool lc_log_limit_pass(lc_log_limit *limit, int64_t now_ns, int64_t interval_ns, uint64_t *ret_held);

#endif
