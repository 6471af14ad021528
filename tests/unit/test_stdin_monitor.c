#include "monitor/stdin_monitor.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "support/follow.h"

static int input; /* the descriptor that the next monitor reads; the test's own state, one test at a time */
static const char *pattern;
static uint64_t max_line;

static lc_monitor *make(follow *self, lc_registry *registry) {
  (void)self;
  lc_error error = {0};
  lc_monitor *monitor = NULL;
  lc_stdin_monitor_options options = {.fd = input,
                                      .max_line = max_line,
                                      .multiline = {.start = pattern, .timeout_ns = 50 * LC_MILLISECOND}};
  assert_int_equal(lc_stdin_monitor_create(&options, registry, NULL, "t.lua:1", &monitor, &error), 0);
  return monitor;
}

static void begin(follow *self, lc_test *test, int fd, const char *start) {
  follow_init(self, test);
  self->make = make;
  input = fd;
  pattern = start;
  max_line = 0;
}

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

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_pipe),   lc_test_case(test_file_keeps_its_place), lc_test_case(test_two_runs_on_one_state),
      lc_test_case(test_groups), lc_test_case(test_long_lines),           lc_test_case(test_waits_for_room),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
