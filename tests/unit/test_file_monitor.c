/* The file monitor through the real pipeline: following, rotation, truncation, restarts. Each row of the wounds of
 * other collectors that concerns files is a test here or in tests/e2e/test_file_monitor.py. */
#include "monitor/file_monitor.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "support/follow.h"

static void test_follows(void **state) {
  follow self;
  follow_begin(&self, state, "in/*.log");
  follow_put(&self, "in/a.log", "one\n");
  follow_start(&self, false);
  follow_until(&self, "one\n");
  follow_put(&self, "in/a.log", "two\nhal");
  follow_until(&self, "one\ntwo\n");
  follow_put(&self, "in/a.log", "f\r\n\n");
  follow_until(&self, "one\ntwo\nhalf\r\n\n");
  follow_put(&self, "in/b.log", "new\n"); /* found later: read from its beginning */
  follow_until(&self, "one\ntwo\nhalf\r\n\nnew\n");
  assert_true(follow_healthy(&self));
  follow_deinit(&self);
}

static bool knows_two_ends(follow *self) {
  return follow_stat(self, "files") == 2 && follow_stat(self, "looks") >= 2 && follow_stat(self, "jobs_running") == 0;
}

static void test_start_at_the_end(void **state) {
  follow self;
  follow_begin(&self, state, "in/*.log");
  self.options.from_beginning = false;
  follow_put(&self, "in/a.log", "old\n");
  follow_put(&self, "in/empty.log", "");
  follow_start(&self, false);
  follow_wait(&self, knows_two_ends);
  follow_put(&self, "in/a.log", "new\n");
  follow_put(&self, "in/later.log", "later\n");
  follow_until_count(&self, 2);
  assert_null(strstr(follow_text(&self), "old"));
  follow_stop(&self);
  /* Where it began is known from then on, also for a file that nothing was read from. */
  follow_put(&self, "in/empty.log", "while down\n");
  follow_start(&self, false);
  follow_until(&self, "while down\n");
  follow_deinit(&self);
}

static void test_resumes(void **state) {
  follow self;
  follow_begin(&self, state, "in/*.log");
  follow_put(&self, "in/a.log", "one\n");
  follow_start(&self, false);
  follow_until(&self, "one\n");
  follow_stop(&self);
  follow_put(&self, "in/a.log", "two\n");
  follow_start(&self, false);
  follow_until(&self, "two\n");
  follow_deinit(&self);
}

static void test_rename_rotation(void **state) {
  follow self;
  follow_begin(&self, state, "in/a.log");
  follow_put(&self, "in/a.log", "1\n");
  follow_start(&self, false);
  follow_until(&self, "1\n");
  follow_put(&self, "in/a.log", "2\n");
  follow_move(&self, "in/a.log", "in/a.log.1");
  follow_put(&self, "in/a.log", "4\n");
  follow_put(&self, "in/a.log.1", "3\n"); /* the writer has not reopened yet */
  follow_until_count(&self, 4);
  follow_put(&self, "in/a.log", "5\n");
  follow_until_count(&self, 5);
  follow_until_stat(&self, "drained", 1); /* and committed */
  assert_int_equal(follow_stat(&self, "files"), 1);
  assert_int_equal(double_sink_count(self.sink), 5);
  assert_true(follow_healthy(&self));
  follow_deinit(&self);
}

static void test_renamed_within_the_glob(void **state) {
  follow self;
  follow_begin(&self, state, "in/a.log*");
  follow_put(&self, "in/a.log", "1\n");
  follow_start(&self, false);
  follow_until(&self, "1\n");
  for (int i = 0; i < 5; i++) {
    follow_put(&self, "in/a.log", "x\n");
    if (i > 1) follow_move(&self, "in/a.log.2", "in/a.log.3");
    if (i > 0) follow_move(&self, "in/a.log.1", "in/a.log.2");
    follow_move(&self, "in/a.log", "in/a.log.1");
    follow_put(&self, "in/a.log", "y\n");
    follow_until_count(&self, 1 + 2 * ((uint32_t)i + 1));
  }
  follow_run_for(&self, 300);
  assert_int_equal(double_sink_count(self.sink), 11);
  follow_stop(&self);
  follow_start(&self, false);
  follow_run_for(&self, 200);
  assert_int_equal(double_sink_count(self.sink), 0);
  follow_deinit(&self);
}

