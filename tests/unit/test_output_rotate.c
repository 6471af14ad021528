/* Rotation, compression and retention of outputs, and dying in the middle of each. */
#include <dirent.h>
#include <zlib.h>
#include <zstd.h>

#include "support/outputs.h"

/* The names in the test's folder that begin with `prefix`, sorted; returns how many, at most `max`. */
static int list(lc_test *test, const char *prefix, char names[][128], int max) {
  struct dirent **entries;
  int n = scandir(test->dir, &entries, NULL, alphasort), found = 0;
  assert_true(n >= 0);
  for (int i = 0; i < n; i++) {
    if (strncmp(entries[i]->d_name, prefix, strlen(prefix)) == 0 && found < max) {
      (void)snprintf(names[found++], 128, "%.127s", entries[i]->d_name);
    }
    free(entries[i]);
  }
  free(entries);
  return found;
}

static void test_rotates_at_the_line_that_reaches_the_size(void **state) {
  rig self;
  char names[8][128];
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  self.writing.rotation.size = 10;
  assert_int_equal(rig_write(&self, "111\n222\n333\n444\n555\n666\n777\n"), 0);
  assert_int_equal(list(*state, "a.log", names, 8), 3);
  assert_file(*state, "a.log", "777\n");
  assert_file(*state, names[1], "111\n222\n333\n");
  assert_file(*state, names[2], "444\n555\n666\n");
  assert_non_null(strstr(names[1], "T"));
  assert_int_equal(rig_count(&self, LC_COUNT_rotated), 2);
  rig_kill(&self); /* nothing was committed: all of it will be written again */
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  assert_file(*state, "a.log", "");
  assert_file(*state, names[1], "");
  assert_file(*state, names[2], "");
  rig_kill(&self);
}

static void test_rotates_interleaved_outputs(void **state) {
  rig self;
  char names[8][128];
  assert_int_equal(rig_open(&self, *state, "{s}.log", true), 0);
  self.writing.rotation.size = 16;
  assert_int_equal(rig_write(&self, "{\"s\":\"a\"}\n{\"s\":\"b\"}\n{\"s\":\"a\"}\n{\"s\":\"b\"}\n{\"s\":\"a\"}\n"), 0);
  assert_int_equal(list(*state, "a.log", names, 8), 2);
  assert_file(*state, names[0], "{\"s\":\"a\"}\n");
  assert_file(*state, names[1], "{\"s\":\"a\"}\n{\"s\":\"a\"}\n");
  assert_int_equal(rig_commit(&self), 0);
  rig_kill(&self);
  assert_int_equal(rig_open(&self, *state, "{s}.log", true), 0);
  assert_file(*state, names[1], "{\"s\":\"a\"}\n{\"s\":\"a\"}\n");
  assert_int_equal(atomic_load(&self.set.n_closed), 1);
  assert_int_equal(atomic_load(&self.set.n), 2);
  rig_kill(&self);
}

static void test_rotates_by_age(void **state) {
  rig self;
  char names[8][128];
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  self.writing.rotation.age_ns = 60 * LC_SECOND;
  assert_int_equal(rig_write(&self, "old\n"), 0);
  assert_int_equal(rig_commit(&self), 0);
  lc_rotation_turn_aged(&self.writing.rotation, &self.set, self.now_ns + 59 * LC_SECOND);
  assert_int_equal(rig_count(&self, LC_COUNT_rotated), 0);
  lc_rotation_turn_aged(&self.writing.rotation, &self.set, self.now_ns + 61 * LC_SECOND);
  assert_int_equal(rig_count(&self, LC_COUNT_rotated), 1);
  assert_int_equal(list(*state, "a.log", names, 8), 1);
  assert_file(*state, names[0], "old\n");
  assert_int_equal(rig_write(&self, "new\n"), 0);
  self.now_ns += 3600 * LC_SECOND;
  assert_int_equal(rig_write(&self, "newer\n"), 0);
  assert_file(*state, "a.log", "newer\n");
  lc_rotation_turn_aged(&self.writing.rotation, &self.set, self.now_ns - 2 * 3600 * LC_SECOND); /* the clock is set back */
  assert_int_equal(rig_count(&self, LC_COUNT_rotated), 3);
  rig_kill(&self);
}

