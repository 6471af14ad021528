#include "monitor/stdin_monitor.h"

#include <fcntl.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "pipeline/inside.h"
#include "support/follow.h"

static int input; /* the descriptor that the next monitor reads; the test's own state, one test at a time */
static const char *pattern;
static uint64_t max_line;
static int64_t timeout;

static lc_monitor *make(follow *self, lc_registry *registry) {
  (void)self;
  lc_error error = {0};
  lc_monitor *monitor = NULL;
  lc_stdin_monitor_options options = {.fd = input,
                                      .max_line = max_line,
                                      .multiline = {.start = pattern, .timeout_ns = timeout}};
  assert_int_equal(lc_stdin_monitor_create(&options, registry, NULL, "t.lua:1", &monitor, &error), 0);
  return monitor;
}

static void begin(follow *self, lc_test *test, int fd, const char *start) {
  follow_init(self, test);
  self->make = make;
  input = fd;
  pattern = start;
  max_line = 0;
  timeout = 50 * LC_MILLISECOND;
}

static void find_poll(uv_handle_t *handle, void *arg) {
  if (handle->type == UV_POLL && uv_is_active(handle)) *(bool *)arg = true;
}

/* Whether it waits for its input, having read all of it; otherwise a job is under way. */
static bool is_idle(follow *self) {
  bool found = false;
  uv_walk(&self->test->loop, find_poll, &found);
  return found;
}

static bool is_busy(follow *self) { return !is_idle(self); }

static bool has_read(follow *self) {
  int left = 0;
  assert_int_equal(ioctl(input, FIONREAD, &left), 0);
  return left == 0 && is_idle(self);
}

static bool holds_one(follow *self) { return double_sink_held(self->sink) == 1; }

static void put(int fd, const char *text) { assert_int_equal(write(fd, text, strlen(text)), strlen(text)); }

static void test_pipe(void **state) {
  follow self;
  int ends[2];
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  begin(&self, *state, ends[0], NULL);
  follow_start(&self, false);
  put(ends[1], "one\ntw");
  follow_until(&self, "one\n");
  put(ends[1], "o\n\nthree");
  follow_until(&self, "one\ntwo\n\n");
  assert_int_equal(fcntl(ends[0], F_GETFL) & O_NONBLOCK, 0); /* those who share it notice nothing */
  close(ends[1]);
  follow_wait_finished(&self); /* its end ends the run */
  assert_string_equal(follow_text(&self), "one\ntwo\n\nthree\n");
  assert_false(self.result.failed);
  assert_true(follow_healthy(&self));
  follow_deinit(&self);
  close(ends[0]);
}

static void test_file_keeps_its_place(void **state) {
  follow self;
  lc_test *test = *state;
  lc_test_write(test, "f", "skip\na\nb\n", 9);
  int fd = open(lc_test_path(test, "f"), O_RDONLY | O_CLOEXEC);
  assert_int_equal(lseek(fd, 5, SEEK_SET), 5);
  begin(&self, test, fd, NULL);
  follow_start(&self, true);
  follow_wait_finished(&self);
  assert_string_equal(follow_text(&self), "a\nb\n");
  follow_deinit(&self);
  close(fd);
}

static void test_two_runs_on_one_state(void **state) {
  follow self;
  lc_test *test = *state;
  begin(&self, test, -1, NULL);
  for (int i = 0; i < 2; i++) {
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    put(ends[1], "line\n");
    close(ends[1]);
    input = ends[0];
    follow_start(&self, true);
    follow_wait_finished(&self);
    assert_string_equal(follow_text(&self), "line\n");
    assert_true(follow_healthy(&self));
    follow_stop(&self);
    close(ends[0]);
  }
}

static void test_groups(void **state) {
  follow self;
  int ends[2];
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  begin(&self, *state, ends[0], "^S");
  follow_start(&self, false);
  put(ends[1], "S1\n a\nS2\n");
  follow_until(&self, "S1\n a\nS2\n"); /* the second one after its time is up */
  assert_int_equal(double_sink_count(self.sink), 2);
  follow_deinit(&self); /* a stop while the pipe is open */
  close(ends[1]);
  close(ends[0]);
}

