/* Described pipelines take the place of those that run: what is adopted, replaced, added and removed, and that nothing is
 * lost, delivered twice or leaked on the way. */
#include "pipeline/reload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/run.h"

/* What a new generation names; the references are dropped by reload_with. */
typedef struct wanted {
  const char *name;
  lc_monitor *monitor;
  lc_stage *stage; /* may be NULL */
  lc_sink *sinks[2];
  uint32_t n_sinks;
} wanted;

static lc_pipeline *describe(run *r, const wanted *want) {
  lc_error error = {0};
  lc_monitor *monitors[1] = {want->monitor};
  lc_stage *stages[1] = {want->stage};
  lc_pipeline_options options = {.name = want->name,
                                 .made_at = "new.lua:1",
                                 .monitors = monitors,
                                 .n_monitors = 1,
                                 .stages = stages,
                                 .n_stages = want->stage != NULL,
                                 .sinks = (lc_sink **)(uintptr_t)want->sinks,
                                 .n_sinks = want->n_sinks};
  lc_pipeline *pipeline = NULL;
  assert_int_equal(lc_pipeline_create(&options, r->test->registry, &pipeline, &error), 0);
  return pipeline;
}

static int reload_with(run *r, const wanted *wants, uint32_t n) {
  lc_pipeline *described[4] = {0};
  lc_reload *reload = NULL;
  lc_error error = {0};
  for (uint32_t i = 0; i < n; i++) described[i] = describe(r, &wants[i]);
  int rc = lc_reload_prepare(r->engine, described, n, &reload, &error);
  if (rc == 0) lc_reload_commit(reload);
  for (uint32_t i = 0; i < n; i++) {
    lc_pipeline_release(described[i]);
    lc_resource_release(&wants[i].monitor->resource);
    if (wants[i].stage != NULL) lc_resource_release(&wants[i].stage->resource);
    for (uint32_t s = 0; s < wants[i].n_sinks; s++) lc_resource_release(&wants[i].sinks[s]->resource);
  }
  return rc;
}

/* A new object for the sink that runs; `ret` may be NULL. */
static lc_sink *again(run *r, const char *name) {
  return double_sink_base(double_sink_create(r->test->registry, name, DOUBLE_AT_ONCE));
}

static lc_monitor *monitor_again(run *r, uint32_t n) {
  double_monitor *monitor = double_monitor_create(r->test->registry, "monitor");
  double_monitor_partition(monitor, "a", n);
  return double_monitor_base(monitor);
}

static uint32_t target;
static bool got_target(run *self) { return double_sink_count(self->sinks[0]) >= target; }

static void wait_for(run *r, uint32_t count) {
  target = count;
  run_until(r, got_target);
}

/* Every record of partition a, in order, from `from` on and once. */
static void assert_in_order(const char *text, uint32_t from, uint32_t to) {
  for (uint32_t i = from; i < to; i++) {
    unsigned got = UINT32_MAX;
    int len = 0;
    assert_int_equal(sscanf(text, "a %u\n%n", &got, &len), 1);
    assert_int_equal(got, i);
    text += len;
  }
  assert_int_equal(*text, '\0');
}

static uint32_t count_kind(run *r, const char *kind) {
  lc_buf json = {0};
  uint32_t n = 0;
  lc_registry_run(r->test->registry);
  assert_int_equal(lc_registry_json(r->test->registry, 0, &json), 0);
  for (const char *at = lc_buf_cstr(&json); (at = strstr(at, kind)) != NULL; at++) n++;
  lc_buf_free(&json);
  return n;
}

static bool one_sink_left(run *self) { return count_kind(self, "\"kind\":\"double_sink\"") == 1; }
static bool one_pipeline_left(run *self) { return count_kind(self, "\"kind\":\"pipeline\"") == 1; }
static bool one_monitor_left(run *self) { return count_kind(self, "\"kind\":\"double_monitor\"") == 1; }

