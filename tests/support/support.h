/* What every unit test stands on: a folder of its own, a registry and a loop, and the check that nothing is left.
 *
 *     static void test_something(void **state) {
 *       lc_test *test = *state;
 *       lc_test_write(test, "in.log", "a\n", 2);
 *       ...
 *     }
 *     int main(void) {
 *       const struct CMUnitTest tests[] = {lc_test_case(test_something)};
 *       return cmocka_run_group_tests(tests, NULL, NULL);
 *     }
 *
 * After each test the registry must be empty, the loop closed and no descriptor open, or the test fails. */
#ifndef LC_TESTS_SUPPORT_H
#define LC_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <uv.h>

#include "base/registry.h"
#include "support/fault.h"

typedef struct lc_test {
  char dir[64]; /* a new, empty folder; removed afterwards */
  lc_registry *registry;
  uv_loop_t loop;
  int descriptors;     /* open when the test began */
  char paths[4][4096]; /* lc_test_path's answers, in turn */
  unsigned next_path;
} lc_test;

int lc_test_setup(void **state);
int lc_test_teardown(void **state);
#define lc_test_case(function) cmocka_unit_test_setup_teardown(function, lc_test_setup, lc_test_teardown)

/* The path of `name` in the test's folder; holds until the fourth next call. */
const char *lc_test_path(lc_test *test, const char *name);
/* Writes, or appends to, a file of the test's folder; fails the test when it cannot. */
void lc_test_write(lc_test *test, const char *name, const void *bytes, size_t len);
void lc_test_append(lc_test *test, const char *name, const void *bytes, size_t len);
/* The content of a file of the test's folder, terminated; free it. Fails the test when it cannot be read. */
char *lc_test_read(lc_test *test, const char *name, size_t *ret_len);

/* What this thread has used of a processor, in nanoseconds: for bounds that hold on a busy machine, too. */
int64_t lc_test_cpu(void);
/* How many events the kernel queues for one inotify instance of this machine. */
unsigned lc_test_inotify_queue(void);
/* How many descriptors the process has open. */
int lc_count_descriptors(void);
/* Removes a folder and all in it. Returns 0 or -1. */
int lc_remove_tree(const char *path);

#endif
