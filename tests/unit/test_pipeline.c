/* The pipeline core against doubles of the monitors and sinks that come later. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/run.h"

static uint32_t count_lines(const char *text, const char *prefix) {
  uint32_t n = 0;
  for (const char *at = text; *at != '\0'; at = strchr(at, '\n') + 1) n += strncmp(at, prefix, strlen(prefix)) == 0;
  return n;
}

static void test_once_delivers_all_in_order(void **state) {
  run r;
  run_begin(&r, *state, true);
  double_sink *sink = run_with_sink(&r, "sink", DOUBLE_AT_ONCE);
  double_monitor_partition(r.monitor, "a", 1000);
  double_monitor_partition(r.monitor, "b", 10);
  run_start(&r, 0);
  run_until(&r, run_has_finished);
  assert_false(r.result.failed);
  assert_int_equal(double_sink_count(sink), 1010);
  assert_int_equal(double_monitor_settled(r.monitor), 2);
  uint32_t next = 0;
  for (const char *at = double_sink_text(sink); *at != '\0'; at = strchr(at, '\n') + 1) {
    uint32_t index;
    if (sscanf(at, "a %u", &index) == 1) assert_int_equal(index, next++);
  }
  assert_int_equal(next, 1000);
  bool healthy;
  char *text = run_audit(&r, &healthy);
  assert_true(healthy);
  run_assert_in(text, "\"read\":1010");
  run_assert_in(text, "\"delivered\":1010");
  free(text);
  run_end(&r);
}

static void test_requests_of_five_answered_out_of_order_with_refusals(void **state) {
  run r;
  run_begin(&r, *state, true);
  double_sink *sink = run_with_sink(&r, "sink", DOUBLE_REVERSE);
  double_sink_refuse(sink, 3);
  double_sink_refuse(sink, 4000);
  double_monitor_batch(r.monitor, 1000);
  double_monitor_partition(r.monitor, "a", 5000);
  double_monitor_partition(r.monitor, "b", 5000);
  run_start(&r, 0);
  run_until(&r, run_has_finished);
  assert_false(r.result.failed);
  assert_int_equal(double_sink_count(sink), 10000 - 4); /* two requests of 5,000 */
  bool healthy;
  char *text = run_audit(&r, &healthy);
  assert_true(healthy);
  run_assert_in(text, "\"dead_lettered\":4");
  run_assert_in(text, "\"delivered\":9996");
  free(text);
  run_end(&r);
}

static bool holds_three(run *self) { return double_sink_held(self->sinks[0]) >= 3; }
static bool holds_none(run *self) { return double_sink_held(self->sinks[0]) == 0; }

static void test_partition_revoked_in_flight_resumes_at_the_ack(void **state) {
  run r;
  run_begin(&r, *state, false);
  double_sink *sink = run_with_sink(&r, "sink", DOUBLE_HOLD);
  double_monitor_partition(r.monitor, "a", 150);
  double_monitor_partition(r.monitor, "b", 150);
  run_start(&r, 0);
  run_until(&r, holds_three);
  double_monitor_revoke(r.monitor, "a"); /* nothing of it is acked yet */
  double_sink_release(sink, DOUBLE_AT_ONCE);
  run_until(&r, holds_none);
  assert_int_equal(count_lines(double_sink_text(sink), "a "), 150); /* what was in flight settles all the same */
  double_monitor_partition(r.monitor, "a", 200);
  double_monitor_assign(r.monitor, "a");
  assert_int_equal(double_monitor_resumed_at(r.monitor, "a"), 150); /* and is not read again */
  run_end(&r);
  assert_int_equal(r.result.unacked, 0);
}

static int swallow(lc_stage *stage, lc_batch *batch, uint32_t *at, uint32_t to, int64_t now_ns, lc_error *error) {
  (void)stage;
  (void)now_ns;
  (void)error;
  batch->n_records--; /* the bug that the ledger must show */
  batch->ranges[batch->n_ranges - 1].count--;
  *at = to - 1;
  return 0;
}