static int mark_new(lc_stage *stage, lc_batch *batch, uint32_t *at, uint32_t to, int64_t now_ns, lc_error *error) {
  (void)now_ns;
  (void)error;
  for (; *at < to; ++*at) {
    if (lc_record_live(&batch->records[*at])) atomic_fetch_add(&stage->resource.records_in, 1);
  }
  return 0;
}

static void begin(run *r, void **state, uint32_t records, double_policy policy) {
  run_begin(r, *state, false);
  run_with_sink(r, "sink", policy);
  double_monitor_partition(r->monitor, "a", records);
  double_monitor_batch(r->monitor, 10);
  run_start(r, 0);
}

static void end_healthy(run *r) {
  bool healthy = false;
  free(run_audit(r, &healthy));
  assert_true(healthy);
  run_end(r);
}

static void test_what_is_the_same_is_adopted(void **state) {
  run r;
  begin(&r, state, 10000, DOUBLE_AT_ONCE);
  wait_for(&r, 1000);
  lc_stage *stage = double_stage_create(r.test->registry, "new", 0, mark_new);
  lc_resource_retain(&stage->resource);
  wanted want = {"shop", monitor_again(&r, 1), stage, {again(&r, "sink")}, 1};
  assert_int_equal(reload_with(&r, &want, 1), 0);
  assert_int_equal(count_kind(&r, "\"kind\":\"double_sink\""), 1); /* the described ones went at once */
  assert_int_equal(count_kind(&r, "\"kind\":\"double_monitor\""), 1);
  assert_int_equal(count_kind(&r, "\"made_at\":\"new.lua:1\""), 1);
  wait_for(&r, 10000);
  assert_in_order(double_sink_text(r.sinks[0]), 0, 10000);
  uint64_t seen = atomic_load(&stage->resource.records_in);
  assert_true(seen > 0 && seen < 10000); /* the new graph has only what was read after it */
  lc_resource_release(&stage->resource);
  end_healthy(&r);
}

static void test_changed_options_are_taken_over_in_place(void **state) {
  run r;
  begin(&r, state, 1000, DOUBLE_HOLD);
  double_sink_fit(r.sinks[0], LC_FIT_CHANGED);
  wanted want = {"shop", monitor_again(&r, 1), NULL, {again(&r, "sink")}, 1}; /* at once */
  assert_int_equal(reload_with(&r, &want, 1), 0);
  wait_for(&r, 1000);
  assert_in_order(double_sink_text(r.sinks[0]), 0, 1000);
  end_healthy(&r);
}

static void test_a_new_sink_gets_what_comes_from_now_on(void **state) {
  run r;
  begin(&r, state, 10000, DOUBLE_AT_ONCE);
  wait_for(&r, 1000);
  double_sink *added = double_sink_create(r.test->registry, "added", DOUBLE_AT_ONCE);
  lc_resource_retain(&double_sink_base(added)->resource);
  wanted want = {"shop", monitor_again(&r, 1), NULL, {again(&r, "sink"), double_sink_base(added)}, 2};
  assert_int_equal(reload_with(&r, &want, 1), 0);
  wait_for(&r, 10000);
  double_sink *old = r.sinks[0];
  r.sinks[0] = added;
  uint32_t from = 0;
  assert_int_equal(sscanf(double_sink_text(added), "a %u", &from), 1);
  assert_true(from >= 1000);
  wait_for(&r, 10000 - from);
  assert_in_order(double_sink_text(added), from, 10000);
  assert_in_order(double_sink_text(old), 0, 10000);
  r.sinks[0] = old;
  lc_resource_release(&double_sink_base(added)->resource);
  end_healthy(&r);
}

static bool some_time(run *self) { return self->polls >= 60; }

