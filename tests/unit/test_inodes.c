/* The set of logcap's own files against a plain array, and from several threads. */
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "io/inodes.h"
#include "support/support.h"

static lc_inodes *make(void) {
  lc_inodes *inodes = NULL;
  assert_int_equal(lc_inodes_create(&inodes, NULL), 0);
  return inodes;
}

static void test_basics(void **state) {
  (void)state;
  lc_inodes *inodes = make();
  assert_false(lc_inodes_has(inodes, 1, 2));
  assert_int_equal(lc_inodes_add(inodes, 1, 2), 0);
  assert_int_equal(lc_inodes_add(inodes, 1, 2), 0);
  assert_true(lc_inodes_has(inodes, 1, 2));
  assert_false(lc_inodes_has(inodes, 2, 1));
  assert_false(lc_inodes_has(inodes, 1, 0));
  lc_inodes_remove(inodes, 1, 0);
  lc_inodes_remove(inodes, 9, 9);
  lc_inodes_remove(inodes, 1, 2);
  assert_false(lc_inodes_has(inodes, 1, 2));
  lc_inodes_destroy(inodes);
  lc_inodes_destroy(NULL);
}

static void test_descriptor(void **state) {
  lc_test *test = *state;
  lc_inodes *inodes = make();
  lc_test_write(test, "own", "x", 1);
  FILE *file = fopen(lc_test_path(test, "own"), "r");
  assert_non_null(file);
  struct stat st;
  assert_int_equal(fstat(fileno(file), &st), 0);
  assert_int_equal(lc_inodes_add_fd(inodes, fileno(file), NULL), 0);
  assert_true(lc_inodes_has(inodes, st.st_dev, st.st_ino));
  lc_error error = {0};
  assert_int_equal(lc_inodes_add_fd(inodes, -1, &error), LC_ESYS);
  assert_string_not_equal(error.message, "");
  fclose(file);
  lc_inodes_destroy(inodes);
}

#define DEVICES 3
#define INODES 400

/* Random adding and removing; neighbours share slots, so that removal has holes to close. */
static void test_against_array(void **state) {
  (void)state;
  lc_inodes *inodes = make();
  bool model[DEVICES][INODES] = {{false}};
  unsigned seed = 7;
  for (int i = 0; i < 60000; i++) {
    unsigned d = (unsigned)rand_r(&seed) % DEVICES, n = 1 + (unsigned)rand_r(&seed) % (INODES - 1);
    bool add = rand_r(&seed) % 5 < (i / 10000 % 2 == 0 ? 3 : 2);
    if (add) assert_int_equal(lc_inodes_add(inodes, d, n), 0);
    if (!add) lc_inodes_remove(inodes, d, n);
    model[d][n] = add;
    if (i % 500 != 0) continue;
    for (unsigned x = 0; x < DEVICES; x++) {
      for (unsigned y = 1; y < INODES; y++) assert_int_equal(lc_inodes_has(inodes, x, y), model[x][y]);
    }
  }
  lc_inodes_destroy(inodes);
}

static void test_no_memory(void **state) {
  (void)state;
  lc_inodes *inodes = NULL;
  for (unsigned n = 1;; n++) {
    lc_fault_after(n);
    int rc = lc_inodes_create(&inodes, NULL);
    if (!lc_fault_off()) break;
    assert_int_equal(rc, LC_ENOMEM);
  }
  uint64_t n = 0;
  lc_fault_from(1);
  while (lc_inodes_add(inodes, 1, n + 1) == 0) n++;
  assert_true(lc_fault_off());
  assert_true(n > 0);
  for (uint64_t i = 1; i <= n; i++) assert_true(lc_inodes_has(inodes, 1, i)); /* a failed growth loses nothing */
  assert_false(lc_inodes_has(inodes, 1, n + 1));
  assert_int_equal(lc_inodes_add(inodes, 1, n + 1), 0);
  lc_inodes_destroy(inodes);
}

static void *add_and_remove(void *arg) {
  lc_inodes *inodes = ((void **)arg)[0];
  uint64_t device = (uint64_t)(uintptr_t)((void **)arg)[1];
  bool right = true;
  for (uint64_t i = 1; i <= 2000; i++) {
    right = lc_inodes_add(inodes, device, i) == 0 && lc_inodes_has(inodes, device, i) && right;
    if (i % 2 == 0) lc_inodes_remove(inodes, device, i);
  }
  return right ? arg : NULL;
}

static void test_threads(void **state) {
  (void)state;
  lc_inodes *inodes = make();
  pthread_t threads[4];
  void *args[4][2];
  for (uintptr_t i = 0; i < 4; i++) {
    args[i][0] = inodes;
    args[i][1] = (void *)(i + 1);
    assert_int_equal(pthread_create(&threads[i], NULL, add_and_remove, args[i]), 0);
  }
  for (int i = 0; i < 4; i++) {
    void *result = NULL;
    assert_int_equal(pthread_join(threads[i], &result), 0);
    assert_non_null(result);
  }
  for (uint64_t d = 1; d <= 4; d++) {
    for (uint64_t i = 1; i <= 2000; i++) assert_int_equal(lc_inodes_has(inodes, d, i), i % 2 == 1);
  }
  lc_inodes_destroy(inodes);
}

/* An inode that another file got after ours was removed is not ours. */
static void test_birth_times_tell_apart(void **state) {
  (void)state;
  lc_inodes *inodes = NULL;
  assert_int_equal(lc_inodes_create(&inodes, NULL), 0);
  assert_int_equal(lc_inodes_add_born(inodes, 1, 7, 1000), 0);
  assert_true(lc_inodes_has_born(inodes, 1, 7, 1000));
  assert_false(lc_inodes_has_born(inodes, 1, 7, 1001));
  assert_true(lc_inodes_has_born(inodes, 1, 7, 0)); /* not known: better not collected */
  assert_true(lc_inodes_has(inodes, 1, 7));
  assert_int_equal(lc_inodes_add_born(inodes, 1, 7, 2000), 0);
  assert_false(lc_inodes_has_born(inodes, 1, 7, 1000));
  assert_int_equal(lc_inodes_add(inodes, 1, 8), 0);
  assert_true(lc_inodes_has_born(inodes, 1, 8, 1));
  lc_inodes_destroy(inodes);
}

int main(void) {
  const struct CMUnitTest tests[] = {lc_test_case(test_basics), lc_test_case(test_descriptor),
                                     lc_test_case(test_against_array), lc_test_case(test_no_memory),
                                     lc_test_case(test_threads), lc_test_case(test_birth_times_tell_apart)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
