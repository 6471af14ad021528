/* logcap's own log: what a line looks like, and what is held back. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "support/support.h"

/* Writes one line in `format` and returns what came out. */
static char *logged(lc_test *test, lc_log_format format, lc_log_level level) {
  FILE *file = fopen(lc_test_path(test, "log"), "w");
  assert_non_null(file);
  lc_log_setup(fileno(file), LC_LOG_INFO, format);
  lc_log(level, "file_monitor", "cannot open\nit", LC_S("path", "/a b"), LC_S("why", "no\"t"), LC_S("plain", "/x.log"),
         LC_S("nothing", (const char *)NULL), LC_I("count", -3));
  lc_log_setup(2, LC_LOG_INFO, LC_LOG_AUTO);
  (void)fclose(file);
  return lc_test_read(test, "log", NULL);
}

static void test_text(void **state) {
  char *line = logged(*state, LC_LOG_TEXT, LC_LOG_WARN);
  assert_string_equal(strchr(line, ' '),
                      " warn  file_monitor: cannot open it path=\"/a b\" why=\"no\\\"t\" plain=/x.log nothing=\"\" "
                      "count=-3\n");
  free(line);
}

static void test_json(void **state) {
  char *line = logged(*state, LC_LOG_JSON, LC_LOG_ERROR);
  assert_int_equal(line[strlen(line) - 1], '\n');
  json_t *entry = json_loads(line, 0, NULL);
  assert_non_null(entry);
  assert_string_equal(json_string_value(json_object_get(entry, "level")), "error");
  assert_string_equal(json_string_value(json_object_get(entry, "component")), "file_monitor");
  assert_string_equal(json_string_value(json_object_get(entry, "message")), "cannot open\nit");
  assert_string_equal(json_string_value(json_object_get(entry, "why")), "no\"t");
  assert_int_equal(json_integer_value(json_object_get(entry, "count")), -3);
  json_decref(entry);
  free(line);
}

static void test_auto_is_json_in_files(void **state) {
  char *line = logged(*state, LC_LOG_AUTO, LC_LOG_INFO);
  assert_int_equal(line[0], '{');
  free(line);
}

static void test_level(void **state) {
  char *line = logged(*state, LC_LOG_TEXT, LC_LOG_DEBUG);
  assert_string_equal(line, "");
  free(line);
}

static void test_without_memory_the_message_remains(void **state) {
  lc_test *test = *state;
  FILE *file = fopen(lc_test_path(test, "log"), "w");
  assert_non_null(file);
  lc_log_setup(fileno(file), LC_LOG_INFO, LC_LOG_JSON);
  errno = ENOENT;
  lc_fault_from(1);
  lc_log(LC_LOG_ERROR, "pool", "out of memory", LC_I("n", 1));
  assert_int_equal(errno, ENOENT);
  assert_true(lc_fault_off());
  lc_log_setup(2, LC_LOG_INFO, LC_LOG_AUTO);
  (void)fclose(file);
  char *line = lc_test_read(test, "log", NULL);
  assert_string_equal(line, "out of memory\n");
  free(line);
}

static char *logged_in_signal(lc_test *test, lc_log_format format, const char *value) {
  FILE *file = fopen(lc_test_path(test, "log"), "w");
  assert_non_null(file);
  lc_log_setup(fileno(file), LC_LOG_INFO, format);
  lc_fault_from(1);
  lc_log_in_signal(LC_LOG_DEBUG, "lua", "not this", "stage", "x");
  lc_log_in_signal(LC_LOG_ERROR, "lua", "it is stuck", "stage", value);
  assert_false(lc_fault_off()); /* it allocated nothing */
  lc_log_setup(2, LC_LOG_INFO, LC_LOG_AUTO);
  (void)fclose(file);
  return lc_test_read(test, "log", NULL);
}

static void test_in_signal(void **state) {
  char before[LC_TIME_TEXT], after[LC_TIME_TEXT];
  (void)lc_time_format(lc_clock_wall() / LC_SECOND * LC_SECOND, before);
  char *line = logged_in_signal(*state, LC_LOG_TEXT, "a \"b\"\n");
  (void)lc_time_format((lc_clock_wall() / LC_SECOND + 1) * LC_SECOND, after);
  assert_string_equal(strchr(line, ' '), " error lua: it is stuck stage=\"a ?b??\"\n");
  assert_true(strncmp(line, before, 19) >= 0 && strncmp(line, after, 19) <= 0);
  assert_int_equal(strchr(line, ' ') - line, strlen("2026-11-24T19:00:00.123Z"));
  free(line);
  line = logged_in_signal(*state, LC_LOG_JSON, "function at a.lua:5");
  json_t *entry = json_loads(line, 0, NULL);
  assert_non_null(entry);
  assert_string_equal(json_string_value(json_object_get(entry, "level")), "error");
  assert_string_equal(json_string_value(json_object_get(entry, "component")), "lua");
  assert_string_equal(json_string_value(json_object_get(entry, "message")), "it is stuck");
  assert_string_equal(json_string_value(json_object_get(entry, "stage")), "function at a.lua:5");
  json_decref(entry);
  free(line);
  char longer[2000];
  memset(longer, 'x', sizeof longer);
  longer[sizeof longer - 1] = '\0';
  line = logged_in_signal(*state, LC_LOG_JSON, longer);
  entry = json_loads(line, 0, NULL);
  assert_non_null(entry);
  json_decref(entry);
  free(line);
}

static void test_limit(void **state) {
  (void)state;
  lc_log_limit limit = {0};
  uint64_t held = 99;
  assert_true(lc_log_limit_pass(&limit, 5, LC_SECOND, &held));
  assert_int_equal(held, 0);
  for (int i = 0; i < 7; i++) assert_false(lc_log_limit_pass(&limit, LC_SECOND - i, LC_SECOND, &held));
  assert_true(lc_log_limit_pass(&limit, LC_SECOND + 5, LC_SECOND, &held));
  assert_int_equal(held, 7);
  assert_false(lc_log_limit_pass(&limit, LC_SECOND + 6, LC_SECOND, &held));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_text),
      lc_test_case(test_json),
      lc_test_case(test_auto_is_json_in_files),
      lc_test_case(test_level),
      lc_test_case(test_without_memory_the_message_remains),
      lc_test_case(test_in_signal),
      lc_test_case(test_limit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
