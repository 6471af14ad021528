#include "record/batch.h"

#include <stdlib.h>
#include <string.h>

#include "logcap/source.h"
#include "support/support.h"

static void free_source(lc_source *source) {
  lc_source_deinit(source);
  free(source);
}

static lc_source *make_source(const char *key) {
  lc_source *source = calloc(1, sizeof *source);
  assert_non_null(source);
  assert_int_equal(lc_source_init(source, key, key, free_source), 0);
  return source;
}

static void test_records_belong_to_the_open_range(void **state) {
  (void)state;
  lc_source *source = make_source("a");
  lc_batch *batch = lc_batch_create(1024);
  assert_non_null(lc_batch_add_range(batch, source, 100));
  lc_source_release(source); /* the batch holds it */
  assert_non_null(lc_batch_add_record(batch));
  assert_non_null(lc_batch_add_record(batch));
  assert_non_null(lc_batch_add_range(batch, batch->ranges[0].source, 200));
  lc_record *rec = lc_batch_add_record(batch);
  assert_int_equal(rec->range, 1);
  assert_int_equal(batch->ranges[0].count, 2);
  assert_int_equal(batch->ranges[1].first, 2);
  assert_int_equal(batch->ranges[1].count, 1);
  lc_batch_destroy(batch);
}

static void test_a_batch_is_bounded(void **state) {
  (void)state;
  lc_batch *batch = lc_batch_create(64);
  for (uint32_t i = 0; i < LC_BATCH_RECORDS_MAX; i++) assert_non_null(lc_batch_add_record(batch));
  assert_null(lc_batch_add_record(batch));
  assert_int_equal(lc_batch_reserve_records(batch, 5), 0);
  lc_ref ref;
  assert_non_null(lc_batch_extra(batch, LC_BATCH_EXTRA_MAX, &ref));
  assert_null(lc_batch_extra(batch, 1, &ref));
  lc_batch_recycle(batch);
  assert_int_equal(batch->extra_cap, 0); /* one odd batch does not pin memory */
  assert_int_equal(batch->n_records, 0);
  lc_batch_destroy(batch);
}

static void test_drops_are_counted_with_their_reason(void **state) {
  (void)state;
  lc_batch *batch = lc_batch_create(64);
  assert_non_null(lc_batch_add_record(batch));
  assert_non_null(lc_batch_add_record(batch));
  lc_batch_drop(batch, &batch->records[0], LC_DROP_DUPLICATE);
  assert_false(lc_record_live(&batch->records[0]));
  assert_int_equal(batch->records[0].flags >> LC_REC_REASON_SHIFT, LC_DROP_DUPLICATE);
  assert_int_equal(lc_batch_refuse(batch, &batch->records[1], "stage", "why", 3), 0);
  assert_int_equal(batch->n_dead, 1);
  assert_memory_equal(lc_batch_at(batch, batch->dead[0].reason), "why", 3);
  assert_int_equal(batch->tally.dropped[LC_DROP_DUPLICATE], 1);
  assert_int_equal(batch->tally.dead, 1);
  lc_batch_destroy(batch);
}

static void test_a_refusal_without_memory_keeps_the_record(void **state) {
  (void)state;
  lc_batch *batch = lc_batch_create(64);
  lc_record *rec = lc_batch_add_record(batch);
  assert_non_null(rec);
  for (unsigned n = 1; n <= 2; n++) {
    lc_fault_after(n);
    int rc = lc_batch_refuse(batch, rec, "stage", "why", 3);
    assert_true(lc_fault_off());
    assert_int_equal(rc, LC_ENOMEM);
    assert_true(lc_record_live(rec));
    assert_int_equal(batch->tally.dead, 0);
  }
  lc_batch_destroy(batch);
}

