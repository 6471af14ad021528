/* The text for Prometheus, byte by byte, and its bound. */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>

#include "base/metrics.h"

static void assert_text(lc_metrics *out, const char *wanted) {
  assert_int_equal(lc_metrics_end(out), 0);
  assert_string_equal(lc_buf_cstr(&out->text), wanted);
  lc_buf_free(&out->text);
}

#define DROPPED                                                                                                \
  "# HELP logcap_metrics_series_dropped Series that this answer left out, because there are more than its bound.\n" \
  "# TYPE logcap_metrics_series_dropped gauge\n"                                                              \
  "logcap_metrics_series_dropped "

static void test_text(void **state) {
  lc_metrics out = {.most = 100};
  (void)state;
  lc_metrics_family(&out, "a_total", "counter", "As.");
  lc_metrics_count(&out, NULL, UINT64_MAX);
  lc_metrics_family(&out, "empty", "gauge", "Not shown.");
  lc_metrics_family(&out, "b", "gauge", "Bs.");
  lc_metrics_count(&out, LC_LABELS({"x", "1"}), 7);
  lc_metrics_value(&out, LC_LABELS({"x", "2"}, {"y", ""}), 0.1);
  lc_metrics_value(&out, NULL, 1795547077.913);
  lc_metrics_value(&out, NULL, 9007199254740993.0);
  lc_metrics_value(&out, NULL, NAN);
  lc_metrics_value(&out, NULL, -INFINITY);
  assert_text(&out,
              "# HELP a_total As.\n# TYPE a_total counter\na_total 18446744073709551615\n"
              "# HELP b Bs.\n# TYPE b gauge\nb{x=\"1\"} 7\nb{x=\"2\",y=\"\"} 0.1\nb 1795547077.913\n"
              "b 9007199254740992\nb NaN\nb -Inf\n" DROPPED "0\n");
}

static void test_label_values(void **state) {
  lc_metrics out = {.most = 100};
  (void)state;
  lc_metrics_family(&out, "m", "gauge", "Ms.");
  lc_metrics_count(&out, LC_LABELS({"x", "a\"b\\c\nd\xff" "e\xc3\xa9\xc3"}), 1);
  assert_text(&out, "# HELP m Ms.\n# TYPE m gauge\n"
                    "m{x=\"a\\\"b\\\\c\\nd\xef\xbf\xbd" "e\xc3\xa9\xef\xbf\xbd\"} 1\n" DROPPED "0\n");
}

static void test_bound(void **state) {
  lc_metrics out = {.most = 2};
  (void)state;
  lc_metrics_family(&out, "m", "gauge", "Ms.");
  for (int i = 0; i < 5; i++) lc_metrics_count(&out, NULL, 1);
  lc_metrics_family(&out, "n", "gauge", "Not shown.");
  lc_metrics_value(&out, NULL, 1);
  assert_text(&out, "# HELP m Ms.\n# TYPE m gauge\nm 1\nm 1\n" DROPPED "4\n");
}

static void test_out_of_memory(void **state) {
  (void)state;
  for (unsigned n = 1; n < 4; n++) {
    lc_metrics out = {.most = 100};
    lc_fault_after(n);
    lc_metrics_family(&out, "m", "gauge", "Ms.");
    for (int i = 0; i < 100; i++) lc_metrics_count(&out, NULL, 1);
    assert_int_equal(lc_metrics_end(&out), LC_ENOMEM);
    assert_true(lc_fault_off());
    lc_buf_free(&out.text);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_text),
      lc_test_case(test_label_values),
      lc_test_case(test_bound),
      lc_test_case(test_out_of_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
