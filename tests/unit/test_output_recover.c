/* What a new process makes of what an earlier one left: the matrix of cut, kept, shorter, renamed, missing. */
#include "support/outputs.h"

/* Writes "saved\n", commits, writes "unsaved\n" and dies. */
static void leave(lc_test *test, rig *self) {
  assert_int_equal(rig_open(self, test, "a.log", true), 0);
  assert_int_equal(rig_write(self, "saved\n"), 0);
  assert_int_equal(rig_commit(self), 0);
  assert_int_equal(rig_write(self, "unsaved\n"), 0);
  rig_kill(self);
}

static void test_cuts_what_will_be_written_again(void **state) {
  rig self;
  leave(*state, &self);
  assert_file(*state, "a.log", "saved\nunsaved\n");
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  assert_file(*state, "a.log", "saved\n");
  assert_int_equal(rig_count(&self, LC_COUNT_cut), 1);
  assert_int_equal(rig_count(&self, LC_COUNT_cut_bytes), 8);
  assert_int_equal(rig_write(&self, "unsaved\n"), 0);
  assert_file(*state, "a.log", "saved\nunsaved\n");
  rig_kill(&self);
}

static void test_keeps_what_cannot_be_read_again(void **state) {
  rig self;
  leave(*state, &self);
  assert_int_equal(rig_open(&self, *state, "a.log", false), 0);
  assert_file(*state, "a.log", "saved\nunsaved\n");
  assert_int_equal(rig_count(&self, LC_COUNT_possible_duplicates), 1);
  rig_kill(&self);
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0); /* it was accepted for good */
  assert_file(*state, "a.log", "saved\nunsaved\n");
  assert_int_equal(rig_count(&self, LC_COUNT_possible_duplicates), 0);
  rig_kill(&self);
}

static void test_keeps_a_tail_when_the_bytes_before_it_changed(void **state) {
  rig self;
  leave(*state, &self);
  FILE *file = fopen(lc_test_path(*state, "a.log"), "r+");
  assert_int_equal(fputc('S', file), 'S');
  assert_int_equal(fclose(file), 0);
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  assert_file(*state, "a.log", "Saved\nunsaved\n");
  assert_int_equal(rig_count(&self, LC_COUNT_possible_duplicates), 1);
  rig_kill(&self);
}

static void test_leaves_another_file_of_the_same_name_alone(void **state) {
  rig self;
  leave(*state, &self);
  lc_test_write(*state, "b", "saved\nunsaved\n", 14);
  assert_int_equal(rename(lc_test_path(*state, "b"), lc_test_path(*state, "a.log")), 0);
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  assert_file(*state, "a.log", "saved\nunsaved\n");
  assert_int_equal(rig_count(&self, LC_COUNT_lost), 1);
  assert_int_equal(rig_write(&self, "more\n"), 0);
  assert_file(*state, "a.log", "saved\nunsaved\nmore\n");
  rig_kill(&self);
}

static void test_goes_on_at_the_end_of_a_shorter_file(void **state) {
  rig self;
  leave(*state, &self);
  assert_int_equal(truncate(lc_test_path(*state, "a.log"), 3), 0);
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  assert_int_equal(rig_count(&self, LC_COUNT_shorter), 1);
  assert_file(*state, "a.log", "sav");
  assert_int_equal(rig_write(&self, "more\n"), 0);
  assert_file(*state, "a.log", "sav\nmore\n");
  assert_int_equal(rig_commit(&self), 0);
  rig_kill(&self);
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  assert_int_equal(rig_count(&self, LC_COUNT_shorter), 0);
  assert_file(*state, "a.log", "sav\nmore\n");
  rig_kill(&self);
}

static void test_finds_a_renamed_file_and_cuts_it(void **state) {
  rig self;
  leave(*state, &self);
  assert_int_equal(rename(lc_test_path(*state, "a.log"), lc_test_path(*state, "old")), 0);
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  assert_file(*state, "old", "saved\n");
  assert_int_equal(rig_write(&self, "unsaved\n"), 0);
  assert_file(*state, "a.log", "unsaved\n");
  rig_kill(&self);
}

