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

/* A line of bounded length, for lc_log_in_signal. */
typedef struct short_line {
  char text[480];
  size_t len;
} short_line;

static void put(short_line *line, const char *string) {
  for (; *string != '\0' && line->len < sizeof line->text - 8; string++) line->text[line->len++] = *string;
}

static void put_plain(short_line *line, const char *string) {
  for (; *string != '\0' && line->len < sizeof line->text - 8; string++) {
    bool plain = *string >= ' ' && *string < 0x7f && *string != '"' && *string != '\\';
    line->text[line->len++] = plain ? *string : '?';
  }
}

static void put_number(short_line *line, int64_t number, int digits) {
  char text[24];
  int at = (int)sizeof text - 1;
  text[at] = '\0';
  for (; at > 0 && (digits > 0 || number > 0); digits--, number /= 10) text[--at] = (char)('0' + number % 10);
  put(line, text + at);
}

/* The same form as lc_time_format, which may take the time zone's lock. */
static void put_time(short_line *line, int64_t wall_ns) {
  int64_t seconds = wall_ns / LC_SECOND, days = seconds / 86400, second = seconds % 86400;
  int64_t shifted = days + 719468, era = shifted / 146097, of_era = shifted % 146097; /* eras of 400 years from March */
  int64_t years = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  int64_t of_year = of_era - (365 * years + years / 4 - years / 100), month = (5 * of_year + 2) / 153;
  int64_t day = of_year - (153 * month + 2) / 5 + 1;
  month = month < 10 ? month + 3 : month - 9;
  const struct { int64_t number; int digits; const char *after; } parts[] = {
      {years + era * 400 + (month <= 2), 4, "-"}, {month, 2, "-"},           {day, 2, "T"},
      {second / 3600, 2, ":"},                    {second / 60 % 60, 2, ":"}, {second % 60, 2, "."},
      {wall_ns % LC_SECOND / LC_MILLISECOND, 3, "Z"},
  };
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    put_number(line, parts[i].number, parts[i].digits);
    put(line, parts[i].after);
  }
}

void lc_log_in_signal(lc_log_level level, const char *component, const char *message, const char *key,
                      const char *value) {
  if (!lc_log_enabled(level)) return;
  bool json = settings.format != LC_LOG_TEXT;
  const char *parts[] = {json ? "\",\"level\":\"" : " ", level_name(level), json ? "\",\"component\":\"" : " ",
                         component, json ? "\",\"message\":\"" : ": ", message, json ? "\",\"" : " ", key,
                         json ? "\":\"" : "=\""};
  short_line line = {.len = 0};
  if (json) put(&line, "{\"time\":\"");
  put_time(&line, lc_clock_wall());
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) put(&line, parts[i]);
  put_plain(&line, value);
  memcpy(line.text + line.len, json ? "\"}\n" : "\"\n", json ? 3 : 2); /* `put` leaves room for it */
  write_all(settings.fd, line.text, line.len + (json ? 3 : 2));
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
