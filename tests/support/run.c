#include "support/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void run_begin(run *self, lc_test *test, bool once) {
  lc_error error = {0};
  *self = (run){.test = test};
  self->runtime = (lc_runtime){.loop = &test->loop, .registry = test->registry, .state_dir = test->dir, .once = once};
  assert_int_equal(lc_store_open(test->dir, &self->runtime.store, &error), 0);
  assert_int_equal(lc_inodes_create(&self->runtime.own, &error), 0);
  assert_int_equal(lc_engine_create(&self->runtime, &self->engine, &error), 0);
  self->monitor = double_monitor_create(test->registry, "monitor");
}

double_sink *run_with_sink(run *self, const char *name, double_policy policy) {
  double_sink *sink = double_sink_create(self->test->registry, name, policy);
  self->bases[self->n_sinks] = double_sink_base(sink);
  self->sinks[self->n_sinks++] = sink;
  return sink;
}

double_lender *run_with_lender(run *self, const char *name) {
  self->lender = double_lender_create(self->test->registry, name);
  self->bases[self->n_sinks++] = double_lender_base(self->lender);
  return self->lender;
}

static void on_finished(void *arg, const lc_engine_result *result) {
  run *self = arg;
  self->finished = true;
  self->result = *result;
}

void run_start(run *self, uint64_t memory) {
  lc_error error = {0};
  lc_monitor *monitors[1] = {double_monitor_base(self->monitor)};
  lc_pipeline_options options = {.name = "shop",
                                 .made_at = "t.lua:1",
                                 .monitors = monitors,
                                 .n_monitors = 1,
                                 .stages = self->stages,
                                 .n_stages = self->n_stages,
                                 .sinks = self->bases,
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
  assert_true(self->polls < 60000);
  if (self->until(self)) uv_close((uv_handle_t *)timer, NULL);
}

void run_until(run *self, bool (*until)(run *self)) {
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

bool run_has_finished(run *self) { return self->finished; }

char *run_audit(run *self, bool *ret_healthy) {
  lc_buf buf = {0};
  assert_int_equal(lc_engine_audit(self->engine, &buf, ret_healthy), 0);
  char *text = strdup(lc_buf_cstr(&buf));
  lc_buf_free(&buf);
  return text;
}

void run_end(run *self) {
  if (!self->finished) {
    lc_engine_stop(self->engine, INT64_C(5000000000));
    run_until(self, run_has_finished);
  }
  lc_engine_destroy(self->engine);
  for (uint32_t i = 0; i < self->n_sinks; i++) lc_resource_release(&self->bases[i]->resource);
  lc_registry_run(self->test->registry);
  lc_store_close(self->runtime.store);
  lc_inodes_destroy(self->runtime.own);
}

void run_assert_in(const char *text, const char *part) {
  if (strstr(text, part) == NULL) fail_msg("\"%s\" is not in %s", part, text);
}

void run_move_store(run *self, bool away) {
  char from[128], to[128];
  snprintf(from, sizeof from, "%s/%s", self->test->dir, away ? "positions.db" : "positions.aside");
  snprintf(to, sizeof to, "%s/%s", self->test->dir, away ? "positions.aside" : "positions.db");
  assert_int_equal(rename(from, to), 0);
}
