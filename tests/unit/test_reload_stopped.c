/* Pipelines that stopped and pipelines that leave, when somebody closes what they need or it takes nothing: what is
 * read again, what is given up, and that the ledger says which. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/inside.h"
#include "pipeline/reload.h"
#include "support/run.h"

static bool blocked; /* the stage waits, behind its first batch */
static unsigned passed;

static int wait_behind_the_first(lc_stage *stage, lc_batch *batch, uint32_t *at, uint32_t to, int64_t now_ns,
                                 lc_error *error) {
  (void)stage, (void)batch, (void)now_ns, (void)error;
  if (blocked && passed > 0) return LC_EAGAIN;
  passed++;
  *at = to;
  return 0;
}

static lc_monitor *monitor_again(run *r, uint32_t records) {
  double_monitor *monitor = double_monitor_create(r->test->registry, "monitor");
  double_monitor_partition(monitor, "a", records);
  return double_monitor_base(monitor);
}

static lc_pipeline *describe(run *r, const char *name, lc_monitor *monitor, lc_sink *sink) {
  lc_error error = {0};
  lc_pipeline *pipeline = NULL;
  lc_pipeline_options options = {.name = name, .made_at = "new.lua:1", .monitors = &monitor, .n_monitors = 1,
                                 .sinks = &sink, .n_sinks = 1};
  assert_int_equal(lc_pipeline_create(&options, r->test->registry, &pipeline, &error), 0);
  lc_resource_release(&monitor->resource);
  return pipeline;
}

static int reload_with(run *r, lc_pipeline **pipelines, uint32_t n) {
  lc_error error = {0};
  lc_reload *reload = NULL;
  int rc = lc_reload_prepare(r->engine, pipelines, n, &reload, &error);
  if (rc == 0) lc_reload_commit(reload);
  for (uint32_t i = 0; i < n; i++) lc_pipeline_release(pipelines[i]);
  return rc;
}

/* The pipeline with this one sink and no stage; both are let go of. */
static int reload_to(run *r, lc_monitor *monitor, lc_sink *sink) {
  lc_pipeline *pipeline = describe(r, "shop", monitor, sink);
  lc_resource_release(&sink->resource);
  return reload_with(r, &pipeline, 1);
}

static bool gone_holds_one(run *self) { return double_sink_held(self->sinks[1]) == 1 && self->polls > 20; }
static bool is_closed(run *self) {
  return lc_resource_state_of(&self->bases[1]->resource) == LC_RES_CLOSED && self->polls > 20;
}
static bool one_edge_left(run *self) {
  const lc_pipeline *pipeline = self->engine->pipelines[0];
  uint32_t n = 0;
  for (uint32_t e = 0; e < pipeline->n_edges; e++) n += pipeline->edges[e] != NULL;
  return n == 1;
}

/* What was read for it before it was closed is given up whole: also what it let go of while more was on its way. */
static void test_a_leaving_sink_that_is_closed_gives_up_all(void **state) {
  run r;
  blocked = true;
  passed = 0;
  run_begin(&r, *state, false);
  run_with_sink(&r, "stays", DOUBLE_AT_ONCE);
  run_with_sink(&r, "gone", DOUBLE_HOLD);
  r.stages[r.n_stages++] = double_stage_create(r.test->registry, "waits", 0, wait_behind_the_first);
  double_monitor_partition(r.monitor, "a", 20);
  double_monitor_batch(r.monitor, 10);
  run_start(&r, 0);
  run_until(&r, gone_holds_one);
  lc_sink *stays = double_sink_base(double_sink_create(r.test->registry, "stays", DOUBLE_AT_ONCE));
  assert_int_equal(reload_to(&r, monitor_again(&r, 20), stays), 0);
  lc_resource_close(&r.bases[1]->resource);
  run_until(&r, is_closed);
  blocked = false;
  run_until(&r, one_edge_left);
  assert_non_null(r.engine->gone);
  assert_int_equal(r.engine->gone->ledger.read, 20);
  assert_int_equal(r.engine->gone->ledger.abandoned, 20);
  run_end(&r);
}

static bool holds_some(run *self) { return double_sink_held(self->sinks[1]) > 0 && self->polls > 20; }
static bool a_moment(run *self) { return self->polls > 5; }
static bool has_all(run *self) { return double_sink_count(self->sinks[0]) == 100; }

/* A sink that takes nothing keeps the pipeline that stopped for a while only; its successor reads what it held again. */
static void test_what_is_read_again_is_not_given_up(void **state) {
  run r;
  run_begin(&r, *state, false);
  run_with_sink(&r, "closed", DOUBLE_AT_ONCE);
  run_with_sink(&r, "stuck", DOUBLE_HOLD);
  r.runtime.drain_ms = 50;
  double_monitor_partition(r.monitor, "a", 100);
  double_monitor_batch(r.monitor, 10);
  run_start(&r, 0);
  run_until(&r, holds_some);
  lc_resource_close(&r.bases[0]->resource);
  double_sink *next = double_sink_create(r.test->registry, "stuck", DOUBLE_AT_ONCE);
  for (int rc = LC_EAGAIN; rc == LC_EAGAIN; run_until(&r, a_moment)) {
    lc_resource_retain(&double_sink_base(next)->resource);
    rc = reload_to(&r, monitor_again(&r, 100), double_sink_base(next));
  }
  lc_resource_release(&r.bases[0]->resource);
  r.bases[0] = double_sink_base(next);
  r.sinks[0] = next;
  run_until(&r, has_all);
  const lc_edge *edge = r.engine->pipelines[0]->edges[0];
  assert_int_equal(edge->total.read, 100);
  assert_int_equal(edge->total.abandoned, 0);
  assert_null(r.engine->gone);
  run_end(&r);
}