static void test_a_new_sink_sees_nothing_before_its_row(void **state) {
  run r;
  begin(&r, state, 1000, DOUBLE_HOLD); /* so that the source stays ACTIVE */
  double_monitor_jobs(r.monitor, 5);
  run_until(&r, some_time);
  double_sink *added = double_sink_create(r.test->registry, "added", DOUBLE_AT_ONCE);
  lc_resource_retain(&double_sink_base(added)->resource);
  wanted want = {"shop", monitor_again(&r, 1), NULL, {again(&r, "sink"), double_sink_base(added)}, 2};
  assert_int_equal(reload_with(&r, &want, 1), 0);
  run_move_store(&r, true);
  double_monitor_jobs(r.monitor, 5);
  run_until(&r, some_time);
  assert_int_equal(double_sink_count(added), 0);
  run_move_store(&r, false);
  double_sink_release(r.sinks[0], DOUBLE_AT_ONCE);
  double_monitor_jobs(r.monitor, UINT32_MAX);
  wait_for(&r, 1000);
  assert_true(double_sink_count(added) > 0);
  lc_resource_release(&double_sink_base(added)->resource);
  end_healthy(&r);
}

static void test_a_removed_sink_drains_then_closes(void **state) {
  run r;
  run_begin(&r, *state, false);
  double_sink *stays = run_with_sink(&r, "sink", DOUBLE_AT_ONCE);
  double_sink *leaves = run_with_sink(&r, "leaves", DOUBLE_HOLD);
  double_monitor_partition(r.monitor, "a", 1000);
  run_start(&r, 0);
  wait_for(&r, 500);
  wanted want = {"shop", monitor_again(&r, 1), NULL, {again(&r, "sink")}, 1};
  assert_int_equal(reload_with(&r, &want, 1), 0);
  wait_for(&r, 600);
  assert_int_equal(lc_resource_state_of(&double_sink_base(leaves)->resource), LC_RES_OPEN);
  uint32_t held = double_sink_held(leaves);
  assert_true(held >= 5);
  double_sink_release(leaves, DOUBLE_AT_ONCE);
  lc_resource_release(&r.bases[1]->resource);
  r.n_sinks = 1;
  run_until(&r, one_sink_left);
  wait_for(&r, 1000);
  assert_in_order(double_sink_text(stays), 0, 1000);
  end_healthy(&r);
}

/* Its ledger shows once, balances, and is no good news. */
static void assert_given_up(run *r) {
  bool healthy = true;
  char *text = run_audit(r, &healthy);
  assert_false(healthy);
  run_assert_in(text, " records were given up");
  run_assert_in(text, "\"sink\":\"dead\"");
  assert_null(strstr(strstr(text, "\"sink\":\"dead\"") + 1, "\"sink\":\"dead\""));
  assert_null(strstr(text, "does not balance"));
  free(text);
}

static void test_a_removed_sink_that_takes_nothing_is_given_up(void **state) {
  run r;
  run_begin(&r, *state, false);
  run_with_sink(&r, "sink", DOUBLE_AT_ONCE);
  run_with_sink(&r, "dead", DOUBLE_HOLD);
  double_monitor_partition(r.monitor, "a", 1000);
  r.runtime.drain_ms = 50;
  run_start(&r, 0);
  wait_for(&r, 100);
  wanted want = {"shop", monitor_again(&r, 1), NULL, {again(&r, "sink")}, 1};
  assert_int_equal(reload_with(&r, &want, 1), 0);
  wait_for(&r, 1000);
  lc_resource_release(&r.bases[1]->resource);
  r.n_sinks = 1;
  run_until(&r, one_sink_left);
  assert_given_up(&r);
  wanted back = {"shop", monitor_again(&r, 1), NULL, {again(&r, "sink"), again(&r, "dead")}, 2};
  assert_int_equal(reload_with(&r, &back, 1), 0); /* it has its ledger again, from the store */
  assert_given_up(&r);
  run_end(&r);
}

