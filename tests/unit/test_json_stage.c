#include "stage/json_stage.h"

#include "base/buf.h"
#include "record/fields.h"
#include "support/records.h"
#include "support/support.h"

static lc_stage *make(lc_test *test, lc_on_error on_error) {
  lc_stage *stage = NULL;
  lc_json_stage_options options = {.on_error = on_error};
  assert_int_equal(lc_json_stage_create(&options, test->registry, "a.lua:1", &stage, NULL), 0);
  assert_string_equal(stage->resource.kind, "json");
  assert_true((stage->ops->flags & LC_STAGE_STATELESS) != 0);
  return stage;
}

static const char *const lines = "{\"a\":1}\nplain\n{\"b\":2}\n\n[1]\n{\"c\":3}\n";

static void test_pass(void **state) {
  lc_stage *stage = make(*state, LC_ON_ERROR_PASS);
  lc_batch *batch = records_lines(lines);
  lc_batch_drop(batch, &batch->records[5], LC_DROP_FILTERED);
  uint32_t at = 1;
  assert_int_equal(stage->ops->process(stage, batch, &at, 6, 0, NULL), 0);
  assert_int_equal(at, 6);
  static const unsigned wanted[] = {0, LC_REC_UNPARSED, LC_REC_OBJECT, LC_REC_UNPARSED, LC_REC_UNPARSED};
  for (int i = 0; i < 5; i++) assert_int_equal(batch->records[i].flags, wanted[i]);
  assert_int_equal(batch->records[5].n_fields, 0);
  at = 0;
  assert_int_equal(stage->ops->process(stage, batch, &at, 1, 0, NULL), 0);
  assert_non_null(lc_record_find(batch, &batch->records[0], "a", 1, NULL));
  assert_null(lc_record_find(batch, &batch->records[0], "message", 7, NULL));
  lc_buf stats = {0};
  assert_int_equal(stage->resource.ops->stats(&stage->resource, &stats), 0);
  assert_string_equal(lc_buf_cstr(&stats), "{\"records\":5,\"unparsed\":3}");
  lc_buf_free(&stats);
  lc_batch_destroy(batch);
  lc_resource_release(&stage->resource);
}

static void test_drop_and_dlq(void **state) {
  for (int dlq = 0; dlq < 2; dlq++) {
    lc_stage *stage = make(*state, dlq ? LC_ON_ERROR_DLQ : LC_ON_ERROR_DROP);
    lc_batch *batch = records_lines(lines);
    uint32_t at = 0;
    assert_int_equal(stage->ops->process(stage, batch, &at, 6, 0, NULL), 0);
    assert_int_equal(batch->tally.dropped[LC_DROP_ERROR], dlq ? 0 : 3);
    assert_int_equal(batch->tally.dead, dlq ? 3 : 0);
    assert_false(lc_record_live(&batch->records[1]));
    assert_true(lc_record_live(&batch->records[2]));
    if (dlq) {
      assert_int_equal(batch->dead[0].record, 1);
      assert_string_equal(batch->dead[0].stage, "json");
      assert_memory_equal(lc_batch_at(batch, batch->dead[0].reason), "not a JSON object", batch->dead[0].reason_len);
    }
    lc_batch_destroy(batch);
    lc_resource_release(&stage->resource);
  }
}

static void test_stop(void **state) {
  lc_stage *stage = make(*state, LC_ON_ERROR_STOP);
  lc_batch *batch = records_lines(lines);
  uint32_t at = 0;
  lc_error error = {0};
  assert_int_equal(stage->ops->process(stage, batch, &at, 6, 0, &error), LC_ECANCELED);
  assert_int_equal(at, 1);
  assert_non_null(strstr(error.message, "not a JSON object"));
  lc_batch_destroy(batch);
  lc_resource_release(&stage->resource);
}

static void test_is_replaced_when_its_option_changes(void **state) {
  lc_stage *live = make(*state, LC_ON_ERROR_DLQ), *same = make(*state, LC_ON_ERROR_DLQ),
           *other = make(*state, LC_ON_ERROR_PASS);
  assert_int_equal(live->resource.ops->fit(&live->resource, &same->resource), LC_FIT_SAME);
  assert_int_equal(live->resource.ops->fit(&live->resource, &other->resource), LC_FIT_REPLACE);
  lc_stage *const all[] = {live, same, other};
  for (int i = 0; i < 3; i++) lc_resource_release(&all[i]->resource);
}

static void test_no_memory(void **state) {
  lc_test *test = *state;
  lc_json_stage_options options = {.on_error = LC_ON_ERROR_DLQ};
  for (unsigned n = 1;; n++) {
    lc_stage *stage = NULL;
    lc_error error = {0};
    lc_batch *batch = records_lines(lines);
    uint32_t at = 0;
    lc_fault_after(n);
    int rc = lc_json_stage_create(&options, test->registry, "a.lua:1", &stage, &error);
    if (rc == 0) rc = stage->ops->process(stage, batch, &at, 6, 0, &error);
    bool failed = lc_fault_off();
    assert_int_equal(rc, failed ? LC_ENOMEM : 0);
    if (failed) assert_int_equal(error.code, LC_ENOMEM);
    if (rc != 0 && stage != NULL) assert_int_equal(stage->ops->process(stage, batch, &at, 6, 0, &error), 0);
    assert_true(stage == NULL || at == 6);
    lc_batch_destroy(batch);
    if (stage != NULL) lc_resource_release(&stage->resource);
    if (!failed) break;
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_pass),
      lc_test_case(test_drop_and_dlq),
      lc_test_case(test_stop),
      lc_test_case(test_is_replaced_when_its_option_changes),
      lc_test_case(test_no_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
