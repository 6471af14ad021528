/* Runs that cannot end well: they end all the same, say why, and leave nothing behind. */
#include "support/run.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pipeline/inside.h"

static int refuse_all(lc_stage *stage, lc_batch *batch, uint32_t *at, uint32_t to, int64_t now_ns, lc_error *error) {
  (void)now_ns;
  (void)error;
  for (; *at < to; (*at)++) {
    if (lc_batch_refuse(batch, &batch->records[*at], stage->resource.name, "no", 2) != 0) return LC_ENOMEM;
  }
  return 0;
}

static bool reads(run *self) {
  bool healthy;
  char *text = run_audit(self, &healthy);
  free(text);
  return ++self->polls > 50; /* a few failed attempts */
}

static void begin_blocked(run *r, lc_test *test, bool once) {
  run_begin(r, test, once);
  run_with_sink(r, "sink", DOUBLE_AT_ONCE);
  r->stages[r->n_stages++] = double_stage_create(test->registry, "refuse", 0, refuse_all);
  double_monitor_partition(r->monitor, "a", 5000);
  double_monitor_jobs(r->monitor, 0);
  r->runtime.patience_ms = 100;
  run_start(r, 0);
  lc_test_write(test, "dlq", "", 0); /* where its folder should be */
  double_monitor_jobs(r->monitor, UINT32_MAX);
}

static void test_a_stop_lets_records_go_whose_dead_letters_cannot_be_written(void **state) {
  run r;
  begin_blocked(&r, *state, false);
  run_until(&r, reads);
  lc_engine_stop(r.engine, INT64_C(100000000));
  run_until(&r, run_has_finished);
  run_end(&r); /* and nothing leaks */

  run_begin(&r, *state, true);
  assert_int_equal(unlink(lc_test_path(r.test, "dlq")), 0);
  double_sink *sink = run_with_sink(&r, "sink", DOUBLE_AT_ONCE);
  double_monitor_partition(r.monitor, "a", 5000);
  run_start(&r, 0);
  run_until(&r, run_has_finished);
  assert_int_equal(double_sink_count(sink), 5000); /* they are read again */
  run_end(&r);
}

static void test_once_gives_up_when_dead_letters_cannot_be_written(void **state) {
  run r;
  begin_blocked(&r, *state, true);
  run_until(&r, run_has_finished);
  assert_true(r.result.failed);
  run_assert_in(r.result.message, "dead-letter");
  run_end(&r);
}

/* The deadline passes in the middle of an attempt, which is the last thing that anybody hears of. */
static void test_a_stop_at_once_while_dead_letters_are_written(void **state) {
  run r;
  begin_blocked(&r, *state, false);
  while (!r.engine->dead_running) {
    lc_registry_run(r.test->registry);
    uv_run(&r.test->loop, UV_RUN_NOWAIT);
  }
  lc_engine_stop(r.engine, INT64_C(60000000000));
  lc_engine_stop(r.engine, 0); /* at once */
  run_until(&r, run_has_finished);
  run_end(&r);
}

static bool holds_some(run *self) { return double_sink_held(self->sinks[0]) > 1; }

/* A sink that has refused some records of what it holds, and whose dead letters cannot be written. */
static void begin_half_refused(run *r, lc_test *test) {
  run_begin(r, test, false);
  double_sink *sink = run_with_sink(r, "sink", DOUBLE_HOLD);
  double_sink_refuse_first(sink);
  double_monitor_partition(r->monitor, "a", 1000);
  double_monitor_jobs(r->monitor, 0);
  run_start(r, 0);
  lc_test_write(test, "dlq", "", 0); /* where its folder should be */
  double_monitor_jobs(r->monitor, UINT32_MAX);
  run_until(r, holds_some);
}

static void assert_read_again(run *r, lc_test *test) {
  run_begin(r, test, true);
  assert_int_equal(unlink(lc_test_path(test, "dlq")), 0);
  double_sink *sink = run_with_sink(r, "sink", DOUBLE_AT_ONCE);
  double_monitor_partition(r->monitor, "a", 1000);
  run_start(r, 0);
  run_until(r, run_has_finished);
  assert_int_equal(double_sink_count(sink), 1000);
  run_end(r);
}

static void test_a_stop_while_dead_letters_of_a_sink_wait(void **state) {
  run r;
  begin_half_refused(&r, *state);
  lc_engine_stop(r.engine, INT64_C(100000000));
  run_until(&r, run_has_finished);
  run_end(&r);
  assert_read_again(&r, *state);
}

static void test_a_sink_is_closed_while_its_dead_letters_wait(void **state) {
  run r;
  begin_half_refused(&r, *state);
  lc_resource_close(&double_sink_base(r.sinks[0])->resource);
  run_until(&r, reads);
  lc_engine_stop(r.engine, INT64_C(100000000));
  run_until(&r, run_has_finished);
  run_end(&r);
  assert_read_again(&r, *state);
}

static void test_once_gives_up_when_a_sink_takes_nothing(void **state) {
  run r;
  run_begin(&r, *state, true);
  run_with_sink(&r, "stuck", DOUBLE_HOLD);
  double_monitor_partition(r.monitor, "a", 100);
  r.runtime.patience_ms = 50;
  run_start(&r, 0);
  run_until(&r, run_has_finished);
  assert_true(r.result.failed);
  assert_int_equal(r.result.unacked, 100);
  run_assert_in(r.result.message, "stuck");
  run_end(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_a_stop_lets_records_go_whose_dead_letters_cannot_be_written),
      lc_test_case(test_a_stop_at_once_while_dead_letters_are_written),
      lc_test_case(test_once_gives_up_when_dead_letters_cannot_be_written),
      lc_test_case(test_a_stop_while_dead_letters_of_a_sink_wait),
      lc_test_case(test_a_sink_is_closed_while_its_dead_letters_wait),
      lc_test_case(test_once_gives_up_when_a_sink_takes_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
