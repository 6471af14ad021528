/* Files that were renamed out of the patterns and read to their end: what their writers add is read on, they are never
 * read twice, and they are forgotten once they are gone. */
#include "monitor/file_monitor.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "support/follow.h"

static int count_stored(void *arg, const lc_stored_source *stored) {
  (void)stored;
  (*(uint32_t *)arg)++;
  return 0;
}

/* Sources that the pipeline knows. */
static uint32_t known(follow *self) {
  uint32_t n = 0;
  assert_int_equal(lc_feed_each_stored(self->monitor->feed, count_stored, &n), 0);
  return n;
}

static int count_row(void *arg, uint64_t id, const char *key, const char *name, int64_t seen_ns) {
  (void)id, (void)key, (void)name, (void)seen_ns;
  (*(uint32_t *)arg)++;
  return 0;
}

/* Rows in positions.db, while nothing runs. */
static uint32_t rows(follow *self, const char *identity) {
  lc_error error = {0};
  lc_store *store = NULL;
  uint32_t id = 0, n = 0;
  assert_int_equal(lc_store_open(self->state, &store, &error), 0);
  assert_int_equal(lc_store_resource_id(store, identity, &id, &error), 0);
  assert_int_equal(lc_store_each_source(store, id, count_row, &n, &error), 0);
  lc_store_close(store);
  return n;
}

static bool rests_settled(follow *self) {
  return follow_stat(self, "resting") == 1 && follow_stat(self, "drained") >= 1;
}
static bool rests_again(follow *self) { return follow_stat(self, "resting") == 1; }

/* Nothing but so many files is known in any place. */
static bool knows(follow *self, uint32_t n) {
  return follow_stat(self, "files") == n && follow_stat(self, "resting") == 0 && known(self) == n;
}
static bool has_one_file(follow *self) { return knows(self, 1); }
static bool has_two_files(follow *self) { return knows(self, 2); }
static bool has_no_file(follow *self) { return knows(self, 0); }

/* a.log has "1\n", is renamed to `to`, and read to its end. */
static void bring_to_rest(follow *self, const char *to) {
  follow_put(self, "in/a.log", "1\n");
  follow_start(self, false);
  follow_until(self, "1\n");
  follow_move(self, "in/a.log", to);
  follow_wait(self, rests_settled);
}

static void test_late_writer(void **state) {
  follow self;
  follow_begin(&self, state, "in/a.log");
  bring_to_rest(&self, "in/a.log.1");
  follow_put(&self, "in/a.log", "new\n");
  follow_until(&self, "1\nnew\n");
  follow_put(&self, "in/a.log.1", "2\n");
  follow_until(&self, "1\nnew\n2\n");
  follow_wait(&self, rests_again);
  follow_put(&self, "in/a.log.1", "3\nunfini");
  follow_until(&self, "1\nnew\n2\n3\nunfini\n"); /* as at each end */
  follow_wait(&self, rests_again);
  follow_put(&self, "in/a.log.1", "shed\n");
  follow_until(&self, "1\nnew\n2\n3\nunfini\nshed\n");
  assert_int_equal(follow_stat(&self, "drained"), 1); /* one file */
  assert_true(follow_healthy(&self));
  follow_stop(&self);
  follow_start(&self, true);
  follow_wait_finished(&self);
  assert_string_equal(follow_text(&self), "");
  follow_deinit(&self);
}

/* Nobody watches the folder that it is in now; its descriptor said where it went. */
static void test_late_writer_in_another_folder(void **state) {
  follow self;
  follow_begin(&self, state, "in/a.log");
  assert_int_equal(mkdir(lc_test_path(self.test, "old"), 0700), 0);
  bring_to_rest(&self, "old/a.log.1");
  follow_put(&self, "old/a.log.1", "2\n");
  follow_until(&self, "1\n2\n");
  follow_wait(&self, rests_again);
  follow_stop(&self);
  follow_put(&self, "old/a.log.1", "3\n");
  follow_start(&self, true);
  follow_wait_finished(&self);
  assert_string_equal(follow_text(&self), "3\n");
  assert_true(follow_healthy(&self));
  follow_deinit(&self);
}

