/* Taking changes back: the record is what it was, wherever its fields went meanwhile. */
#include "record/undo.h"

#include "record/encode.h"
#include "record/fields.h"
#include "record/json.h"
#include "support/fault.h"
#include "support/records.h"
#include "support/support.h"

static void assert_json(const lc_batch *batch, uint32_t i, const char *wanted) {
  lc_buf buf = {0};
  assert_int_equal(lc_encode_json(batch, &batch->records[i], &buf), 0);
  assert_string_equal(lc_buf_cstr(&buf), wanted);
  lc_buf_free(&buf);
}

static void set(lc_batch *batch, uint32_t i, const char *key, double number) {
  assert_int_equal(lc_record_set_number(batch, &batch->records[i], key, strlen(key), number), 0);
}

static void begin(lc_undo *undo, lc_batch *batch, uint32_t i) {
  batch->undo = undo;
  lc_undo_begin(undo, &batch->records[i]);
}

static void test_every_kind_of_change(void **state) {
  (void)state;
  lc_undo undo = {0};
  lc_batch *batch = records_lines("{\"a\": 1,\"b\":2}\n{\"a\":1}\nplain\n");
  for (uint32_t i = 0; i < 2; i++) assert_int_equal(lc_json_slice(batch, &batch->records[i]), 0);
  lc_record *rec = &batch->records[0];
  set(batch, 0, "had", 1); /* by a stage before */
  begin(&undo, batch, 0);
  set(batch, 0, "a", 5);
  set(batch, 0, "a", 6);
  set(batch, 0, "had", 7);
  set(batch, 0, "had", 8);
  lc_record_remove(batch, rec, "b", 1);
  set(batch, 0, "b", 9);
  set(batch, 0, "new", 10);
  assert_json(batch, 0, "{\"a\":6,\"had\":8,\"b\":9,\"new\":10}");
  assert_true(lc_undo_roll_back(&undo, batch, rec));
  assert_json(batch, 0, "{\"a\": 1,\"b\":2,\"had\":1}");
  begin(&undo, batch, 2);
  set(batch, 2, "x", 1);
  set(batch, 2, "message", 1);
  assert_true(lc_undo_roll_back(&undo, batch, &batch->records[2]));
  assert_json(batch, 2, "{\"message\":\"plain\"}");
  assert_json(batch, 1, "{\"a\":1}");
  lc_batch_destroy(batch);
  lc_undo_deinit(&undo);
  lc_undo_deinit(&undo);
}

static void test_tables_that_move_and_many_changes(void **state) {
  (void)state;
  char key[16];
  lc_undo undo = {0};
  lc_batch *batch = records_lines("{\"a\":1}\n{\"b\":1}\n");
  for (uint32_t i = 0; i < 2; i++) assert_int_equal(lc_json_slice(batch, &batch->records[i]), 0);
  for (int i = 0; i < 100; i++) {
    snprintf(key, sizeof key, "k%d", i);
    set(batch, 0, key, i);
  }
  lc_buf before = {0};
  assert_int_equal(lc_encode_json(batch, &batch->records[0], &before), 0);
  begin(&undo, batch, 0);
  for (int i = 199; i >= 0; i--) {
    snprintf(key, sizeof key, "k%d", i);
    set(batch, 0, key, -i);
    lc_record_remove(batch, &batch->records[0], key, strlen(key));
  }
  set(batch, 0, "a", 5);
  assert_true(lc_undo_roll_back(&undo, batch, &batch->records[0]));
  assert_json(batch, 0, lc_buf_cstr(&before));
  lc_buf_free(&before);
  lc_batch_destroy(batch);
  lc_undo_deinit(&undo);
}

static void test_memory_is_bounded(void **state) {
  (void)state;
  lc_undo undo = {0};
  lc_batch *batch = records_lines("{\"a\":1}\n");
  assert_int_equal(lc_json_slice(batch, &batch->records[0]), 0);
  begin(&undo, batch, 0);
  for (int i = 0; i < 10000; i++) set(batch, 0, "a", i % 2);
  assert_int_equal(undo.n, 1);
  lc_batch_destroy(batch);
  lc_undo_deinit(&undo);
}

static void test_no_memory(void **state) {
  (void)state;
  lc_undo undo = {0};
  lc_batch *batch = records_lines("{\"a\":1}\n");
  assert_int_equal(lc_json_slice(batch, &batch->records[0]), 0);
  begin(&undo, batch, 0);
  lc_fault_after(1);
  lc_record_remove(batch, &batch->records[0], "a", 1);
  assert_true(lc_fault_off());
  assert_false(lc_undo_roll_back(&undo, batch, &batch->records[0]));
  assert_json(batch, 0, "{}"); /* whole, if changed */
  lc_batch_destroy(batch);
  lc_undo_deinit(&undo);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_every_kind_of_change),
      lc_test_case(test_tables_that_move_and_many_changes),
      lc_test_case(test_memory_is_bounded),
      lc_test_case(test_no_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