static void test_forgets_what_is_gone(void **state) {
  rig self;
  leave(*state, &self);
  assert_int_equal(unlink(lc_test_path(*state, "a.log")), 0);
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  assert_int_equal(rig_count(&self, LC_COUNT_lost), 1);
  assert_false(is_there(*state, "a.log"));
  rig_kill(&self);
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  assert_int_equal(rig_count(&self, LC_COUNT_lost), 0);
  rig_kill(&self);
}

static void test_a_new_file_is_cut_to_nothing(void **state) {
  rig self;
  assert_int_equal(rig_open(&self, *state, "{s}.log", true), 0);
  assert_int_equal(rig_write(&self, "{\"s\":\"new\"}\n"), 0);
  rig_kill(&self);
  assert_int_equal(rig_open(&self, *state, "{s}.log", true), 0);
  assert_file(*state, "new.log", "");
  rig_kill(&self);
}

/* The row of a rotation says where the file is whether or not the rename came about. */
static void test_finds_a_file_under_its_pending_name(void **state) {
  for (int renamed = 0; renamed < 2; renamed++) {
    rig self;
    leave(*state, &self);
    assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
    assert_int_equal(rig_write(&self, "unsaved\n"), 0);
    lc_output *output = lc_output_set_find(&self.set, lc_test_path(*state, "a.log"), strlen(lc_test_path(*state, "a.log")));
    lc_stored_output row = lc_output_row(output, self.set.sink_id);
    char pending[4096];
    (void)snprintf(pending, sizeof pending, "%s/sub-%d", self.test->dir, renamed);
    row.pending = pending;
    lc_changes changes = {0};
    assert_int_equal(lc_changes_output(&changes, &row, false), 0);
    assert_int_equal(lc_store_apply(self.store, &changes, LC_STORE_NORMAL, NULL), 0);
    lc_changes_free(&changes);
    rig_kill(&self);
    if (renamed) assert_int_equal(rename(lc_test_path(*state, "a.log"), pending), 0);
    assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
    assert_file(*state, renamed ? "sub-1" : "a.log", "saved\n");
    assert_int_equal(atomic_load(&self.set.n_closed), renamed);
    assert_int_equal(rig_write(&self, "unsaved\n"), 0);
    assert_file(*state, "a.log", renamed ? "unsaved\n" : "saved\nunsaved\n");
    rig_kill(&self);
    (void)unlink(lc_test_path(*state, "a.log"));
  }
}

static void test_knows_all_its_files_by_inode(void **state) {
  rig self;
  leave(*state, &self);
  struct stat st;
  assert_int_equal(stat(lc_test_path(*state, "a.log"), &st), 0);
  assert_int_equal(rig_open(&self, *state, "b.log", true), 0);
  assert_true(lc_inodes_has(self.own, st.st_dev, st.st_ino));
  rig_kill(&self);
}

/* A half line that cannot be written again is ended, so that the next line stands alone; also after another death. */
static void test_ends_a_half_line(void **state) {
  rig self;
  lc_test_write(*state, "a.log", "theirs, half", 12);
  for (int run = 0; run < 2; run++) {
    assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
    assert_int_equal(rig_write(&self, "ours\n"), 0);
    assert_int_equal(rig_write(&self, "more\n"), 0);
    assert_file(*state, "a.log", "theirs, half\nours\nmore\n");
    rig_kill(&self);
  }
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  assert_file(*state, "a.log", "theirs, half");
  rig_kill(&self);
}