static int look_at_row(void *arg, uint64_t source_id, uint32_t monitor_id, const char *name,
                       const lc_stored_cursor *cursor) {
  (void)source_id, (void)monitor_id, (void)name, (void)cursor;
  ++*(uint32_t *)arg;
  return 0;
}

/* Closed while logcap stops and waits for it: its rows say that there is something to be read again. */
static void test_a_sink_that_is_closed_while_logcap_stops(void **state) {
  run r;
  lc_error error = {0};
  uint32_t active = 0;
  run_begin(&r, *state, false);
  run_with_sink(&r, "good", DOUBLE_AT_ONCE);
  run_with_sink(&r, "stuck", DOUBLE_HOLD);
  double_monitor_partition(r.monitor, "a", 100);
  run_start(&r, 0);
  run_until(&r, holds_some);
  lc_engine_stop(r.engine, INT64_C(5000000000));
  run_until(&r, a_moment);
  assert_false(r.finished);
  lc_resource_close(&r.bases[1]->resource);
  run_until(&r, run_has_finished);
  assert_true(r.result.failed);
  run_assert_in(r.result.message, "sink \"stuck\" was closed in use");
  assert_int_equal(lc_store_each_active(r.runtime.store, r.bases[1]->store_id, look_at_row, &active, &error), 0);
  assert_int_equal(active, 1);
  run_end(&r);
}

static bool commits_fail(run *self) { return self->engine->last_failures > 0; }
static bool one_pipeline_left(run *self) { return self->engine->n_pipelines == 1; }

/* What came with it and was never opened goes also when a commit fails meanwhile. */
static void test_a_failed_reload_leaves_nothing_when_nothing_can_be_saved(void **state) {
  run r;
  run_begin(&r, *state, false);
  run_with_sink(&r, "sink", DOUBLE_AT_ONCE);
  double_monitor_partition(r.monitor, "a", 100);
  run_start(&r, 0);
  double_sink *bad = double_sink_create(r.test->registry, "bad", DOUBLE_AT_ONCE);
  double_sink_fail_open(bad);
  lc_monitor *other = double_monitor_base(double_monitor_create(r.test->registry, "other"));
  lc_pipeline *pipelines[2] = {describe(&r, "shop", monitor_again(&r, 100), r.bases[0]),
                               describe(&r, "new", other, double_sink_base(bad))};
  lc_resource_release(&double_sink_base(bad)->resource);
  assert_int_equal(reload_with(&r, pipelines, 2), LC_ESYS);
  run_move_store(&r, true);
  run_until(&r, commits_fail);
  run_move_store(&r, false);
  run_until(&r, one_pipeline_left);
  run_end(&r);
}

static int burns(lc_stage *stage, lc_batch *batch, uint32_t *at, uint32_t to, int64_t now_ns, lc_error *error) {
  (void)stage, (void)batch, (void)now_ns;
  if (blocked) return LC_EAGAIN;
  if (passed > 0) return lc_error_set(error, LC_EINVAL, "it burnt down");
  *at = to;
  return 0;
}

static bool some_queued(run *self) { return self->engine->pipelines[0]->first != NULL && self->polls > 5; }
static bool moved_has_all(run *self) { return double_sink_count(self->sinks[1]) == 100; }

/* The pipeline that a monitor moves away from stops before it has let go of it. */
static void test_a_monitor_moves_although_its_pipeline_stops(void **state) {
  run r;
  blocked = true;
  passed = 1;
  run_begin(&r, *state, false);
  run_with_sink(&r, "sink", DOUBLE_AT_ONCE);
  r.stages[r.n_stages++] = double_stage_create(r.test->registry, "burns", 0, burns);
  double_monitor_partition(r.monitor, "a", 100);
  double_monitor_batch(r.monitor, 10);
  run_start(&r, 0);
  run_until(&r, some_queued);
  run_with_sink(&r, "other", DOUBLE_AT_ONCE);
  lc_monitor *second = double_monitor_base(double_monitor_create(r.test->registry, "second"));
  lc_pipeline *pipelines[2] = {describe(&r, "shop", second, r.bases[0]),
                               describe(&r, "other", monitor_again(&r, 100), r.bases[1])};
  assert_int_equal(reload_with(&r, pipelines, 2), 0);
  blocked = false;
  run_until(&r, moved_has_all);
  assert_true(r.engine->pipelines[0]->failed);
  run_end(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_a_leaving_sink_that_is_closed_gives_up_all),
      lc_test_case(test_what_is_read_again_is_not_given_up),
      lc_test_case(test_a_sink_that_is_closed_while_logcap_stops),
      lc_test_case(test_a_failed_reload_leaves_nothing_when_nothing_can_be_saved),
      lc_test_case(test_a_monitor_moves_although_its_pipeline_stops),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