static void test_long_lines(void **state) {
  follow self;
  int ends[2];
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  begin(&self, *state, ends[0], NULL);
  max_line = 5;
  follow_start(&self, false);
  put(ends[1], "12345\n123456");
  follow_until(&self, "12345\n12345\n");
  put(ends[1], "789");
  put(ends[1], "0\nx\n");
  follow_until(&self, "12345\n12345\nx\n");
  close(ends[1]);
  follow_wait_finished(&self);
  follow_deinit(&self);
  close(ends[0]);
}

/* More than fits the memory of the pipeline: nothing is lost while it waits for room. */
static void test_waits_for_room(void **state) {
  follow self;
  lc_test *test = *state;
  size_t len = 8u << 20;
  char *text = malloc(len);
  memset(text, 'x', len);
  for (size_t i = 99; i < len; i += 100) text[i] = '\n';
  lc_test_write(test, "f", text, len);
  free(text);
  int fd = open(lc_test_path(test, "f"), O_RDONLY | O_CLOEXEC);
  begin(&self, test, fd, NULL);
  self.memory = LC_PIPELINE_MEMORY_LEAST;
  follow_start(&self, true);
  follow_wait_finished(&self);
  assert_int_equal(double_sink_count(self.sink), len / 100 + 1);
  follow_deinit(&self);
  close(fd);
}

/* What a reload does with a monitor of the same identity. */
static void offer_named(follow *self, const char *name, const lc_stdin_monitor_options *options, lc_fit fit) {
  lc_error error = {0};
  lc_monitor *described = NULL;
  lc_resource *live = &self->monitor->resource;
  assert_int_equal(lc_stdin_monitor_create(options, live->registry, name, "t.lua:1", &described, &error), 0);
  assert_string_equal(live->identity, described->resource.identity);
  assert_int_equal(live->ops->fit(live, &described->resource), fit);
  if (fit == LC_FIT_CHANGED) live->ops->adopt(live, &described->resource);
  lc_resource_release(&described->resource);
  lc_registry_run(live->registry);
}

static void offer(follow *self, const lc_stdin_monitor_options *options, lc_fit fit) {
  offer_named(self, NULL, options, fit);
}

/* All threads of the pool wait, so that a job of the monitor stays under way. */
typedef struct crowd {
  uv_work_t works[4];
  sem_t leave;
  int inside; /* whose end the loop has not heard of; the loop thread's */
} crowd;

static void wait_in_pool(uv_work_t *work) { sem_wait(&((crowd *)work->data)->leave); }
static void left_pool(uv_work_t *work, int status) {
  ((crowd *)work->data)->inside--;
  (void)status;
}

static void crowd_pool(crowd *self, uv_loop_t *loop) {
  while (self->inside > 0) uv_run(loop, UV_RUN_ONCE); /* those of the last time are still on their way out */
  assert_int_equal(sem_init(&self->leave, 0, 0), 0);
  for (int i = 0; i < 4; i++) {
    self->works[i].data = self;
    self->inside++;
    assert_int_equal(uv_queue_work(loop, &self->works[i], wait_in_pool, left_pool), 0);
  }
}

static void clear_pool(crowd *self) {
  for (int i = 0; i < 4; i++) sem_post(&self->leave);
}

