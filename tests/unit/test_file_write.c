/* Writing deliveries into files: sorting, failing, going on. */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <signal.h>

#include "support/outputs.h"

static void test_appends_lines_as_they_came(void **state) {
  rig self;
  assert_int_equal(rig_open(&self, *state, "out/deep/a.log", true), 0);
  assert_int_equal(rig_write(&self, "one\r\n\xff\xfe\n\nfour\n"), 0);
  assert_int_equal(rig_write(&self, "five\n"), 0);
  assert_file(*state, "out/deep/a.log", "one\r\n\xff\xfe\n\nfour\nfive\n");
  struct stat st;
  assert_int_equal(stat(lc_test_path(*state, "out/deep/a.log"), &st), 0);
  assert_int_equal(st.st_mode & 07777, 0640);
  assert_true(lc_inodes_has(self.own, st.st_dev, st.st_ino));
  rig_kill(&self);
}

static void test_sorts_records_into_outputs(void **state) {
  rig self;
  assert_int_equal(rig_open(&self, *state, "{s}.log", true), 0);
  assert_int_equal(rig_write(&self, "{\"s\":\"a\",\"n\":1}\n{\"s\":\"b\",\"n\":2}\n{\"s\":\"a\",\"n\":3}\nplain\n"), 0);
  assert_file(*state, "a.log", "{\"s\":\"a\",\"n\":1}\n{\"s\":\"a\",\"n\":3}\n");
  assert_file(*state, "b.log", "{\"s\":\"b\",\"n\":2}\n");
  assert_file(*state, "_missing.log", "plain\n");
  rig_kill(&self);
}

static void test_keeps_few_files_open(void **state) {
  rig self;
  assert_int_equal(rig_open(&self, *state, "{s}.log", true), 0);
  int before = lc_count_descriptors();
  char lines[8192], *to = lines;
  for (int i = 0; i < 200; i++) to += sprintf(to, "{\"s\":\"f%d\"}\n", i);
  assert_int_equal(rig_write(&self, lines), 0);
  assert_int_equal(rig_write(&self, lines), 0);
  assert_true(lc_count_descriptors() - before <= 4);
  assert_int_equal(atomic_load(&self.set.n), 200);
  assert_file(*state, "f7.log", "{\"s\":\"f7\"}\n{\"s\":\"f7\"}\n");
  rig_kill(&self);
}

static void test_skips_what_the_sink_has(void **state) {
  rig self;
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  struct lc_delivery_range range = {.from = 2};
  self.batch = records_lines("0\n1\n2\n3\n");
  self.delivery = (lc_delivery){.batch = self.batch, .skips = true, .n_ranges = 1, .ranges = &range};
  self.batch->records[3].flags |= LC_REC_DROPPED;
  assert_int_equal(rig_again(&self), 0);
  assert_file(*state, "a.log", "2\n");
  rig_kill(&self);
}

/* A file that may hold 10 bytes stands for a full disk: the write stops inside a line. */
static void test_goes_on_inside_a_line_after_a_full_disk(void **state) {
  rig self;
  assert_int_equal(rig_open(&self, *state, "{s}.log", true), 0);
  struct rlimit before, small;
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
  small = before;
  (void)signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(rig_write(&self, "{\"s\":\"a\"}\n{\"s\":\"b\"}\n"), 0);
  small.rlim_cur = 15;
  self.batch = records_lines("{\"s\":\"a\",\"n\":1}\n{\"s\":\"b\",\"n\":2}\n");
  for (uint32_t i = 0; i < 2; i++) assert_int_equal(lc_json_slice(self.batch, &self.batch->records[i]), 0);
  self.delivery = (lc_delivery){.batch = self.batch};
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  int rc = rig_again(&self), rc2 = rig_again(&self);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
  assert_int_equal(rc, LC_ESYS);
  assert_int_equal(rc2, LC_ESYS);
  assert_non_null(strstr(self.error.message, "a.log"));
  assert_file(*state, "a.log", "{\"s\":\"a\"}\n{\"s\":");
  assert_int_equal(rig_again(&self), 0);
  assert_file(*state, "a.log", "{\"s\":\"a\"}\n{\"s\":\"a\",\"n\":1}\n");
  assert_file(*state, "b.log", "{\"s\":\"b\"}\n{\"s\":\"b\",\"n\":2}\n");
  rig_kill(&self);
}

static void test_a_half_written_delivery_is_not_saved(void **state) {
  rig self;
  assert_int_equal(rig_open(&self, *state, "{s}.log", true), 0);
  assert_int_equal(rig_write(&self, "{\"s\":\"a\"}\n"), 0);
  assert_int_equal(mkdir(lc_test_path(*state, "b.log"), 0700), 0); /* cannot be written */
  assert_int_equal(rig_write(&self, "{\"s\":\"a\",\"n\":1}\n"), 0);
  assert_int_equal(rig_commit(&self), 0);
  (void)rig_write(&self, "{\"s\":\"a\",\"n\":2}\n{\"s\":\"b\"}\n");
  assert_non_null(strstr(self.error.message, "b.log"));
  assert_int_equal(rig_commit(&self), 0);
  rig_kill(&self);
  assert_int_equal(rig_open(&self, *state, "{s}.log", true), 0);
  assert_file(*state, "a.log", "{\"s\":\"a\"}\n{\"s\":\"a\",\"n\":1}\n");
  rig_kill(&self);
}

