/* Durations and sizes as operators write them. */
#include <string.h>

#include "base/clock.h"
#include "base/units.h"
#include "support/support.h"

static void duration(const char *text, int64_t ns) {
  int64_t got = -1;
  assert_int_equal(lc_parse_duration(text, &got, NULL), 0);
  assert_true(got == ns);
}

static void size(const char *text, uint64_t bytes) {
  uint64_t got = 1;
  assert_int_equal(lc_parse_size(text, &got, NULL), 0);
  assert_true(got == bytes);
}

static void test_durations(void **state) {
  (void)state;
  duration("0", 0);
  duration("10", 10 * LC_SECOND);
  duration("0.5", LC_SECOND / 2);
  duration("250ms", 250 * LC_MILLISECOND);
  duration("15us", 15000);
  duration("1ns", 1);
  duration("10s", 10 * LC_SECOND);
  duration("1.5m", 90 * LC_SECOND);
  duration("1h", 3600 * LC_SECOND);
  duration("7d", 7 * 86400 * LC_SECOND);
  duration("106751d", INT64_C(106751) * 86400 * LC_SECOND);
}

static void test_sizes(void **state) {
  (void)state;
  size("0", 0);
  size("123", 123);
  size("123B", 123);
  size("64KiB", 65536);
  size("0.25MiB", 262144);
  size("1.1KiB", 1126);
  size("10MiB", 10485760);
  size("5GiB", UINT64_C(5) << 30);
  size("16777215TiB", UINT64_C(16777215) << 40);
  size("18446744073709551615", UINT64_MAX);
}

static void test_nonsense_is_refused(void **state) {
  (void)state;
  static const char *const bad[] = {"",
                                    " ",
                                    "s",
                                    "-1",
                                    "+1",
                                    "1 s",
                                    " 1",
                                    "1s ",
                                    "1.s",
                                    ".5",
                                    "1..5",
                                    "1.2.3",
                                    "1e3",
                                    "inf",
                                    "0x1",
                                    "10min",
                                    "10S",
                                    "1h30m",
                                    "106752d",
                                    "99999999999999999999",
                                    "1.1234567890123456789s"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    int64_t ns = 42;
    lc_error error;
    assert_int_equal(lc_parse_duration(bad[i], &ns, &error), LC_EINVAL);
    assert_true(ns == 42);
    assert_non_null(strstr(error.message, "is not a duration"));
  }
  static const char *const bad_sizes[] = {"",  "1KB", "1kib", "1 MiB", "1m", "16777216TiB", "18446744073709551616",
                                          "-1"};
  for (size_t i = 0; i < sizeof bad_sizes / sizeof *bad_sizes; i++) {
    uint64_t bytes = 42;
    lc_error error;
    assert_int_equal(lc_parse_size(bad_sizes[i], &bytes, &error), LC_EINVAL);
    assert_true(bytes == 42);
    assert_non_null(strstr(error.message, "is not a size"));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_durations),
      lc_test_case(test_sizes),
      lc_test_case(test_nonsense_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