static void test_takes_other_options_over(void **state) {
  follow self;
  int ends[2];
  const lc_label prod = {"env", "prod"}, test = {"env", "test"};
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  begin(&self, *state, ends[0], NULL);
  lc_stdin_monitor_options options = {.fd = ends[0]};
  follow_start(&self, false);
  double_sink_show_label(self.sink, "env");
  offer(&self, &options, LC_FIT_SAME);
  options.max_line = UINT64_C(256) << 10; /* the default, written out */
  offer(&self, &options, LC_FIT_SAME);
  put(ends[1], "one\nhalf ");
  follow_until(&self, "one\n");
  follow_wait(&self, has_read);
  options.labels = &prod;
  options.n_labels = 1;
  options.max_line = 8;
  offer(&self, &options, LC_FIT_CHANGED);
  offer(&self, &options, LC_FIT_SAME);
  put(ends[1], "a line\ntwo\n");
  follow_until(&self, "one\nhalf a l prod\ntwo prod\n");
  double_sink_release(self.sink, DOUBLE_HOLD); /* a batch in flight keeps the labels that it was read with */
  put(ends[1], "three\n");
  follow_wait(&self, holds_one);
  follow_wait(&self, is_idle);
  options.labels = &test;
  offer(&self, &options, LC_FIT_CHANGED);
  options.n_labels = 0;
  offer(&self, &options, LC_FIT_CHANGED);
  double_sink_release(self.sink, DOUBLE_AT_ONCE);
  follow_until(&self, "one\nhalf a l prod\ntwo prod\nthree prod\n");
  put(ends[1], "four\n");
  follow_until(&self, "one\nhalf a l prod\ntwo prod\nthree prod\nfour\n");
  follow_wait(&self, is_idle);
  offer_named(&self, "in", &options, LC_FIT_CHANGED);
  assert_string_equal(self.monitor->resource.name, "in");
  options.fd = 77; /* not from a pipeline file */
  offer(&self, &options, LC_FIT_REPLACE);
  options.fd = ends[0];
  options.max_line = 16u << 20; /* more than the batches hold: as much as they do */
  offer(&self, &options, LC_FIT_CHANGED);
  put(ends[1], "a longer line\n");
  close(ends[1]);
  follow_wait_finished(&self);
  assert_string_equal(follow_text(&self), "one\nhalf a l prod\ntwo prod\nthree prod\nfour\na longer line\n");
  assert_true(follow_healthy(&self));
  follow_deinit(&self);
  close(ends[0]);
}

static void put_many(int fd, char what, size_t n) {
  char *bytes = malloc(n);
  assert_non_null(bytes);
  memset(bytes, what, n);
  assert_int_equal(write(fd, bytes, n), n);
  free(bytes);
}

/* Another length of lines goes with another size of batches, also for what was read before. */
static void test_another_size_of_batches(void **state) {
  follow self;
  int ends[2];
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  assert_true(fcntl(ends[1], F_SETPIPE_SZ, 1 << 20) >= 1 << 20);
  begin(&self, *state, ends[0], NULL);
  max_line = 1 << 20;
  follow_start(&self, false);
  lc_pipeline *pipeline = self.engine->pipelines[0];
  put_many(ends[1], 'x', 1000000);
  follow_wait(&self, has_read);
  offer(&self, &(lc_stdin_monitor_options){.fd = ends[0], .max_line = 10}, LC_FIT_CHANGED);
  assert_int_equal(lc_pipeline_block_size(pipeline), LC_BLOCK_SIZE);
  lc_batch_pool_resize(pipeline->pool, pipeline->memory, LC_BLOCK_SIZE);
  put(ends[1], "x\nnext\n");
  follow_until(&self, "xxxxxxxxxx\nnext\n");
  follow_wait(&self, has_read);
  offer(&self, &(lc_stdin_monitor_options){.fd = ends[0], .max_line = 900000}, LC_FIT_CHANGED);
  lc_batch_pool_resize(pipeline->pool, pipeline->memory, lc_pipeline_block_size(pipeline));
  put_many(ends[1], 'y', 900000);
  put(ends[1], "\n");
  follow_until_count(&self, 3);
  assert_int_equal(strlen(follow_text(&self)), 16 + 900001);
  put_many(ends[1], 'z', 600000); /* a half line that is given out by a stop, when batches are small again */
  follow_wait(&self, has_read);
  lc_batch_pool_resize(pipeline->pool, pipeline->memory, LC_BLOCK_SIZE);
  lc_engine_stop(self.engine, 5 * LC_SECOND);
  follow_wait_finished(&self);
  assert_int_equal(double_sink_count(self.sink), 4);
  assert_true(follow_healthy(&self));
  follow_deinit(&self);
  close(ends[1]);
  close(ends[0]);
}

