/* Files that must survive: replaced whole or not at all. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/durable.h"
#include "support/support.h"

static void expect_file(lc_test *test, const char *name, const char *expected) {
  size_t len = 0;
  char *bytes = lc_test_read(test, name, &len);
  assert_int_equal(len, strlen(expected));
  assert_memory_equal(bytes, expected, len);
  free(bytes);
}

static bool exists(lc_test *test, const char *name) {
  struct stat st;
  return lstat(lc_test_path(test, name), &st) == 0;
}

static void test_write_file(void **state) {
  lc_test *test = *state;
  const char *path = lc_test_path(test, "a");
  lc_error error = {0};
  assert_int_equal(lc_durable_write_file(path, "one", 3, 0600, &error), 0);
  expect_file(test, "a", "one");
  lc_test_write(test, "a.tmp", "left over from a kill", 21);
  assert_int_equal(lc_durable_write_file(path, "second", 6, 0600, &error), 0);
  expect_file(test, "a", "second");
  assert_false(exists(test, "a.tmp"));
  struct stat st;
  assert_int_equal(stat(lc_test_path(test, "a"), &st), 0);
  assert_int_equal(st.st_mode & 07777, 0600);
  assert_int_equal(lc_durable_write_file(lc_test_path(test, "none/a"), "x", 1, 0600, &error), LC_ENOENT);
  assert_non_null(strstr(error.message, "none/a"));
}

static void test_write_file_fails(void **state) {
  lc_test *test = *state;
  lc_error error = {0};
  assert_int_equal(mkdir(lc_test_path(test, "full"), 0700), 0);
  lc_test_write(test, "full/inside", "x", 1);
  assert_int_equal(lc_durable_write_file(lc_test_path(test, "full"), "x", 1, 0600, &error), LC_ESYS); /* a folder */
  assert_false(exists(test, "full.tmp"));
  assert_true(exists(test, "full/inside"));
}

static void test_rename(void **state) {
  lc_test *test = *state;
  lc_error error = {0};
  lc_test_write(test, "from", "x", 1);
  assert_int_equal(lc_durable_mkdir_parents(lc_test_path(test, "deep/er/to"), 0700, &error), 0);
  assert_int_equal(lc_durable_rename(lc_test_path(test, "from"), lc_test_path(test, "deep/er/to"), &error), 0);
  expect_file(test, "deep/er/to", "x");
  assert_int_equal(lc_durable_rename(lc_test_path(test, "from"), lc_test_path(test, "to"), &error), LC_ENOENT);
}

static void test_mkdirs(void **state) {
  lc_test *test = *state;
  lc_error error = {0};
  assert_int_equal(lc_durable_mkdirs(lc_test_path(test, "a/b//c/"), 0700, &error), 0);
  assert_int_equal(lc_durable_mkdirs(lc_test_path(test, "a/b/c"), 0700, &error), 0);
  struct stat st;
  assert_int_equal(stat(lc_test_path(test, "a/b/c"), &st), 0);
  assert_int_equal(st.st_mode & 07777, 0700);
  lc_test_write(test, "file", "", 0);
  assert_int_equal(lc_durable_mkdirs(lc_test_path(test, "file"), 0700, &error), LC_ESYS);
  assert_int_equal(lc_durable_mkdirs(lc_test_path(test, "file/below"), 0700, &error), LC_ESYS);
  assert_int_equal(error.sys, ENOTDIR);
  assert_int_equal(lc_durable_mkdirs("", 0700, &error), LC_EINVAL);
  assert_int_equal(lc_durable_mkdirs("/", 0700, &error), 0);
  assert_int_equal(lc_durable_sync_parent("bare_name", &error), 0);
  assert_int_equal(lc_durable_sync_parent("/x", &error), 0);
  assert_int_equal(lc_durable_sync_dir(lc_test_path(test, "none"), &error), LC_ENOENT);
}

static void test_read_file(void **state) {
  lc_test *test = *state;
  lc_error error = {0};
  lc_buf buf = {0};
  lc_buf_adds(&buf, ">");
  lc_test_write(test, "f", "12345", 5);
  assert_int_equal(lc_durable_read_file(lc_test_path(test, "f"), 4, &buf, &error), LC_ELIMIT);
  assert_int_equal(buf.len, 1); /* untouched */
  assert_int_equal(lc_durable_read_file(lc_test_path(test, "f"), 5, &buf, &error), 0);
  assert_string_equal(lc_buf_cstr(&buf), ">12345");
  assert_int_equal(lc_durable_read_file(lc_test_path(test, "g"), 5, &buf, &error), LC_ENOENT);
  lc_buf_free(&buf);
  lc_fault_from(1);
  int rc = lc_durable_read_file(lc_test_path(test, "f"), 5, &buf, &error);
  assert_true(lc_fault_off());
  assert_int_equal(rc, LC_ENOMEM);
  lc_buf_free(&buf);
}

static void test_write_all(void **state) {
  (void)state;
  lc_error error = {0};
  size_t written = 99;
  int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
  assert_true(full >= 0);
  assert_int_equal(lc_durable_write_all(full, "x", 1, &written, "/dev/full", &error), LC_ESYS);
  assert_int_equal(error.sys, ENOSPC);
  assert_int_equal(written, 0);
  close(full);
}

int main(void) {
  const struct CMUnitTest tests[] = {lc_test_case(test_write_file), lc_test_case(test_write_file_fails),
                                     lc_test_case(test_rename),     lc_test_case(test_mkdirs),
                                     lc_test_case(test_read_file),  lc_test_case(test_write_all)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