static void test_deleted_file_is_read_to_its_end(void **state) {
  follow self;
  follow_begin(&self, state, "in/*.log");
  follow_put(&self, "in/a.log", "1\n");
  follow_start(&self, false);
  follow_until(&self, "1\n");
  int fd = open(lc_test_path(self.test, "in/a.log"), O_WRONLY | O_APPEND | O_CLOEXEC);
  follow_delete(&self, "in/a.log");
  assert_int_equal(write(fd, "2\nunfinished", 12), 12);
  close(fd);
  follow_until(&self, "1\n2\nunfinished\n");
  follow_until_stat(&self, "files", 0);
  assert_true(follow_healthy(&self));
  follow_deinit(&self);
}

static void test_truncated(void **state) {
  follow self;
  follow_begin(&self, state, "in/*.log");
  follow_put(&self, "in/a.log", "one\ntwo\n");
  follow_start(&self, false);
  follow_until(&self, "one\ntwo\n");
  lc_test_write(self.test, "in/a.log", "3\n", 2);
  follow_until(&self, "one\ntwo\n3\n");
  lc_test_write(self.test, "in/a.log", "longer than what was there before\n", 34);
  follow_until(&self, "one\ntwo\n3\nlonger than what was there before\n");
  assert_int_equal(follow_stat(&self, "truncated"), 2);
  follow_put(&self, "in/a.log", "on\n");
  follow_until_count(&self, 5);
  follow_run_for(&self, 1300);
  assert_int_equal(follow_stat(&self, "files"), 1);
  follow_stop(&self);
  follow_put(&self, "in/a.log", "after\n");
  follow_start(&self, false);
  follow_until(&self, "after\n");
  follow_deinit(&self);
}

static void test_truncated_while_down(void **state) {
  follow self;
  follow_begin(&self, state, "in/*.log");
  follow_put(&self, "in/a.log", "one\ntwo\n");
  follow_start(&self, true);
  follow_wait_finished(&self);
  follow_stop(&self);
  lc_test_write(self.test, "in/a.log", "new content that is longer\n", 27);
  follow_start(&self, true);
  follow_wait_finished(&self);
  assert_string_equal(follow_text(&self), "new content that is longer\n");
  follow_stop(&self);
  lc_test_write(self.test, "in/a.log", "x\n", 2);
  follow_start(&self, true);
  follow_wait_finished(&self);
  assert_string_equal(follow_text(&self), "x\n");
  follow_stop(&self);
  follow_start(&self, true);
  follow_wait_finished(&self);
  assert_string_equal(follow_text(&self), "");
  follow_deinit(&self);
}

static void copy_file(follow *self, const char *from, const char *to) {
  size_t len;
  char *bytes = lc_test_read(self->test, from, &len);
  lc_test_write(self->test, to, bytes, len);
  free(bytes);
}

/* copytruncate with copies that match the pattern: no line twice, none lost, unread ones come from the copy. */
static void test_copytruncate(void **state) {
  follow self;
  follow_begin(&self, state, "in/a.log*");
  char line[128];
  for (int i = 0; i < 100; i++) {
    snprintf(line, sizeof line, "line number %d of the original file\n", i);
    follow_put(&self, "in/a.log", line);
  }
  follow_start(&self, false);
  follow_until_count(&self, 100);
  follow_put(&self, "in/a.log", "last one before\n");
  copy_file(&self, "in/a.log", "in/a.log.1");
  assert_int_equal(truncate(lc_test_path(self.test, "in/a.log"), 0), 0);
  follow_put(&self, "in/a.log", "first one after\n");
  follow_until_count(&self, 102);
  follow_run_for(&self, 1500);
  assert_int_equal(double_sink_count(self.sink), 102);
  assert_non_null(strstr(follow_text(&self), "last one before"));
  follow_deinit(&self);
}

