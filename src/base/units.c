#include "base/units.h"

#include <stdbool.h>
#include <string.h>

typedef struct unit {
  const char *name;
  uint64_t factor;
} unit;

/* The first row is the unit of a plain number. */
static const unit durations[] = {
    {"s", 1000000000},     {"ns", 1}, {"us", 1000}, {"ms", 1000000}, {"m", 60000000000}, {"h", 3600000000000},
    {"d", 86400000000000}, {NULL, 0},
};
static const unit sizes[] = {
    {"B", 1},
    {"KiB", UINT64_C(1) << 10},
    {"MiB", UINT64_C(1) << 20},
    {"GiB", UINT64_C(1) << 30},
    {"TiB", UINT64_C(1) << 40},
    {NULL, 0},
};

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/* Digits to a number. Returns the first byte behind them, NULL when it overflows or there is none. */
static const char *parse_digits(const char *text, uint64_t *ret) {
  uint64_t value = 0;
  const char *c = text;
  for (; is_digit(*c); c++) {
    if (__builtin_mul_overflow(value, 10u, &value)) return NULL;
    if (__builtin_add_overflow(value, (uint64_t)(*c - '0'), &value)) return NULL;
  }
  if (c == text) return NULL;
  *ret = value;
  return c;
}

/* The digits behind a point as a fraction of `factor`, rounded down. NULL when there is none or more than 18. */
static const char *parse_fraction(const char *text, uint64_t factor, const char *end, uint64_t *ret) {
  uint64_t digits = 0, scale = 1;
  if (text == end || end - text > 18 || !parse_digits(text, &digits)) return NULL;
  for (const char *c = text; c < end; c++) scale *= 10;
  *ret = (uint64_t)((unsigned __int128)digits * factor / scale);
  return end;
}

/* "1.5h" in the smallest unit. False when it is not a number with a known unit, or too large. */
static bool parse_scaled(const char *text, const unit *units, uint64_t *ret) {
  uint64_t value = 0, part = 0;
  const char *whole_end = parse_digits(text, &value);
  if (!whole_end) return false;
  const char *name = whole_end;
  if (*name == '.') name += 1 + strspn(name + 1, "0123456789");
  const unit *used = units;
  while (*name && used->name && strcmp(used->name, name) != 0) used++;
  if (!used->name) return false;
  if (name != whole_end && !parse_fraction(whole_end + 1, used->factor, name, &part)) return false;
  if (__builtin_mul_overflow(value, used->factor, &value)) return false;
  return !__builtin_add_overflow(value, part, ret);
}

int lc_parse_duration(const char *text, int64_t *ret_ns, lc_error *error) {
  uint64_t value;
  if (!parse_scaled(text, durations, &value) || value > INT64_MAX) {
    return lc_error_set(error, LC_EINVAL,
                        "\"%.80s\" is not a duration: write a number of seconds or, say, \"250ms\", \"10s\", \"5m\", "
                        "\"1h\", \"7d\"",
                        text);
  }
  *ret_ns = (int64_t)value;
  return 0;
}

int lc_parse_size(const char *text, uint64_t *ret_bytes, lc_error *error) {
  uint64_t value;
  if (!parse_scaled(text, sizes, &value)) {
    return lc_error_set(error, LC_EINVAL,
                        "\"%.80s\" is not a size: write a number of bytes or, say, \"64KiB\", \"10MiB\", \"5GiB\"",
                        text);
  }
  *ret_bytes = value;
  return 0;
}
