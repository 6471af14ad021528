/* The file, stdout and null sinks in a pipeline, with a real loop and pool; and their options. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/inodes.h"
#include "io/store.h"
#include "pipeline/engine.h"
#include "sink/file_sink.h"
#include "sink/null_sink.h"
#include "sink/stdout_sink.h"
#include "support/doubles.h"
#include "support/support.h"

typedef struct run {
  lc_test *test;
  lc_runtime runtime;
  lc_engine *engine;
  double_monitor *monitor;
  lc_sink *sinks[2];
  uint32_t n_sinks;
  lc_engine_result result;
  bool finished;
  uv_timer_t poll;
  void (*act)(struct run *run); /* polled; may be NULL */
  bool acted;
} run;

static void begin(run *self, lc_test *test) {
  lc_error error = {0};
  *self = (run){.test = test};
  self->runtime =
      (lc_runtime){.loop = &test->loop, .registry = test->registry, .state_dir = test->dir, .once = true};
  assert_int_equal(lc_store_open(test->dir, &self->runtime.store, &error), 0);
  assert_int_equal(lc_inodes_create(&self->runtime.own, &error), 0);
  assert_int_equal(lc_engine_create(&self->runtime, &self->engine, &error), 0);
  self->monitor = double_monitor_create(test->registry, "monitor");
}

static lc_file_sink_options options_for(lc_test *test, const char *path) {
  return (lc_file_sink_options){.path = lc_test_path(test, path), .format = LC_SINK_RAW};
}

static void with_file_sink(run *self, const lc_file_sink_options *options) {
  lc_error error = {0};
  int rc = lc_file_sink_create(options, self->test->registry, NULL, "t.lua:1", &self->sinks[self->n_sinks++], &error);
  if (rc != 0) fail_msg("%s", error.message);
}

static void on_finished(void *arg, const lc_engine_result *result) {
  run *self = arg;
  self->finished = true;
  self->result = *result;
}

static int open_all(run *self, lc_error *error) {
  lc_monitor *monitors[1] = {double_monitor_base(self->monitor)};
  lc_pipeline_options options = {.name = "shop",
                                 .made_at = "t.lua:1",
                                 .monitors = monitors,
                                 .n_monitors = 1,
                                 .sinks = self->sinks,
                                 .n_sinks = self->n_sinks};
  lc_pipeline *pipeline = NULL;
  assert_int_equal(lc_pipeline_create(&options, self->test->registry, &pipeline, error), 0);
  assert_int_equal(lc_engine_add(self->engine, pipeline, error), 0);
  lc_pipeline_release(pipeline);
  lc_resource_release(&double_monitor_base(self->monitor)->resource);
  return lc_engine_open(self->engine, error);
}

static void on_poll(uv_timer_t *timer) {
  run *self = timer->data;
  if (self->act != NULL) self->act(self);
  if (self->finished) uv_close((uv_handle_t *)timer, NULL);
}

static void turn(run *self) {
  lc_registry_run(self->test->registry);
  uv_run(&self->test->loop, UV_RUN_ONCE);
}

static void run_all(run *self) {
  lc_error error = {0};
  int rc = open_all(self, &error);
  if (rc != 0) fail_msg("%s", error.message);
  lc_engine_start(self->engine, on_finished, self);
  uv_timer_init(&self->test->loop, &self->poll);
  self->poll.data = self;
  uv_timer_start(&self->poll, on_poll, 1, 1);
  while (!uv_is_closing((uv_handle_t *)&self->poll)) turn(self);
  uv_run(&self->test->loop, UV_RUN_NOWAIT);
}

static void finish(run *self) {
  run_all(self);
  assert_false(self->result.failed);
  assert_int_equal(self->result.unacked, 0);
}

static void end(run *self) {
  lc_engine_destroy(self->engine);
  for (uint32_t i = 0; i < self->n_sinks; i++) lc_resource_release(&self->sinks[i]->resource);
  lc_registry_run(self->test->registry);
  lc_store_close(self->runtime.store);
  lc_inodes_destroy(self->runtime.own);
}

/* "<key> <index>" in order, `n` of them. */
static void assert_lines(lc_test *test, const char *name, const char *key, uint32_t n) {
  char *text = lc_test_read(test, name, NULL), *at = text;
  for (uint32_t i = 0; i < n; i++) {
    char line[64];
    int len = snprintf(line, sizeof line, "%s %u\n", key, i);
    if (strncmp(at, line, (size_t)len) != 0) fail_msg("%s: line %u is %.40s", name, i, at);
    at += len;
  }
  assert_string_equal(at, "");
  free(text);
}

static uint64_t stat_of(lc_sink *sink, const char *name) {
  lc_buf buf = {0};
  assert_int_equal(sink->resource.ops->stats(&sink->resource, &buf), 0);
  char key[64];
  (void)snprintf(key, sizeof key, "\"%s\":", name);
  const char *at = strstr(lc_buf_cstr(&buf), key);
  if (at == NULL) fail_msg("no %s in %s", name, lc_buf_cstr(&buf));
  uint64_t value = strtoull(at + strlen(key), NULL, 10);
  lc_buf_free(&buf);
  return value;
}

