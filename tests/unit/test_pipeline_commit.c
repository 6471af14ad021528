/* What must be saved before a sink sees a byte, and what a start makes of it after a kill. */
#include "support/run.h"

#include <stdlib.h>

static bool some_time(run *self) { return self->polls >= 60; }
static bool has_100(run *self) { return double_sink_count(self->sinks[0]) == 100; }
static bool has_200(run *self) { return double_sink_count(self->sinks[0]) == 200; }
static bool is_settled(run *self) { return double_monitor_settled(self->monitor) == 1; }

static void test_a_sink_sees_nothing_of_a_source_without_its_row(void **state) {
  run r;
  run_begin(&r, *state, false);
  double_sink *sink = run_with_sink(&r, "sink", DOUBLE_AT_ONCE);
  double_monitor_partition(r.monitor, "a", 100);
  run_start(&r, 0);
  run_move_store(&r, true); /* no commit can succeed now */
  run_until(&r, some_time);
  assert_int_equal(double_sink_count(sink), 0);
  bool healthy;
  free(run_audit(&r, &healthy));
  assert_false(healthy);
  run_move_store(&r, false);
  run_until(&r, has_100);
  run_until(&r, is_settled);
  free(run_audit(&r, &healthy));
  assert_true(healthy);
  double_monitor_partition(r.monitor, "b", 100); /* the same for one that comes later */
  run_move_store(&r, true);
  double_monitor_assign(r.monitor, "b");
  run_until(&r, some_time);
  assert_int_equal(double_sink_count(sink), 100);
  run_move_store(&r, false);
  run_until(&r, has_200);
  run_end(&r);
}

static bool wrote_100(run *self) { return double_lender_count(self->lender) == 100; }
static bool wrote_200(run *self) { return double_lender_count(self->lender) == 200; }

static int count_active(void *arg, uint64_t source_id, uint32_t monitor_id, const char *name,
                        const lc_stored_cursor *cursor) {
  (void)source_id;
  (void)monitor_id;
  (void)name;
  (void)cursor;
  ++*(uint32_t *)arg;
  return 0;
}

static bool is_idle(run *self) {
  uint32_t n = 0;
  assert_int_equal(lc_store_each_active(self->runtime.store, self->bases[0]->store_id, count_active, &n, NULL), 0);
  return n == 0;
}

static void test_nor_is_it_written_on_the_spot_while_the_row_says_idle(void **state) {
  run r;
  run_begin(&r, *state, false);
  run_with_lender(&r, "lender");
  double_monitor_partition(r.monitor, "a", 1000);
  double_monitor_batch(r.monitor, 200); /* a partition has half of a batch */
  double_monitor_jobs(r.monitor, 1);
  run_start(&r, 0);
  run_move_store(&r, true);
  run_until(&r, some_time);
  assert_int_equal(double_lender_count(r.lender), 0); /* it is new */
  run_move_store(&r, false);
  run_until(&r, wrote_100);
  run_until(&r, is_idle);
  run_move_store(&r, true);
  double_monitor_jobs(r.monitor, 1);
  run_until(&r, some_time);
  assert_int_equal(double_lender_count(r.lender), 100); /* it is quiet */
  run_move_store(&r, false);
  run_until(&r, wrote_200);
  run_end(&r);
}

static bool holds_one(run *self) { return double_sink_held(self->sinks[0]) > 0; }

static void assert_replayable_after_a_kill(void **state, const char *key, bool expected) {
  run r;
  run_begin(&r, *state, false);
  run_with_sink(&r, key, DOUBLE_HOLD); /* a name is an identity */
  double_monitor_partition(r.monitor, key, 100);
  run_start(&r, 0);
  run_until(&r, holds_one);
  lc_engine_stop(r.engine, INT64_C(20000000)); /* it may have had what it never acked */
  run_until(&r, run_has_finished);
  run_end(&r);
  run_begin(&r, *state, false);
  run_with_sink(&r, key, DOUBLE_AT_ONCE);
  double_monitor_partition(r.monitor, key, 100);
  run_start(&r, 0);
  assert_int_equal(r.bases[0]->replayable, expected);
  run_end(&r);
}

static void test_tails_are_cut_only_when_all_of_them_can_be_read_again(void **state) {
  assert_replayable_after_a_kill(state, "a", true);
  assert_replayable_after_a_kill(state, "-gone", false);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_a_sink_sees_nothing_of_a_source_without_its_row),
      lc_test_case(test_nor_is_it_written_on_the_spot_while_the_row_says_idle),
      lc_test_case(test_tails_are_cut_only_when_all_of_them_can_be_read_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