static void test_copytruncate_while_down(void **state) {
  follow self;
  follow_begin(&self, state, "in/a.log*");
  for (int i = 0; i < 100; i++) follow_put(&self, "in/a.log", "the same line again and again\n");
  follow_start(&self, true);
  follow_wait_finished(&self);
  assert_int_equal(double_sink_count(self.sink), 100);
  follow_stop(&self);
  follow_put(&self, "in/a.log", "unread\n");
  copy_file(&self, "in/a.log", "in/a.log.1");
  lc_test_write(self.test, "in/a.log", "new\n", 4);
  follow_start(&self, true);
  follow_wait_finished(&self);
  assert_int_equal(double_sink_count(self.sink), 2);
  assert_non_null(strstr(follow_text(&self), "unread\n"));
  assert_non_null(strstr(follow_text(&self), "new\n"));
  assert_false(self.result.failed);
  follow_deinit(&self);
}

/* A file with the same content as a followed one that stays is no copy: it is read whole. */
static void test_equal_files(void **state) {
  follow self;
  follow_begin(&self, state, "in/*.log");
  for (int i = 0; i < 100; i++) follow_put(&self, "in/a.log", "the same line again and again\n");
  follow_put(&self, "in/tiny.log", "x\n");
  follow_start(&self, false);
  follow_until_count(&self, 101);
  copy_file(&self, "in/a.log", "in/b.log");
  follow_put(&self, "in/tiny2.log", "x\n");
  follow_put(&self, "in/empty.log", "");
  follow_until_count(&self, 202);
  follow_put(&self, "in/empty.log", "y\n");
  follow_until_count(&self, 203);
  follow_deinit(&self);
}

static void test_rotated_while_down_out_of_the_glob(void **state) {
  follow self;
  follow_begin(&self, state, "in/*.log");
  follow_put(&self, "in/a.log", "1\n");
  follow_start(&self, false);
  follow_until(&self, "1\n");
  follow_stop(&self);
  follow_put(&self, "in/a.log", "2\n");
  follow_move(&self, "in/a.log", "in/a.old");
  follow_put(&self, "in/a.log", "3\n");
  follow_start(&self, true);
  follow_wait_finished(&self);
  assert_string_equal(follow_text(&self), "2\n3\n");
  assert_true(follow_healthy(&self));
  follow_deinit(&self);
}

static void test_gone_while_down(void **state) {
  follow self;
  follow_begin(&self, state, "in/*.log");
  follow_put(&self, "in/a.log", "1\n");
  follow_start(&self, false);
  follow_until(&self, "1\n");
  follow_stop(&self);
  follow_put(&self, "in/a.log", "2\n");
  follow_move(&self, "in/a.log", "elsewhere");
  follow_put(&self, "in/a.log", "3\n");
  follow_start(&self, true);
  follow_wait_finished(&self);
  assert_string_equal(follow_text(&self), "3\n");
  assert_int_equal(follow_stat(&self, "abandoned_files"), 1);
  assert_false(follow_healthy(&self)); /* counted, and red */
  follow_deinit(&self);
}

/* All that was ever seen of it was read, and nothing took its name: it was deleted after it was read. */
static void test_deleted_while_down(void **state) {
  follow self;
  follow_begin(&self, state, "in/*.log");
  follow_put(&self, "in/a.log", "1\n");
  follow_start(&self, false);
  follow_until(&self, "1\n");
  follow_stop(&self);
  follow_delete(&self, "in/a.log");
  follow_start(&self, true);
  follow_wait_finished(&self);
  assert_int_equal(follow_stat(&self, "abandoned_files"), 0);
  assert_true(follow_healthy(&self));
  follow_deinit(&self);
}

