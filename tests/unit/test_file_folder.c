/* A file is found among all names of its folder, also while it is renamed: who misses it takes it for lost. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "monitor/file_folder.h"
#include "support/support.h"

static lc_file_id id_of(const char *path) {
  lc_file_stat st;
  assert_int_equal(lc_file_stat_at(AT_FDCWD, path, &st), 0);
  return st.id;
}

static void expect_found(lc_file_folder **list, const char *path, lc_file_id id, const char *at) {
  char *found = NULL;
  int error = 0;
  assert_int_equal(lc_file_folder_find(list, path, id, &found, &error), 0);
  assert_int_equal(error, 0);
  if (at != NULL) assert_string_equal(found, at);
  free(found);
}

/* The list of an earlier question knows its former name only, or does not know it at all. */
static void test_renamed_and_made_since_the_list(void **state) {
  lc_test *test = *state;
  lc_file_folder *list = NULL;
  const char *a = lc_test_path(test, "a"), *b = lc_test_path(test, "b");
  lc_test_write(test, "a", "1", 1);
  lc_file_id id = id_of(a);
  expect_found(&list, a, id, a);
  assert_int_equal(rename(a, b), 0);
  expect_found(&list, a, id, b);
  lc_test_write(test, "new", "1", 1);
  id = id_of(lc_test_path(test, "new"));
  expect_found(&list, a, id, NULL);
  assert_int_equal(unlink(lc_test_path(test, "new")), 0);
  char *found = NULL;
  int error = 0;
  assert_int_equal(lc_file_folder_find(&list, a, id, &found, &error), LC_ENOENT);
  lc_file_folder_free(list);
}

typedef struct renamer {
  char names[2][100];
  atomic_bool ended;
} renamer;

static void *rename_all_the_time(void *arg) {
  renamer *self = arg;
  for (unsigned i = 0; !atomic_load(&self->ended); i++) {
    const struct timespec pause = {0, 1000000};
    if (rename(self->names[i % 2], self->names[(i + 1) % 2]) != 0) abort();
    (void)nanosleep(&pause, NULL);
  }
  return NULL;
}

static void test_renamed_all_the_time(void **state) {
  lc_test *test = *state;
  renamer self = {.ended = false};
  pthread_t thread;
  snprintf(self.names[0], sizeof self.names[0], "%s/a", test->dir);
  snprintf(self.names[1], sizeof self.names[1], "%s/b", test->dir);
  lc_test_write(test, "a", "1", 1);
  lc_file_id id = id_of(self.names[0]);
  for (int i = 0; i < 50; i++) { /* others, among which it is looked for */
    char name[32];
    snprintf(name, sizeof name, "other-%d", i);
    lc_test_write(test, name, "1", 1);
  }
  assert_int_equal(pthread_create(&thread, NULL, rename_all_the_time, &self), 0);
  for (int i = 0; i < 1000; i++) {
    lc_file_folder *list = NULL;
    char *found = NULL;
    int error = 0;
    int rc = lc_file_folder_find(&list, self.names[0], id, &found, &error);
    if (rc != 0) fail_msg("missed at try %d: %d", i, rc);
    free(found);
    lc_file_folder_free(list);
  }
  atomic_store(&self.ended, true);
  assert_int_equal(pthread_join(thread, NULL), 0);
}

/* However many are asked for, a folder that changes all the time is not read for each of them. */
static void test_many_that_are_gone(void **state) {
  lc_test *test = *state;
  renamer self = {.ended = false};
  pthread_t thread;
  struct timespec began, ended;
  snprintf(self.names[0], sizeof self.names[0], "%s/a", test->dir);
  snprintf(self.names[1], sizeof self.names[1], "%s/b", test->dir);
  lc_test_write(test, "a", "1", 1);
  for (int i = 0; i < 1000; i++) {
    char name[32];
    snprintf(name, sizeof name, "other-%d", i);
    lc_test_write(test, name, "1", 1);
  }
  lc_file_id gone = id_of(self.names[0]), there = gone;
  assert_int_equal(pthread_create(&thread, NULL, rename_all_the_time, &self), 0);
  lc_file_folder *list = NULL;
  assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &began), 0);
  for (int i = 0; i < 5000; i++) { /* read for each of them it takes a minute */
    char *found = NULL;
    int error = 0;
    gone.birth_ns = i;
    assert_int_equal(lc_file_folder_find(&list, self.names[0], gone, &found, &error), LC_ENOENT);
  }
  assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ended), 0);
  assert_true(ended.tv_sec - began.tv_sec < 10);
  atomic_store(&self.ended, true);
  assert_int_equal(pthread_join(thread, NULL), 0);
  const struct timespec rest = {0, 50000000}; /* longer than the clock of a file system needs to go on */
  assert_int_equal(nanosleep(&rest, NULL), 0);
  expect_found(&list, self.names[0], there, NULL); /* the folder has come to rest: it is read once more */
  lc_file_folder_free(list);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_renamed_and_made_since_the_list),
      lc_test_case(test_renamed_all_the_time),
      lc_test_case(test_many_that_are_gone),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