static void test_a_swallowed_record_turns_the_audit_red(void **state) {
  run r;
  run_begin(&r, *state, true);
  run_with_sink(&r, "sink", DOUBLE_AT_ONCE);
  double_monitor_partition(r.monitor, "a", 10);
  r.stages[r.n_stages++] = double_stage_create(r.test->registry, "thief", 0, swallow);
  run_start(&r, 0);
  run_until(&r, run_has_finished);
  bool healthy;
  char *text = run_audit(&r, &healthy);
  assert_false(healthy);
  run_assert_in(text, "does not balance");
  free(text);
  run_end(&r);
}

static int drop_odd(lc_stage *stage, lc_batch *batch, uint32_t *at, uint32_t to, int64_t now_ns, lc_error *error) {
  (void)stage;
  (void)now_ns;
  (void)error;
  for (; *at < to; (*at)++) {
    if (lc_record_live(&batch->records[*at]) && *at % 2 == 1) {
      lc_batch_drop(batch, &batch->records[*at], LC_DROP_FILTERED);
    }
  }
  return 0;
}

static int refuse_seventh(lc_stage *stage, lc_batch *batch, uint32_t *at, uint32_t to, int64_t now_ns, lc_error *error) {
  (void)now_ns;
  (void)error;
  for (; *at < to; (*at)++) {
    lc_record *rec = &batch->records[*at];
    if (lc_record_live(rec) && *at == 6 && lc_batch_refuse(batch, rec, stage->resource.name, "seven", 5) != 0) {
      return LC_ENOMEM;
    }
  }
  return 0;
}

static void test_drops_and_dead_letters_are_counted(void **state) {
  for (unsigned flags = 0; flags <= LC_STAGE_STATELESS; flags++) {
    run r;
    run_begin(&r, *state, true);
    double_sink *sink = run_with_sink(&r, flags == 0 ? "sink" : "sink2", DOUBLE_AT_ONCE);
    double_monitor_partition(r.monitor, flags == 0 ? "a" : "b", 100);
    double_monitor_batch(r.monitor, 200);
    r.stages[r.n_stages++] = double_stage_create(r.test->registry, "odd", flags, drop_odd);
    r.stages[r.n_stages++] = double_stage_create(r.test->registry, "seventh", flags, refuse_seventh);
    run_start(&r, 0);
    run_until(&r, run_has_finished);
    assert_int_equal(double_sink_count(sink), 49);
    bool healthy;
    char *text = run_audit(&r, &healthy);
    assert_true(healthy);
    run_assert_in(text, "\"dropped_filtered\":50");
    run_assert_in(text, "\"dead_lettered\":1");
    free(text);
    run_end(&r);
  }
}

static bool first_has_150(run *self) { return double_sink_count(self->sinks[0]) >= 150; }

static void test_a_slow_neighbour_duplicates_nothing(void **state) {
  run r;
  run_begin(&r, *state, false);
  double_sink *fast = run_with_sink(&r, "fast", DOUBLE_AT_ONCE);
  double_sink *slow = run_with_sink(&r, "slow", DOUBLE_HOLD);
  double_monitor_partition(r.monitor, "a", 150);
  run_start(&r, 0);
  run_until(&r, first_has_150);
  lc_engine_stop(r.engine, INT64_C(50000000)); /* the slow one never answers: the deadline lets its records go */
  run_until(&r, run_has_finished);
  assert_int_equal(double_sink_count(fast), 150);
  assert_int_equal(r.result.unacked, 150);
  (void)slow;
  run_end(&r);

  run_begin(&r, *state, true);
  fast = run_with_sink(&r, "fast", DOUBLE_AT_ONCE);
  slow = run_with_sink(&r, "slow", DOUBLE_AT_ONCE);
  double_monitor_partition(r.monitor, "a", 160);
  run_start(&r, 0);
  run_until(&r, run_has_finished);
  assert_int_equal(double_monitor_resumed_at(r.monitor, "a"), 0);
  assert_int_equal(double_sink_count(fast), 10);
  assert_int_equal(double_sink_count(slow), 160);
  bool healthy;
  char *text = run_audit(&r, &healthy);
  assert_true(healthy);
  run_assert_in(text, "\"read\":160");
  free(text);
  run_end(&r);
}

