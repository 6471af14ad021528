/* The options of a file monitor: what is refused before anything is opened, and that copies are whole. */
#include "monitor/file_options.h"

#include <string.h>

#include "support/support.h"

static const char *const paths[] = {"/var/log/{a,b}/*.log", "/x"};
static const char *const exclude[] = {"*.gz", "**/old/*"};

static lc_file_monitor_options good(void) {
  lc_file_monitor_options options;
  lc_file_monitor_options_init(&options);
  options.paths = paths;
  options.n_paths = 2;
  options.exclude = exclude;
  options.n_exclude = 2;
  return options;
}

static void expect_refused(const lc_file_monitor_options *options, const char *wanted) {
  lc_error error = {0};
  assert_int_equal(lc_file_options_check(options, &error), LC_EINVAL);
  if (strstr(error.message, wanted) == NULL) fail_msg("\"%s\" does not say \"%s\"", error.message, wanted);
}

static void test_good_ones(void **state) {
  (void)state;
  const lc_file_monitor_options options = good();
  lc_error error = {0};
  assert_int_equal(lc_file_options_check(&options, &error), 0);
}

static void test_wrong_patterns(void **state) {
  (void)state;
  static const char *const relative[] = {"x.log"}, *const open[] = {"/a/[b"}, *const folder[] = {"old/x"};
  lc_file_monitor_options options = good();
  options.paths = relative;
  options.n_paths = 1;
  expect_refused(&options, "\"x.log\" is not absolute");
  options.paths = open;
  expect_refused(&options, "pattern \"/a/[b\": [ without a matching ]");
  options = good();
  options.exclude = folder;
  options.n_exclude = 1;
  expect_refused(&options, "must be a name, an absolute path, or start with");
  options = good();
  options.n_paths = 0;
  expect_refused(&options, "`paths` is empty");
}

static void test_wrong_numbers(void **state) {
  (void)state;
  lc_file_monitor_options options = good();
  options.max_line = LC_FILE_MAX_LINE_MOST + 1;
  expect_refused(&options, "`max_line`");
  options = good();
  options.max_open_files = 0;
  expect_refused(&options, "`max_open_files`");
  options = good();
  options.rotated_wait_ns = -1;
  expect_refused(&options, "negative");
}

static void test_copies(void **state) {
  (void)state;
  const lc_file_monitor_options options = good();
  lc_file_monitor_options copy;
  assert_int_equal(lc_file_options_copy(&options, &copy), 0);
  assert_int_equal(copy.n_paths, 2);
  assert_string_equal(copy.paths[1], "/x");
  assert_ptr_not_equal(copy.paths[1], paths[1]);
  assert_string_equal(copy.exclude[1], "**/old/*");
  lc_file_options_free(&copy);
  lc_file_options_free(&copy); /* twice is fine */
}

static void test_no_memory(void **state) {
  (void)state;
  const lc_file_monitor_options options = good();
  for (unsigned n = 1;; n++) {
    lc_file_monitor_options copy;
    lc_fault_after(n);
    int rc = lc_file_options_copy(&options, &copy);
    if (!lc_fault_off()) {
      assert_int_equal(rc, 0);
      lc_file_options_free(&copy);
      break;
    }
    assert_int_equal(rc, LC_ENOMEM);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_good_ones), lc_test_case(test_wrong_patterns), lc_test_case(test_wrong_numbers),
      lc_test_case(test_copies),    lc_test_case(test_no_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
