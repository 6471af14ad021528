#include "record/pool.h"

#include "record/batch.h"
#include "support/support.h"

static void count_room(void *arg) { (*(int *)arg)++; }

static void test_budget_binds_and_room_is_told(void **state) {
  (void)state;
  int room = 0;
  lc_batch_pool *pool = lc_batch_pool_create(400000, 100000, count_room, &room);
  lc_batch *held[8];
  uint32_t n = 0;
  while (n < 8 && (held[n] = lc_batch_pool_take(pool)) != NULL) n++;
  assert_int_equal(n, 3); /* each is a little larger than its block */
  assert_int_equal(lc_batch_pool_stats_get(pool).refused, 1);
  lc_batch_pool_put(pool, held[--n]);
  assert_int_equal(room, 1);
  lc_batch_pool_put(pool, held[--n]);
  assert_int_equal(room, 1); /* nobody waited */
  while (n > 0) lc_batch_pool_put(pool, held[--n]);
  lc_batch_pool_destroy(pool);
}

static void test_growth_in_a_job_is_charged(void **state) {
  (void)state;
  int room = 0;
  lc_batch_pool *pool = lc_batch_pool_create(1000000, 100000, count_room, &room);
  lc_batch *batch = lc_batch_pool_take(pool);
  uint64_t before = lc_batch_pool_stats_get(pool).charged;
  assert_int_equal(lc_batch_reserve_records(batch, 10000), 10000);
  lc_batch_pool_recharge(pool, batch);
  assert_int_equal(lc_batch_pool_stats_get(pool).charged, before + 10000 * sizeof(lc_record));
  lc_batch_pool_put(pool, batch);
  lc_batch_pool_destroy(pool);
}

static void test_two_batches_are_always_granted(void **state) {
  (void)state;
  int room = 0;
  lc_batch_pool *pool = lc_batch_pool_create(1, 100000, count_room, &room);
  lc_batch *one = lc_batch_pool_take(pool), *two = lc_batch_pool_take(pool);
  assert_non_null(one);
  assert_non_null(two);
  assert_null(lc_batch_pool_take(pool));
  lc_batch_pool_put(pool, one);
  assert_int_equal(room, 1);
  lc_batch_pool_put(pool, two);
  assert_true(lc_batch_pool_stats_get(pool).spare <= 2);
  lc_batch_pool_destroy(pool);
}

static void test_without_memory_a_take_fails_and_later_works(void **state) {
  (void)state;
  int room = 0;
  lc_batch_pool *pool = lc_batch_pool_create(1000000, 100000, count_room, &room);
  for (unsigned n = 1; n <= 2; n++) {
    lc_fault_after(n);
    assert_null(lc_batch_pool_take(pool));
    assert_true(lc_fault_off());
  }
  lc_batch *batch = lc_batch_pool_take(pool);
  assert_non_null(batch);
  lc_batch_pool_put(pool, batch);
  lc_batch_pool_destroy(pool);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_budget_binds_and_room_is_told),
      lc_test_case(test_growth_in_a_job_is_charged),
      lc_test_case(test_two_batches_are_always_granted),
      lc_test_case(test_without_memory_a_take_fails_and_later_works),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
