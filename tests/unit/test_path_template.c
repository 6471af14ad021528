/* Paths from templates: what they become, and that nothing leads out of its place. */
#include <time.h>

#include "logcap/source.h"
#include "record/json.h"
#include "sink/path_template.h"
#include "support/records.h"
#include "support/support.h"

/* The path of one record; free it. */
static char *render(const char *template, const char *json, int64_t time_ns) {
  lc_path_template *self = NULL;
  lc_error error = {0};
  assert_int_equal(lc_path_template_parse(template, NULL, false, &self, &error), 0);
  lc_batch *batch = records_one(json, strlen(json));
  batch->read_ns = time_ns;
  if (json[0] == '{') assert_int_equal(lc_json_slice(batch, &batch->records[0]), 0);
  lc_path_values values;
  lc_buf path = {0};
  lc_path_values_reset(&values);
  assert_false(lc_path_values_take(self, batch, &batch->records[0], &values));
  assert_true(lc_path_values_take(self, batch, &batch->records[0], &values));
  assert_int_equal(lc_path_template_render(self, &values, &path), 0);
  char *text = strdup(lc_buf_cstr(&path));
  lc_buf_free(&path);
  lc_batch_destroy(batch);
  lc_path_template_destroy(self);
  return text;
}

static void assert_path(const char *template, const char *json, const char *path) {
  char *text = render(template, json, INT64_C(1795468509) * 1000000000); /* 2026-11-23T21:15:09Z */
  assert_string_equal(text, path);
  free(text);
}

static void test_fields_and_time(void **state) {
  (void)state;
  assert_path("/o/{s}.log", "{\"s\":\"shop\"}", "/o/shop.log");
  assert_path("/o/{s}/{n}-{b}.log", "{\"s\":\"a\",\"n\":12.50,\"b\":true}", "/o/a/12.50-true.log");
  assert_path("/o/%Y%m%d/%H-%M-%S.log", "x", "/o/20261123/21-15-09.log");
  assert_path("/o/%F_%R.log", "x", "/o/2026-11-23_21:15.log");
  assert_path("/o/{{{s}}}-100%%.log", "{\"s\":\"a\"}", "/o/{a}-100%.log");
  assert_path("/o/{s}", "{\"s\":\"a\",\"s\":\"b\"}", "/o/b");
  assert_path("/o/{s}", "{\"s\":\"\\u00e4\\t\\\"\"}", "/o/\xc3\xa4_\"");
  assert_path("/o/{a b}", "{\"a\\u0020b\":\"k\"}", "/o/k");
}

static void test_missing_values(void **state) {
  (void)state;
  assert_path("/o/{s}.log", "plain", "/o/_missing.log");
  assert_path("/o/{s}.log", "{\"s\":\"\"}", "/o/_missing.log");
  assert_path("/o/{s}.log", "{\"s\":null}", "/o/_missing.log");
  assert_path("/o/{s}.log", "{\"s\":{\"a\":1}}", "/o/_missing.log");
  assert_path("/o/{@source}.log", "plain", "/o/_missing.log");
}

static void test_no_value_leaves_its_place(void **state) {
  (void)state;
  assert_path("/o/{s}.log", "{\"s\":\"../../etc/passwd\"}", "/o/.._.._etc_passwd.log");
  assert_path("/o/{s}/x", "{\"s\":\"..\"}", "/o/__/x");
  assert_path("/o/{s}/x", "{\"s\":\".\"}", "/o/_/x");
  assert_path("/o/{a}{b}/x", "{\"a\":\".\",\"b\":\".\"}", "/o/__/x");
  assert_path("/o/.{a}", "{\"a\":\".\"}", "/o/__");
  assert_path("/o/{s}", "{\"s\":\"\\u002e\\u002e\\u002fx\"}", "/o/.._x");
  assert_path("/o/{s}", "{\"s\":\"a\\u0000b\\nc\\u007f\"}", "/o/a_b_c_");
  assert_path("/o/{s}", "{\"s\":\"/abs\"}", "/o/_abs");
}

static void test_long_values_stay_different(void **state) {
  (void)state;
  char a[4096], b[4096], long_text[3001];
  memset(long_text, 'x', 3000);
  long_text[3000] = '\0';
  (void)snprintf(a, sizeof a, "{\"s\":\"%s1\"}", long_text);
  (void)snprintf(b, sizeof b, "{\"s\":\"%s2\"}", long_text);
  char *path_a = render("/o/{s}{s}{s}.log", a, 1), *path_b = render("/o/{s}{s}{s}.log", b, 1);
  assert_string_not_equal(path_a, path_b);
  assert_true(strlen(path_a) <= 3 + 200);
  free(path_a);
  free(path_b);
}