static void test_writes_each_source_into_its_file(void **state) {
  for (int fsync = 0; fsync < 2; fsync++) {
    run r;
    begin(&r, *state);
    lc_file_sink_options options = options_for(*state, fsync ? "synced/{@source}.log" : "plain/{@source}.log");
    options.fsync = fsync;
    with_file_sink(&r, &options);
    double_monitor_partition(r.monitor, fsync ? "c" : "a", 3000);
    double_monitor_partition(r.monitor, fsync ? "d" : "b", 77);
    finish(&r);
    assert_lines(*state, fsync ? "synced/c.log" : "plain/a.log", fsync ? "c" : "a", 3000);
    assert_lines(*state, fsync ? "synced/d.log" : "plain/b.log", fsync ? "d" : "b", 77);
    assert_int_equal(stat_of(r.sinks[0], "created"), 2);
    assert_int_equal(stat_of(r.sinks[0], "records"), 3077);
    end(&r);
  }
}

static void test_goes_on_where_the_last_run_ended(void **state) {
  for (uint32_t n = 100; n <= 300; n += 100) {
    run r;
    begin(&r, *state);
    lc_file_sink_options options = options_for(*state, "a.log");
    with_file_sink(&r, &options);
    double_monitor_partition(r.monitor, "a", n);
    finish(&r);
    assert_lines(*state, "a.log", "a", n);
    end(&r);
  }
}

/* The cause of the trouble goes away once it was seen. */
static void clear_the_way(run *self) {
  if (self->acted || atomic_load(&self->sinks[0]->resource.errors) < 2) return;
  self->acted = true;
  lc_buf buf = {0};
  assert_int_equal(self->sinks[0]->resource.ops->stats(&self->sinks[0]->resource, &buf), 0);
  assert_non_null(strstr(lc_buf_cstr(&buf), "\"state\":\"failing\""));
  lc_buf_free(&buf);
  assert_int_equal(unlink(lc_test_path(self->test, "out")), 0);
}

static void test_waits_while_it_cannot_write_and_loses_nothing(void **state) {
  for (int lent = 0; lent < 2; lent++) { /* a single sink is lent to the reader, two are not */
    run r;
    begin(&r, *state);
    lc_test_write(*state, "out", "in the way", 10);
    lc_file_sink_options options = options_for(*state, "out/deep/{@source}.log");
    lc_file_sink_options other = options_for(*state, lent ? "other-1.log" : "other-0.log");
    with_file_sink(&r, &options);
    if (!lent) with_file_sink(&r, &other);
    double_monitor_partition(r.monitor, lent ? "b" : "a", 500);
    r.act = clear_the_way;
    finish(&r);
    assert_true(r.acted);
    assert_lines(*state, lent ? "out/deep/b.log" : "out/deep/a.log", lent ? "b" : "a", 500);
    if (!lent) assert_lines(*state, "other-0.log", "a", 500);
    end(&r);
    assert_int_equal(lc_remove_tree(lc_test_path(*state, "out")), 0);
  }
}

static void test_rotates_compresses_and_retains(void **state) {
  run r;
  begin(&r, *state);
  lc_file_sink_options options = options_for(*state, "out/a.log");
  options.rotate.size = 2000;
  options.compress = LC_FILE_ZSTD;
  options.retain.files = 3;
  with_file_sink(&r, &options);
  double_monitor_partition(r.monitor, "a", 3000);
  finish(&r);
  assert_true(stat_of(r.sinks[0], "rotated") > 5);
  end(&r);
  /* what was not done when it stopped, the next run does */
  begin(&r, *state);
  with_file_sink(&r, &options);
  double_monitor_partition(r.monitor, "a", 3500);
  finish(&r);
  end(&r);
}

static void test_a_second_owner_is_refused_at_once(void **state) {
  run r;
  begin(&r, *state);
  lc_test_write(*state, "a.log", "", 0);
  lc_file_sink_options options = options_for(*state, "a.log");
  with_file_sink(&r, &options);
  lc_error error = {0};
  assert_int_equal(lc_file_sink_create(&options, r.test->registry, "other", "t.lua:2", &r.sinks[r.n_sinks++], &error), 0);
  double_monitor_partition(r.monitor, "a", 1);
  assert_int_equal(open_all(&r, &error), LC_EBUSY);
  assert_non_null(strstr(error.message, "a.log"));
  while (uv_loop_alive(&r.test->loop)) turn(&r); /* the engine closes what it had opened */
  end(&r);
}

