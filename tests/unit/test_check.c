/* Assertions stop the process; the recoverable one says so and goes on in release builds. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "support/support.h"

/* Runs `body` in a child whose log goes to a file; returns its wait status. */
static int run_in_child(lc_test *test, void (*body)(void)) {
  FILE *file = fopen(lc_test_path(test, "log"), "w");
  assert_non_null(file);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    (void)signal(SIGABRT, SIG_DFL); /* not the test runner's, nor a sanitizer's */
    lc_log_setup(fileno(file), LC_LOG_INFO, LC_LOG_JSON);
    body();
    _exit(0);
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  (void)fclose(file);
  return status;
}

static void require_true(void) {
  lc_require(1 + 1 == 2);
}

static void require_false(void) {
  lc_require(1 + 1 == 3);
}

static void recover(void) {
  if (!lc_fails_assert(1 + 1 == 3)) _exit(1);
}

static void test_require(void **state) {
  lc_test *test = *state;
  assert_int_equal(run_in_child(test, require_true), 0);
  int status = run_in_child(test, require_false);
  assert_true(WIFSIGNALED(status));
  assert_int_equal(WTERMSIG(status), SIGABRT);
  char *line = lc_test_read(test, "log", NULL);
  assert_non_null(strstr(line, "\"what\":\"1 + 1 == 3\""));
  free(line);
}

static void test_recover(void **state) {
  int status = run_in_child(*state, recover);
#ifdef NDEBUG
  assert_int_equal(status, 0);
#else
  assert_true(WIFSIGNALED(status));
#endif
}

int main(void) {
  const struct CMUnitTest tests[] = {lc_test_case(test_require), lc_test_case(test_recover)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