/* A drained file that is gone is forgotten without a word. */
static void test_drained_and_gone(void **state) {
  follow self;
  follow_begin(&self, state, "in/a.log");
  follow_put(&self, "in/a.log", "1\n");
  follow_start(&self, false);
  follow_until(&self, "1\n");
  follow_move(&self, "in/a.log", "in/a.log.1");
  follow_until_stat(&self, "drained", 1);
  follow_stop(&self);
  follow_delete(&self, "in/a.log.1");
  follow_start(&self, true);
  follow_wait_finished(&self);
  assert_int_equal(follow_stat(&self, "abandoned_files"), 0);
  assert_true(follow_healthy(&self));
  follow_deinit(&self);
}

static void test_once(void **state) {
  follow self;
  follow_begin(&self, state, "in/*.log");
  follow_put(&self, "in/a.log", "1\nunfinished");
  follow_put(&self, "in/empty.log", "");
  follow_start(&self, true);
  follow_wait_finished(&self);
  assert_string_equal(follow_text(&self), "1\nunfinished\n");
  assert_false(self.result.failed);
  follow_stop(&self);
  follow_put(&self, "in/a.log", " rest\n");
  follow_start(&self, true);
  follow_wait_finished(&self);
  assert_string_equal(follow_text(&self), " rest\n");
  follow_deinit(&self);
}

static void test_once_without_files(void **state) {
  follow self;
  follow_begin(&self, state, "in/*.log");
  follow_start(&self, true);
  follow_wait_finished(&self);
  assert_false(self.result.failed);
  follow_deinit(&self);
}

static void test_long_line(void **state) {
  follow self;
  follow_begin(&self, state, "in/*.log");
  size_t len = 3u << 20;
  char *text = malloc(len + 8);
  memset(text, 'x', len);
  memcpy(text + len, "\nnext\n", 6);
  lc_test_write(self.test, "in/a.log", text, len + 6);
  free(text);
  follow_start(&self, false);
  follow_until_count(&self, 2);
  assert_int_equal(strlen(follow_text(&self)), LC_FILE_MAX_LINE_DEFAULT + 1 + 5);
  assert_int_equal(follow_stat(&self, "lines_cut"), 1);
  assert_true(follow_healthy(&self));
  follow_deinit(&self);
}

/* The rest of a cut line is skipped also when logcap is started anew in its middle. */
static void test_long_line_over_a_restart(void **state) {
  follow self;
  follow_begin(&self, state, "in/*.log");
  self.options.max_line = 4;
  follow_put(&self, "in/a.log", "12345678");
  follow_start(&self, false);
  follow_until(&self, "1234\n");
  follow_stop(&self);
  follow_put(&self, "in/a.log", "90\nnext\n");
  follow_start(&self, false);
  follow_until(&self, "next\n");
  follow_deinit(&self);
}

static bool has_looked(follow *self) {
  return follow_stat(self, "looks") > self->looks && follow_stat(self, "jobs_running") == 0;
}

static void test_groups(void **state) {
  follow self;
  follow_begin(&self, state, "in/*.log");
  self.options.multiline = (lc_multiline_options){.start = "^S", .timeout_ns = 100 * LC_MILLISECOND};
  follow_put(&self, "in/a.log", "S1\n x\nS2\n");
  follow_start(&self, false);
  follow_until(&self, "S1\n x\nS2\n"); /* S2 when its time is up */
  assert_int_equal(double_sink_count(self.sink), 2);
  follow_stop(&self);
  self.options.multiline.timeout_ns = 3600 * LC_SECOND;
  self.looks = 0;
  follow_start(&self, false);
  follow_wait(&self, has_looked);
  self.looks = follow_stat(&self, "looks");
  follow_put(&self, "in/a.log", "S3\n");
  follow_wait(&self, has_looked); /* it is read, and its group is open */
  follow_put(&self, "in/a.log", " y\nS4\n");
  follow_until(&self, "S3\n y\n");
  assert_int_equal(double_sink_count(self.sink), 1);
  follow_stop(&self); /* which leaves S4 open */
  follow_put(&self, "in/a.log", "S5\n z\n");
  follow_start(&self, true); /* flushes */
  follow_wait_finished(&self);
  assert_string_equal(follow_text(&self), "S4\nS5\n z\n");
  assert_int_equal(double_sink_count(self.sink), 2);
  follow_deinit(&self);
}

