/* The pipeline core against doubles of the monitors and sinks that come later. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/inodes.h"
#include "io/store.h"
#include "pipeline/engine.h"
#include "support/doubles.h"

typedef struct run {
  lc_test *test;
  lc_runtime runtime;
  lc_engine *engine;
  double_monitor *monitor;
  double_sink *sinks[2];
  uint32_t n_sinks;
  lc_stage *stages[4];
  uint32_t n_stages;
  lc_engine_result result;
  bool finished;
  uv_timer_t poll;
  bool (*until)(struct run *run);
  uint32_t polls;
} run;

static void begin(run *self, lc_test *test, bool once) {
  lc_error error = {0};
  *self = (run){.test = test};
  self->runtime = (lc_runtime){.loop = &test->loop, .registry = test->registry, .state_dir = test->dir, .once = once};
  assert_int_equal(lc_store_open(test->dir, &self->runtime.store, &error), 0);
  assert_int_equal(lc_inodes_create(&self->runtime.own, &error), 0);
  assert_int_equal(lc_engine_create(&self->runtime, &self->engine, &error), 0);
  self->monitor = double_monitor_create(test->registry, "monitor");
}

static double_sink *with_sink(run *self, const char *name, double_policy policy) {
  double_sink *sink = double_sink_create(self->test->registry, name, policy);
  self->sinks[self->n_sinks++] = sink;
  return sink;
}

static void on_finished(void *arg, const lc_engine_result *result) {
  run *self = arg;
  self->finished = true;
  self->result = *result;
}

static void start(run *self, uint64_t memory) {
  lc_error error = {0};
  lc_monitor *monitors[1] = {double_monitor_base(self->monitor)};
  lc_sink *sinks[2];
  for (uint32_t i = 0; i < self->n_sinks; i++) sinks[i] = double_sink_base(self->sinks[i]);
  lc_pipeline_options options = {.name = "shop",
                                 .made_at = "t.lua:1",
                                 .monitors = monitors,
                                 .n_monitors = 1,
                                 .stages = self->stages,
                                 .n_stages = self->n_stages,
                                 .sinks = sinks,
                                 .n_sinks = self->n_sinks,
                                 .memory = memory};
  lc_pipeline *pipeline = NULL;
  assert_int_equal(lc_pipeline_create(&options, self->test->registry, &pipeline, &error), 0);
  assert_int_equal(lc_engine_add(self->engine, pipeline, &error), 0);
  lc_pipeline_release(pipeline);
  lc_resource_release(&double_monitor_base(self->monitor)->resource);
  for (uint32_t i = 0; i < self->n_stages; i++) lc_resource_release(&self->stages[i]->resource);
  assert_int_equal(lc_engine_open(self->engine, &error), 0);
  lc_engine_start(self->engine, on_finished, self);
}

static void on_poll(uv_timer_t *timer) {
  run *self = timer->data;
  self->polls++;
  assert_true(self->polls < 20000);
  if (self->until(self)) uv_close((uv_handle_t *)timer, NULL);
}

/* Runs the loop until `until` says so; polled each millisecond. */
static void run_until(run *self, bool (*until)(run *self)) {
  self->until = until;
  self->polls = 0;
  uv_timer_init(&self->test->loop, &self->poll);
  self->poll.data = self;
  uv_timer_start(&self->poll, on_poll, 1, 1);
  while (!uv_is_closing((uv_handle_t *)&self->poll)) {
    lc_registry_run(self->test->registry);
    uv_run(&self->test->loop, UV_RUN_ONCE);
  }
  uv_run(&self->test->loop, UV_RUN_NOWAIT);
}

static bool has_finished(run *self) { return self->finished; }

static char *audit(run *self, bool *ret_healthy) {
  lc_buf buf = {0};
  assert_int_equal(lc_engine_audit(self->engine, &buf, ret_healthy), 0);
  char *text = strdup(lc_buf_cstr(&buf));
  lc_buf_free(&buf);
  return text;
}

