/* The resource monitor with an application that the test plays: alerts raised once, cleared once, new limits adopted. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "io/resource_monitor.h"

typedef struct app {
  lc_test *test;
  lc_runtime runtime;
  lc_service *monitor;
  uint64_t lua_bytes;
  uint32_t causes, warned; /* what delivery says of itself */
  lc_alert alerts[64];
  unsigned n;
} app;

static uint64_t lua_bytes(void *arg) { return ((const app *)arg)->lua_bytes; }

static void health(void *arg, lc_health *ret) {
  const app *self = arg;
  for (int i = 0; i < LC_CAUSES; i++) {
    if ((self->causes & (1u << i)) != 0) lc_health_add(ret, (lc_cause)i, "%s is wrong", lc_cause_name((lc_cause)i));
    if ((self->warned & (1u << i)) != 0) lc_health_warn(ret, (lc_cause)i, "%s is odd", lc_cause_name((lc_cause)i));
  }
}

static void on_alert(void *arg, const lc_alert *alert) {
  app *self = arg;
  assert_true(self->n < 64);
  self->alerts[self->n++] = *alert;
}

static void open_monitor(app *self, lc_test *test, const lc_resource_monitor_options *options) {
  lc_error error = {0};
  *self = (app){.test = test};
  self->runtime = (lc_runtime){.loop = &test->loop, .registry = test->registry};
  if (lc_resource_monitor_create(options, test->registry, "t.lua:1", &self->monitor, &error) != 0) {
    fail_msg("%s", error.message);
  }
  const lc_service_host host = {.runtime = &self->runtime, .health = health, .lua_bytes = lua_bytes,
                                .alert = on_alert, .arg = self};
  if (self->monitor->ops->open(self->monitor, &host, &error) != 0) fail_msg("%s", error.message);
}

static void close_monitor(app *self) {
  lc_resource *res = &self->monitor->resource;
  lc_resource_close(res);
  (void)lc_registry_run(self->test->registry);
  (void)uv_run(&self->test->loop, UV_RUN_DEFAULT);
  assert_int_equal(lc_resource_state_of(res), LC_RES_CLOSED);
  lc_resource_monitor_look(self->monitor); /* does nothing */
  lc_resource_release(res);
}

static void assert_alert(const app *self, unsigned i, lc_cause cause, bool raised) {
  assert_true(i < self->n);
  assert_int_equal(self->alerts[i].cause, cause);
  assert_int_equal(self->alerts[i].raised, raised);
}

static const lc_resource_monitor_options quiet = {.descriptors = 1 << 20, .memory = UINT64_C(1) << 50};

static void test_lua_memory(void **state) {
  app self;
  lc_resource_monitor_options options = quiet;
  lc_health found = {0};
  options.memory = UINT64_C(1) << 40;
  open_monitor(&self, *state, &options);
  lc_resource_monitor_look(self.monitor);
  assert_int_equal(self.n, 0);
  self.lua_bytes = UINT64_C(2) << 40;
  for (int i = 0; i < 5; i++) lc_resource_monitor_look(self.monitor);
  assert_int_equal(self.n, 1);
  assert_alert(&self, 0, LC_CAUSE_LUA_MEMORY, true);
  assert_true(self.alerts[0].value > 2.19e12 && self.alerts[0].limit < 1.1e12);
  assert_string_equal(self.alerts[0].message, "the Lua heap at 2097152.0 MiB, the limit is 1048576.0 MiB");
  lc_resource_monitor_health(self.monitor, &found);
  assert_int_equal(found.causes, 1u << LC_CAUSE_LUA_MEMORY);
  lc_health_free(&found);
  self.lua_bytes = 0;
  for (int i = 0; i < 5; i++) lc_resource_monitor_look(self.monitor);
  assert_int_equal(self.n, 2);
  assert_alert(&self, 1, LC_CAUSE_LUA_MEMORY, false);
  assert_string_equal(self.alerts[1].message, self.alerts[0].message);
  assert_int_equal(lc_resource_monitor_alert(self.monitor, LC_CAUSE_LUA_MEMORY).raised, 1);
  close_monitor(&self);
}

static void test_real_thresholds(void **state) {
  app self;
  const lc_resource_monitor_options options = {.descriptors = 1, .memory = 1};
  lc_health found = {0};
  open_monitor(&self, *state, &options);
  atomic_store(&self.monitor->resource.descriptors, 7); /* it shows as the one that holds most */
  lc_resource_monitor_look(self.monitor);
  assert_int_equal(self.n, 2);
  assert_alert(&self, 0, LC_CAUSE_DESCRIPTORS, true);
  assert_non_null(strstr(self.alerts[0].message, "; most is held by resource_monitor \"resource_monitor\": 7"));
  assert_alert(&self, 1, LC_CAUSE_MEMORY, true);
  lc_resource_monitor_health(self.monitor, &found);
  assert_int_equal(found.causes, 1u << LC_CAUSE_DESCRIPTORS | 1u << LC_CAUSE_MEMORY);
  lc_health_free(&found);
  atomic_store(&self.monitor->resource.descriptors, 0);
  close_monitor(&self);
}