/* A name so long that the rotated one does not fit. */
static void test_writes_on_when_a_rename_fails(void **state) {
  rig self;
  char long_name[241], path[512];
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  self.writing.rotation.size = 4;
  assert_int_equal(rig_write(&self, "111\n"), 0);
  lc_output *output = self.set.newest;
  memset(long_name, 'n', 240);
  long_name[240] = '\0';
  (void)snprintf(path, sizeof path, "%s", lc_test_path(*state, long_name));
  assert_int_equal(rename(output->path, path), 0);
  char *short_path = output->path;
  output->path = path;
  lc_rotation_turn(&self.writing.rotation, &self.set, &output, self.now_ns);
  output->path = short_path;
  assert_int_equal(rig_count(&self, LC_COUNT_rename_failures), 1);
  assert_int_equal(rig_count(&self, LC_COUNT_rotated), 0);
  assert_ptr_equal(output, self.set.newest);
  assert_false(lc_rotation_due(&self.writing.rotation, output, self.now_ns + LC_SECOND));
  assert_true(lc_rotation_due(&self.writing.rotation, output, self.now_ns + 11 * LC_SECOND));
  rig_kill(&self);
}

/* Unpacks a file of the test's folder; free it. */
static char *unpack(lc_test *test, const char *name, lc_file_compression kind) {
  size_t len;
  char *bytes = lc_test_read(test, name, &len), *text = calloc(1, 1 << 20);
  if (kind == LC_FILE_ZSTD) {
    assert_false(ZSTD_isError(ZSTD_decompress(text, (1 << 20) - 1, bytes, len)));
  } else {
    z_stream stream = {.next_in = (Bytef *)bytes, .avail_in = (uInt)len, .next_out = (Bytef *)text,
                       .avail_out = (1 << 20) - 1};
    assert_int_equal(inflateInit2(&stream, 15 + 16), Z_OK);
    assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
    assert_int_equal(inflateEnd(&stream), Z_OK);
  }
  free(bytes);
  return text;
}

static void rotate_once(rig *self, lc_test *test) {
  assert_int_equal(rig_open(self, test, "a.log", true), 0);
  self->writing.rotation.size = 8;
  assert_int_equal(rig_write(self, "one\ntwo\nthree\n"), 0);
}

static void test_renames_nothing_before_its_row_is_saved(void **state) {
  rig self;
  char names[8][128];
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  self.writing.rotation.size = 8;
  assert_int_equal(rig_write(&self, "111\n"), 0);
  assert_int_equal(rename(lc_test_path(*state, "positions.db"), lc_test_path(*state, "aside")), 0);
  assert_int_equal(rig_write(&self, "222\n333\n"), 0);
  assert_int_equal(list(*state, "a.log", names, 8), 1); /* written on */
  assert_int_equal(rename(lc_test_path(*state, "aside"), lc_test_path(*state, "positions.db")), 0);
  rig_kill(&self);
}

static void test_compresses_only_what_is_committed(void **state) {
  for (lc_file_compression kind = LC_FILE_GZIP; kind <= LC_FILE_ZSTD; kind++) {
    rig self;
    char names[8][128];
    const lc_pack_rules rules = {.kind = kind, .mode = 0640};
    rotate_once(&self, *state);
    assert_int_equal(lc_output_pack_next(&self.set, &rules, NULL, NULL, &self.error), LC_ENOENT);
    lc_output_set_publish(&self.set);
    assert_int_equal(lc_output_pack_next(&self.set, &rules, NULL, NULL, &self.error), LC_ENOENT);
    assert_int_equal(rig_commit(&self), 0);
    assert_true(lc_output_pack_waits(&self.set));
    assert_int_equal(lc_output_pack_next(&self.set, &rules, NULL, NULL, &self.error), 0);
    assert_int_equal(lc_output_pack_next(&self.set, &rules, NULL, NULL, &self.error), LC_ENOENT);
    assert_int_equal(list(*state, "a.log", names, 8), 2);
    char *text = unpack(*state, names[1], kind);
    assert_string_equal(text, "one\ntwo\n");
    free(text);
    struct stat st;
    assert_int_equal(stat(lc_test_path(*state, names[1]), &st), 0);
    assert_true(lc_inodes_has(self.own, st.st_dev, st.st_ino));
    rig_kill(&self);
    assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
    assert_true(lc_inodes_has(self.own, st.st_dev, st.st_ino));
    assert_int_equal(atomic_load(&self.set.n_closed), 1);
    assert_false(lc_output_pack_waits(&self.set));
    rig_kill(&self);
    assert_int_equal(unlink(lc_test_path(*state, names[1])), 0);
    assert_int_equal(unlink(lc_test_path(*state, "a.log")), 0);
  }
}