static void test_a_refusal_finds_room_when_the_arena_is_full(void **state) {
  (void)state;
  char reason[4000];
  memset(reason, 'e', sizeof reason);
  lc_batch *batch = lc_batch_create(64);
  lc_ref ref;
  assert_int_equal(lc_batch_reserve_records(batch, LC_BATCH_RECORDS_MAX), LC_BATCH_RECORDS_MAX);
  assert_non_null(lc_batch_extra(batch, LC_BATCH_EXTRA_MAX - 1, &ref));
  for (uint32_t i = 0; i < LC_BATCH_RECORDS_MAX; i++) {
    lc_record *rec = lc_batch_add_record(batch);
    assert_int_equal(lc_batch_refuse(batch, rec, "stage", reason, sizeof reason), 0);
  }
  assert_int_equal(batch->dead[LC_BATCH_RECORDS_MAX - 1].reason_len, 256);
  assert_null(lc_batch_extra(batch, 1, &ref));
  lc_batch_destroy(batch);
}

static void test_an_empty_piece_has_a_place(void **state) {
  (void)state;
  lc_batch *batch = lc_batch_create(64);
  lc_ref ref = 0;
  assert_non_null(lc_batch_extra(batch, 0, &ref));
  assert_int_equal(ref, LC_REF_EXTRA);
  lc_batch_destroy(batch);
}

static void test_fields_move_and_keep_their_content(void **state) {
  (void)state;
  lc_batch *batch = lc_batch_create(64);
  assert_non_null(lc_batch_add_record(batch));
  assert_non_null(lc_batch_add_record(batch));
  for (uint16_t i = 0; i < 300; i++) {
    for (uint32_t r = 0; r < 2; r++) {
      lc_record *rec = &batch->records[r];
      lc_field *fields = lc_batch_reserve_fields(batch, rec, 1);
      assert_non_null(fields);
      fields[rec->n_fields++] = (lc_field){.key = r, .value = i};
    }
  }
  for (uint32_t r = 0; r < 2; r++) {
    for (uint32_t i = 0; i < 300; i++) {
      const lc_field *field = &batch->fields[batch->records[r].fields + i];
      assert_int_equal(field->key, r);
      assert_int_equal(field->value, i);
    }
  }
  lc_batch_destroy(batch);
}

static void test_refs_reach_both_arenas(void **state) {
  (void)state;
  lc_batch *batch = lc_batch_create(64);
  memcpy(batch->base[0], "data", 4);
  lc_ref ref;
  char *place = lc_batch_extra(batch, 5, &ref);
  assert_non_null(place);
  memcpy(place, "extra", 5);
  assert_memory_equal(lc_batch_at(batch, 0), "data", 4);
  assert_memory_equal(lc_batch_at(batch, ref), "extra", 5);
  lc_batch_refill(batch);
  assert_int_equal(batch->extra_len, 0);
  lc_batch_destroy(batch);
}

static void test_source_names_outlive_a_rename(void **state) {
  (void)state;
  lc_source *source = make_source("k");
  const char *old = source->name;
  assert_int_equal(lc_source_rename(source, "new"), 0);
  assert_string_equal(source->name, "new");
  assert_string_equal(old, "k"); /* a pool thread may still be reading it */
  lc_fault_after(1);
  assert_int_equal(lc_source_rename(source, "third"), LC_ENOMEM);
  lc_fault_off();
  assert_string_equal(source->name, "new");
  lc_source_release(source);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_records_belong_to_the_open_range),
      lc_test_case(test_a_batch_is_bounded),
      lc_test_case(test_drops_are_counted_with_their_reason),
      lc_test_case(test_a_refusal_without_memory_keeps_the_record),
      lc_test_case(test_a_refusal_finds_room_when_the_arena_is_full),
      lc_test_case(test_an_empty_piece_has_a_place),
      lc_test_case(test_fields_move_and_keep_their_content),
      lc_test_case(test_refs_reach_both_arenas),
      lc_test_case(test_source_names_outlive_a_rename),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
