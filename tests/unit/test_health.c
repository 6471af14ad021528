/* What delivery and scripts say of themselves when they are not well. What a running logcap can be brought to is the
 * business of tests/e2e/test_health.py; here are the causes that it cannot. */
#include "support/run.h"

#include <stdlib.h>
#include <string.h>

#include "app/app.h"
#include "base/clock.h"
#include "pipeline/inside.h"

static bool has_delivered(run *self) { return double_sink_count(self->sinks[0]) == 10; }
static bool holds(run *self) { return double_sink_held(self->sinks[0]) > 0; }

static lc_pipeline *begin(run *r, lc_test *test, double_policy policy) {
  run_begin(r, test, false);
  run_with_sink(r, "sink", policy);
  double_monitor_partition(r->monitor, "a", 10);
  run_start(r, 0);
  run_until(r, policy == DOUBLE_HOLD ? holds : has_delivered);
  return r->engine->pipelines[0];
}

/* The only reason there is, and its cause. */
static void assert_reason(run *r, int64_t now_ns, lc_cause cause, const char *words) {
  lc_health health = {0};
  lc_engine_health(r->engine, now_ns, 60 * LC_SECOND, &health);
  assert_int_equal(health.causes, 1u << cause);
  run_assert_in(lc_buf_cstr(&health.reasons), words);
  run_assert_in(health.first[cause], words);
  lc_health_free(&health);
}

static void assert_well(run *r, int64_t now_ns) {
  lc_health health = {0};
  lc_engine_health(r->engine, now_ns, 60 * LC_SECOND, &health);
  assert_int_equal(health.causes, 0);
  assert_int_equal(health.reasons.len, 0);
  lc_health_free(&health);
}

static double value_of(run *r, int64_t now_ns, const char *name) {
  lc_metrics out = {.most = 1000};
  char start[100];
  assert_int_equal(lc_engine_metrics(r->engine, now_ns, &out), 0);
  (void)snprintf(start, sizeof start, "\n%s{", name);
  const char *line = strstr(lc_buf_cstr(&out.text), start);
  assert_non_null(line);
  double value = strtod(strstr(line, "} ") + 2, NULL);
  lc_buf_free(&out.text);
  return value;
}

static void test_a_swallowed_record(void **state) {
  run r;
  lc_pipeline *pipeline = begin(&r, *state, DOUBLE_AT_ONCE);
  assert_well(&r, 1);
  assert_int_equal(pipeline->edges[0]->settled, 10); /* what stalls are told by */
  assert_true(value_of(&r, 1, "logcap_ledger_balanced") == 1);
  pipeline->edges[0]->total.delivered--;
  assert_reason(&r, 1, LC_CAUSE_LEDGER, "the ledger does not balance");
  assert_true(value_of(&r, 1, "logcap_ledger_balanced") == 0);
  pipeline->edges[0]->total.delivered++;
  pipeline->gaps = 1;
  assert_reason(&r, 1, LC_CAUSE_LEDGER, "ranges of a source did not touch");
  pipeline->gaps = 0;
  pipeline->broken = pipeline->failed = true;
  assert_reason(&r, 1, LC_CAUSE_PIPELINE, "the pipeline stopped, since something was closed in use; a reload goes on");
  pipeline->broken = pipeline->failed = false;
  r.engine->expects = true;
  assert_reason(&r, 1, LC_CAUSE_PIPELINE, "a pipeline stopped, and waits for a reload that brings it back");
  r.engine->expects = false;
  run_end(&r);
}

/* Time is the test's: a sink that holds stalls, from when that was first seen. */
static void test_stall(void **state) {
  run r;
  (void)begin(&r, *state, DOUBLE_HOLD);
  assert_well(&r, 1000 * LC_SECOND);
  assert_well(&r, 1059 * LC_SECOND);
  assert_true(value_of(&r, 1059 * LC_SECOND, "logcap_sink_stalled_seconds") == 59);
  assert_reason(&r, 1060 * LC_SECOND, LC_CAUSE_SINK, "the sink has taken nothing for 60 s while deliveries wait");
  double_sink_release(r.sinks[0], DOUBLE_AT_ONCE);
  run_until(&r, has_delivered);
  assert_well(&r, 1061 * LC_SECOND);
  assert_well(&r, 5000 * LC_SECOND); /* nothing waits */
  run_end(&r);
}

