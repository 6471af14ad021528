/* Trials: nothing is left, whatever fails. What they do is the business of spec/testing_spec.lua. */
#include "support/support.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "bind/trial.h"
#include "sink/memory_sink.h"

static const char text[] =
    "local logcap = require 'logcap'\n"
    "logcap.pipeline { name = 'shop', to = { logcap.file_sink { path = 'out/{n}.log' }, logcap.null_sink {} },\n"
    "  from = logcap.file_monitor { paths = { 'in/*.log' }, multiline = { start = '^[{a]' }, labels = { k = 'v' } },\n"
    "  stages = { logcap.json {}, logcap.dedup {}, function(rec) if rec.n == 2 then error 'two' end end } }\n";
static const char lines[] = "{\"n\":1}\n{\"n\":2}\n{\"n\":1}\nafter\n  this\n";

static const char *write_file(lc_test *test) {
  lc_log_setup(STDERR_FILENO, LC_LOG_ERROR, LC_LOG_TEXT);
  lc_test_write(test, "shop.lua", text, strlen(text));
  return lc_test_path(test, "shop.lua");
}

/* Only the pipeline file is there: the state directory is gone, and no output was made. */
static void assert_only_file(lc_test *test) {
  DIR *dir = opendir(test->dir);
  assert_non_null(dir);
  unsigned n = 0;
  while (readdir(dir) != NULL) n++;
  assert_int_equal(closedir(dir), 0);
  assert_int_equal(n, 3); /* ".", ".." and the file */
}

static lc_trial_part *part_of(lc_trial *trial, const char *label) {
  size_t i = 0;
  while (i < trial->n_parts && strcmp(trial->parts[i].label, label) != 0) i++;
  assert_true(i < trial->n_parts);
  return &trial->parts[i];
}

/* With the state directory where it is seen. */
static int open_trial(lc_test *test, const char *file, lc_trial **ret, lc_error *error) {
  const lc_trial_options options = {.clock_ns = INT64_C(1700000000) * 1000000000};
  assert_int_equal(setenv("TMPDIR", test->dir, 1), 0);
  int rc = lc_trial_open(&file, 1, &options, ret, error);
  assert_int_equal(unsetenv("TMPDIR"), 0);
  return rc;
}

/* Opens, feeds, lets time pass, and reads the dead letters. */
static int go(lc_test *test, const char *file, lc_trial **ret, lc_buf *dead, lc_error *error) {
  int rc = open_trial(test, file, ret, error);
  if (rc != 0) return rc;
  rc = lc_trial_feed(*ret, part_of(*ret, "file_monitor"), "a.log", lines, strlen(lines), error);
  if (rc == 0) rc = lc_trial_advance(*ret, INT64_C(6000000000), error);
  if (rc == 0) rc = lc_trial_flush(*ret, error);
  return rc == 0 ? lc_trial_dead_letters(*ret, dead, error) : rc;
}

static void test_feeds_and_leaves_nothing(void **state) {
  lc_test *test = *state;
  lc_trial *trial = NULL;
  lc_buf dead = {0};
  lc_error error = {0};
  if (go(test, write_file(test), &trial, &dead, &error) != 0) fail_msg("%s", error.message);
  const lc_sink *sink = part_of(trial, "file_sink")->sink;
  assert_int_equal(lc_memory_sink_count(sink), 2);
  const lc_memory_entry entry = lc_memory_sink_entry(sink, 1);
  assert_int_equal(entry.line_len, strlen("{\"message\":\"after\\n  this\"}"));
  assert_memory_equal(entry.line, "{\"message\":\"after\\n  this\"}", entry.line_len);
  assert_memory_equal(entry.place + entry.place_len - 17, "/out/_missing.log", 17);
  assert_non_null(strstr(lc_buf_cstr(&dead), "two"));
  assert_string_equal(part_of(trial, "file_monitor")->pipeline, "shop");
  if (lc_trial_close(trial, &error) != 0) fail_msg("%s", error.message);
  lc_buf_free(&dead);
  assert_only_file(test);
}

static void test_names_what_was_not_let_go(void **state) {
  lc_test *test = *state;
  lc_trial *trial = NULL;
  lc_error error = {0};
  const char *file = write_file(test);
  assert_int_equal(open_trial(test, file, &trial, &error), 0);
  lc_resource *held = part_of(trial, "null_sink")->original;
  lc_registry *registry = trial->registry;
  lc_resource_retain(held);
  lc_log_setup(STDERR_FILENO, LC_LOG_ERROR, LC_LOG_TEXT);
  assert_int_equal(lc_trial_close(trial, &error), LC_EBUSY);
  assert_non_null(strstr(error.message, "null_sink \"null_sink\", made at "));
  assert_non_null(strstr(error.message, "shop.lua:2, was not let go"));
  lc_resource_release(held);
  assert_int_equal(lc_registry_destroy(registry), 0);
  free(trial);
  assert_only_file(test);
}

static void test_out_of_memory_leaves_nothing(void **state) {
  lc_test *test = *state;
  const char *file = write_file(test);
  int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
  lc_log_setup(nowhere, LC_LOG_ERROR, LC_LOG_TEXT);
  unsigned failed = 0;
  for (unsigned n = 1;; n++) {
    lc_trial *trial = NULL;
    lc_buf dead = {0};
    lc_error error = {0};
    lc_fault_after(n);
    int rc = go(test, file, &trial, &dead, &error);
    bool happened = lc_fault_off();
    if (rc != 0) assert_true(error.message[0] != '\0');
    if (lc_trial_close(trial, &error) != 0) fail_msg("allocation %u: %s", n, error.message);
    lc_buf_free(&dead);
    assert_only_file(test);
    failed += happened;
    if (!happened) break;
  }
  assert_true(failed > 100);
  assert_int_equal(close(nowhere), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_feeds_and_leaves_nothing),
      lc_test_case(test_names_what_was_not_let_go),
      lc_test_case(test_out_of_memory_leaves_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