static void test_causes(void **state) {
  app self;
  open_monitor(&self, *state, &quiet);
  self.causes = 1u << LC_CAUSE_COMMITS;
  self.warned = 1u << LC_CAUSE_RELOAD;
  for (int i = 0; i < 3; i++) lc_resource_monitor_look(self.monitor);
  assert_int_equal(self.n, 2);
  assert_alert(&self, 0, LC_CAUSE_COMMITS, true);
  assert_string_equal(self.alerts[0].message, "commits is wrong");
  assert_alert(&self, 1, LC_CAUSE_RELOAD, true);
  self.causes = 1u << LC_CAUSE_SINK;
  self.warned = 0;
  for (int i = 0; i < 3; i++) lc_resource_monitor_look(self.monitor);
  assert_int_equal(self.n, 5);
  assert_alert(&self, 2, LC_CAUSE_COMMITS, false);
  assert_alert(&self, 3, LC_CAUSE_SINK, true);
  assert_alert(&self, 4, LC_CAUSE_RELOAD, false);
  close_monitor(&self);
}

static void too_long(uv_timer_t *timer) {
  (void)timer;
  fail_msg("it takes too long");
}

/* By its own timer: the Lua heap grows with each look. */
static void test_growth(void **state) {
  app self;
  lc_resource_monitor_options options = quiet;
  lc_health found = {0};
  options.interval_ns = LC_MILLISECOND;
  options.growth = true;
  options.growth_samples = 5;
  options.growth_memory = UINT64_C(4) << 40; /* resident memory does not grow by that */
  options.growth_descriptors = 1000000;
  open_monitor(&self, *state, &options);
  uv_timer_t keep; /* the monitor keeps no loop running */
  (void)uv_timer_init(&self.test->loop, &keep);
  assert_int_equal(uv_timer_start(&keep, too_long, 60000, 0), 0);
  while (self.n == 0) {
    self.lua_bytes += UINT64_C(1) << 40;
    (void)uv_run(&self.test->loop, UV_RUN_ONCE);
    lc_resource_monitor_look(self.monitor); /* on demand: no sample */
  }
  assert_alert(&self, 0, LC_CAUSE_LUA_MEMORY_GROWTH, true);
  assert_true(self.alerts[0].value >= 4.3e12);
  lc_resource_monitor_health(self.monitor, &found);
  assert_int_equal(found.causes, 0); /* a warning */
  assert_int_equal(found.noted, 1u << LC_CAUSE_LUA_MEMORY_GROWTH);
  lc_health_free(&found);
  while (self.n == 1) (void)uv_run(&self.test->loop, UV_RUN_ONCE);
  assert_alert(&self, 1, LC_CAUSE_LUA_MEMORY_GROWTH, false);
  uv_close((uv_handle_t *)&keep, NULL);
  close_monitor(&self);
}

static void test_adopts(void **state) {
  app self;
  lc_resource_monitor_options changed = quiet;
  lc_service *same, *other;
  lc_test *test = *state;
  open_monitor(&self, test, &quiet);
  lc_resource *res = &self.monitor->resource;
  changed.descriptors = 1;
  changed.stall_ns = 5;
  changed.interval_ns = 7 * LC_SECOND;
  changed.webhook = "http://127.0.0.1:1/x";
  assert_int_equal(lc_resource_monitor_create(&quiet, test->registry, "t.lua:2", &same, NULL), 0);
  assert_int_equal(lc_resource_monitor_create(&changed, test->registry, "t.lua:2", &other, NULL), 0);
  assert_int_equal(res->ops->fit(res, &same->resource), LC_FIT_SAME);
  assert_int_equal(res->ops->fit(res, &other->resource), LC_FIT_CHANGED);
  assert_int_equal(lc_resource_monitor_stall_ns(self.monitor), 60 * LC_SECOND);
  res->ops->adopt(res, &other->resource);
  lc_resource_release(&same->resource);
  lc_resource_release(&other->resource);
  (void)lc_registry_run(test->registry);
  assert_int_equal(lc_resource_monitor_stall_ns(self.monitor), 5);
  assert_int_equal(lc_registry_sum(test->registry).resources, 2); /* with its webhook */
  lc_resource_monitor_look(self.monitor);
  assert_alert(&self, 0, LC_CAUSE_DESCRIPTORS, true);
  close_monitor(&self);
}

static void test_alert_json(void **state) {
  lc_buf text = {0};
  (void)state;
  lc_alert alert = {.cause = LC_CAUSE_MEMORY, .raised = true, .message = "a \"b\"", .value = 12.5, .limit = 10,
                    .time_ns = INT64_C(1795547077) * LC_SECOND};
  assert_int_equal(lc_alert_json(&alert, &text), 0);
  assert_string_equal(lc_buf_cstr(&text),
                      "{\"alert\":\"memory\",\"state\":\"raised\",\"message\":\"a \\\"b\\\"\",\"value\":12.5,\"limit\":10,"
                      "\"time\":\"2026-11-24T19:04:37Z\"}");
  lc_buf_free(&text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_lua_memory), lc_test_case(test_real_thresholds), lc_test_case(test_causes),
      lc_test_case(test_growth),     lc_test_case(test_adopts),          lc_test_case(test_alert_json),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