/* A compression that stops at its first question stands for a kill while the temporary file is there. */
static bool stop_at_once(void *arg) {
  (void)arg;
  return true;
}

static void test_a_stopped_compression_leaves_nothing(void **state) {
  rig self;
  char names[8][128];
  rotate_once(&self, *state);
  assert_int_equal(rig_commit(&self), 0);
  const lc_pack_rules rules = {.kind = LC_FILE_ZSTD, .mode = 0640};
  assert_int_equal(lc_output_pack_next(&self.set, &rules, stop_at_once, NULL, &self.error), LC_ECANCELED);
  assert_int_equal(list(*state, "a.log", names, 8), 2);
  assert_file(*state, names[1], "one\ntwo\n");
  assert_true(lc_output_pack_waits(&self.set));
  rig_kill(&self);
}

/* What the store and the disk show when the process dies behind the given step of a compression. */
static void test_an_interrupted_compression_is_mended(void **state) {
  for (int renamed = 0; renamed < 2; renamed++) {
    rig self;
    char names[8][128], temporary[512], final[512];
    rotate_once(&self, *state);
    assert_int_equal(rig_commit(&self), 0);
    assert_int_equal(list(*state, "a.log", names, 8), 2);
    (void)snprintf(final, sizeof final, "%s/%s.zst", self.test->dir, names[1]);
    (void)snprintf(temporary, sizeof temporary, "%.400s" LC_PACK_TEMPORARY, final);
    FILE *file = fopen(renamed ? final : temporary, "w");
    assert_int_equal(fputs("packed", file) >= 0, 1);
    assert_int_equal(fclose(file), 0);
    lc_file_id id;
    assert_int_equal(lc_file_id_of(renamed ? final : temporary, &id, NULL), 0);
    lc_stored_output row = {.id = lc_store_new_output_id(self.store), .sink_id = self.set.sink_id, .path = temporary,
                            .pending = final, .inode = id.inode, .birth_ns = id.birth_ns, .closed = true};
    lc_changes changes = {0};
    assert_int_equal(lc_changes_output(&changes, &row, true), 0);
    assert_int_equal(lc_store_apply(self.store, &changes, LC_STORE_NORMAL, NULL), 0);
    lc_changes_free(&changes);
    rig_kill(&self);

    assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
    char after[8][128];
    assert_int_equal(list(*state, "a.log", after, 8), 2);
    if (renamed) {
      assert_non_null(strstr(after[1], ".zst"));
      assert_file(*state, after[1], "packed"); /* never cut, whatever length the row had */
      assert_false(lc_output_pack_waits(&self.set));
    } else {
      assert_string_equal(after[1], names[1]);
      assert_true(lc_output_pack_waits(&self.set));
    }
    rig_kill(&self);
    assert_int_equal(unlink(lc_test_path(*state, after[1])), 0);
    assert_int_equal(unlink(lc_test_path(*state, "a.log")), 0);
  }
}

static void test_knows_the_names_it_gave(void **state) {
  (void)state;
  assert_true(lc_rotation_gave("/o/a.log.20261123T221530-1"));
  assert_true(lc_rotation_gave("/o/a.log.20261123T221530-12.zst"));
  assert_true(lc_rotation_gave("/o/a.20261123T221530-1.gz"));
  assert_false(lc_rotation_gave("/o/a.log"));
  assert_false(lc_rotation_gave("/o/a.log.1"));
  assert_false(lc_rotation_gave("/o/a.log-20261123"));
  assert_false(lc_rotation_gave("/o/a.log.20261123T2215-1"));
  assert_false(lc_rotation_gave("-1"));
  assert_false(lc_rotation_gave(""));
}

/* What an operator renamed is his: known as ours to monitors, but neither compressed nor removed. */
static void test_leaves_what_others_renamed_alone(void **state) {
  rig self;
  assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  assert_int_equal(rig_write(&self, "one\n"), 0);
  assert_int_equal(rename(lc_test_path(*state, "a.log"), lc_test_path(*state, "a.log.1")), 0);
  assert_int_equal(rig_write(&self, "two\n"), 0);
  assert_int_equal(rig_commit(&self), 0);
  for (int run = 0; run < 2; run++) {
    assert_int_equal(atomic_load(&self.set.n_closed), 1);
    assert_false(lc_output_pack_waits(&self.set));
    lc_retention_apply(&(lc_retention){.age_ns = 1}, &self.set, false, lc_clock_wall() + LC_SECOND);
    assert_file(*state, "a.log.1", "one\n");
    rig_kill(&self);
    if (run == 0) assert_int_equal(rig_open(&self, *state, "a.log", true), 0);
  }
}

