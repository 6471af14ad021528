/* Clocks and the text of times. */
#include <string.h>

#include "base/clock.h"
#include "support/support.h"

static void expect(int64_t ns, const char *text) {
  char got[LC_TIME_TEXT];
  int len = lc_time_format(ns, got);
  assert_string_equal(got, text);
  assert_int_equal(len, strlen(text));
}

static void test_format(void **state) {
  (void)state;
  expect(0, "1970-01-01T00:00:00Z");
  expect(INT64_C(1795468160) * LC_SECOND + 123456789, "2026-11-23T21:09:20.123456789Z");
  expect(INT64_C(1795468160) * LC_SECOND + 120 * LC_MILLISECOND, "2026-11-23T21:09:20.12Z");
  expect(INT64_C(951782400) * LC_SECOND, "2000-02-29T00:00:00Z");
  expect(-1, "1969-12-31T23:59:59.999999999Z");
  expect(-LC_SECOND, "1969-12-31T23:59:59Z");
  expect(INT64_MAX, "2262-04-11T23:47:16.854775807Z");
  expect(INT64_MIN, "1677-09-21T00:12:43.145224192Z");
}

static void test_clocks_move(void **state) {
  (void)state;
  int64_t before = lc_clock_mono();
  assert_true(lc_clock_mono() >= before);
  assert_true(lc_clock_wall() > INT64_C(1700000000) * LC_SECOND);
}

int main(void) {
  const struct CMUnitTest tests[] = {lc_test_case(test_format), lc_test_case(test_clocks_move)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
