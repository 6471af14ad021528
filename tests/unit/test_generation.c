/* Generations: what loading gives, and that nothing is left whatever fails. What is wrong with a file is the business of
 * spec/pipeline_spec.lua. */
#include <string.h>

#include "support/support.h"

#include "bind/generation.h"

static const char good[] =
    "local logcap = require 'logcap'\n"
    "local helper = require 'helper'\n"
    "logcap.pipeline {\n"
    "  name = 'first', memory = '4MiB', on_error = 'pass',\n"
    "  from = { logcap.file_monitor { paths = { 'in/*.log' }, labels = { a = 'b' } }, logcap.stdin_monitor {} },\n"
    "  stages = { logcap.json {}, function(rec) return helper(rec) end, logcap.dedup {} },\n"
    "  to = { logcap.file_sink { path = 'out/{service}.log', rotate = { size = '1MiB' } }, logcap.stdout_sink {} },\n"
    "}\n"
    "logcap.pipeline {\n"
    "  name = 'second',\n"
    "  from = logcap.file_monitor { paths = { 'other/*.log' }, multiline = { start = '^x' } },\n"
    "  to = logcap.null_sink {},\n"
    "}\n";
static const char helper[] = "return function(rec) return rec.level ~= 'debug' end";

static const char *write_good(lc_test *test) {
  lc_test_write(test, "helper.lua", helper, strlen(helper));
  lc_test_write(test, "good.lua", good, strlen(good));
  return lc_test_path(test, "good.lua");
}

static void test_pipelines_in_order(void **state) {
  lc_test *test = *state;
  const char *file = write_good(test);
  lc_generation *generation = NULL;
  lc_error error = {0};
  int rc = lc_generation_load(&file, 1, test->registry, &(lc_generation_options){0}, &generation, &error);
  if (rc != 0) fail_msg("%s", error.message);
  size_t n = 0;
  lc_pipeline *const *pipelines = lc_generation_pipelines(generation, &n);
  assert_int_equal(n, 2);
  assert_non_null(pipelines[0]);
  assert_non_null(pipelines[1]);
  assert_true(lc_registry_sum(test->registry).resources >= 11);
  assert_int_equal(lc_registry_sum(test->registry).descriptors, 0);
  lc_generation_destroy(generation);
  (void)lc_registry_run(test->registry);
  assert_int_equal(lc_registry_sum(test->registry).resources, 0);
}

static void test_no_file(void **state) {
  lc_test *test = *state;
  lc_generation *generation = NULL;
  lc_error error = {0};
  int rc = lc_generation_load(NULL, 0, test->registry, &(lc_generation_options){0}, &generation, &error);
  assert_int_equal(rc, LC_EINVAL);
  assert_string_equal(error.message, "no pipeline file is given");
  assert_null(generation);
  lc_generation_destroy(NULL);
}

/* Each allocation of loading fails in turn; with `lasting` all after it, too. */
static void fail_each(lc_test *test, bool lasting) {
  const char *file = write_good(test);
  for (unsigned n = 1; n < 5000; n++) {
    lc_generation *generation = NULL;
    lc_error error = {0};
    if (lasting) lc_fault_from(n);
    else lc_fault_after(n);
    int rc = lc_generation_load(&file, 1, test->registry, &(lc_generation_options){0}, &generation, &error);
    bool failed = lc_fault_off();
    if (rc == 0) lc_generation_destroy(generation);
    else assert_true(error.message[0] != '\0');
    (void)lc_registry_run(test->registry);
    assert_int_equal(lc_registry_sum(test->registry).resources, 0);
    if (!failed) {
      assert_int_equal(rc, 0);
      return;
    }
    assert_int_not_equal(rc, 0);
  }
  fail_msg("it never ends to allocate");
}

static void test_out_of_memory_once(void **state) { fail_each(*state, false); }
static void test_out_of_memory_for_good(void **state) { fail_each(*state, true); }

static void expect_stopped(lc_test *test, const char *text, const char *expected) {
  lc_test_write(test, "endless.lua", text, strlen(text));
  const char *file = lc_test_path(test, "endless.lua");
  lc_generation *generation = NULL;
  lc_error error = {0};
  const lc_generation_options options = {.load_ns = 50000000};
  assert_int_not_equal(lc_generation_load(&file, 1, test->registry, &options, &generation, &error), 0);
  if (strstr(error.message, expected) == NULL) fail_msg("%s", error.message);
  (void)lc_registry_run(test->registry);
}

static void test_endless_files_are_stopped(void **state) {
  expect_stopped(*state, "local n = 0\nwhile true do\n  n = n + 1\nend\n", "it has been loading for 0.");
  expect_stopped(*state, "while true do end\n", " s, longer than 0.05 s");
  expect_stopped(*state, "\nfor i = 1, 1e300 do end\n", "endless.lua:2: it has been loading");
  expect_stopped(*state, "coroutine.wrap(function() while true do end end)()", "endless.lua:1: it has been loading");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_pipelines_in_order),
      lc_test_case(test_no_file),
      lc_test_case(test_endless_files_are_stopped),
      lc_test_case(test_out_of_memory_once),
      lc_test_case(test_out_of_memory_for_good),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
