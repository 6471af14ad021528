/* Path patterns: what they match, what is refused, and that none takes for ever. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "monitor/glob.h"
#include "monitor/patterns.h"
#include "support/support.h"

static bool matches(const char *pattern, const char *path) {
  lc_globs globs = {0};
  lc_error error = {0};
  if (lc_globs_add(&globs, pattern, &error) != 0) {
    print_error("%s\n", error.message);
    fail();
  }
  bool any = false;
  for (uint32_t i = 0; i < globs.n; i++) any |= lc_glob_match_path(globs.items[i], path);
  lc_globs_free(&globs);
  return any;
}

static void refused(const char *pattern, const char *because) {
  lc_globs globs = {0};
  lc_error error = {0};
  assert_int_equal(lc_globs_add(&globs, "/kept", &error), 0);
  assert_int_equal(lc_globs_add(&globs, pattern, &error), LC_EINVAL);
  if (strstr(error.message, because) == NULL) {
    print_error("%s: %s\n", pattern, error.message);
    fail();
  }
  assert_int_equal(globs.n, 1);
  lc_globs_free(&globs);
}

static void test_names(void **state) {
  (void)state;
  assert_true(matches("/a/b.log", "/a/b.log"));
  assert_false(matches("/a/b.log", "/a/b.logs"));
  assert_false(matches("/a/b.log", "/a"));
  assert_true(matches("/a/*.log", "/a/x.log"));
  assert_true(matches("/a/*.log", "/a/.log"));
  assert_false(matches("/a/*.log", "/a/b/x.log"));
  assert_true(matches("/a/x*y*z", "/a/x.y.y.z"));
  assert_false(matches("/a/x*y*z", "/a/x.y.z.q"));
  assert_true(matches("/a/?.log", "/a/x.log"));
  assert_false(matches("/a/?.log", "/a/xy.log"));
  assert_true(matches("/a/?.log", "/a/\xc3\xa4.log"));  /* one character */
  assert_true(matches("/a/??.log", "/a/\xff\xfe.log")); /* two bytes that are none */
  assert_true(matches("/a/*", "/a/\xff"));
  assert_true(matches("/a//./b/../c", "/a/c"));
  assert_true(matches("/a/\\*", "/a/*"));
  assert_false(matches("/a/\\*", "/a/x"));
  assert_true(matches("/a/x**y", "/a/xyy"));
}

static void test_sets(void **state) {
  (void)state;
  assert_true(matches("/[abc]", "/b"));
  assert_false(matches("/[abc]", "/d"));
  assert_true(matches("/[a-c]x", "/bx"));
  assert_true(matches("/[!a-c]", "/d"));
  assert_false(matches("/[^a-c]", "/b"));
  assert_true(matches("/[]a]", "/]"));
  assert_true(matches("/[!]a]", "/b"));
  assert_true(matches("/[a-]", "/-"));
  assert_true(matches("/[\\]]", "/]"));
  assert_true(matches("/app-[[:digit:]]*.log", "/app-12.log"));
  assert_false(matches("/app-[[:digit:]]*.log", "/app-x12.log"));
  assert_true(matches("/[\xc3\xa0-\xc3\xbf]", "/\xc3\xa4"));
}

static void test_depth(void **state) {
  (void)state;
  assert_true(matches("/a/**/x.log", "/a/x.log"));
  assert_true(matches("/a/**/x.log", "/a/b/c/x.log"));
  assert_false(matches("/a/**/x.log", "/b/x.log"));
  assert_true(matches("/a/**", "/a/b/c"));
  assert_false(matches("/a/**", "/a"));
  assert_true(matches("**/node/*.js", "/x/node/a.js"));
  assert_true(matches("/**/b/**/d", "/a/b/c/b/d"));
  assert_true(matches("/**/**/d", "/d"));
  assert_false(matches("/**/b/**/d", "/a/c/d"));
}

static void test_braces(void **state) {
  (void)state;
  assert_true(matches("/{a,b}/x", "/b/x"));
  assert_true(matches("/x.log{,.1}", "/x.log"));
  assert_true(matches("/x.log{,.1}", "/x.log.1"));
  assert_true(matches("/{a,b{c,d}}", "/bd"));
  assert_false(matches("/{a,b{c,d}}", "/b"));
  assert_true(matches("/{a,b/c}/*.log", "/b/c/x.log"));
  assert_true(matches("/\\{a,b\\}", "/{a,b}"));
  assert_true(matches("/[{]a", "/{a"));
  assert_true(matches("/{[,],x}", "/,"));
}

static void test_refused(void **state) {
  (void)state;
  refused("", "empty");
  refused("/a/[bc", "without a matching ]");
  refused("/a/[b/c]", "without a matching ]");
  refused("/a/[[:nope:]]", "unknown class");
  refused("/a/b\\", "needs a character");
  refused("/a/{b,c", "{ without");
  refused("/a/{b}", "only one alternative");
  refused("/a/", "names a folder");
  refused("/", "names a folder");
  refused("/a/*/../b", "\"..\" cannot follow");
  refused("/..", "names no file");
  refused("/{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}", "more than 1024");
  char *longer = malloc(LC_GLOB_PATTERN_MAX + 3);
  assert_non_null(longer);
  memset(longer, 'a', LC_GLOB_PATTERN_MAX + 2);
  longer[0] = '/';
  longer[LC_GLOB_PATTERN_MAX + 2] = '\0';
  refused(longer, "longer than");
  free(longer);
}