static void test_a_tight_budget_slows_and_never_stops(void **state) {
  run r;
  run_begin(&r, *state, true);
  double_sink *sink = run_with_sink(&r, "sink", DOUBLE_REVERSE); /* waits for five deliveries: the pool has fewer */
  double_monitor_partition(r.monitor, "a", 20000);
  double_monitor_batch(r.monitor, 4000);
  run_start(&r, LC_PIPELINE_MEMORY_LEAST / 1);
  run_until(&r, run_has_finished);
  assert_int_equal(double_sink_count(sink), 20000);
  run_end(&r);
}

static int stop_it(lc_stage *stage, lc_batch *batch, uint32_t *at, uint32_t to, int64_t now_ns, lc_error *error) {
  (void)stage;
  (void)batch;
  (void)at;
  (void)to;
  (void)now_ns;
  return lc_error_set(error, LC_ECANCELED, "t.lua:7: no more");
}

static void test_a_stage_may_stop_its_pipeline(void **state) {
  for (unsigned flags = 0; flags <= LC_STAGE_STATELESS; flags++) {
    run r;
    run_begin(&r, *state, false);
    double_sink *sink = run_with_sink(&r, "sink", DOUBLE_AT_ONCE);
    double_monitor_partition(r.monitor, "a", 1000);
    r.stages[r.n_stages++] = double_stage_create(r.test->registry, "stop", flags, stop_it);
    run_start(&r, 0);
    run_until(&r, run_has_finished);
    assert_true(r.result.failed);
    run_assert_in(r.result.message, "t.lua:7: no more");
    assert_int_equal(double_sink_count(sink), 0);
    run_end(&r);
  }
}

static int count_stored(void *arg, const lc_stored_source *stored) {
  (void)stored;
  (*(uint32_t *)arg)++;
  return 0;
}

static uint32_t stored(run *self) {
  uint32_t n = 0;
  assert_int_equal(lc_feed_each_stored(double_monitor_base(self->monitor)->feed, count_stored, &n), 0);
  return n;
}

static bool two_settled(run *self) { return double_monitor_settled(self->monitor) == 2; }
static bool three_settled(run *self) { return double_monitor_settled(self->monitor) == 3; }

static void test_what_is_gone_is_forgotten_and_may_come_anew(void **state) {
  run r;
  run_begin(&r, *state, false);
  double_sink *sink = run_with_sink(&r, "sink", DOUBLE_AT_ONCE);
  double_monitor_forget_settled(r.monitor);
  double_monitor_partition(r.monitor, "a", 10);
  double_monitor_partition(r.monitor, "b", 10);
  run_start(&r, 0);
  run_until(&r, two_settled);
  assert_int_equal(stored(&r), 0); /* nothing grows with what was once read */
  double_monitor_assign(r.monitor, "a");
  assert_int_equal(double_monitor_resumed_at(r.monitor, "a"), 0); /* another source, by the same key */
  run_until(&r, three_settled);
  assert_int_equal(double_sink_count(sink), 30);
  run_end(&r);
  run_begin(&r, *state, false);
  run_with_sink(&r, "sink", DOUBLE_AT_ONCE);
  run_start(&r, 0);
  assert_int_equal(stored(&r), 0); /* nor does the store */
  run_end(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_once_delivers_all_in_order),
      lc_test_case(test_requests_of_five_answered_out_of_order_with_refusals),
      lc_test_case(test_partition_revoked_in_flight_resumes_at_the_ack),
      lc_test_case(test_a_swallowed_record_turns_the_audit_red),
      lc_test_case(test_drops_and_dead_letters_are_counted),
      lc_test_case(test_a_slow_neighbour_duplicates_nothing),
      lc_test_case(test_a_tight_budget_slows_and_never_stops),
      lc_test_case(test_a_stage_may_stop_its_pipeline),
      lc_test_case(test_what_is_gone_is_forgotten_and_may_come_anew),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