/* A rotation moves all files of the chain: it is found under its new name, and read on there. */
static void test_moves_on_while_it_rests(void **state) {
  follow self;
  follow_begin(&self, state, "in/a.log");
  bring_to_rest(&self, "in/a.log.1");
  uint64_t looks = follow_stat(&self, "looks");
  for (unsigned n = 1; n < 5; n++) {
    char from[32], to[32];
    snprintf(from, sizeof from, "in/a.log.%u", n);
    snprintf(to, sizeof to, "in/a.log.%u", n + 1);
    follow_move(&self, from, to);
    follow_put(&self, from, "another one\n");
    follow_run_for(&self, 300);
    assert_int_equal(follow_stat(&self, "resting"), 1);
  }
  assert_int_equal(follow_stat(&self, "looks"), looks); /* nothing was opened for it */
  follow_put(&self, "in/a.log.5", "2\n");
  follow_until(&self, "1\n2\n");
  assert_true(follow_healthy(&self));
  follow_deinit(&self);
}

static void test_grown_while_down(void **state) {
  follow self;
  follow_begin(&self, state, "in/a.log");
  bring_to_rest(&self, "in/a.log.1");
  follow_stop(&self);
  follow_move(&self, "in/a.log.1", "in/a.log.2");
  follow_put(&self, "in/a.log.2", "2\n");
  follow_put(&self, "in/a.log.1", "another one\n");
  follow_start(&self, true);
  follow_wait_finished(&self);
  assert_string_equal(follow_text(&self), "2\n");
  assert_true(follow_healthy(&self));
  follow_stop(&self);
  follow_put(&self, "in/a.log.2", "3\n");
  follow_start(&self, false);
  follow_until(&self, "3\n");
  follow_wait(&self, rests_again);
  follow_put(&self, "in/a.log.2", "4\n");
  follow_until(&self, "3\n4\n");
  assert_true(follow_healthy(&self));
  follow_deinit(&self);
}

/* It is deleted, as a rotation does in the end, and another file has its name. */
static void test_gone_while_down(void **state) {
  follow self;
  follow_begin(&self, state, "in/a.log");
  bring_to_rest(&self, "in/a.log.1");
  follow_stop(&self);
  follow_delete(&self, "in/a.log.1");
  follow_put(&self, "in/other", "another one\n");
  follow_move(&self, "in/other", "in/a.log.1");
  follow_start(&self, true);
  follow_wait_finished(&self);
  assert_int_equal(follow_stat(&self, "abandoned_files"), 0);
  assert_true(follow_healthy(&self));
  follow_stop(&self);
  assert_int_equal(rows(&self, "file_monitor:m"), 0);
  follow_start(&self, true);
  follow_wait_finished(&self);
  follow_deinit(&self);
}

/* The same when it was read by a run that does not stay. */
static void test_gone_after_once(void **state) {
  follow self;
  follow_begin(&self, state, "in/a.log");
  follow_put(&self, "in/a.log", "1\n");
  follow_start(&self, true);
  follow_wait_finished(&self);
  follow_stop(&self);
  follow_put(&self, "in/a.log", "2\n");
  follow_move(&self, "in/a.log", "in/a.log.1");
  follow_put(&self, "in/a.log", "new\n");
  follow_start(&self, true);
  follow_wait_finished(&self);
  assert_string_equal(follow_text(&self), "2\nnew\n");
  follow_stop(&self);
  follow_delete(&self, "in/a.log.1");
  follow_put(&self, "in/a.log.1", "another one\n");
  follow_start(&self, true);
  follow_wait_finished(&self);
  assert_int_equal(follow_stat(&self, "abandoned_files"), 0);
  assert_true(follow_healthy(&self));
  follow_deinit(&self);
}