/* The folder of an output is away for a while: nothing is forgotten, and what was not saved is cut when it is back. */
static void test_a_folder_that_comes_back(void **state) {
  for (int late = 0; late < 2; late++) { /* back at the next start, or while the sink runs */
    rig self;
    assert_int_equal(rig_open(&self, *state, "out/a.log", true), 0);
    assert_int_equal(rig_write(&self, "saved\n"), 0);
    assert_int_equal(rig_commit(&self), 0);
    assert_int_equal(rig_write(&self, "unsaved\n"), 0);
    rig_kill(&self);
    assert_int_equal(rename(lc_test_path(*state, "out"), lc_test_path(*state, "aside")), 0);
    lc_test_write(*state, "out", "in the way", 10);

    assert_int_equal(rig_open(&self, *state, "out/a.log", true), 0);
    assert_int_equal(rig_write(&self, "unsaved\n"), LC_ESYS);
    if (!late) rig_kill(&self);
    assert_int_equal(unlink(lc_test_path(*state, "out")), 0);
    assert_int_equal(rename(lc_test_path(*state, "aside"), lc_test_path(*state, "out")), 0);
    if (!late) {
      assert_int_equal(rig_open(&self, *state, "out/a.log", true), 0);
      assert_file(*state, "out/a.log", "saved\n");
      assert_int_equal(rig_write(&self, "unsaved\n"), 0);
    } else {
      assert_int_equal(rig_again(&self), 0);
    }
    assert_file(*state, "out/a.log", "saved\nunsaved\n");
    rig_kill(&self);
    assert_int_equal(lc_remove_tree(lc_test_path(*state, "out")), 0);
  }
}

/* Moved away, begun anew, and moved back: the file has two rows, and the later one counts. */
static void test_a_file_that_was_taken_for_a_new_one(void **state) {
  rig self;
  assert_int_equal(mkdir(lc_test_path(*state, "far"), 0700), 0);
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  assert_int_equal(rig_write(&self, "one\n"), 0);
  assert_int_equal(rig_commit(&self), 0);
  assert_int_equal(rename(lc_test_path(*state, "a.log"), lc_test_path(*state, "far/a.log")), 0);
  assert_int_equal(rig_write(&self, "two\n"), 0);
  assert_int_equal(rig_commit(&self), 0);
  assert_int_equal(rename(lc_test_path(*state, "far/a.log"), lc_test_path(*state, "a.log")), 0);
  assert_int_equal(rig_write(&self, "three\n"), 0);
  assert_int_equal(rig_commit(&self), 0);
  rig_kill(&self);
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  assert_file(*state, "a.log", "one\nthree\n");
  rig_kill(&self);
}

static void test_memory_shortage_loses_nothing(void **state) {
  for (unsigned n = 1;; n++) {
    rig self;
    leave(*state, &self);
    assert_int_equal(rig_open(&self, *state, "b.log", true), 0);
    rig_kill(&self);
    leave(*state, &self);
    assert_int_equal(rig_open(&self, *state, "b.log", false), 0);
    lc_output_set_deinit(&self.set);
    assert_int_equal(lc_output_set_init(&self.set, &self.error), 0);
    lc_fault_after(n);
    int rc = lc_outputs_recover(&self.set, true, &self.error);
    bool failed = lc_fault_off();
    if (failed) assert_int_equal(rc, LC_ENOMEM);
    rig_kill(&self);
    (void)unlink(lc_test_path(*state, "a.log"));
    if (!failed) break;
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_cuts_what_will_be_written_again),
      lc_test_case(test_keeps_what_cannot_be_read_again),
      lc_test_case(test_keeps_a_tail_when_the_bytes_before_it_changed),
      lc_test_case(test_leaves_another_file_of_the_same_name_alone),
      lc_test_case(test_goes_on_at_the_end_of_a_shorter_file),
      lc_test_case(test_finds_a_renamed_file_and_cuts_it),
      lc_test_case(test_forgets_what_is_gone),
      lc_test_case(test_a_new_file_is_cut_to_nothing),
      lc_test_case(test_finds_a_file_under_its_pending_name),
      lc_test_case(test_knows_all_its_files_by_inode),
      lc_test_case(test_ends_a_half_line),
      lc_test_case(test_a_folder_that_comes_back),
      lc_test_case(test_a_file_that_was_taken_for_a_new_one),
      lc_test_case(test_memory_shortage_loses_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
