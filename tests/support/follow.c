#include "support/follow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/registry.h"

#define DEADLINE (60 * LC_SECOND)

void follow_init(follow *self, lc_test *test) {
  *self = (follow){.test = test};
  lc_file_monitor_options_init(&self->options);
  self->options.rotated_wait_ns = 50 * LC_MILLISECOND;
  self->options.paths = self->paths;
  self->options.from_beginning = true;
  snprintf(self->state, sizeof self->state, "%s/state", test->dir);
  assert_int_equal(mkdir(self->state, 0700), 0);
  assert_int_equal(mkdir(lc_test_path(test, "in"), 0700), 0);
}

void follow_glob(follow *self, const char *pattern) {
  uint32_t i = self->options.n_paths++;
  assert_true(i < 4);
  snprintf(self->glob[i], sizeof self->glob[i], "%s/%s", self->test->dir, pattern);
  self->paths[i] = self->glob[i];
}

static void on_finished(void *arg, const lc_engine_result *result) {
  follow *self = arg;
  self->finished = true;
  self->result = *result;
}

static void make_monitor(follow *self) {
  lc_error error = {0};
  if (self->make != NULL) {
    self->monitor = self->make(self, self->test->registry);
    return;
  }
  int rc = lc_file_monitor_create(&self->options, self->test->registry, "m", "t.lua:1", &self->monitor, &error);
  if (rc != 0) fail_msg("%s", error.message);
}

void follow_begin(follow *self, void **state, const char *pattern) {
  follow_init(self, *state);
  follow_glob(self, pattern);
}

void follow_put(follow *self, const char *name, const char *text) {
  lc_test_append(self->test, name, text, strlen(text));
}

void follow_move(follow *self, const char *from, const char *to) {
  char source[256];
  snprintf(source, sizeof source, "%s/%s", self->test->dir, from);
  assert_int_equal(rename(source, lc_test_path(self->test, to)), 0);
}

void follow_delete(follow *self, const char *name) {
  assert_int_equal(unlink(lc_test_path(self->test, name)), 0);
}

void follow_start(follow *self, bool once) {
  lc_error error = {0};
  self->finished = false;
  self->runtime = (lc_runtime){
      .loop = &self->test->loop, .registry = self->test->registry, .state_dir = self->state, .once = once};
  assert_int_equal(lc_store_open(self->state, &self->runtime.store, &error), 0);
  assert_int_equal(lc_inodes_create(&self->runtime.own, &error), 0);
  assert_int_equal(lc_engine_create(&self->runtime, &self->engine, &error), 0);
  make_monitor(self);
  self->sink = double_sink_create(self->test->registry, "sink", self->policy);
  lc_sink *sink = double_sink_base(self->sink);
  lc_pipeline_options options = {.name = "p",
                                 .made_at = "t.lua:2",
                                 .monitors = &self->monitor,
                                 .n_monitors = 1,
                                 .sinks = &sink,
                                 .n_sinks = 1,
                                 .memory = self->memory};
  lc_pipeline *pipeline = NULL;
  assert_int_equal(lc_pipeline_create(&options, self->test->registry, &pipeline, &error), 0);
  assert_int_equal(lc_engine_add(self->engine, pipeline, &error), 0);
  lc_pipeline_release(pipeline);
  if (lc_engine_open(self->engine, &error) != 0) fail_msg("%s", error.message);
  lc_engine_start(self->engine, on_finished, self);
}

static void on_tick(uv_timer_t *timer) { ((follow *)timer->data)->ticked = true; }

static void turn(follow *self) {
  lc_registry_run(self->test->registry);
  uv_run(&self->test->loop, UV_RUN_ONCE);
}

static void start_ticks(follow *self) {
  uv_timer_init(&self->test->loop, &self->timer);
  self->timer.data = self;
  uv_timer_start(&self->timer, on_tick, 1, 1);
}

static void stop_ticks(follow *self) {
  uv_close((uv_handle_t *)&self->timer, NULL);
  uv_run(&self->test->loop, UV_RUN_NOWAIT);
}

void follow_wait(follow *self, bool (*holds)(follow *self)) {
  int64_t end = lc_clock_mono() + DEADLINE;
  start_ticks(self);
  while (!holds(self)) {
    if (lc_clock_mono() > end) fail_msg("not so in time; the sink has:\n%.2000s", follow_text(self));
    turn(self);
  }
  stop_ticks(self);
}

void follow_run_for(follow *self, uint32_t ms) {
  int64_t end = lc_clock_mono() + ms * LC_MILLISECOND;
  start_ticks(self);
  while (lc_clock_mono() < end) turn(self);
  stop_ticks(self);
}

void follow_until(follow *self, const char *text) {
  int64_t end = lc_clock_mono() + DEADLINE;
  start_ticks(self);
  while (strcmp(follow_text(self), text) != 0) {
    if (lc_clock_mono() > end) fail_msg("the sink should have:\n%.1000s\nand has:\n%.1000s", text, follow_text(self));
    turn(self);
  }
  stop_ticks(self);
}

void follow_until_count(follow *self, uint32_t count) {
  int64_t end = lc_clock_mono() + DEADLINE;
  start_ticks(self);
  while (double_sink_count(self->sink) < count) {
    if (lc_clock_mono() > end) fail_msg("%u records instead of %u", double_sink_count(self->sink), count);
    turn(self);
  }
  stop_ticks(self);
  assert_int_equal(double_sink_count(self->sink), count);
}

void follow_until_stat(follow *self, const char *name, uint64_t value) {
  int64_t end = lc_clock_mono() + DEADLINE;
  start_ticks(self);
  while (follow_stat(self, name) != value) {
    if (lc_clock_mono() > end) {
      fail_msg("%s is %llu instead of %llu", name, (unsigned long long)follow_stat(self, name), (unsigned long long)value);
    }
    turn(self);
  }
  stop_ticks(self);
}

static bool has_finished(follow *self) { return self->finished; }

void follow_wait_finished(follow *self) { follow_wait(self, has_finished); }

const char *follow_text(follow *self) { return double_sink_text(self->sink); }

uint64_t follow_stat(follow *self, const char *name) {
  lc_buf buf = {0};
  char key[64];
  assert_int_equal(self->monitor->resource.ops->stats(&self->monitor->resource, &buf), 0);
  snprintf(key, sizeof key, "\"%s\":", name);
  const char *at = strstr(lc_buf_cstr(&buf), key);
  if (at == NULL) fail_msg("no %s in %s", name, lc_buf_cstr(&buf));
  uint64_t value = strtoull(at + strlen(key), NULL, 10);
  lc_buf_free(&buf);
  return value;
}

bool follow_healthy(follow *self) {
  lc_buf buf = {0};
  bool healthy = false;
  assert_int_equal(lc_engine_audit(self->engine, &buf, &healthy), 0);
  lc_buf_free(&buf);
  return healthy;
}

void follow_stop(follow *self) {
  if (!self->finished) {
    lc_engine_stop(self->engine, 5 * LC_SECOND);
    follow_wait_finished(self);
  }
  lc_engine_destroy(self->engine);
  lc_resource_release(&self->monitor->resource);
  lc_resource_release(&double_sink_base(self->sink)->resource);
  lc_registry_run(self->test->registry);
  uv_run(&self->test->loop, UV_RUN_NOWAIT);
  lc_store_close(self->runtime.store);
  lc_inodes_destroy(self->runtime.own);
}

void follow_deinit(follow *self) { follow_stop(self); }
