/* Hashes are stored on disk: their values must never change. */
#include "base/hash.h"
#include "support/support.h"

static void test_known_values(void **state) {
  (void)state;
  assert_true(lc_hash64("", 0) == UINT64_C(0x2d06800538d394c2));
  lc_hash128 empty = lc_hash_128("", 0);
  assert_true(empty.high == UINT64_C(0x99aa06d3014798d8) && empty.low == UINT64_C(0x6001c324468d497f));
}

static void test_spread(void **state) {
  (void)state;
  assert_true(lc_hash64("a", 1) != lc_hash64("b", 1));
  assert_true(lc_hash64("a", 1) == lc_hash64_seed("a", 1, 0));
  assert_true(lc_hash64_seed("a", 1, 1) != lc_hash64_seed("a", 1, 2));
}

int main(void) {
  const struct CMUnitTest tests[] = {lc_test_case(test_known_values), lc_test_case(test_spread)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