/* Two pipelines that leave with the sink that takes nothing do not keep it for each other. */
static void test_a_sink_that_two_pipelines_leave_is_given_up(void **state) {
  run r;
  run_begin(&r, *state, false);
  run_with_sink(&r, "sink", DOUBLE_AT_ONCE);
  double_monitor_partition(r.monitor, "a", 1000);
  r.runtime.drain_ms = 50;
  run_start(&r, 0);
  double_sink *dead = double_sink_create(r.test->registry, "dead", DOUBLE_HOLD);
  double_monitor *other = double_monitor_create(r.test->registry, "other");
  double_monitor_partition(other, "b", 1000);
  lc_resource_retain(&double_sink_base(dead)->resource); /* reload_with releases it twice */
  wanted wants[2] = {{"shop", monitor_again(&r, 1), NULL, {again(&r, "sink"), double_sink_base(dead)}, 2},
                     {"other", double_monitor_base(other), NULL, {double_sink_base(dead)}, 1}};
  assert_int_equal(reload_with(&r, wants, 2), 0);
  wait_for(&r, 1000);
  wanted want = {"shop", monitor_again(&r, 1), NULL, {again(&r, "sink")}, 1};
  assert_int_equal(reload_with(&r, &want, 1), 0);
  run_until(&r, one_sink_left);
  run_until(&r, one_pipeline_left);
  run_end(&r);
}

static bool all_settled(run *self) { return double_monitor_settled(self->monitor) == 1; }

static void test_a_replaced_monitor_goes_on_where_the_former_ended(void **state) {
  run r;
  begin(&r, state, 10000, DOUBLE_AT_ONCE);
  double_monitor_fit(r.monitor, LC_FIT_REPLACE);
  wait_for(&r, 1000);
  lc_monitor *next = monitor_again(&r, 10000);
  r.monitor = (double_monitor *)next; /* its base is its first member */
  lc_resource_retain(&next->resource);
  wanted want = {"shop", next, NULL, {again(&r, "sink")}, 1};
  assert_int_equal(reload_with(&r, &want, 1), 0);
  wait_for(&r, 10000);
  run_until(&r, all_settled);
  assert_in_order(double_sink_text(r.sinks[0]), 0, 10000);
  assert_true(double_monitor_resumed_at(r.monitor, "a") >= 1000);
  run_until(&r, one_monitor_left);
  lc_resource_release(&next->resource);
  end_healthy(&r);
}

static void test_a_monitor_moves_to_another_pipeline(void **state) {
  run r;
  begin(&r, state, 10000, DOUBLE_AT_ONCE);
  wait_for(&r, 1000);
  wanted want = {"moved", monitor_again(&r, 10000), NULL, {again(&r, "sink")}, 1};
  assert_int_equal(reload_with(&r, &want, 1), 0);
  wait_for(&r, 10000);
  assert_in_order(double_sink_text(r.sinks[0]), 0, 10000); /* the sink was adopted */
  run_until(&r, one_pipeline_left);
  assert_int_equal(count_kind(&r, "\"name\":\"moved\""), 1);
  end_healthy(&r);
}

static void test_a_replaced_sink_drains_beside_its_successor(void **state) {
  run r;
  begin(&r, state, 1000, DOUBLE_HOLD);
  double_sink_fit(r.sinks[0], LC_FIT_REPLACE);
  double_monitor_jobs(r.monitor, 50);
  double_sink *next = double_sink_create(r.test->registry, "sink", DOUBLE_AT_ONCE);
  lc_resource_retain(&double_sink_base(next)->resource);
  wanted want = {"shop", monitor_again(&r, 1), NULL, {double_sink_base(next)}, 1};
  assert_int_equal(reload_with(&r, &want, 1), 0);
  double_sink *old = r.sinks[0];
  double_monitor_jobs(r.monitor, UINT32_MAX);
  r.sinks[0] = next;
  double_sink_release(old, DOUBLE_AT_ONCE);
  lc_resource_retain(&r.bases[0]->resource);
  run_until(&r, all_settled);
  assert_int_equal(double_sink_count(old) + double_sink_count(next), 1000);
  lc_resource_release(&r.bases[0]->resource);
  lc_resource_release(&r.bases[0]->resource);
  r.bases[0] = double_sink_base(next);
  run_until(&r, one_sink_left);
  end_healthy(&r);
}

