/* The state directory: found, made, owned by one process. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/state_dir.h"
#include "support/support.h"

static void expect_resolved(const char *option, const char *expected) {
  lc_buf path = {0};
  lc_error error = {0};
  assert_int_equal(lc_state_dir_resolve(option, &path, &error), 0);
  assert_string_equal(lc_buf_cstr(&path), expected);
  lc_buf_free(&path);
}

static void test_resolve(void **state) {
  lc_test *test = *state;
  char here[4096], expected[4200];
  assert_non_null(getcwd(here, sizeof here));
  snprintf(expected, sizeof expected, "%s/rel", here);
  unsetenv("LOGCAP_STATE_DIR");
  expect_resolved("/a/b//", "/a/b");
  expect_resolved("rel", expected);
  if (geteuid() == 0) {
    expect_resolved(NULL, "/var/lib/logcap");
    assert_int_equal(seteuid(65534), 0);
  }
  setenv("XDG_STATE_HOME", "/x", 1);
  expect_resolved(NULL, "/x/logcap");
  setenv("XDG_STATE_HOME", "relative", 1);
  setenv("HOME", "/h", 1);
  expect_resolved(NULL, "/h/.local/state/logcap");
  unsetenv("XDG_STATE_HOME");
  expect_resolved(NULL, "/h/.local/state/logcap");
  if (getuid() == 0) assert_int_equal(seteuid(0), 0);
  setenv("LOGCAP_STATE_DIR", "/env", 1);
  expect_resolved(NULL, "/env");
  expect_resolved("/opt", "/opt");
  unsetenv("LOGCAP_STATE_DIR");
  lc_buf path = {0};
  lc_error error = {0};
  assert_int_equal(lc_state_dir_resolve("", &path, &error), LC_EINVAL);
  assert_int_equal(path.len, 0);
  lc_buf_free(&path);
  (void)test;
}

static void test_create_and_lock(void **state) {
  lc_test *test = *state;
  const char *dir = lc_test_path(test, "deep/state");
  lc_state_dir *first = NULL, *second = NULL;
  lc_error error = {0};
  assert_int_equal(lc_state_dir_open(dir, LC_STATE_EXISTING, &first, &error), LC_ENOENT);
  assert_int_equal(lc_state_dir_owner(dir), 0);
  assert_int_equal(lc_state_dir_open(dir, LC_STATE_CREATE, &first, &error), 0);
  assert_string_equal(lc_state_dir_path(first), dir);
  struct stat st;
  assert_int_equal(stat(dir, &st), 0);
  assert_int_equal(st.st_mode & 07777, 0700);
  assert_int_equal(lc_state_dir_owner(dir), getpid());

  char pid[32];
  snprintf(pid, sizeof pid, "(pid %ld)", (long)getpid());
  assert_int_equal(lc_state_dir_open(dir, LC_STATE_CREATE, &second, &error), LC_EBUSY);
  assert_non_null(strstr(error.message, pid));
  assert_non_null(strstr(error.message, dir));
  assert_non_null(strstr(error.message, "--state-dir"));

  lc_inodes *own = NULL;
  assert_int_equal(lc_inodes_create(&own, NULL), 0);
  assert_int_equal(lc_state_dir_register(first, own, &error), 0);
  assert_int_equal(stat(lc_test_path(test, "deep/state/lock"), &st), 0);
  assert_true(lc_inodes_has(own, st.st_dev, st.st_ino));
  lc_inodes_destroy(own);

  lc_state_dir_close(first);
  lc_state_dir_close(NULL);
  assert_int_equal(lc_state_dir_owner(dir), 0);
  assert_int_equal(lc_state_dir_open(dir, LC_STATE_EXISTING, &second, &error), 0);
  lc_state_dir_close(second);
}

/* The lock dies with its process, however it dies. */
static void test_killed_owner(void **state) {
  lc_test *test = *state;
  const char *dir = lc_test_path(test, "state");
  lc_state_dir *mine = NULL;
  lc_error error = {0};
  int ready[2];
  assert_int_equal(pipe(ready), 0);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    lc_state_dir *theirs = NULL;
    if (lc_state_dir_open(dir, LC_STATE_CREATE, &theirs, NULL) != 0) _exit(1);
    if (write(ready[1], "x", 1) != 1) _exit(1);
    for (;;) pause();
  }
  char c;
  assert_int_equal(read(ready[0], &c, 1), 1);
  assert_int_equal(lc_state_dir_open(dir, LC_STATE_CREATE, &mine, &error), LC_EBUSY);
  assert_int_equal(lc_state_dir_owner(dir), child);
  assert_int_equal(kill(child, SIGKILL), 0);
  assert_int_equal(waitpid(child, NULL, 0), child);
  assert_int_equal(lc_state_dir_open(dir, LC_STATE_CREATE, &mine, &error), 0);
  assert_int_equal(lc_state_dir_owner(dir), getpid());
  lc_state_dir_close(mine);
  close(ready[0]);
  close(ready[1]);
}

static void test_refused(void **state) {
  lc_test *test = *state;
  const char *dir = lc_test_path(test, "state");
  lc_state_dir *opened = NULL;
  lc_error error = {0};
  assert_int_equal(mkdir(dir, 0700), 0);
  assert_int_equal(chmod(dir, 0777), 0);
  assert_int_equal(lc_state_dir_open(dir, LC_STATE_CREATE, &opened, &error), LC_EINVAL);
  assert_non_null(strstr(error.message, "chmod 700"));
  assert_int_equal(chmod(dir, 0755), 0);
  if (geteuid() == 0) {
    assert_int_equal(chown(dir, 65534, 65534), 0);
    assert_int_equal(lc_state_dir_open(dir, LC_STATE_CREATE, &opened, &error), LC_EINVAL);
    assert_non_null(strstr(error.message, "65534"));
    assert_int_equal(chown(dir, 0, 0), 0);
  }
  assert_int_equal(symlink("/etc/hostname", lc_test_path(test, "state/lock")), 0);
  assert_int_equal(lc_state_dir_open(dir, LC_STATE_CREATE, &opened, &error), LC_ESYS);
  assert_int_equal(error.sys, ELOOP);
  lc_test_write(test, "file", "", 0);
  assert_int_equal(lc_state_dir_open(lc_test_path(test, "file"), LC_STATE_CREATE, &opened, &error), LC_ESYS);
  assert_null(opened);
}

static void test_no_memory(void **state) {
  lc_test *test = *state;
  lc_state_dir *opened = NULL;
  for (unsigned n = 1;; n++) {
    lc_fault_after(n);
    int rc = lc_state_dir_open(lc_test_path(test, "s"), LC_STATE_CREATE, &opened, NULL);
    if (!lc_fault_off()) break;
    assert_int_equal(rc, LC_ENOMEM);
  }
  lc_state_dir_close(opened);
}

int main(void) {
  const struct CMUnitTest tests[] = {lc_test_case(test_resolve), lc_test_case(test_create_and_lock),
                                     lc_test_case(test_killed_owner), lc_test_case(test_refused),
                                     lc_test_case(test_no_memory)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
