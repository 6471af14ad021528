#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

/* The one mutable global of the program; see lc_log_setup. */
static struct {
  int fd;
  lc_log_level least;
  lc_log_format format;
} settings = {STDERR_FILENO, LC_LOG_INFO, LC_LOG_AUTO};

void lc_log_setup(int fd, lc_log_level least, lc_log_format format) {
  settings.fd = fd;
  settings.least = least;
  settings.format = format == LC_LOG_AUTO ? isatty(fd) ? LC_LOG_TEXT : LC_LOG_JSON : format;
}

bool lc_log_enabled(lc_log_level level) {
  return level >= settings.least;
}

static const char *level_name(lc_log_level level) {
  static const char *const names[] = {"debug", "info", "warn", "error"};
  return names[level];
}

static void add_string(lc_buf *buf, const char *string) {
  lc_buf_add_json_string(buf, string, strlen(string));
}

static void add_json(lc_buf *buf, const char *time, lc_log_level level, const char *component, const char *message,
                     const lc_log_field *fields, size_t n) {
  lc_buf_addf(buf, "{\"time\":\"%s\",\"level\":\"%s\",\"component\":", time, level_name(level));
  add_string(buf, component);
  lc_buf_adds(buf, ",\"message\":");
  add_string(buf, message);
  for (size_t i = 0; i < n; i++) {
    lc_buf_addc(buf, ',');
    add_string(buf, fields[i].key);
    lc_buf_addc(buf, ':');
    if (fields[i].string) add_string(buf, fields[i].string);
    else lc_buf_addf(buf, "%lld", (long long)fields[i].number);
  }
  lc_buf_adds(buf, "}\n");
}

/* A value with nothing in it that would need quotes on a terminal. */
static bool is_bare(const char *string) {
  if (!*string) return false;
  for (; *string; string++) {
    if (*string <= ' ' || *string == '"' || *string == '\\' || *string == '=' || *string == 0x7f) return false;
  }
  return true;
}

static void add_text(lc_buf *buf, const char *time, lc_log_level level, const char *component, const char *message,
                     const lc_log_field *fields, size_t n) {
  lc_buf_addf(buf, "%s %-5s %s: ", time, level_name(level), component);
  for (const char *c = message; *c; c++) lc_buf_addc(buf, (unsigned char)*c < ' ' ? ' ' : *c);
  for (size_t i = 0; i < n; i++) {
    lc_buf_addf(buf, " %s=", fields[i].key);
    if (!fields[i].string) lc_buf_addf(buf, "%lld", (long long)fields[i].number);
    else if (is_bare(fields[i].string)) lc_buf_adds(buf, fields[i].string);
    else add_string(buf, fields[i].string);
  }
  lc_buf_addc(buf, '\n');
}

/* What cannot be written is given up: there is nowhere left to say so. */
static void write_all(int fd, const char *bytes, size_t len) {
  while (len > 0) {
    ssize_t n = write(fd, bytes, len);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    bytes += n;
    len -= (size_t)n;
  }
}

void lc_log_write(lc_log_level level, const char *component, const char *message, const lc_log_field *fields,
                  size_t n) {
  if (!lc_log_enabled(level)) return;
  int saved = errno; /* callers log before they look at errno again */
  lc_log_format format = settings.format;
  if (format == LC_LOG_AUTO) format = isatty(settings.fd) ? LC_LOG_TEXT : LC_LOG_JSON;
  char time[LC_TIME_TEXT];
  int64_t now = lc_clock_wall();
  int len = lc_time_format(now / LC_SECOND * LC_SECOND, time);
  (void)snprintf(time + len - 1, sizeof time - (size_t)len, ".%03dZ", (int)(now % LC_SECOND / LC_MILLISECOND));
  lc_buf buf = {0};
  (format == LC_LOG_JSON ? add_json : add_text)(&buf, time, level, component, message, fields, n);
  if (buf.failed) { /* out of memory: the message without its fields, with no allocation */
    write_all(settings.fd, message, strlen(message));
    write_all(settings.fd, "\n", 1);
  } else {
    write_all(settings.fd, buf.data, buf.len);
  }
  lc_buf_free(&buf);
  errno = saved;
}

bool lc_log_limit_pass(lc_log_limit *limit, int64_t now_ns, int64_t interval_ns, uint64_t *ret_held) {
  if (now_ns < limit->next_ns) {
    limit->held++;
    return false;
  }
  *ret_held = limit->held;
  limit->held = 0;
  limit->next_ns = now_ns + interval_ns;
  return true;
}