static void test_an_open_group_goes_on(void **state) {
  follow self;
  int ends[2];
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  begin(&self, *state, ends[0], "^S");
  timeout = 3600 * LC_SECOND;
  lc_stdin_monitor_options options = {.fd = ends[0], .multiline = {.start = "^S", .timeout_ns = timeout}};
  follow_start(&self, false);
  put(ends[1], "S1\n a\nS2\n b\n");
  follow_until(&self, "S1\n a\n"); /* the second group is open */
  follow_wait(&self, has_read);
  offer(&self, &options, LC_FIT_SAME);
  options.max_line = 1000;
  offer(&self, &options, LC_FIT_CHANGED); /* which does not close it */
  put(ends[1], " c\nS3\n d\n");
  follow_until(&self, "S1\n a\nS2\n b\n c\n");
  options.multiline.start = "^T";
  follow_wait(&self, has_read);
  offer(&self, &options, LC_FIT_CHANGED); /* nor does another pattern */
  put(ends[1], "S4\nT1\n e\n");
  follow_until(&self, "S1\n a\nS2\n b\n c\nS3\n d\nS4\n");
  assert_int_equal(double_sink_count(self.sink), 3);
  options.multiline.timeout_ns = LC_MILLISECOND; /* counts for the group that is open */
  offer(&self, &options, LC_FIT_CHANGED);
  follow_until(&self, "S1\n a\nS2\n b\n c\nS3\n d\nS4\nT1\n e\n");
  options.multiline.timeout_ns = timeout;
  offer(&self, &options, LC_FIT_CHANGED);
  put(ends[1], "T2\n f\n");
  follow_until(&self, "S1\n a\nS2\n b\n c\nS3\n d\nS4\nT1\n e\n");
  follow_wait(&self, has_read);
  options.multiline.start = NULL;
  offer(&self, &options, LC_FIT_CHANGED); /* no groups any more: its lines come at once, one by one */
  follow_until_count(&self, 6);
  assert_true(follow_healthy(&self));
  follow_deinit(&self);
  close(ends[1]);
  close(ends[0]);
}

static void test_waits_for_the_end_of_a_job(void **state) {
  follow self;
  int ends[2];
  crowd pool = {0};
  const lc_label label = {"env", "prod"};
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  begin(&self, *state, ends[0], "^S");
  timeout = 3600 * LC_SECOND;
  follow_start(&self, false);
  double_sink_show_label(self.sink, "env");
  put(ends[1], "S1\nS2\n");
  follow_until(&self, "S1\n");
  follow_wait(&self, is_idle);
  crowd_pool(&pool, &self.test->loop);
  put(ends[1], "S3\n a\n");
  follow_wait(&self, is_busy);
  lc_stdin_monitor_options options = {.fd = ends[0], .labels = &label, .n_labels = 1};
  offer(&self, &(lc_stdin_monitor_options){.fd = ends[0], .max_line = 1}, LC_FIT_CHANGED);
  offer(&self, &options, LC_FIT_CHANGED);
  offer(&self, &options, LC_FIT_SAME); /* as it will be */
  clear_pool(&pool);
  /* The job was of the old options, which leave the second group open; the new ones know no groups. */
  follow_until(&self, "S1\nS2\nS3 prod\n a prod\n");
  put(ends[1], " b\n");
  follow_until(&self, "S1\nS2\nS3 prod\n a prod\n b prod\n");
  crowd_pool(&pool, &self.test->loop);
  put(ends[1], "c\n");
  follow_wait(&self, is_busy);
  options.max_line = 7;
  offer(&self, &options, LC_FIT_CHANGED); /* and is closed while they wait */
  lc_engine_stop(self.engine, 5 * LC_SECOND);
  clear_pool(&pool);
  follow_wait_finished(&self);
  offer(&self, &(lc_stdin_monitor_options){.fd = ends[0]}, LC_FIT_CHANGED); /* it works no more: nothing is kept */
  follow_deinit(&self);
  close(ends[1]);
  close(ends[0]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_pipe),   lc_test_case(test_file_keeps_its_place), lc_test_case(test_two_runs_on_one_state),
      lc_test_case(test_groups), lc_test_case(test_long_lines),           lc_test_case(test_waits_for_room),
      lc_test_case(test_takes_other_options_over),
      lc_test_case(test_another_size_of_batches),
      lc_test_case(test_an_open_group_goes_on),
      lc_test_case(test_waits_for_the_end_of_a_job),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
