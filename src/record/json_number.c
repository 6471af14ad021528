/* Reading and writing JSON numbers: the part of json_text.h that deals with doubles. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "record/json_text.h"

#define DIGITS_MAX 800 /* more than 768 significant digits never change a double but by being there at all */

/* A number's text taken apart: digits (no leading zeros) times ten to the exponent. */
typedef struct decimal {
  char digits[DIGITS_MAX + 1];
  int n;
  int64_t exponent;
  bool negative;
} decimal;

static void add_digit(decimal *number, char c, bool fraction) {
  if (number->n == 0 && c == '0') {
    number->exponent -= fraction;
    return;
  }
  if (number->n < DIGITS_MAX) {
    number->digits[number->n++] = c;
    number->exponent -= fraction;
    return;
  }
  /* That something non-zero follows is enough to round by. */
  if (c != '0' && number->digits[DIGITS_MAX - 1] == '0') number->digits[DIGITS_MAX - 1] = '1';
  number->exponent += !fraction;
}

static void take_apart(const char *text, size_t len, decimal *ret) {
  const char *p = text, *end = text + len;
  ret->n = 0;
  ret->exponent = 0;
  ret->negative = p < end && *p == '-';
  p += ret->negative;
  for (; p < end && (unsigned char)(*p - '0') <= 9; p++) add_digit(ret, *p, false);
  if (p < end && *p == '.') {
    for (p++; p < end && (unsigned char)(*p - '0') <= 9; p++) add_digit(ret, *p, true);
  }
  if (p < end && (*p | 0x20) == 'e') {
    int64_t exponent = 0;
    p++;
    bool down = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+')) p++;
    for (; p < end && (unsigned char)(*p - '0') <= 9; p++) {
      if (exponent < INT64_C(1) << 40) exponent = exponent * 10 + (*p - '0');
    }
    ret->exponent += down ? -exponent : exponent;
  }
}

/* Exact where digits and power of ten are exact doubles, and so the one operation rounds correctly. */
static bool fast_double(const decimal *number, double *ret) {
  static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  if (number->n > 15 || number->exponent < -22 || number->exponent > 22) return false;
  int64_t digits = 0;
  for (int i = 0; i < number->n; i++) digits = digits * 10 + (number->digits[i] - '0');
  double value = (double)digits;
  value = number->exponent < 0 ? value / powers[-number->exponent] : value * powers[number->exponent];
  *ret = number->negative ? -value : value;
  return true;
}

double lc_json_double(const char *text, size_t len) {
  decimal number;
  double value;
  take_apart(text, len, &number);
  if (fast_double(&number, &value)) return value;
  if (number.n == 0 || number.exponent + number.n < -400) return number.negative ? -0.0 : 0.0;
  if (number.exponent + number.n > 400) return number.negative ? -HUGE_VAL : HUGE_VAL;
  /* No decimal point in it: the locale does not matter. */
  char plain[DIGITS_MAX + 32];
  int written = snprintf(plain, sizeof plain, "%.*se%d", number.n, number.digits, (int)number.exponent);
  if (written < 0) return 0.0;
  value = strtod(plain, NULL);
  return number.negative ? -value : value;
}

bool lc_json_int64(const char *text, size_t len, int64_t *ret) {
  bool negative = len > 0 && text[0] == '-';
  uint64_t value = 0, most = (uint64_t)INT64_MAX + negative;
  size_t i = negative;
  if (i == len) return false;
  for (; i < len; i++) {
    unsigned digit = (unsigned char)(text[i] - '0');
    if (digit > 9) return false;
    if (value > (most - digit) / 10) return false;
    value = value * 10 + digit;
  }
  *ret = negative ? (int64_t)(0 - value) : (int64_t)value;
  return true;
}

static size_t integer_text(int64_t value, char *ret) {
  char digits[24];
  size_t n = 0, len = 0;
  uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
  do {
    digits[n++] = (char)('0' + rest % 10);
    rest /= 10;
  } while (rest > 0);
  if (value < 0) ret[len++] = '-';
  while (n > 0) ret[len++] = digits[--n];
  return len;
}

size_t lc_json_number_text(double number, char ret[LC_JSON_NUMBER_TEXT]) {
  const double exact = 9007199254740992.0; /* 2^53 */
  if (number >= -exact && number <= exact && number == (double)(int64_t)number && !(number == 0 && signbit(number))) {
    return integer_text((int64_t)number, ret);
  }
  /* Up to 15 digits survive a double, but for the smallest ones, which have fewer. */
  for (int digits = fabs(number) < 2.3e-308 ? 1 : 15;; digits++) {
    int len = snprintf(ret, LC_JSON_NUMBER_TEXT, "%.*g", digits, number);
    /* A locale may write another decimal point. */
    for (int i = 0; i < len; i++) {
      if (ret[i] == ',') ret[i] = '.';
    }
    if (digits == 17 || lc_json_double(ret, (size_t)len) == number) return (size_t)len;
  }
}