static void test_gone_is_forgotten(void **state) {
  follow self;
  follow_begin(&self, state, "in/a.log");
  bring_to_rest(&self, "in/a.log.1");
  follow_put(&self, "in/a.log", "new\n");
  follow_until(&self, "1\nnew\n");
  follow_delete(&self, "in/a.log.1");
  follow_wait(&self, has_one_file);
  assert_int_equal(follow_stat(&self, "abandoned_files"), 0);
  assert_true(follow_healthy(&self));
  follow_deinit(&self);
}

/* Whatever takes its place is no log: shred writes noise, and it is not read. */
static void test_overwritten_is_forgotten(void **state) {
  follow self;
  follow_begin(&self, state, "in/a.log");
  bring_to_rest(&self, "in/a.log.1");
  int fd = open(lc_test_path(self.test, "in/a.log.1"), O_WRONLY | O_CLOEXEC);
  assert_int_equal(write(fd, "noise\nnoise\n", 12), 12);
  close(fd);
  follow_wait(&self, has_no_file);
  assert_string_equal(follow_text(&self), "1\n");
  assert_int_equal(follow_stat(&self, "abandoned_files"), 0);
  assert_true(follow_healthy(&self));
  follow_deinit(&self);
}

/* Of the second generation: its key is not the one that its inode had first. */
static void test_back_in_the_pattern(void **state) {
  follow self;
  follow_begin(&self, state, "in/a.log");
  follow_put(&self, "in/a.log", "longer than what follows\n");
  follow_start(&self, false);
  follow_until(&self, "longer than what follows\n");
  assert_int_equal(truncate(lc_test_path(self.test, "in/a.log"), 0), 0);
  follow_put(&self, "in/a.log", "1\n");
  follow_until(&self, "longer than what follows\n1\n");
  follow_move(&self, "in/a.log", "in/a.log.1");
  follow_wait(&self, rests_again);
  follow_move(&self, "in/a.log.1", "in/a.log");
  follow_put(&self, "in/a.log", "2\n");
  follow_until(&self, "longer than what follows\n1\n2\n");
  follow_run_for(&self, 1500); /* committed: its end is not one any more */
  follow_put(&self, "in/a.log", "3\n");
  follow_until(&self, "longer than what follows\n1\n2\n3\n");
  assert_int_equal(follow_stat(&self, "resting"), 0);
  assert_true(follow_healthy(&self));
  follow_deinit(&self);
}

static void test_back_in_the_pattern_while_down(void **state) {
  follow self;
  follow_begin(&self, state, "in/a.log");
  bring_to_rest(&self, "in/a.log.1");
  follow_stop(&self);
  follow_move(&self, "in/a.log.1", "in/a.log");
  follow_start(&self, false);
  follow_put(&self, "in/a.log", "2\n");
  follow_until(&self, "2\n");
  follow_run_for(&self, 1500);
  follow_put(&self, "in/a.log", "3\n");
  follow_until(&self, "2\n3\n");
  assert_true(follow_healthy(&self));
  follow_stop(&self);
  follow_put(&self, "in/a.log", "4\n"); /* it was not at its end for good: what is gone now is counted */
  follow_move(&self, "in/a.log", "elsewhere");
  follow_put(&self, "in/a.log", "new\n");
  follow_start(&self, true);
  follow_wait_finished(&self);
  assert_int_equal(follow_stat(&self, "abandoned_files"), 1);
  assert_false(follow_healthy(&self));
  follow_deinit(&self);
}