static void test_begins_anew_when_the_file_was_removed(void **state) {
  rig self;
  assert_int_equal(rig_open(&self, *state, "out/a.log", true), 0);
  assert_int_equal(rig_write(&self, "one\n"), 0);
  assert_int_equal(rig_commit(&self), 0);
  assert_int_equal(lc_remove_tree(lc_test_path(*state, "out")), 0);
  assert_int_equal(rig_write(&self, "two\n"), 0);
  assert_file(*state, "out/a.log", "two\n");
  assert_int_equal(rig_count(&self, LC_COUNT_lost), 1);
  assert_int_equal(rig_commit(&self), 0);
  rig_kill(&self);
  assert_int_equal(rig_open(&self, *state, "out/a.log", true), 0);
  assert_file(*state, "out/a.log", "two\n");
  rig_kill(&self);
}

static void test_follows_a_file_that_was_renamed(void **state) {
  rig self;
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  assert_int_equal(rig_write(&self, "one\n"), 0);
  assert_int_equal(rename(lc_test_path(*state, "a.log"), lc_test_path(*state, "a.log.1")), 0);
  assert_int_equal(rig_write(&self, "two\n"), 0);
  assert_file(*state, "a.log", "two\n");
  assert_file(*state, "a.log.1", "one\n");
  assert_int_equal(rig_commit(&self), 0);
  rig_kill(&self);
  lc_test_append(*state, "a.log.1", "x\n", 2);
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  assert_file(*state, "a.log.1", "one\n"); /* still ours */
  struct stat st;
  assert_int_equal(stat(lc_test_path(*state, "a.log.1"), &st), 0);
  assert_true(lc_inodes_has(self.own, st.st_dev, st.st_ino));
  rig_kill(&self);
}

static void test_never_pads_a_file_that_somebody_cut(void **state) {
  rig self;
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  assert_int_equal(rig_write(&self, "one\ntwo\n"), 0);
  assert_int_equal(truncate(lc_test_path(*state, "a.log"), 0), 0);
  assert_int_equal(rig_write(&self, "three\n"), 0);
  assert_file(*state, "a.log", "three\n");
  assert_int_equal(rig_write(&self, "four\n"), 0);
  assert_int_equal(rig_count(&self, LC_COUNT_shorter), 1);
  lc_test_append(*state, "a.log", "foreign\n", 8);
  assert_int_equal(rig_write(&self, "five\n"), 0);
  assert_int_equal(rig_write(&self, "six\n"), 0);
  assert_int_equal(rig_count(&self, LC_COUNT_longer), 1);
  assert_file(*state, "a.log", "three\nfour\nforeign\nfive\nsix\n");
  rig_kill(&self);
}

static void test_adopts_what_was_there(void **state) {
  rig self;
  lc_test_write(*state, "a.log", "theirs\n", 7);
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  assert_int_equal(rig_write(&self, "ours\n"), 0);
  assert_int_equal(rig_count(&self, LC_COUNT_adopted), 1);
  rig_kill(&self); /* before any commit of a length */
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  assert_file(*state, "a.log", "theirs\n");
  rig_kill(&self);
}

static void test_an_output_has_one_owner(void **state) {
  rig self;
  lc_test_write(*state, "a.log", "", 0);
  int fd = open(lc_test_path(*state, "a.log"), O_RDWR);
  assert_int_equal(flock(fd, LOCK_EX), 0);
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  assert_int_equal(rig_write(&self, "one\n"), LC_EBUSY);
  assert_non_null(strstr(self.error.message, "another process"));
  assert_int_equal(close(fd), 0);
  assert_int_equal(rig_again(&self), 0);
  assert_file(*state, "a.log", "one\n");
  rig_kill(&self);
}

static void test_refuses_what_logcap_writes_already(void **state) {
  rig self;
  lc_test_write(*state, "a.log", "", 0);
  struct stat st;
  assert_int_equal(stat(lc_test_path(*state, "a.log"), &st), 0);
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  assert_int_equal(lc_inodes_add(self.own, st.st_dev, st.st_ino), 0);
  assert_int_equal(rig_write(&self, "one\n"), LC_EBUSY);
  assert_non_null(strstr(self.error.message, "logcap itself"));
  rig_kill(&self);
}

