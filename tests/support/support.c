#include "support/support.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int lc_count_descriptors(void) {
  DIR *dir = opendir("/proc/self/fd");
  if (!dir) return -1;
  int n = 0;
  while (readdir(dir)) n++;
  (void)closedir(dir);
  return n - 3; /* ".", ".." and the descriptor of the folder itself */
}

int64_t lc_test_cpu(void) {
  struct timespec ts;
  assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts), 0);
  return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

unsigned lc_test_inotify_queue(void) {
  unsigned limit = 0;
  FILE *file = fopen("/proc/sys/fs/inotify/max_queued_events", "r");
  assert_non_null(file);
  assert_int_equal(fscanf(file, "%u", &limit), 1);
  (void)fclose(file);
  return limit;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) {
  (void)st;
  (void)type;
  (void)ftw;
  return remove(path);
}

int lc_remove_tree(const char *path) {
  return nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

int lc_test_setup(void **state) {
  lc_test *test = calloc(1, sizeof *test);
  if (!test) return -1;
  /* libuv opens a pipe of its own with the first loop and keeps it. */
  if (uv_loop_init(&test->loop) != 0 || uv_loop_close(&test->loop) != 0) return -1;
  test->descriptors = lc_count_descriptors();
  const char *tmp = getenv("TMPDIR");
  if (tmp == NULL || strlen(tmp) > 40) tmp = "/tmp"; /* sockets are made below it: their paths must be short */
  (void)snprintf(test->dir, sizeof test->dir, "%s/logcap-test-XXXXXX", tmp);
  if (!mkdtemp(test->dir) || uv_loop_init(&test->loop) != 0) return -1;
  if (lc_registry_create(&test->registry, NULL) != 0) return -1;
  *state = test;
  return 0;
}

static void print_handle(uv_handle_t *handle, void *arg) {
  (void)arg;
  print_error("loop: a %s handle was left\n", uv_handle_type_name(handle->type));
}

int lc_test_teardown(void **state) {
  lc_test *test = *state;
  lc_fault_off();
  int failed = 0;
  (void)lc_registry_run(test->registry);
  (void)uv_run(&test->loop, UV_RUN_NOWAIT); /* lets close callbacks run */
  if (lc_registry_destroy(test->registry) != 0) failed = -1;
  if (uv_loop_close(&test->loop) != 0) {
    uv_walk(&test->loop, print_handle, NULL);
    failed = -1;
  }
  int descriptors = lc_count_descriptors();
  if (descriptors != test->descriptors) {
    print_error("descriptors: %d before, %d after\n", test->descriptors, descriptors);
    failed = -1;
  }
  if (lc_remove_tree(test->dir) != 0) failed = -1;
  free(test);
  return failed;
}

const char *lc_test_path(lc_test *test, const char *name) {
  char *path = test->paths[test->next_path++ % 4];
  assert_true(strlen(test->dir) + strlen(name) + 2 <= sizeof test->paths[0]);
  (void)stpcpy(stpcpy(stpcpy(path, test->dir), "/"), name);
  return path;
}

static void write_file(lc_test *test, const char *name, const char *mode, const void *bytes, size_t len) {
  FILE *file = fopen(lc_test_path(test, name), mode);
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, len, file), len);
  assert_int_equal(fclose(file), 0);
}

void lc_test_write(lc_test *test, const char *name, const void *bytes, size_t len) {
  write_file(test, name, "wb", bytes, len);
}

void lc_test_append(lc_test *test, const char *name, const void *bytes, size_t len) {
  write_file(test, name, "ab", bytes, len);
}

char *lc_test_read(lc_test *test, const char *name, size_t *ret_len) {
  FILE *file = fopen(lc_test_path(test, name), "rb");
  assert_non_null(file);
  assert_int_equal(fseek(file, 0, SEEK_END), 0);
  long size = ftell(file);
  rewind(file);
  char *all = malloc((size_t)size + 1);
  assert_non_null(all);
  assert_int_equal(fread(all, 1, (size_t)size, file), size);
  all[size] = '\0';
  (void)fclose(file);
  if (ret_len) *ret_len = (size_t)size;
  return all;
}
