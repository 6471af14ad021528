/* Files that have a matching name only for a moment are told all the same. */
#include "support/support.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "monitor/discovery.h"

typedef struct ear {
  lc_test *test;
  lc_buf log;
  bool scanned, closed;
} ear;

static void tell(ear *self, const char *what, const char *path) {
  lc_buf_addf(&self->log, "%s %s\n", what, path + strlen(self->test->dir) + 1);
}
static void on_found(void *arg, const lc_found *found) { tell(arg, "found", found->path); }
static void on_changed(void *arg, const char *path) { (void)arg, (void)path; }
static void on_gone(void *arg, const char *path, const char *to) {
  tell(arg, "gone", path);
  if (to != NULL) tell(arg, "to", to);
}
static void on_scanned(void *arg) { ((ear *)arg)->scanned = true; }
static void on_closed(void *arg) { ((ear *)arg)->closed = true; }
static const lc_discovery_events events = {
    .found = on_found, .changed = on_changed, .gone = on_gone, .scanned = on_scanned};

static void move(lc_test *test, const char *from, const char *to) {
  assert_int_equal(rename(lc_test_path(test, from), lc_test_path(test, to)), 0);
}

static lc_discovery *begin(ear *self, const char *pattern, const char *exclude) {
  char path[256];
  (void)snprintf(path, sizeof path, "%s/%s", self->test->dir, pattern);
  const char *paths[] = {path}, *excludes[] = {exclude};
  lc_discovery_options options = {.paths = paths, .n_paths = 1, .exclude = excludes, .n_exclude = exclude != NULL};
  lc_error error = {0};
  lc_discovery *discovery = NULL;
  assert_int_equal(lc_discovery_create(&options, &self->test->loop, &events, self, &discovery, &error), 0);
  lc_discovery_start(discovery);
  while (!self->scanned) uv_run(&self->test->loop, UV_RUN_ONCE);
  return discovery;
}

static const char *until(ear *self, const char *line) {
  while (strstr(lc_buf_cstr(&self->log), line) == NULL) uv_run(&self->test->loop, UV_RUN_ONCE);
  return lc_buf_cstr(&self->log);
}

static void end(ear *self, lc_discovery *discovery) {
  lc_discovery_close(discovery, on_closed);
  while (!self->closed) uv_run(&self->test->loop, UV_RUN_ONCE);
  lc_buf_free(&self->log);
}

static void test_made_and_renamed_in_one_turn(void **state) {
  ear self = {.test = *state};
  lc_discovery *discovery = begin(&self, "*.log", NULL);
  lc_test_write(self.test, "a.log", "1\n", 2);
  move(self.test, "a.log", "old-1");
  lc_test_write(self.test, "a.log", "2\n", 2);
  move(self.test, "a.log", "old-2");
  lc_test_write(self.test, "a.log", "3\n", 2);
  until(&self, "to old-2\nfound a.log\n");
  assert_string_equal(lc_buf_cstr(&self.log),
                      "found a.log\ngone a.log\nto old-1\nfound a.log\ngone a.log\nto old-2\nfound a.log\n");
  end(&self, discovery);
}

static void test_what_was_never_wanted_stays_untold(void **state) {
  ear self = {.test = *state};
  lc_discovery *discovery = begin(&self, "*.log", "x*.log");
  lc_test_write(self.test, "b.txt", "1\n", 2);
  move(self.test, "b.txt", "c.txt"); /* never matched */
  lc_test_write(self.test, "x.log", "1\n", 2);
  move(self.test, "x.log", "y"); /* excluded */
  lc_test_write(self.test, "last.log", "1\n", 2);
  assert_string_equal(until(&self, "found last.log\n"), "found last.log\n");
  end(&self, discovery);
}

static void test_a_known_file_is_told_once(void **state) {
  ear self = {.test = *state};
  lc_test_write(self.test, "a.log", "1\n", 2);
  lc_discovery *discovery = begin(&self, "*.log", NULL);
  move(self.test, "a.log", "old");
  lc_test_write(self.test, "last.log", "1\n", 2);
  until(&self, "found last.log\n");
  assert_string_equal(lc_buf_cstr(&self.log), "found a.log\ngone a.log\nto old\nfound last.log\n");
  end(&self, discovery);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_made_and_renamed_in_one_turn),
      lc_test_case(test_what_was_never_wanted_stays_untold),
      lc_test_case(test_a_known_file_is_told_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