static void test_a_cut_keeps_characters_whole(void **state) {
  (void)state;
  char json[1024] = "{\"s\":\"";
  for (int i = 0; i < 120; i++) strcat(json, i == 0 ? "a" : "\xc3\xa4");
  strcat(json, "\"}");
  char *path = render("/o/{s}", json, 1);
  const char *dash = strrchr(path, '-');
  assert_non_null(dash);
  assert_int_equal((dash - (path + 4)) % 2, 0);
  free(path);
}

static void test_records_of_one_hour_share_a_path(void **state) {
  (void)state;
  lc_path_template *self = NULL;
  assert_int_equal(lc_path_template_parse("/o/%Y-%H", NULL, false, &self, NULL), 0);
  assert_false(lc_path_template_is_fixed(self));
  lc_batch *batch = records_lines("a\nb\nc\nd\n");
  const int64_t seconds[] = {3600 * 5, 3600 * 6 - 1, 3600 * 6, -1};
  const bool same[] = {false, true, false, false};
  lc_path_values values;
  lc_path_values_reset(&values);
  for (uint32_t i = 0; i < 4; i++) {
    batch->records[i].time_ns = seconds[i] * 1000000000;
    assert_int_equal(lc_path_values_take(self, batch, &batch->records[i], &values), same[i]);
  }
  lc_buf path = {0};
  assert_int_equal(lc_path_template_render(self, &values, &path), 0);
  assert_string_equal(lc_buf_cstr(&path), "/o/1969-23");
  lc_buf_free(&path);
  lc_batch_destroy(batch);
  lc_path_template_destroy(self);
}

static void test_labels_and_the_source(void **state) {
  (void)state;
  lc_label label = {"env", "prod/eu"};
  lc_source source = {0};
  assert_int_equal(lc_labels_create(&label, 1, &source.labels), 0);
  atomic_store(&source.refs, 2);
  atomic_store(&source.name, (char *)(uintptr_t) "/var/log/a.log");
  lc_path_template *self = NULL;
  assert_int_equal(lc_path_template_parse("/o/{env}/{@source}", NULL, false, &self, NULL), 0);
  lc_batch *batch = records_one("x", 1);
  assert_non_null(lc_batch_add_range(batch, &source, 0));
  lc_path_values values;
  lc_path_values_reset(&values);
  (void)lc_path_values_take(self, batch, &batch->records[0], &values);
  lc_buf path = {0};
  assert_int_equal(lc_path_template_render(self, &values, &path), 0);
  assert_string_equal(lc_buf_cstr(&path), "/o/prod_eu/_var_log_a.log");
  lc_buf_free(&path);
  lc_batch_destroy(batch);
  lc_labels_release(source.labels);
  lc_path_template_destroy(self);
}

static void test_refuses_bad_templates(void **state) {
  (void)state;
  static const char *const bad[][2] = {{"relative", "absolute"},   {"/o/{s", "not closed"},    {"/o/{}", "names no field"},
                                       {"/o/a}b", "closes nothing"}, {"/o/%Q", "%Q"},           {"/o/%", "% at"},
                                       {"/o/../x", ".."},          {"/o/", "folder"},          {"/o/{@host}", "@source"},
                                       {"/o/{a{b}", "{ inside"},   {"/o/%D", "%D"}};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    lc_path_template *self = NULL;
    lc_error error = {0};
    assert_int_equal(lc_path_template_parse(bad[i][0], NULL, false, &self, &error), LC_EINVAL);
    if (strstr(error.message, bad[i][1]) == NULL) fail_msg("%s: %s", bad[i][0], error.message);
  }
  lc_path_template *self = NULL;
  assert_int_equal(lc_path_template_parse("/o/{s}", "../x", false, &self, NULL), LC_EINVAL);
  assert_int_equal(lc_path_template_parse("/o/{s}", "", false, &self, NULL), LC_EINVAL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_fields_and_time),
      lc_test_case(test_missing_values),
      lc_test_case(test_no_value_leaves_its_place),
      lc_test_case(test_long_values_stay_different),
      lc_test_case(test_a_cut_keeps_characters_whole),
      lc_test_case(test_records_of_one_hour_share_a_path),
      lc_test_case(test_labels_and_the_source),
      lc_test_case(test_refuses_bad_templates),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