/* Read, and then replaced by a longer file while no descriptor was left for it: nothing of it was lost. */
static void test_replaced_without_a_descriptor(void **state) {
  follow self;
  follow_begin(&self, state, "in/*.log");
  self.options.max_open_files = 1;
  follow_put(&self, "in/a.log", "1\n");
  follow_start(&self, false);
  follow_until(&self, "1\n");
  follow_put(&self, "in/b.log", "b\n");
  follow_until(&self, "1\nb\n");
  follow_put(&self, "in/new", "longer\n");
  follow_move(&self, "in/new", "in/a.log");
  follow_until(&self, "1\nb\nlonger\n");
  follow_wait(&self, has_two_files);
  assert_int_equal(follow_stat(&self, "abandoned_files"), 0);
  assert_true(follow_healthy(&self));
  follow_deinit(&self);
}

/* The end of the block is the end of the file: nothing tells that the line is not to go on but the wait. */
static void test_unfinished_line_of_a_whole_block(void **state) {
  follow self;
  follow_begin(&self, state, "in/a.log");
  char *text = malloc(LC_FILE_MAX_LINE_DEFAULT);
  memset(text, 'x', LC_FILE_MAX_LINE_DEFAULT);
  lc_test_write(self.test, "in/a.log", text, LC_FILE_MAX_LINE_DEFAULT);
  follow_start(&self, false);
  follow_wait(&self, has_one_file);
  follow_move(&self, "in/a.log", "in/a.log.1");
  follow_until_count(&self, 1);
  follow_wait(&self, rests_settled);
  follow_stop(&self);
  lc_test_write(self.test, "in/a.log", text, LC_FILE_MAX_LINE_DEFAULT);
  free(text);
  follow_start(&self, true);
  follow_wait_finished(&self);
  assert_int_equal(double_sink_count(self.sink), 1);
  assert_int_equal(strlen(follow_text(&self)), LC_FILE_MAX_LINE_DEFAULT + 1);
  assert_int_equal(follow_stat(&self, "lines_cut"), 0);
  follow_deinit(&self);
}

/* Months of rotations: what is known is what exists. */
#define ROTATIONS 400u
#define KEPT 3u

static bool only_those_that_exist(follow *self) {
  return follow_stat(self, "files") == 1 && follow_stat(self, "resting") == KEPT && known(self) == KEPT + 1;
}

static void test_many_rotations(void **state) {
  follow self;
  follow_begin(&self, state, "in/a.log");
  self.options.rotated_wait_ns = 5 * LC_MILLISECOND;
  follow_start(&self, false);
  char name[32], text[32];
  for (uint32_t n = 0; n < ROTATIONS; n++) {
    snprintf(text, sizeof text, "%u\n", n);
    follow_put(&self, "in/a.log", text);
    follow_until_count(&self, n + 1);
    if (n > KEPT && n % 50 == 0) follow_wait(&self, only_those_that_exist); /* it does not wait for the end to forget */
    if (n + 1 == ROTATIONS) break;
    snprintf(name, sizeof name, "in/a.log.%u", n);
    follow_move(&self, "in/a.log", name);
    if (n < KEPT) continue;
    snprintf(name, sizeof name, "in/a.log.%u", n - KEPT);
    follow_delete(&self, name);
  }
  follow_wait(&self, only_those_that_exist);
  assert_true(follow_healthy(&self));
  follow_stop(&self);
  assert_int_equal(rows(&self, "file_monitor:m"), KEPT + 1);
  follow_start(&self, true);
  follow_wait_finished(&self);
  assert_string_equal(follow_text(&self), "");
  follow_deinit(&self);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_late_writer),
      lc_test_case(test_late_writer_in_another_folder),
      lc_test_case(test_moves_on_while_it_rests),
      lc_test_case(test_grown_while_down),
      lc_test_case(test_gone_while_down),
      lc_test_case(test_gone_after_once),
      lc_test_case(test_gone_is_forgotten),
      lc_test_case(test_overwritten_is_forgotten),
      lc_test_case(test_back_in_the_pattern),
      lc_test_case(test_back_in_the_pattern_while_down),
      lc_test_case(test_replaced_without_a_descriptor),
      lc_test_case(test_unfinished_line_of_a_whole_block),
      lc_test_case(test_many_rotations),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