static void end(run *self) {
  if (!self->finished) {
    lc_engine_stop(self->engine, INT64_C(5000000000));
    run_until(self, has_finished);
  }
  lc_engine_destroy(self->engine);
  for (uint32_t i = 0; i < self->n_sinks; i++) lc_resource_release(&double_sink_base(self->sinks[i])->resource);
  lc_registry_run(self->test->registry);
  lc_store_close(self->runtime.store);
  lc_inodes_destroy(self->runtime.own);
}

static uint32_t count_lines(const char *text, const char *prefix) {
  uint32_t n = 0;
  for (const char *at = text; *at != '\0'; at = strchr(at, '\n') + 1) n += strncmp(at, prefix, strlen(prefix)) == 0;
  return n;
}

static void assert_in(const char *text, const char *part) {
  if (strstr(text, part) == NULL) fail_msg("\"%s\" is not in %s", part, text);
}

static void test_once_delivers_all_in_order(void **state) {
  run r;
  begin(&r, *state, true);
  double_sink *sink = with_sink(&r, "sink", DOUBLE_AT_ONCE);
  double_monitor_partition(r.monitor, "a", 1000);
  double_monitor_partition(r.monitor, "b", 10);
  start(&r, 0);
  run_until(&r, has_finished);
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
  char *text = audit(&r, &healthy);
  assert_true(healthy);
  assert_in(text, "\"read\":1010");
  assert_in(text, "\"delivered\":1010");
  free(text);
  end(&r);
}

static void test_requests_of_five_answered_out_of_order_with_refusals(void **state) {
  run r;
  begin(&r, *state, true);
  double_sink *sink = with_sink(&r, "sink", DOUBLE_REVERSE);
  double_sink_refuse(sink, 3);
  double_sink_refuse(sink, 4000);
  double_monitor_batch(r.monitor, 1000);
  double_monitor_partition(r.monitor, "a", 5000);
  double_monitor_partition(r.monitor, "b", 5000);
  start(&r, 0);
  run_until(&r, has_finished);
  assert_false(r.result.failed);
  assert_int_equal(double_sink_count(sink), 10000 - 4); /* two requests of 5,000 */
  bool healthy;
  char *text = audit(&r, &healthy);
  assert_true(healthy);
  assert_in(text, "\"dead_lettered\":4");
  assert_in(text, "\"delivered\":9996");
  free(text);
  end(&r);
}

static bool holds_three(run *self) { return double_sink_held(self->sinks[0]) >= 3; }
static bool holds_none(run *self) { return double_sink_held(self->sinks[0]) == 0; }

static void test_partition_revoked_in_flight_resumes_at_the_ack(void **state) {
  run r;
  begin(&r, *state, false);
  double_sink *sink = with_sink(&r, "sink", DOUBLE_HOLD);
  double_monitor_partition(r.monitor, "a", 150);
  double_monitor_partition(r.monitor, "b", 150);
  start(&r, 0);
  run_until(&r, holds_three);
  double_monitor_revoke(r.monitor, "a"); /* nothing of it is acked yet */
  double_sink_release(sink, DOUBLE_AT_ONCE);
  run_until(&r, holds_none);
  assert_int_equal(count_lines(double_sink_text(sink), "a "), 150); /* what was in flight settles all the same */
  double_monitor_partition(r.monitor, "a", 200);
  double_monitor_assign(r.monitor, "a");
  assert_int_equal(double_monitor_resumed_at(r.monitor, "a"), 150); /* and is not read again */
  end(&r);
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
  begin(&r, *state, true);
  with_sink(&r, "sink", DOUBLE_AT_ONCE);
  double_monitor_partition(r.monitor, "a", 10);
  r.stages[r.n_stages++] = double_stage_create(r.test->registry, "thief", 0, swallow);
  start(&r, 0);
  run_until(&r, has_finished);
  bool healthy;
  char *text = audit(&r, &healthy);
  assert_false(healthy);
  assert_in(text, "does not balance");
  free(text);
  end(&r);
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
    begin(&r, *state, true);
    double_sink *sink = with_sink(&r, flags == 0 ? "sink" : "sink2", DOUBLE_AT_ONCE);
    double_monitor_partition(r.monitor, flags == 0 ? "a" : "b", 100);
    double_monitor_batch(r.monitor, 200);
    r.stages[r.n_stages++] = double_stage_create(r.test->registry, "odd", flags, drop_odd);
    r.stages[r.n_stages++] = double_stage_create(r.test->registry, "seventh", flags, refuse_seventh);
    start(&r, 0);
    run_until(&r, has_finished);
    assert_int_equal(double_sink_count(sink), 49);
    bool healthy;
    char *text = audit(&r, &healthy);
    assert_true(healthy);
    assert_in(text, "\"dropped_filtered\":50");
    assert_in(text, "\"dead_lettered\":1");
    free(text);
    end(&r);
  }
}