static void test_does_not_follow_links_nor_write_pipes(void **state) {
  rig self;
  assert_int_equal(symlink("elsewhere", lc_test_path(*state, "a.log")), 0);
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  assert_int_equal(rig_write(&self, "one\n"), LC_ESYS);
  assert_non_null(strstr(self.error.message, "symbolic link"));
  assert_int_equal(unlink(lc_test_path(*state, "a.log")), 0);
  assert_int_equal(mkfifo(lc_test_path(*state, "a.log"), 0600), 0);
  assert_int_not_equal(rig_again(&self), 0);
  assert_int_equal(unlink(lc_test_path(*state, "a.log")), 0);
  assert_int_equal(rig_again(&self), 0);
  assert_file(*state, "a.log", "one\n");
  rig_kill(&self);
}

static void test_pauses_below_min_free(void **state) {
  rig self;
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  self.writing.min_free = UINT64_MAX;
  assert_int_equal(rig_write(&self, "one\n"), LC_ESYS);
  assert_non_null(strstr(self.error.message, "min_free"));
  self.writing.min_free = 1;
  assert_int_equal(rig_again(&self), 0);
  assert_file(*state, "a.log", "one\n");
  rig_kill(&self);
}

/* More values than there may be outputs: those that are idle make room, and are known again when they come back. */
static void test_memory_is_bounded_whatever_the_values(void **state) {
  rig self;
  assert_int_equal(rig_open(&self, *state, "{s}.log", true), 0);
  self.set.most = 3;
  assert_int_equal(rig_write(&self, "{\"s\":\"a\"}\n{\"s\":\"b\"}\n{\"s\":\"c\"}\n"), 0);
  assert_int_equal(rig_commit(&self), 0);
  assert_int_equal(rig_write(&self, "{\"s\":\"d\"}\n{\"s\":\"e\"}\n{\"s\":\"a\",\"n\":2}\n"), 0);
  assert_file(*state, "_overflow.log", "{\"s\":\"d\"}\n{\"s\":\"e\"}\n");
  assert_int_equal(rig_count(&self, LC_COUNT_overflowed), 2);
  assert_int_equal(rig_commit(&self), 0);
  self.now_ns += 3700 * LC_SECOND;
  assert_int_equal(rig_write(&self, "{\"s\":\"f\"}\n"), 0);
  assert_file(*state, "f.log", "{\"s\":\"f\"}\n");
  assert_int_equal(atomic_load(&self.set.n), 1);
  assert_int_equal(rig_commit(&self), 0);
  assert_int_equal(rig_write(&self, "{\"s\":\"b\",\"n\":2}\n"), 0); /* not in memory any more, but ours */
  assert_int_equal(rig_count(&self, LC_COUNT_adopted), 0);
  assert_file(*state, "b.log", "{\"s\":\"b\"}\n{\"s\":\"b\",\"n\":2}\n");
  rig_kill(&self); /* before that was saved */
  assert_int_equal(rig_open(&self, *state, "{s}.log", true), 0);
  assert_file(*state, "b.log", "{\"s\":\"b\"}\n");
  assert_file(*state, "a.log", "{\"s\":\"a\"}\n{\"s\":\"a\",\"n\":2}\n");
  assert_int_equal(atomic_load(&self.set.n), 5);
  rig_kill(&self);
}

/* A close that fails is counted and said, and the sink goes on. */
static void test_a_failed_close_is_reported(void **state) {
  rig self;
  assert_int_equal(rig_open(&self, *state, "{s}.log", true), 0);
  self.set.max_open = 1;
  assert_int_equal(rig_write(&self, "{\"s\":\"a\"}\n"), 0);
  assert_int_equal(close(self.set.newest->fd), 0); /* so that ours fails */
  assert_int_equal(rig_write(&self, "{\"s\":\"b\"}\n"), 0);
  assert_int_equal(rig_count(&self, LC_COUNT_close_failures), 1);
  assert_int_equal(rig_write(&self, "{\"s\":\"a\"}\n"), 0);
  assert_file(*state, "a.log", "{\"s\":\"a\"}\n{\"s\":\"a\"}\n");
  rig_kill(&self);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_appends_lines_as_they_came),
      lc_test_case(test_sorts_records_into_outputs),
      lc_test_case(test_keeps_few_files_open),
      lc_test_case(test_skips_what_the_sink_has),
      lc_test_case(test_goes_on_inside_a_line_after_a_full_disk),
      lc_test_case(test_a_half_written_delivery_is_not_saved),
      lc_test_case(test_begins_anew_when_the_file_was_removed),
      lc_test_case(test_follows_a_file_that_was_renamed),
      lc_test_case(test_never_pads_a_file_that_somebody_cut),
      lc_test_case(test_adopts_what_was_there),
      lc_test_case(test_an_output_has_one_owner),
      lc_test_case(test_refuses_what_logcap_writes_already),
      lc_test_case(test_does_not_follow_links_nor_write_pipes),
      lc_test_case(test_pauses_below_min_free),
      lc_test_case(test_memory_is_bounded_whatever_the_values),
      lc_test_case(test_a_failed_close_is_reported),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