/* A sink that left before the end of a source does not keep its monitor from hearing that all is settled. */
static void test_a_source_settles_without_the_sink_that_left(void **state) {
  run r;
  run_begin(&r, *state, false);
  run_with_sink(&r, "sink", DOUBLE_AT_ONCE);
  double_sink *leaves = run_with_sink(&r, "leaves", DOUBLE_HOLD);
  double_monitor_partition(r.monitor, "a", 1000);
  double_monitor_jobs(r.monitor, 2);
  run_start(&r, 0);
  wait_for(&r, 100);
  wanted want = {"shop", monitor_again(&r, 1), NULL, {again(&r, "sink")}, 1};
  assert_int_equal(reload_with(&r, &want, 1), 0);
  double_monitor_jobs(r.monitor, UINT32_MAX);
  wait_for(&r, 1000);
  double_sink_release(leaves, DOUBLE_AT_ONCE);
  lc_resource_release(&r.bases[1]->resource);
  r.n_sinks = 1;
  run_until(&r, one_sink_left);
  run_until(&r, all_settled);
  end_healthy(&r);
}

/* --- closed in use --- */

static bool stopped_at_rest(run *self) { return self->polls >= 60 && !self->finished; }

/* The pipeline stops, and goes on with a reload where it was: its other sink has nothing twice. */
static void test_a_sink_that_is_closed_in_use_goes_on_with_a_reload(void **state) {
  run r;
  run_begin(&r, *state, false);
  double_sink *stays = run_with_sink(&r, "stays", DOUBLE_AT_ONCE), *closed = run_with_sink(&r, "closed", DOUBLE_HOLD);
  lc_buf text[2] = {0};
  double_sink_into(stays, &text[0]);
  double_sink_into(closed, &text[1]);
  double_monitor_partition(r.monitor, "a", 10000);
  double_monitor_batch(r.monitor, 10);
  run_start(&r, 0);
  wait_for(&r, 200);
  lc_resource_close(&double_sink_base(closed)->resource);
  run_until(&r, stopped_at_rest); /* it waits for a reload */
  uint32_t had = double_sink_count(stays);
  assert_true(had < 10000);
  bool healthy = false;
  char *audit = run_audit(&r, &healthy);
  assert_null(strstr(audit, "does not balance"));
  free(audit);
  double_sink *again[2] = {double_sink_create(r.test->registry, "stays", DOUBLE_AT_ONCE),
                           double_sink_create(r.test->registry, "closed", DOUBLE_AT_ONCE)};
  for (int i = 0; i < 2; i++) double_sink_into(again[i], &text[i]);
  int rc = LC_EAGAIN;
  for (int i = 0; i < 1000 && rc == LC_EAGAIN; i++) {
    for (int s = 0; s < 2; s++) lc_resource_retain(&double_sink_base(again[s])->resource);
    wanted want = {"shop", monitor_again(&r, 10000), NULL, {double_sink_base(again[0]), double_sink_base(again[1])}, 2};
    rc = reload_with(&r, &want, 1);
    run_until(&r, stopped_at_rest);
  }
  assert_int_equal(rc, 0);
  for (int i = 0; i < 2; i++) {
    lc_resource_release(&r.bases[i]->resource);
    r.sinks[i] = again[i];
    r.bases[i] = double_sink_base(again[i]);
  }
  wait_for(&r, 10000 - had);
  r.sinks[0] = again[1];
  wait_for(&r, 10000);
  r.sinks[0] = again[0];
  for (int i = 0; i < 2; i++) assert_in_order(lc_buf_cstr(&text[i]), 0, 10000);
  end_healthy(&r);
  for (int i = 0; i < 2; i++) lc_buf_free(&text[i]);
}

static void test_a_once_run_ends_when_its_sink_is_closed(void **state) {
  run r;
  run_begin(&r, *state, true);
  double_sink *sink = run_with_sink(&r, "sink", DOUBLE_AT_ONCE);
  double_monitor_partition(r.monitor, "a", 100000);
  run_start(&r, 0);
  wait_for(&r, 200);
  lc_resource_close(&double_sink_base(sink)->resource);
  run_until(&r, run_has_finished);
  assert_true(r.result.failed);
  assert_non_null(strstr(r.result.message, "pipeline shop stopped: sink \"sink\" was closed in use"));
  run_end(&r);
}