static bool first_has_150(run *self) { return double_sink_count(self->sinks[0]) >= 150; }

static void test_a_slow_neighbour_duplicates_nothing(void **state) {
  run r;
  begin(&r, *state, false);
  double_sink *fast = with_sink(&r, "fast", DOUBLE_AT_ONCE);
  double_sink *slow = with_sink(&r, "slow", DOUBLE_HOLD);
  double_monitor_partition(r.monitor, "a", 150);
  start(&r, 0);
  run_until(&r, first_has_150);
  lc_engine_stop(r.engine, INT64_C(50000000)); /* the slow one never answers: the deadline lets its records go */
  run_until(&r, has_finished);
  assert_int_equal(double_sink_count(fast), 150);
  assert_int_equal(r.result.unacked, 150);
  (void)slow;
  end(&r);

  begin(&r, *state, true);
  fast = with_sink(&r, "fast", DOUBLE_AT_ONCE);
  slow = with_sink(&r, "slow", DOUBLE_AT_ONCE);
  double_monitor_partition(r.monitor, "a", 160);
  start(&r, 0);
  run_until(&r, has_finished);
  assert_int_equal(double_monitor_resumed_at(r.monitor, "a"), 0);
  assert_int_equal(double_sink_count(fast), 10);
  assert_int_equal(double_sink_count(slow), 160);
  bool healthy;
  char *text = audit(&r, &healthy);
  assert_true(healthy);
  assert_in(text, "\"read\":160");
  free(text);
  end(&r);
}

static void test_a_tight_budget_slows_and_never_stops(void **state) {
  run r;
  begin(&r, *state, true);
  double_sink *sink = with_sink(&r, "sink", DOUBLE_REVERSE); /* waits for five deliveries: the pool has fewer */
  double_monitor_partition(r.monitor, "a", 20000);
  double_monitor_batch(r.monitor, 4000);
  start(&r, LC_PIPELINE_MEMORY_LEAST / 1);
  run_until(&r, has_finished);
  assert_int_equal(double_sink_count(sink), 20000);
  end(&r);
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
    begin(&r, *state, false);
    double_sink *sink = with_sink(&r, "sink", DOUBLE_AT_ONCE);
    double_monitor_partition(r.monitor, "a", 1000);
    r.stages[r.n_stages++] = double_stage_create(r.test->registry, "stop", flags, stop_it);
    start(&r, 0);
    run_until(&r, has_finished);
    assert_true(r.result.failed);
    assert_in(r.result.message, "t.lua:7: no more");
    assert_int_equal(double_sink_count(sink), 0);
    end(&r);
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
  begin(&r, *state, false);
  double_sink *sink = with_sink(&r, "sink", DOUBLE_AT_ONCE);
  double_monitor_forget_settled(r.monitor);
  double_monitor_partition(r.monitor, "a", 10);
  double_monitor_partition(r.monitor, "b", 10);
  start(&r, 0);
  run_until(&r, two_settled);
  assert_int_equal(stored(&r), 0); /* nothing grows with what was once read */
  double_monitor_assign(r.monitor, "a");
  assert_int_equal(double_monitor_resumed_at(r.monitor, "a"), 0); /* another source, by the same key */
  run_until(&r, three_settled);
  assert_int_equal(double_sink_count(sink), 30);
  end(&r);
  begin(&r, *state, false);
  with_sink(&r, "sink", DOUBLE_AT_ONCE);
  start(&r, 0);
  assert_int_equal(stored(&r), 0); /* nor does the store */
  end(&r);
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
