/* The graph of keys that were seen before, which makes the next record cheap. */
#include "record/json.h"

#include <stdio.h>

#include "record/batch.h"
#include "support/oracle.h"
#include "support/support.h"

/* More keys than the graph has nodes, then others: it is forgotten and learned again, and nothing changes for anyone.
 */
static void test_many_shapes(void **state) {
  (void)state;
  lc_batch *batch = lc_batch_create(1 << 16);
  assert_non_null(batch);
  uint32_t seed = 1;
  for (int round = 0; round < 9000; round++) {
    char text[2048];
    int len = 0;
    unsigned n = 1 + (seed >> 8) % 12;
    for (unsigned i = 0; i < n; i++) {
      seed = seed * 1664525u + 1013904223u;
      len +=
          snprintf(text + len, sizeof text - (size_t)len, "%s\"key%u\":%u", i == 0 ? "{" : ",", (seed >> 10) % 700, i);
    }
    len += snprintf(text + len, sizeof text - (size_t)len, "}\n");
    lc_batch_refill(batch);
    memcpy(batch->base[0], text, (size_t)len);
    batch->data_len = (uint32_t)len;
    lc_record *rec = lc_batch_add_record(batch);
    assert_non_null(rec);
    rec->body_len = (uint32_t)len - 1;
    assert_int_equal(lc_json_slice(batch, rec), 0);
    assert_int_equal(rec->n_fields, n);
    json_t *root = oracle_parse(text, (size_t)len);
    if (json_object_size(root) < n) assert_true((rec->flags & LC_REC_TWICE) != 0);
    json_decref(root);
  }
  lc_batch_destroy(batch);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_many_shapes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