/* Patterns that keep naive matchers busy until the end of time. */
static void test_pathological(void **state) {
  (void)state;
  char path[300] = "/";
  memset(path + 1, 'a', 250);
  int64_t start = lc_test_cpu();
  assert_false(matches("/*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", path));
  char deep[2000] = "";
  for (int i = 0; i < 900; i++) strcat(deep, "/a");
  assert_false(matches("/**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/b", deep));
  char nested[4001] = "/";
  for (int i = 0; i < 999; i++) strcat(nested, "{b,");
  strcat(nested, "c");
  for (int i = 0; i < 999; i++) strcat(nested, "}");
  assert_true(matches(nested, "/c"));
  assert_true(lc_test_cpu() - start < 2 * LC_SECOND);
}

static void test_out_of_memory(void **state) {
  (void)state;
  for (unsigned n = 1;; n++) {
    lc_globs globs = {0};
    lc_error error = {0};
    lc_fault_after(n);
    int rc = lc_globs_add(&globs, "/{a,b,c}/*.{log,txt}", &error);
    bool failed = lc_fault_off();
    assert_int_equal(rc, failed ? LC_ENOMEM : 0);
    assert_int_equal(globs.n, failed ? 0 : 6);
    lc_globs_free(&globs);
    if (!failed) return;
  }
}

static bool walk(const lc_patterns *patterns, const char *path, bool last_is_link) {
  uint64_t states[4], next[4];
  char copy[256];
  assert_true(patterns->n_words <= 4 && strlen(path) < sizeof copy);
  (void)strcpy(copy, path);
  lc_patterns_root(patterns, states);
  bool wanted = false;
  for (char *save = NULL, *name = strtok_r(copy, "/", &save); name != NULL; name = strtok_r(NULL, "/", &save)) {
    wanted = lc_patterns_step(patterns, states, name, last_is_link && *save == '\0', next);
    memcpy(states, next, sizeof states);
  }
  return last_is_link ? !lc_patterns_none(patterns, states) : wanted;
}

static void test_walk(void **state) {
  (void)state;
  const char *paths[] = {"/var/log/*.log", "/srv/**/app.log", "/x/.h*/*", "/l/*/a", "/l/one/**"};
  lc_patterns patterns;
  lc_error error = {0};
  assert_int_equal(lc_patterns_init(&patterns, paths, 5, NULL, 0, false, true, &error), 0);
  assert_true(walk(&patterns, "/var/log/a.log", false));
  assert_false(walk(&patterns, "/var/log/.a.log", false));
  assert_false(walk(&patterns, "/var/log", false));
  assert_true(walk(&patterns, "/srv/app.log", false));
  assert_true(walk(&patterns, "/srv/a/b/app.log", false));
  assert_false(walk(&patterns, "/srv/.git/app.log", false));
  assert_true(walk(&patterns, "/x/.hidden/a", false));
  assert_true(walk(&patterns, "/l/two", true));
  assert_false(walk(&patterns, "/srv/linked", true)); /* a double star follows no link */
  lc_patterns_deinit(&patterns);
  assert_int_equal(lc_patterns_init(&patterns, paths, 5, NULL, 0, true, false, &error), 0);
  assert_true(walk(&patterns, "/var/log/.a.log", false));
  assert_true(walk(&patterns, "/srv/.git/app.log", false));
  assert_false(walk(&patterns, "/l/two", true));
  assert_true(walk(&patterns, "/l/one", true)); /* spelled out */
  lc_patterns_deinit(&patterns);
}

static void test_exclude(void **state) {
  (void)state;
  const char *paths[] = {"/a/**"}, *exclude[] = {"*.{gz,zst}", "/a/old/**", "**/tmp/*", "exact"};
  lc_patterns patterns;
  lc_error error = {0};
  assert_int_equal(lc_patterns_init(&patterns, paths, 1, exclude, 4, false, true, &error), 0);
  assert_true(lc_patterns_excluded(&patterns, "/a/b.gz"));
  assert_true(lc_patterns_excluded(&patterns, "/a/.b.zst"));
  assert_true(lc_patterns_excluded(&patterns, "/a/old/x/y"));
  assert_true(lc_patterns_excluded(&patterns, "/a/b/tmp/y"));
  assert_true(lc_patterns_excluded(&patterns, "/a/b/exact"));
  assert_false(lc_patterns_excluded(&patterns, "/a/gz"));
  assert_false(lc_patterns_excluded(&patterns, "/a/exact/y"));
  lc_patterns_deinit(&patterns);
  const char *relative[] = {"logs/*.log"};
  assert_int_equal(lc_patterns_init(&patterns, relative, 1, NULL, 0, false, true, &error), LC_EINVAL);
  assert_non_null(strstr(error.message, "not absolute"));
  assert_int_equal(lc_patterns_init(&patterns, paths, 1, relative, 1, false, true, &error), LC_EINVAL);
  assert_non_null(strstr(error.message, "exclude"));
  assert_int_equal(lc_patterns_init(&patterns, NULL, 0, NULL, 0, false, true, &error), LC_EINVAL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_names),         lc_test_case(test_sets),    lc_test_case(test_depth),
      lc_test_case(test_braces),        lc_test_case(test_refused), lc_test_case(test_pathological),
      lc_test_case(test_out_of_memory), lc_test_case(test_walk),    lc_test_case(test_exclude)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