static void make_finished(rig *self, lc_test *test, int n) {
  assert_int_equal(rig_open(self, test, "a.log", true), 0);
  self->writing.rotation.size = 4;
  for (int i = 0; i <= n; i++) {
    char line[16];
    (void)snprintf(line, sizeof line, "%03d\n", i);
    assert_int_equal(rig_write(self, line), 0);
  }
  assert_int_equal(rig_commit(self), 0);
}

static void test_retains_by_count_size_and_age(void **state) {
  const lc_retention limits[] = {{.files = 2}, {.size = 8}, {.age_ns = 10 * LC_SECOND}};
  const int left[] = {2, 2, 0};
  for (size_t i = 0; i < 3; i++) {
    rig self;
    char names[16][128];
    make_finished(&self, *state, 5);
    lc_test_write(*state, "a.log.20200101T000000-1", "theirs", 6);
    lc_retention_apply(&limits[i], &self.set, false, lc_clock_wall() + (i == 2 ? 11 * LC_SECOND : 0));
    assert_int_equal(list(*state, "a.log", names, 16), 2 + left[i]);
    assert_file(*state, "a.log.20200101T000000-1", "theirs"); /* not ours */
    if (left[i] > 0) assert_file(*state, names[3], "004\n");
    assert_int_equal(rig_count(&self, LC_COUNT_removed), 5 - left[i]);
    assert_int_equal(atomic_load(&self.set.n_closed), left[i]);
    lc_output_set_publish(&self.set);
    rig_kill(&self);
    assert_int_equal(rig_open(&self, *state, "a.log", true), 0); /* and their rows are gone */
    assert_int_equal(rig_count(&self, LC_COUNT_lost), 0);
    rig_kill(&self);
    for (int j = 0; j < 2 + left[i]; j++) assert_int_equal(unlink(lc_test_path(*state, names[j])), 0);
  }
}

static void test_retention_leaves_another_file_of_the_name_alone(void **state) {
  rig self;
  char names[8][128];
  make_finished(&self, *state, 1);
  assert_int_equal(list(*state, "a.log", names, 8), 2);
  lc_test_write(*state, "x", "theirs", 6);
  char path[4096];
  (void)snprintf(path, sizeof path, "%s", lc_test_path(*state, names[1]));
  assert_int_equal(rename(lc_test_path(*state, "x"), path), 0);
  const lc_retention limits = {.age_ns = 1};
  lc_retention_apply(&limits, &self.set, false, lc_clock_wall() + LC_SECOND);
  assert_file(*state, names[1], "theirs");
  assert_int_equal(rig_count(&self, LC_COUNT_removed), 0);
  rig_kill(&self);
}

static void test_retains_files_of_a_dated_path(void **state) {
  rig self;
  assert_int_equal(rig_open(&self, *state, "%Y%m%d.log", true), 0);
  self.now_ns = 3 * 86400 * LC_SECOND;
  assert_int_equal(rig_write(&self, "old\n"), 0);
  self.now_ns += 86400 * LC_SECOND;
  assert_int_equal(rig_write(&self, "new\n"), 0);
  assert_int_equal(rig_commit(&self), 0);
  const lc_retention limits = {.age_ns = 7200 * LC_SECOND};
  lc_retention_apply(&limits, &self.set, false, self.now_ns);
  assert_false(is_there(*state, "19700104.log"));
  assert_true(is_there(*state, "19700105.log"));
  lc_output_set_publish(&self.set);
  rig_kill(&self);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_rotates_at_the_line_that_reaches_the_size),
      lc_test_case(test_rotates_interleaved_outputs),
      lc_test_case(test_rotates_by_age),
      lc_test_case(test_writes_on_when_a_rename_fails),
      lc_test_case(test_renames_nothing_before_its_row_is_saved),
      lc_test_case(test_compresses_only_what_is_committed),
      lc_test_case(test_a_stopped_compression_leaves_nothing),
      lc_test_case(test_an_interrupted_compression_is_mended),
      lc_test_case(test_knows_the_names_it_gave),
      lc_test_case(test_leaves_what_others_renamed_alone),
      lc_test_case(test_retains_by_count_size_and_age),
      lc_test_case(test_retention_leaves_another_file_of_the_name_alone),
      lc_test_case(test_retains_files_of_a_dated_path),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
