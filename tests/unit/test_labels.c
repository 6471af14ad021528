/* The labels of sources: counted, and what was read keeps those that it was read with. */
#include <stdlib.h>

#include "logcap/source.h"
#include "record/batch.h"
#include "record/fields.h"
#include "support/records.h"
#include "support/support.h"

static const lc_label prod[] = {{"env", "prod"}, {"team", "shop"}}, test[] = {{"env", "test"}, {"team", "shop"}};

static lc_labels *make(const lc_label *labels, uint32_t n) {
  lc_labels *made = NULL;
  assert_int_equal(lc_labels_create(labels, n, &made), 0);
  return made;
}

static void test_compares_by_content(void **state) {
  (void)state;
  const lc_label other[] = {{"env", "prod"}, {"tier", "shop"}};
  lc_labels *a = make(prod, 2), *b = make(prod, 2), *c = make(test, 2), *d = make(prod, 1), *e = make(other, 2);
  assert_null(make(prod, 0));
  assert_true(lc_labels_same(a, b));
  assert_true(lc_labels_same(NULL, NULL));
  assert_false(lc_labels_same(a, c));
  assert_false(lc_labels_same(a, d));
  assert_false(lc_labels_same(a, e));
  assert_false(lc_labels_same(a, NULL));
  assert_false(lc_labels_same(NULL, a));
  lc_labels *const all[] = {a, b, c, d, e, NULL};
  for (int i = 0; i < 6; i++) lc_labels_release(all[i]);
}

static void free_source(lc_source *source) {
  lc_source_deinit(source);
  free(source);
}

static lc_batch *read_one(lc_source *source) {
  lc_batch *batch = records_one("x", 1);
  assert_non_null(lc_batch_add_range(batch, source, 0));
  return batch;
}

static void assert_env(const lc_batch *batch, const char *wanted) {
  lc_buf text = {0};
  int rc = lc_record_text(batch, &batch->records[0], "env", 3, &text);
  assert_int_equal(rc, wanted != NULL ? 0 : LC_ENOENT);
  assert_string_equal(lc_buf_cstr(&text), wanted != NULL ? wanted : "");
  lc_buf_free(&text);
}

static void test_what_was_read_keeps_its_labels(void **state) {
  (void)state;
  lc_source *source = calloc(1, sizeof *source);
  assert_non_null(source);
  assert_int_equal(lc_source_init(source, "key", "name", free_source), 0);
  lc_labels *first = make(prod, 2), *second = make(test, 2);
  lc_source_label(source, first);
  lc_source_label(source, first); /* the same again counts once */
  lc_batch *before = read_one(source);
  lc_source_label(source, second);
  lc_labels_release(first);
  lc_batch *after = read_one(source);
  lc_source_label(source, NULL);
  lc_batch *none = read_one(source);
  lc_labels_release(second);
  lc_source_release(source);
  assert_env(before, "prod");
  assert_env(after, "test");
  assert_env(none, NULL);
  lc_batch_recycle(before);
  lc_batch_destroy(before);
  lc_batch_destroy(after);
  lc_batch_destroy(none);
}

static void test_out_of_memory(void **state) {
  (void)state;
  for (unsigned n = 1;; n++) {
    lc_labels *labels = NULL;
    lc_fault_after(n);
    int rc = lc_labels_create(prod, 2, &labels);
    if (!lc_fault_off()) {
      assert_int_equal(rc, 0);
      lc_labels_release(labels);
      return;
    }
    assert_int_equal(rc, LC_ENOMEM);
    assert_null(labels);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_compares_by_content),
      lc_test_case(test_what_was_read_keeps_its_labels),
      lc_test_case(test_out_of_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
