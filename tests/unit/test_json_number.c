/* Numbers of JSON text, read and written. */
#include "record/json_text.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/support.h"

static void assert_double(const char *text) {
  double wanted = strtod(text, NULL), seen = lc_json_double(text, strlen(text));
  if (memcmp(&wanted, &seen, sizeof wanted) != 0) fail_msg("%s: %a instead of %a", text, seen, wanted);
}

static void test_double(void **state) {
  (void)state;
  static const char *const texts[] = {
      "0",
      "-0",
      "1",
      "-1",
      "0.1",
      "1e22",
      "1e23",
      "-1.5e-7",
      "9007199254740993",
      "9007199254740992.5",
      "123456789012345678901234567890",
      "1.7976931348623157e308",
      "1.7976931348623159e308",
      "1e309",
      "-1e400",
      "1e99999999999999999999",
      "5e-324",
      "2e-324",
      "2.4703282292062327208e-324",
      "1e-400",
      "0e999999999",
      "0.000000000000000000000000000001",
      "2.2250738585072011e-308",
      "2.2250738585072014e-308",
      "100000000000000000000000e-22",
      "1E5",
      "1e+5",
  };
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) assert_double(texts[i]);
  /* More digits than matter, but for one at the very end. */
  for (int tail = 0; tail < 2; tail++) {
    char text[1200] = "9007199254740993.";
    memset(text + 17, '0', 1000);
    text[1017] = tail == 0 ? '0' : '1';
    assert_double(text);
  }
  uint64_t seed = 3;
  for (int round = 0; round < 50000; round++) {
    char text[64];
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    double number;
    memcpy(&number, &seed, sizeof number);
    if (!isfinite(number)) continue;
    snprintf(text, sizeof text, "%.*g", 1 + (int)(seed >> 40) % 20, number);
    assert_double(text);
  }
}

static void test_int64(void **state) {
  (void)state;
  int64_t value = 0;
  assert_true(lc_json_int64("9223372036854775807", 19, &value) && value == INT64_MAX);
  assert_true(lc_json_int64("-9223372036854775808", 20, &value) && value == INT64_MIN);
  assert_true(lc_json_int64("0", 1, &value) && value == 0);
  assert_true(lc_json_int64("-0", 2, &value) && value == 0);
  value = 5;
  assert_false(lc_json_int64("9223372036854775808", 19, &value));
  assert_false(lc_json_int64("-9223372036854775809", 20, &value));
  assert_false(lc_json_int64("99999999999999999999", 20, &value));
  assert_false(lc_json_int64("1.0", 3, &value));
  assert_false(lc_json_int64("1e3", 3, &value));
  assert_false(lc_json_int64("", 0, &value));
  assert_false(lc_json_int64("-", 1, &value));
  assert_int_equal(value, 5);
}

static void assert_number(double number, const char *wanted) {
  char text[LC_JSON_NUMBER_TEXT];
  size_t len = lc_json_number_text(number, text);
  assert_int_equal(len, strlen(wanted));
  assert_memory_equal(text, wanted, len);
}

static void test_number_text(void **state) {
  (void)state;
  assert_number(0, "0");
  assert_number(-0.0, "-0");
  assert_number(42, "42");
  assert_number(-1234567, "-1234567");
  assert_number(9007199254740992.0, "9007199254740992");
  assert_number(-9007199254740991.0, "-9007199254740991");
  assert_number(1e20, "1e+20");
  assert_number(0.1, "0.1");
  assert_number(0.1 + 0.2, "0.30000000000000004");
  assert_number(1.5, "1.5");
  assert_number(5e-324, "5e-324");
  assert_number(DBL_MAX, "1.7976931348623157e+308");
  uint64_t seed = 9;
  for (int round = 0; round < 20000; round++) {
    char text[LC_JSON_NUMBER_TEXT];
    double number;
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    memcpy(&number, &seed, sizeof number);
    if (!isfinite(number)) continue;
    size_t len = lc_json_number_text(number, text);
    assert_true(lc_json_double(text, len) == number);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_double),
      lc_test_case(test_int64),
      lc_test_case(test_number_text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