static void test_refuses_options_that_cannot_be(void **state) {
  lc_test *test = *state;
  lc_error error = {0};
  lc_sink *sink = NULL;
  const lc_file_sink_options bad[] = {
      {.path = ""},
      {.path = "a.log"},
      {.path = "/a.log", .compress = LC_FILE_ZSTD},
      {.path = "/a.log", .retain = {.files = 3}},
      {.path = "/a.log", .mode = 0400},
      {.path = "/a.log", .format = LC_SINK_RAW, .metadata = true},
      {.path = "/a.log", .rotate = {.age_ns = -1}},
      {.path = "/{a.log"},
      {.path = "/{a}.log", .missing = "a/b"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    error.message[0] = '\0';
    assert_int_equal(lc_file_sink_create(&bad[i], test->registry, NULL, "t.lua:1", &sink, &error), LC_EINVAL);
    assert_string_not_equal(error.message, "");
  }
  assert_null(sink);
}

static void test_memory_shortage_at_creation(void **state) {
  lc_test *test = *state;
  for (unsigned n = 1;; n++) {
    lc_sink *sink = NULL;
    lc_error error = {0};
    const lc_file_sink_options options = {.path = "/o/{a}.log"};
    lc_fault_after(n);
    int rc = lc_file_sink_create(&options, test->registry, NULL, "t.lua:1", &sink, &error);
    if (!lc_fault_off()) {
      assert_int_equal(rc, 0);
      lc_resource_release(&sink->resource);
      break;
    }
    assert_int_equal(rc, LC_ENOMEM);
  }
}

static void test_the_null_sink_counts(void **state) {
  run r;
  begin(&r, *state);
  lc_error error = {0};
  assert_int_equal(lc_null_sink_create(r.test->registry, NULL, "t.lua:1", &r.sinks[r.n_sinks++], &error), 0);
  double_monitor_partition(r.monitor, "a", 1234);
  finish(&r);
  assert_int_equal(stat_of(r.sinks[0], "records"), 1234);
  end(&r);
}

/* Standard output becomes a file, or a pipe without a reader, for the time of a run. */
static int swap_stdout(int fd) {
  int before = dup(STDOUT_FILENO);
  assert_true(before >= 0 && dup2(fd, STDOUT_FILENO) >= 0);
  return before;
}

static void test_the_stdout_sink_writes(void **state) {
  run r;
  begin(&r, *state);
  lc_error error = {0};
  const lc_stdout_sink_options options = {.format = LC_SINK_RAW};
  assert_int_equal(lc_stdout_sink_create(&options, r.test->registry, NULL, "t.lua:1", &r.sinks[r.n_sinks++], &error), 0);
  double_monitor_partition(r.monitor, "a", 1000);
  (void)fflush(stdout);
  int fd = open(lc_test_path(*state, "stdout"), O_CREAT | O_WRONLY | O_APPEND, 0600);
  int before = swap_stdout(fd);
  finish(&r);
  struct stat st;
  assert_int_equal(fstat(fd, &st), 0);
  bool own = lc_inodes_has(r.runtime.own, st.st_dev, st.st_ino);
  assert_int_equal(dup2(before, STDOUT_FILENO), STDOUT_FILENO);
  assert_int_equal(close(before) | close(fd), 0);
  assert_true(own);
  assert_lines(*state, "stdout", "a", 1000);
  end(&r);
}

/* The reader of standard output is gone: the sink waits, says so, and a stop does not hang on it. */
static void stop_when_failing(run *self) {
  if (self->acted || atomic_load(&self->sinks[0]->resource.errors) < 1) return;
  self->acted = true;
  lc_buf buf = {0};
  assert_int_equal(self->sinks[0]->resource.ops->stats(&self->sinks[0]->resource, &buf), 0);
  assert_non_null(strstr(lc_buf_cstr(&buf), "broken pipe"));
  lc_buf_free(&buf);
  lc_engine_stop(self->engine, INT64_C(50000000));
}

static void test_a_stdout_without_a_reader_is_an_error_and_no_loss(void **state) {
  run r;
  int ends[2];
  begin(&r, *state);
  (void)signal(SIGPIPE, SIG_IGN);
  lc_error error = {0};
  const lc_stdout_sink_options options = {.format = LC_SINK_RAW};
  assert_int_equal(lc_stdout_sink_create(&options, r.test->registry, NULL, "t.lua:1", &r.sinks[r.n_sinks++], &error), 0);
  double_monitor_partition(r.monitor, "a", 1000);
  assert_int_equal(pipe(ends), 0);
  assert_int_equal(close(ends[0]), 0);
  (void)fflush(stdout);
  int before = swap_stdout(ends[1]);
  r.act = stop_when_failing;
  run_all(&r);
  assert_int_equal(dup2(before, STDOUT_FILENO), STDOUT_FILENO);
  assert_int_equal(close(before) | close(ends[1]), 0);
  assert_true(r.acted);
  assert_int_equal(stat_of(r.sinks[0], "records"), 0);
  end(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_writes_each_source_into_its_file),
      lc_test_case(test_goes_on_where_the_last_run_ended),
      lc_test_case(test_waits_while_it_cannot_write_and_loses_nothing),
      lc_test_case(test_rotates_compresses_and_retains),
      lc_test_case(test_a_second_owner_is_refused_at_once),
      lc_test_case(test_refuses_options_that_cannot_be),
      lc_test_case(test_memory_shortage_at_creation),
      lc_test_case(test_the_null_sink_counts),
      lc_test_case(test_the_stdout_sink_writes),
      lc_test_case(test_a_stdout_without_a_reader_is_an_error_and_no_loss),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
