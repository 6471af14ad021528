/* Thresholds and trends: raised once, cleared once, and not by what is no growth. */
#include "support/support.h"

#include "base/trend.h"

static void test_threshold(void **state) {
  lc_threshold self = {0};
  (void)state;
  assert_int_equal(lc_threshold_step(&self, 999, 1000), LC_CROSSING_NONE);
  assert_int_equal(lc_threshold_step(&self, 1000, 1000), LC_CROSSING_RAISED);
  assert_int_equal(lc_threshold_step(&self, 5000, 1000), LC_CROSSING_NONE);
  assert_int_equal(lc_threshold_step(&self, 999, 1000), LC_CROSSING_NONE); /* it hovers */
  assert_int_equal(lc_threshold_step(&self, 900, 1000), LC_CROSSING_NONE);
  assert_int_equal(lc_threshold_step(&self, 899, 1000), LC_CROSSING_CLEARED);
  assert_int_equal(lc_threshold_step(&self, 999, 1000), LC_CROSSING_NONE);
  assert_int_equal(lc_threshold_step(&self, 1001, 1000), LC_CROSSING_RAISED);
  assert_int_equal(lc_threshold_step(&self, 1001, 0), LC_CROSSING_CLEARED); /* the limit was taken away */
  assert_int_equal(lc_threshold_step(&self, 1001, 0), LC_CROSSING_NONE);
}

/* So many steps of `rise` from `from` on; the step at which it was raised or cleared, or -1. */
static int feed(lc_trend *trend, int steps, double from, double rise, double floor, lc_crossing wanted) {
  int at = -1;
  for (int i = 0; i < steps; i++) {
    lc_crossing got = lc_trend_step(trend, 30, floor, from + rise * i);
    if (got == LC_CROSSING_NONE) continue;
    assert_int_equal(got, wanted);
    assert_int_equal(at, -1);
    at = i;
  }
  return at;
}

static void test_steady_growth(void **state) {
  lc_trend self = {0};
  (void)state;
  /* 29 steps of 2 are 58: seen with the 30th sample, and not before. */
  assert_int_equal(feed(&self, 100, 1000, 2, 50, LC_CROSSING_RAISED), 29);
  assert_true(self.growth > 57.9 && self.growth < 58.1);
  assert_true(self.steady > 0.99);
  int cleared = feed(&self, 60, 1198, 0, 50, LC_CROSSING_CLEARED);
  assert_true(cleared > 5 && cleared < 25);
  assert_int_equal(feed(&self, 60, 1198, 0, 50, LC_CROSSING_RAISED), -1);
}

static void test_slow_growth_is_none(void **state) {
  lc_trend self = {0};
  (void)state;
  assert_int_equal(feed(&self, 300, 1000, 1.7, 50, LC_CROSSING_RAISED), -1); /* 49.3 within a window */
}

static void test_shrinking_is_none(void **state) {
  lc_trend self = {0};
  (void)state;
  assert_int_equal(feed(&self, 300, 1000000, -100, 50, LC_CROSSING_RAISED), -1);
}

static void test_jump_is_none(void **state) {
  lc_trend self = {0};
  (void)state;
  assert_int_equal(feed(&self, 30, 100, 0, 50, LC_CROSSING_RAISED), -1);
  assert_int_equal(feed(&self, 100, 100000, 0, 50, LC_CROSSING_RAISED), -1);
}

/* Up and down by far more than the floor, from a fixed seed. */
static void test_noise_is_none(void **state) {
  lc_trend self = {0};
  uint32_t seed = 12345;
  (void)state;
  for (int i = 0; i < 2000; i++) {
    seed = seed * 1664525u + 1013904223u;
    assert_int_equal(lc_trend_step(&self, 30, 50, 1000 + (seed >> 24)), LC_CROSSING_NONE);
  }
}

/* The same noise around a line that climbs is growth. */
static void test_growth_under_noise(void **state) {
  lc_trend self = {0};
  uint32_t seed = 12345;
  int raised = 0;
  (void)state;
  for (int i = 0; i < 200; i++) {
    seed = seed * 1664525u + 1013904223u;
    raised += lc_trend_step(&self, 30, 500, 1000 + 40 * i + (seed >> 24)) == LC_CROSSING_RAISED;
  }
  assert_int_equal(raised, 1);
  assert_true(self.active);
}

static void test_smaller_window_and_no_floor(void **state) {
  lc_trend self = {0};
  (void)state;
  for (int i = 0; i < 40; i++) (void)lc_trend_step(&self, 30, 1e9, i);
  assert_int_equal(self.n, 30);
  assert_int_equal(lc_trend_step(&self, 5, 3.9, 40), LC_CROSSING_RAISED);
  assert_int_equal(self.n, 5);
  assert_int_equal(lc_trend_step(&self, 5, 0, 41), LC_CROSSING_CLEARED);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_threshold),      lc_test_case(test_steady_growth),
      lc_test_case(test_slow_growth_is_none), lc_test_case(test_shrinking_is_none),
      lc_test_case(test_jump_is_none),   lc_test_case(test_noise_is_none),
      lc_test_case(test_growth_under_noise), lc_test_case(test_smaller_window_and_no_floor),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
