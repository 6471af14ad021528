/* What a name in a folder is good for, step by step from the root folder. */
#include "monitor/patterns.h"

#include <stdlib.h>
#include <string.h>

#include "support/support.h"

static void make(lc_patterns *patterns, const char *path, const char *exclude, bool hidden, bool follow_links) {
  lc_error error = {0};
  if (lc_patterns_init(patterns, &path, 1, &exclude, exclude != NULL, hidden, follow_links, &error) != 0) {
    fail_msg("%s", error.message);
  }
}

/* Walks down to the path's last name: 'f' a file that is wanted, 'd' a folder that leads on, 'b' both, '-' none. */
static char walk(const lc_patterns *patterns, const char *path, bool link) {
  uint64_t states[8], next[8];
  char name[64];
  bool wanted = false;
  assert_true(patterns->n_words <= 8);
  lc_patterns_root(patterns, states);
  while (*path == '/') {
    size_t len = strcspn(++path, "/");
    memcpy(name, path, len);
    name[len] = '\0';
    path += len;
    wanted = lc_patterns_step(patterns, states, name, link && *path == '\0', next);
    memcpy(states, next, sizeof states);
  }
  bool leads = !lc_patterns_none(patterns, states);
  return wanted ? (leads ? 'b' : 'f') : leads ? 'd' : '-';
}

static void test_steps(void **state) {
  (void)state;
  lc_patterns patterns;
  make(&patterns, "/var/log/*/x*.log", NULL, false, true);
  assert_int_equal(walk(&patterns, "/var", false), 'd');
  assert_int_equal(walk(&patterns, "/etc", false), '-');
  assert_int_equal(walk(&patterns, "/var/log/shop", false), 'd');
  assert_int_equal(walk(&patterns, "/var/log/shop/x1.log", false), 'f');
  assert_int_equal(walk(&patterns, "/var/log/shop/y.log", false), '-');
  assert_int_equal(walk(&patterns, "/var/log/.hidden/x1.log", false), '-');
  lc_patterns_deinit(&patterns);
}

static void test_any_depth(void **state) {
  (void)state;
  lc_patterns patterns;
  make(&patterns, "/a/**/*.log", NULL, true, true);
  assert_int_equal(walk(&patterns, "/a/x.log", false), 'b');
  assert_int_equal(walk(&patterns, "/a/b/c/x.log", false), 'b');
  assert_int_equal(walk(&patterns, "/a/b/.c", false), 'd');
  assert_int_equal(walk(&patterns, "/b/x.log", false), '-');
  lc_patterns_deinit(&patterns);
}

static void test_links_to_folders(void **state) {
  (void)state;
  lc_patterns patterns;
  make(&patterns, "/a/*/x", NULL, false, false);
  assert_int_equal(walk(&patterns, "/a", true), 'd');    /* spelled out: always */
  assert_int_equal(walk(&patterns, "/a/b", true), '-');  /* through a wildcard: only when links are followed */
  assert_int_equal(walk(&patterns, "/a/b", false), 'd');
  lc_patterns_deinit(&patterns);
}

static void test_what_a_folder_needs(void **state) {
  (void)state;
  lc_patterns patterns;
  uint64_t states[8], next[8];
  uint32_t i = 0;
  make(&patterns, "/a/b.log", NULL, false, true);
  lc_patterns_root(&patterns, states);
  assert_false(lc_patterns_wild(&patterns, states));
  assert_false(lc_patterns_files(&patterns, states));
  assert_true(lc_patterns_spelled(&patterns, states, "a"));
  assert_string_equal(lc_patterns_literal(&patterns, states, &i), "a");
  assert_null(lc_patterns_literal(&patterns, states, &i));
  assert_false(lc_patterns_step(&patterns, states, "a", false, next));
  assert_true(lc_patterns_files(&patterns, next));
  lc_patterns_deinit(&patterns);
}

static void test_excludes(void **state) {
  (void)state;
  lc_patterns patterns;
  make(&patterns, "/a/**/*.log", "*.1.log", false, true);
  assert_true(lc_patterns_excluded(&patterns, "/a/b/x.1.log"));
  assert_false(lc_patterns_excluded(&patterns, "/a/b/x.log"));
  lc_patterns_deinit(&patterns);
  make(&patterns, "/a/**/*.log", "**/old/*", false, true);
  assert_true(lc_patterns_excluded(&patterns, "/a/b/old/x.log"));
  assert_false(lc_patterns_excluded(&patterns, "/a/b/new/x.log"));
  lc_patterns_deinit(&patterns);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_steps),    lc_test_case(test_any_depth),          lc_test_case(test_links_to_folders),
      lc_test_case(test_excludes), lc_test_case(test_what_a_folder_needs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