/* It takes one delivery now and then: slow is not stalled. */
static void test_slow_is_no_stall(void **state) {
  run r;
  lc_pipeline *pipeline = begin(&r, *state, DOUBLE_HOLD);
  for (int64_t now_ns = 1000 * LC_SECOND; now_ns < 2000 * LC_SECOND; now_ns += 50 * LC_SECOND) {
    pipeline->edges[0]->settled++;
    assert_well(&r, now_ns);
  }
  double_sink_release(r.sinks[0], DOUBLE_AT_ONCE);
  run_until(&r, has_delivered);
  run_end(&r);
}

/* While a reload replaces a sink, the old and the new one of one identity share their series. */
static void test_two_edges_of_one_identity(void **state) {
  run r;
  lc_pipeline *pipeline = begin(&r, *state, DOUBLE_AT_ONCE);
  lc_edge *twin = lc_edge_create(pipeline, pipeline->edges[0]->sink);
  lc_metrics out = {.most = 1000};
  assert_non_null(twin);
  twin->total.read = twin->total.delivered = 5;
  assert_true(value_of(&r, 1, "logcap_records_read_total") == 15);
  assert_int_equal(lc_engine_metrics(r.engine, 1, &out), 0);
  const char *first = strstr(lc_buf_cstr(&out.text), "\nlogcap_records_read_total{");
  assert_null(strstr(first + 1, "\nlogcap_records_read_total{"));
  lc_buf_free(&out.text);
  lc_edge_remove(twin);
  run_end(&r);
}

/* --- scripts --- */

typedef struct script {
  lc_resource resource; /* first */
  const char *figures;
} script;

static int script_stats(lc_resource *res, lc_buf *ret) { return lc_buf_adds(ret, ((const script *)res)->figures); }
static void script_destroy(lc_resource *res) { free(res); }
static const lc_resource_ops script_ops = {.destroy = script_destroy, .stats = script_stats};

static uint32_t causes_of(lc_test *test, const char *kind, const char *figures) {
  lc_health health = {0};
  script *self = calloc(1, sizeof *self);
  assert_non_null(self);
  self->figures = figures;
  assert_int_equal(lc_resource_init(&self->resource, test->registry, &script_ops, kind, "it", kind, NULL, NULL), 0);
  lc_app_health_of_scripts(test->registry, &health);
  lc_resource_release(&self->resource);
  (void)lc_registry_run(test->registry);
  lc_health_free(&health);
  return health.causes;
}

static void test_scripts(void **state) {
  lc_test *test = *state;
  assert_int_equal(causes_of(test, "lua", "{\"dropped\":3,\"quarantined\":false}"), 0);
  assert_int_equal(causes_of(test, "lua", "{\"dropped\":3}"), 0);
  assert_int_equal(causes_of(test, "lua", "{\"dropped\":3,\"quarantined\":true}"), 1u << LC_CAUSE_STAGE);
  assert_int_equal(causes_of(test, "json", "{\"quarantined\":true}"), 0);
  assert_int_equal(causes_of(test, "lua_state", "{\"retired\":false,\"stuck\":0}"), 0);
  assert_int_equal(causes_of(test, "lua_state", "{\"retired\":false,\"stuck\":2}"), 1u << LC_CAUSE_SCRIPT);
  assert_int_equal(causes_of(test, "lua_state", "{\"retired\":true,\"stuck\":2}"), 0);
  assert_int_equal(causes_of(test, "lua_state", "{\"retired\":false}"), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_a_swallowed_record),
      lc_test_case(test_stall),
      lc_test_case(test_slow_is_no_stall),
      lc_test_case(test_two_edges_of_one_identity),
      lc_test_case(test_scripts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