static void test_failure_changes_nothing(void **state) {
  run r;
  begin(&r, state, 10000, DOUBLE_AT_ONCE);
  wait_for(&r, 1000);
  double_sink *bad = double_sink_create(r.test->registry, "bad", DOUBLE_AT_ONCE);
  double_sink_fail_open(bad);
  lc_monitor *other = double_monitor_base(double_monitor_create(r.test->registry, "other"));
  wanted wants[2] = {{"shop", monitor_again(&r, 1), NULL, {again(&r, "sink"), again(&r, "good")}, 2},
                     {"other", other, NULL, {double_sink_base(bad)}, 1}};
  assert_int_equal(reload_with(&r, wants, 2), LC_ESYS);
  wait_for(&r, 10000);
  assert_in_order(double_sink_text(r.sinks[0]), 0, 10000);
  run_until(&r, one_sink_left);
  run_until(&r, one_pipeline_left);
  run_until(&r, one_monitor_left);
  wanted want = {"shop", monitor_again(&r, 1), NULL, {again(&r, "sink")}, 1};
  assert_int_equal(reload_with(&r, &want, 1), 0); /* and nothing stands in the way of the next one */
  end_healthy(&r);
}

static void test_memory_that_runs_short_changes_nothing(void **state) {
  run r;
  begin(&r, state, 10000, DOUBLE_AT_ONCE);
  wait_for(&r, 100);
  lc_stage *stage = double_stage_create(r.test->registry, "new", 0, mark_new);
  int rc = LC_ENOMEM;
  for (unsigned after = 1; after < 200 && rc != 0; after++) {
    lc_resource_retain(&stage->resource);
    wanted want = {"shop", monitor_again(&r, 1), stage, {again(&r, "sink"), again(&r, "added")}, 2};
    lc_pipeline *described = describe(&r, &want);
    lc_reload *reload = NULL;
    lc_error error = {0};
    lc_fault_after(after);
    rc = lc_reload_prepare(r.engine, &described, 1, &reload, &error);
    lc_fault_off();
    if (rc == 0) lc_reload_commit(reload);
    else assert_true(rc == LC_ENOMEM || rc == LC_EAGAIN || rc == LC_ESYS || rc == LC_ECORRUPT);
    lc_pipeline_release(described);
    lc_resource_release(&want.monitor->resource);
    lc_resource_release(&stage->resource);
    for (uint32_t s = 0; s < 2; s++) lc_resource_release(&want.sinks[s]->resource);
    if (rc != 0) run_until(&r, one_sink_left);
  }
  assert_int_equal(rc, 0);
  lc_resource_release(&stage->resource);
  wait_for(&r, 10000);
  assert_in_order(double_sink_text(r.sinks[0]), 0, 10000);
  end_healthy(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_what_is_the_same_is_adopted),
      lc_test_case(test_changed_options_are_taken_over_in_place),
      lc_test_case(test_a_new_sink_gets_what_comes_from_now_on),
      lc_test_case(test_a_new_sink_sees_nothing_before_its_row),
      lc_test_case(test_a_removed_sink_drains_then_closes),
      lc_test_case(test_a_removed_sink_that_takes_nothing_is_given_up),
      lc_test_case(test_a_replaced_monitor_goes_on_where_the_former_ended),
      lc_test_case(test_a_monitor_moves_to_another_pipeline),
      lc_test_case(test_a_replaced_sink_drains_beside_its_successor),
      lc_test_case(test_a_sink_that_two_pipelines_leave_is_given_up),
      lc_test_case(test_a_source_settles_without_the_sink_that_left),
      lc_test_case(test_a_sink_that_is_closed_in_use_goes_on_with_a_reload),
      lc_test_case(test_a_once_run_ends_when_its_sink_is_closed),
      lc_test_case(test_failure_changes_nothing),
      lc_test_case(test_memory_that_runs_short_changes_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