static void test_many_files_few_descriptors(void **state) {
  follow self;
  follow_begin(&self, state, "in/*.log");
  self.options.max_open_files = 3;
  char name[32];
  for (int i = 0; i < 500; i++) {
    snprintf(name, sizeof name, "in/%d.log", i);
    follow_put(&self, name, "a\n");
  }
  follow_start(&self, false);
  follow_until_count(&self, 500);
  assert_true(follow_stat(&self, "open") <= 3);
  assert_true(follow_stat(&self, "jobs") < 20);
  for (int i = 0; i < 500; i++) {
    snprintf(name, sizeof name, "in/%d.log", i);
    follow_put(&self, name, "b\n");
  }
  follow_until_count(&self, 1000);
  assert_true(follow_stat(&self, "open") <= 3);
  follow_deinit(&self);
}

static void test_unreadable_file_is_tried_again(void **state) {
  if (geteuid() == 0) return; /* root reads everything; the end-to-end test does this as nobody */
  follow self;
  follow_begin(&self, state, "in/*.log");
  follow_put(&self, "in/a.log", "1\n");
  follow_put(&self, "in/b.log", "2\n");
  assert_int_equal(chmod(lc_test_path(self.test, "in/a.log"), 0), 0);
  follow_start(&self, false);
  follow_until(&self, "2\n");
  assert_int_equal(chmod(lc_test_path(self.test, "in/a.log"), 0600), 0);
  follow_until(&self, "2\n1\n");
  follow_deinit(&self);
}

static void test_own_files_are_left_alone(void **state) {
  follow self;
  follow_begin(&self, state, "in/*.log");
  follow_put(&self, "in/own.log", "written by logcap\n");
  follow_put(&self, "in/a.log", "1\n");
  follow_start(&self, false);
  struct stat st;
  assert_int_equal(stat(lc_test_path(self.test, "in/own.log"), &st), 0);
  assert_int_equal(lc_inodes_add(self.runtime.own, st.st_dev, st.st_ino), 0);
  follow_until(&self, "1\n");
  follow_run_for(&self, 50);
  assert_string_equal(follow_text(&self), "1\n");
  follow_deinit(&self);
}

static bool has_begun(follow *self) { return follow_stat(self, "bytes") > 0; }

/* A big file, a tight pool and a sink that holds everything for a while. */
static void test_back_pressure(void **state) {
  follow self;
  follow_begin(&self, state, "in/*.log");
  self.memory = LC_PIPELINE_MEMORY_LEAST;
  self.policy = DOUBLE_HOLD;
  size_t len = 8u << 20;
  char *text = malloc(len);
  memset(text, 'x', len);
  for (size_t i = 99; i < len; i += 100) text[i] = '\n';
  text[len - 1] = '\n';
  lc_test_write(self.test, "in/a.log", text, len);
  free(text);
  follow_start(&self, false);
  follow_wait(&self, has_begun);
  follow_delete(&self, "in/a.log"); /* with most of it unread */
  follow_until_stat(&self, "deleted", 1); /* without room for another look */
  double_sink_release(self.sink, DOUBLE_AT_ONCE);
  follow_until_count(&self, (uint32_t)(len / 100) + 1);
  assert_true(follow_healthy(&self));
  follow_deinit(&self);
}

static void test_deleted_budget(void **state) {
  follow self;
  follow_begin(&self, state, "in/*.log");
  self.memory = LC_PIPELINE_MEMORY_LEAST;
  self.policy = DOUBLE_HOLD;
  self.options.deleted_bytes = 1u << 20;
  size_t len = 8u << 20;
  char *text = malloc(len);
  memset(text, 'x', len);
  for (size_t i = 99; i < len; i += 100) text[i] = '\n';
  lc_test_write(self.test, "in/a.log", text, len);
  free(text);
  follow_start(&self, false);
  follow_wait(&self, has_begun);
  follow_delete(&self, "in/a.log");
  follow_until_stat(&self, "deleted", 1);
  double_sink_release(self.sink, DOUBLE_AT_ONCE);
  follow_until_stat(&self, "abandoned_files", 1);
  assert_true(follow_stat(&self, "abandoned_bytes") > 4u << 20);
  assert_false(follow_healthy(&self));
  follow_until_stat(&self, "files", 0);
  follow_deinit(&self);
}

