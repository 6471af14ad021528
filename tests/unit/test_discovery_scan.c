/* One look at a folder: what stands under its names, and that a look which fails proves nothing. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitor/discovery_scan.h"
#include "support/support.h"

typedef struct fixture {
  lc_test *test;
  lc_patterns patterns;
  lc_tree tree;
  lc_dir *dir; /* the test's folder */
} fixture;

/* The test's folder as the patterns lead to it. */
static void begin(fixture *f, void **state, const char *pattern, const char *exclude) {
  *f = (fixture){.test = *state};
  char path[256];
  (void)snprintf(path, sizeof path, "%s/%s", f->test->dir, pattern);
  const char *paths[] = {path};
  lc_error error = {0};
  assert_int_equal(lc_patterns_init(&f->patterns, paths, 1, &exclude, exclude != NULL, false, true, &error), 0);
  assert_int_equal(lc_tree_init(&f->tree), 0);
  assert_int_equal(f->patterns.n_words, 1);
  uint64_t states, next;
  lc_patterns_root(&f->patterns, &states);
  f->dir = lc_tree_add_dir(&f->tree, NULL, "", &states, 1);
  char copy[256];
  (void)strcpy(copy, f->test->dir);
  for (char *save = NULL, *name = strtok_r(copy, "/", &save); name != NULL; name = strtok_r(NULL, "/", &save)) {
    (void)lc_patterns_step(&f->patterns, &states, name, false, &next);
    states = next;
    f->dir = lc_tree_add_dir(&f->tree, f->dir, name, &states, 1);
    assert_non_null(f->dir);
  }
  assert_string_equal(f->dir->path, f->test->dir);
  f->dir->wild = lc_patterns_wild(&f->patterns, &states);
  f->dir->files = lc_patterns_files(&f->patterns, &states);
}

static void end(fixture *f) {
  lc_tree_deinit(&f->tree);
  lc_patterns_deinit(&f->patterns);
}

static lc_scan scan_all(fixture *f) {
  lc_scan scan = {.patterns = &f->patterns, .dir = f->dir};
  lc_scan_run(&scan);
  return scan;
}

static const lc_scan_name *find(const lc_scan *scan, const char *name) {
  for (uint32_t i = 0; i < scan->n_names; i++) {
    if (strcmp(scan->text.data + scan->names[i].name, name) == 0) return &scan->names[i];
  }
  return NULL;
}

static void make_files(fixture *f) {
  lc_test_write(f->test, "a.log", "123", 3);
  lc_test_write(f->test, "b.log.gz", "", 0);
  lc_test_write(f->test, "c.txt", "", 0);
  assert_int_equal(mkdir(lc_test_path(f->test, "d.log"), 0700), 0);
  assert_int_equal(symlink("a.log", lc_test_path(f->test, "e.log")), 0);
}

static void test_list(void **state) {
  fixture f;
  begin(&f, state, "*.log*", "*.gz");
  make_files(&f);
  lc_scan scan = scan_all(&f);
  assert_int_equal(scan.error, 0);
  assert_true(scan.whole);
  assert_int_equal(scan.n_names, 3);
  assert_int_equal(find(&scan, "a.log")->kind, LC_NAME_FILE);
  assert_int_equal(find(&scan, "a.log")->stat.size, 3);
  assert_int_equal(find(&scan, "d.log")->kind, LC_NAME_FOLDER);
  assert_true(find(&scan, "e.log")->is_link);
  assert_true(lc_stat_same_file(&find(&scan, "a.log")->stat, &find(&scan, "e.log")->stat));
  lc_scan_deinit(&scan);
  end(&f);
}

static void test_asked(void **state) {
  fixture f;
  begin(&f, state, "**/*.log", NULL);
  make_files(&f);
  static const char names[] = "a.log\0none.log\0c.txt\0d.log";
  lc_scan scan = {.patterns = &f.patterns, .dir = f.dir, .asked = malloc(sizeof names), .asked_len = sizeof names};
  assert_non_null(scan.asked);
  memcpy(scan.asked, names, sizeof names);
  lc_scan_run(&scan);
  assert_int_equal(scan.error, 0);
  assert_false(scan.whole);
  assert_int_equal(find(&scan, "a.log")->kind, LC_NAME_FILE);
  assert_int_equal(find(&scan, "none.log")->kind, LC_NAME_ABSENT);
  assert_int_equal(find(&scan, "c.txt")->kind, LC_NAME_ABSENT); /* as far as the patterns go */
  assert_int_equal(find(&scan, "d.log")->kind, LC_NAME_DESCEND);
  lc_scan_deinit(&scan);
  end(&f);
}

/* A failure is an error, never an empty folder. */
static void test_failures(void **state) {
  fixture f;
  begin(&f, state, "*.log", NULL);
  make_files(&f);
  struct rlimit limit, none;
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
  none = limit;
  none.rlim_cur = 3;
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
  lc_scan scan = scan_all(&f);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
  assert_int_equal(scan.error, EMFILE);
  assert_false(scan.whole);
  lc_scan_deinit(&scan);
  for (unsigned n = 1;; n++) {
    lc_fault_after(n);
    scan = scan_all(&f);
    bool failed = lc_fault_off();
    assert_int_equal(scan.error, failed ? ENOMEM : 0);
    assert_int_equal(scan.n_names, failed ? 0 : 3);
    lc_scan_deinit(&scan);
    if (!failed) break;
  }
  end(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {lc_test_case(test_list), lc_test_case(test_asked), lc_test_case(test_failures)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
