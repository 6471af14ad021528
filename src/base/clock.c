#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t clock_read(clockid_t id) {
  struct timespec ts = {0};
  (void)clock_gettime(id, &ts); /* cannot fail for these two clocks */
  return (int64_t)ts.tv_sec * LC_SECOND + ts.tv_nsec;
}

int64_t lc_clock_mono(void) {
  return clock_read(CLOCK_MONOTONIC);
}

int64_t lc_clock_wall(void) {
  return clock_read(CLOCK_REALTIME);
}

int lc_time_format(int64_t wall_ns, char ret[LC_TIME_TEXT]) {
  int64_t nanos = wall_ns % LC_SECOND;
  time_t seconds = (time_t)(wall_ns / LC_SECOND);
  if (nanos < 0) { /* before 1970: the fraction counts forward from the second below */
    nanos += LC_SECOND;
    seconds--;
  }
  struct tm tm;
  (void)gmtime_r(&seconds, &tm); /* 64-bit nanoseconds span the years 1677 to 2262 */
  int len = snprintf(ret, LC_TIME_TEXT, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                     tm.tm_hour, tm.tm_min, tm.tm_sec);
  if (nanos != 0) {
    len += snprintf(ret + len, LC_TIME_TEXT - (size_t)len, ".%09d", (int)nanos);
    while (ret[len - 1] == '0') len--;
  }
  ret[len++] = 'Z';
  ret[len] = '\0';
  return len;
}