static void test_options(void **state) {
  lc_test *test = *state;
  lc_error error = {0};
  lc_monitor *monitor = NULL;
  lc_file_monitor_options options;
  lc_file_monitor_options_init(&options);
  assert_int_equal(lc_file_monitor_create(&options, test->registry, NULL, "t:1", &monitor, &error), LC_EINVAL);
  options.paths = (const char *const[]){"relative/*.log"};
  options.n_paths = 1;
  assert_int_equal(lc_file_monitor_create(&options, test->registry, NULL, "t:1", &monitor, &error), LC_EINVAL);
  assert_non_null(strstr(error.message, "relative/*.log"));
  options.paths = (const char *const[]){"/tmp/none/*.log"};
  options.multiline.start = "(";
  assert_int_equal(lc_file_monitor_create(&options, test->registry, NULL, "t:1", &monitor, &error), LC_EINVAL);
  options.multiline.start = NULL;
  assert_int_equal(lc_file_monitor_create(&options, test->registry, NULL, "t:1", &monitor, &error), 0);
  assert_string_equal(monitor->resource.identity, "file_monitor:/tmp/none/*.log");
  lc_resource_release(&monitor->resource); /* never opened */
}

static void test_create_without_memory(void **state) {
  lc_test *test = *state;
  lc_error error = {0};
  lc_monitor *monitor = NULL;
  lc_file_monitor_options options;
  lc_file_monitor_options_init(&options);
  options.paths = (const char *const[]){"/tmp/none/*.log", "/tmp/other/*.log"};
  options.n_paths = 2;
  options.exclude = (const char *const[]){"*.gz"};
  options.n_exclude = 1;
  options.multiline.start = "^S";
  options.labels = (const lc_label[]){{"team", "shop"}, {"env", "prod"}};
  options.n_labels = 2;
  for (unsigned n = 1;; n++) {
    lc_fault_after(n);
    int rc = lc_file_monitor_create(&options, test->registry, "m", "t:1", &monitor, &error);
    if (!lc_fault_off()) {
      assert_int_equal(rc, 0);
      break;
    }
    assert_int_equal(rc, LC_ENOMEM);
  }
  assert_int_equal(monitor->labels->n, 2);
  lc_resource_release(&monitor->resource);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_follows),
      lc_test_case(test_start_at_the_end),
      lc_test_case(test_resumes),
      lc_test_case(test_rename_rotation),
      lc_test_case(test_renamed_within_the_glob),
      lc_test_case(test_deleted_file_is_read_to_its_end),
      lc_test_case(test_truncated),
      lc_test_case(test_truncated_while_down),
      lc_test_case(test_copytruncate),
      lc_test_case(test_copytruncate_while_down),
      lc_test_case(test_equal_files),
      lc_test_case(test_rotated_while_down_out_of_the_glob),
      lc_test_case(test_gone_while_down),
      lc_test_case(test_deleted_while_down),
      lc_test_case(test_drained_and_gone),
      lc_test_case(test_once),
      lc_test_case(test_once_without_files),
      lc_test_case(test_long_line),
      lc_test_case(test_long_line_over_a_restart),
      lc_test_case(test_groups),
      lc_test_case(test_many_files_few_descriptors),
      lc_test_case(test_unreadable_file_is_tried_again),
      lc_test_case(test_own_files_are_left_alone),
      lc_test_case(test_back_pressure),
      lc_test_case(test_deleted_budget),
      lc_test_case(test_options),
      lc_test_case(test_create_without_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
