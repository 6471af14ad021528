/* The dedup stage: what makes a key, what is dropped, and that its state survives. The set itself: test_dedup_table.c. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "logcap/source.h"
#include "record/batch.h"
#include "record/fields.h"
#include "record/json.h"
#include "stage/dedup.h"

#define NOW (1000 * LC_SECOND)

static lc_stage *make(lc_test *test, const lc_dedup_options *options) {
  lc_stage *stage = NULL;
  lc_error error = {0};
  if (lc_dedup_create(options, test->registry, NULL, "p.lua:1", &stage, &error) != 0) fail_msg("%s", error.message);
  assert_int_equal(lc_resource_opened(&stage->resource, &error), 0);
  return stage;
}

static void done(lc_stage *stage, lc_batch *batch) {
  lc_batch_destroy(batch);
  lc_resource_release(&stage->resource);
}

static lc_batch *make_batch(void) {
  lc_batch *batch = lc_batch_create(65536);
  assert_non_null(batch);
  return batch;
}

static lc_record *add_line(lc_batch *batch, const char *line) {
  lc_record *rec = lc_batch_add_record(batch);
  assert_non_null(rec);
  rec->body = batch->data_len;
  rec->body_len = (uint32_t)strlen(line);
  memcpy(batch->base[0] + batch->data_len, line, rec->body_len);
  batch->data_len += rec->body_len;
  return rec;
}

static lc_record *add_json(lc_batch *batch, const char *line) {
  lc_record *rec = add_line(batch, line);
  assert_int_equal(lc_json_slice(batch, rec), 0);
  return rec;
}

/* Runs the stage over all records: "+" for each that is still live, "-" for each that is not. */
static const char *run_at(lc_stage *stage, lc_batch *batch, int64_t now_ns, char *ret) {
  uint32_t at = 0;
  lc_error error = {0};
  int rc;
  while ((rc = stage->ops->process(stage, batch, &at, batch->n_records, now_ns, &error)) == LC_EAGAIN) continue;
  if (rc != 0) fail_msg("%s", error.message);
  assert_int_equal(at, batch->n_records);
  for (uint32_t i = 0; i < batch->n_records; i++) ret[i] = lc_record_live(&batch->records[i]) ? '+' : '-';
  ret[batch->n_records] = '\0';
  return ret;
}

static const char *run(lc_stage *stage, lc_batch *batch, char *ret) {
  return run_at(stage, batch, NOW, ret);
}

static void assert_stat(lc_stage *stage, const char *expected) {
  lc_buf stats = {0};
  assert_int_equal(stage->resource.ops->stats(&stage->resource, &stats), 0);
  if (!strstr(lc_buf_cstr(&stats), expected)) fail_msg("%s is not in %s", expected, lc_buf_cstr(&stats));
  lc_buf_free(&stats);
}

static void test_whole_lines(void **state) {
  char seen[16];
  lc_stage *stage = make(*state, &(lc_dedup_options){0});
  lc_batch *batch = make_batch();
  const char *const lines[] = {"a", "b", "a", "", "", "ab", "b"};
  for (int i = 0; i < 7; i++) (void)add_line(batch, lines[i]);
  assert_string_equal(run(stage, batch, seen), "++-+-+-");
  assert_int_equal(batch->tally.dropped[LC_DROP_DUPLICATE], 3);
  assert_stat(stage, "\"checks\":7,\"hits\":3,\"entries\":4,");
  done(stage, batch);
}

static void test_dead_records_are_not_seen(void **state) {
  char seen[16];
  lc_stage *stage = make(*state, &(lc_dedup_options){0});
  lc_batch *batch = make_batch();
  lc_batch_drop(batch, add_line(batch, "a"), LC_DROP_FILTERED);
  (void)add_line(batch, "a");
  assert_string_equal(run(stage, batch, seen), "-+");
  assert_stat(stage, "\"checks\":1,");
  done(stage, batch);
}

static void test_ttl(void **state) {
  char seen[16];
  lc_stage *stage = make(*state, &(lc_dedup_options){.ttl_ns = 5 * LC_SECOND});
  const int64_t ages[] = {0, 4 * LC_SECOND, 5 * LC_SECOND - 1, 5 * LC_SECOND, 6 * LC_SECOND};
  const char *const expected[] = {"+", "-", "-", "+", "-"};
  for (int i = 0; i < 5; i++) {
    lc_batch *batch = make_batch();
    (void)add_line(batch, "a");
    assert_string_equal(run_at(stage, batch, NOW + ages[i], seen), expected[i]);
    lc_batch_destroy(batch);
  }
  done(stage, NULL);
}

static void test_whole_records_as_they_leave(void **state) {
  char seen[16];
  lc_stage *stage = make(*state, &(lc_dedup_options){0});
  lc_batch *batch = make_batch();
  for (int i = 0; i < 3; i++) (void)add_json(batch, i < 2 ? "{\"n\":1,\"t\":1}" : "{\"n\":1,\"t\":2}");
  lc_record_remove(batch, &batch->records[0], "t", 1);
  lc_record_remove(batch, &batch->records[2], "t", 1);
  assert_string_equal(run(stage, batch, seen), "++-"); /* the time that made them differ is gone */
  (void)add_json(batch, "{\"n\":1,\"t\":1}");
  assert_int_equal(lc_record_set_string(batch, &batch->records[3], "env", 3, "prod", 4), 0);
  assert_string_equal(run(stage, batch, seen), "---+");
  assert_int_equal(atomic_load(&stage->resource.records_in), 6);
  assert_int_equal(atomic_load(&stage->resource.records_out), 3);
  done(stage, batch);
}

static void test_how_a_record_was_made_does_not_matter(void **state) {
  char seen[16];
  lc_stage *stage = make(*state, &(lc_dedup_options){0});
  lc_batch *batch = make_batch();
  (void)add_json(batch, "{\"level\":\"warn\",\"n\":1}");
  (void)add_json(batch, "{\"level\":\"WARN\",\"n\":1}");
  (void)add_json(batch, "{\"level\":\"warn\"}");
  assert_int_equal(lc_record_set_string(batch, &batch->records[1], "level", 5, "warn", 4), 0);
  assert_int_equal(lc_record_set_number(batch, &batch->records[2], "n", 1, 1), 0);
  assert_string_equal(run(stage, batch, seen), "+--");
  done(stage, batch);
}

static void test_fields(void **state) {
  char seen[16];
  const char *const fields[] = {"user", "code"};
  lc_stage *stage = make(*state, &(lc_dedup_options){.fields = fields, .n_fields = 2});
  lc_batch *batch = make_batch();
  (void)add_json(batch, "{\"user\":\"a\",\"code\":1,\"t\":1}");
  (void)add_json(batch, "{\"code\":1, \"user\":\"a\",\"t\":2}");   /* - order and others do not matter */
  (void)add_json(batch, "{\"user\":\"\\u0061\",\"code\":1}");     /* - the same content */
  (void)add_json(batch, "{\"user\":\"a\",\"code\":\"1\"}");       /* + a string is no number */
  (void)add_json(batch, "{\"user\":\"a\",\"code\":null}");        /* + */
  (void)add_json(batch, "{\"user\":\"a\"}");                      /* + absent is not null */
  (void)add_json(batch, "{\"user\":\"a\",\"t\":5}");              /* - */
  (void)add_json(batch, "{\"code\":\"a\"}");                      /* + */
  (void)add_json(batch, "{\"t\":1}");                             /* + has no key */
  (void)add_json(batch, "{\"t\":1}");                             /* + and again */
  assert_string_equal(run(stage, batch, seen), "+--+++-+++");
  assert_stat(stage, "\"unkeyed\":2,");
  done(stage, batch);
}

static void test_message_of_a_plain_line(void **state) {
  char seen[16];
  const char *const fields[] = {"message"};
  lc_stage *stage = make(*state, &(lc_dedup_options){.fields = fields, .n_fields = 1});
  lc_batch *batch = make_batch();
  (void)add_line(batch, "hello");
  (void)add_json(batch, "{\"message\":\"hello\"}");
  (void)add_line(batch, "other");
  assert_string_equal(run(stage, batch, seen), "+-+");
  done(stage, batch);
}

static void free_source(lc_source *source) {
  lc_source_deinit(source);
  free(source);
}

static void add_range(lc_batch *batch, const char *key) {
  lc_source *source = calloc(1, sizeof *source);
  assert_non_null(source);
  assert_int_equal(lc_source_init(source, key, key, free_source), 0);
  assert_non_null(lc_batch_add_range(batch, source, 0));
  lc_source_release(source);
}

static void test_per_source(void **state) {
  char seen[16];
  lc_stage *stage = make(*state, &(lc_dedup_options){.per_source = true});
  lc_batch *batch = make_batch();
  const char *const keys[] = {"one", "two", "one"};
  for (int i = 0; i < 3; i++) {
    add_range(batch, keys[i]);
    (void)add_line(batch, "a");
    (void)add_line(batch, "a");
  }
  assert_string_equal(run(stage, batch, seen), "+-+---");
  done(stage, batch);
}

static void test_save_and_load(void **state) {
  char seen[16];
  const char *const fields[] = {"user"};
  lc_error error = {0};
  lc_buf saved = {0};
  lc_stage *stage = make(*state, &(lc_dedup_options){.ttl_ns = 5 * LC_SECOND});
  lc_batch *batch = make_batch();
  (void)add_line(batch, "a");
  assert_string_equal(run(stage, batch, seen), "+");
  assert_int_equal(stage->ops->save(stage, &saved, &error), 0);
  done(stage, batch);

  stage = make(*state, &(lc_dedup_options){.ttl_ns = 5 * LC_SECOND});
  assert_int_equal(stage->ops->load(stage, saved.data, saved.len, &error), 0);
  batch = make_batch();
  (void)add_line(batch, "a");
  assert_string_equal(run_at(stage, batch, NOW + 5 * LC_SECOND - 1, seen), "-");
  saved.data[30] ^= 1;
  assert_int_equal(stage->ops->load(stage, saved.data, saved.len, &error), LC_ECORRUPT);
  saved.data[30] ^= 1;
  done(stage, batch);

  stage = make(*state, &(lc_dedup_options){.fields = fields, .n_fields = 1});
  assert_int_equal(stage->ops->load(stage, saved.data, saved.len, &error), LC_EINVAL);
  assert_non_null(strstr(error.message, "other key fields"));
  done(stage, NULL);
  lc_buf_free(&saved);
}

/* Many keys that expire at once let the loop breathe in between. */
static void test_breathes(void **state) {
  char seen[16];
  lc_error error = {0};
  lc_stage *stage = make(*state, &(lc_dedup_options){.max_entries = 200000, .ttl_ns = 1});
  for (unsigned round = 0; round < 20; round++) {
    lc_batch *batch = lc_batch_create(1u << 20);
    assert_non_null(batch);
    for (unsigned i = 0; i < 10000; i++) {
      char line[32];
      snprintf(line, sizeof line, "%u %u", round, i);
      (void)add_line(batch, line);
    }
    uint32_t at = 0;
    assert_int_equal(stage->ops->process(stage, batch, &at, batch->n_records, NOW, &error), 0);
    lc_batch_destroy(batch);
  }
  lc_batch *batch = make_batch();
  (void)add_line(batch, "x");
  uint32_t at = 0, times = 0;
  while (stage->ops->process(stage, batch, &at, 1, NOW + 1, &error) == LC_EAGAIN) times++;
  assert_int_equal(times, 3);
  assert_string_equal(run_at(stage, batch, NOW + 1, seen), "-");
  done(stage, batch);
}

/* What a reload does with a stage of the same identity. */
static void offer(lc_test *test, lc_stage *live, const lc_dedup_options *options, lc_fit fit) {
  lc_stage *described = NULL;
  lc_error error = {0};
  assert_int_equal(lc_dedup_create(options, test->registry, NULL, "p.lua:1", &described, &error), 0);
  assert_int_equal(live->resource.ops->fit(&live->resource, &described->resource), fit);
  if (fit == LC_FIT_CHANGED) live->resource.ops->adopt(&live->resource, &described->resource);
  lc_resource_release(&described->resource);
  lc_registry_run(test->registry);
}

static void test_takes_other_options_over(void **state) {
  char seen[16];
  const char *const fields[] = {"user"};
  lc_stage *stage = make(*state, &(lc_dedup_options){.max_entries = 3});
  lc_batch *batch = make_batch();
  for (const char *line = "a\0b\0c\0"; *line != '\0'; line += 2) (void)add_line(batch, line);
  assert_string_equal(run(stage, batch, seen), "+++");
  lc_batch_destroy(batch);
  offer(*state, stage, &(lc_dedup_options){.max_entries = 3, .ttl_ns = LC_DEDUP_TTL_DEFAULT}, LC_FIT_SAME);
  offer(*state, stage, &(lc_dedup_options){.max_entries = 3, .per_source = true}, LC_FIT_REPLACE);
  offer(*state, stage, &(lc_dedup_options){.max_entries = 3, .fields = fields, .n_fields = 1}, LC_FIT_REPLACE);
  offer(*state, stage, &(lc_dedup_options){.max_entries = 2}, LC_FIT_CHANGED); /* "a" is forgotten */
  assert_stat(stage, "\"checks\":3,\"hits\":0,\"entries\":2,\"max_entries\":2,\"evictions\":1,");
  offer(*state, stage, &(lc_dedup_options){.max_entries = 100000, .ttl_ns = 20 * LC_SECOND}, LC_FIT_CHANGED);
  assert_true(atomic_load(&stage->resource.bytes) > 2000000);
  batch = make_batch();
  for (const char *line = "b\0a\0c\0a\0"; *line != '\0'; line += 2) (void)add_line(batch, line);
  assert_string_equal(run_at(stage, batch, NOW + 15 * LC_SECOND, seen), "-+--");
  lc_batch_destroy(batch);
  offer(*state, stage, &(lc_dedup_options){.ttl_ns = 1 * LC_SECOND}, LC_FIT_CHANGED);
  batch = make_batch();
  for (const char *line = "b\0a\0"; *line != '\0'; line += 2) (void)add_line(batch, line);
  assert_string_equal(run_at(stage, batch, NOW + 15 * LC_SECOND, seen), "+-");
  lc_resource_close(&stage->resource);
  lc_registry_run(((lc_test *)*state)->registry);
  offer(*state, stage, &(lc_dedup_options){.max_entries = 7}, LC_FIT_CHANGED); /* it works no more: nothing happens */
  done(stage, batch);
}

/* In the middle of a batch, while the stage wants the loop to breathe. */
static void test_takes_another_size_over_between_two_steps(void **state) {
  char seen[16];
  lc_error error = {0};
  lc_stage *stage = make(*state, &(lc_dedup_options){.max_entries = 200000, .ttl_ns = 10});
  for (unsigned round = 0; round < 15; round++) {
    lc_batch *batch = lc_batch_create(1u << 20);
    assert_non_null(batch);
    for (unsigned i = 0; i < 10000; i++) {
      char line[32];
      (void)snprintf(line, sizeof line, "%u", round * 10000 + i);
      (void)add_line(batch, line);
    }
    uint32_t done_to = 0;
    assert_int_equal(stage->ops->process(stage, batch, &done_to, batch->n_records, NOW, &error), 0);
    lc_batch_destroy(batch);
  }
  lc_batch *batch = make_batch();
  (void)add_line(batch, "149999");
  (void)add_line(batch, "149999");
  uint32_t at = 0;
  assert_int_equal(stage->ops->process(stage, batch, &at, 2, NOW + 10, &error), LC_EAGAIN);
  offer(*state, stage, &(lc_dedup_options){.max_entries = 300000, .ttl_ns = 10}, LC_FIT_CHANGED);
  assert_int_equal(at, 0);
  assert_string_equal(run_at(stage, batch, NOW + 10, seen), "+-");
  assert_stat(stage, "\"expired\":150000,");
  done(stage, batch);
}

static void test_bad_options(void **state) {
  lc_test *test = *state;
  lc_stage *stage = NULL;
  lc_error error = {0};
  const char *const twice[] = {"a", "b", "a"};
  const char *const empty[] = {""};
  const lc_dedup_options bad[] = {{.ttl_ns = -1},
                                  {.max_entries = LC_DEDUP_ENTRIES_MAX + 1},
                                  {.fields = twice, .n_fields = 3},
                                  {.fields = empty, .n_fields = 1},
                                  {.fields = twice, .n_fields = LC_DEDUP_FIELDS_MAX + 1}};
  const char *const messages[] = {"ttl", "max_entries", "\"a\" is named twice", "no name", "key fields"};
  for (int i = 0; i < 5; i++) {
    assert_int_equal(lc_dedup_create(&bad[i], test->registry, NULL, "p.lua:1", &stage, &error), LC_EINVAL);
    assert_non_null(strstr(error.message, messages[i]));
  }
}

static void test_closed(void **state) {
  lc_test *test = *state;
  lc_error error = {0};
  lc_stage *stage = make(test, &(lc_dedup_options){0});
  assert_true(atomic_load(&stage->resource.bytes) > 2000000);
  lc_resource_close(&stage->resource);
  (void)lc_registry_run(test->registry);
  assert_int_equal(atomic_load(&stage->resource.bytes), 0);
  lc_batch *batch = make_batch();
  (void)add_line(batch, "a");
  uint32_t at = 0;
  assert_int_equal(stage->ops->process(stage, batch, &at, 1, NOW, &error), LC_ECLOSED);
  stage->ops->tick(stage, NOW);
  assert_stat(stage, "\"entries\":0,");
  done(stage, batch);
}

static void test_out_of_memory(void **state) {
  lc_test *test = *state;
  const char *const fields[] = {"user", "code"};
  for (unsigned n = 1;; n++) {
    lc_stage *stage = NULL;
    lc_error error = {0};
    lc_fault_after(n);
    int rc = lc_dedup_create(&(lc_dedup_options){.fields = fields, .n_fields = 2}, test->registry, "d", "p.lua:1",
                             &stage, &error);
    if (!lc_fault_off()) {
      assert_int_equal(rc, 0);
      assert_string_equal(stage->resource.identity, "dedup:d");
      lc_resource_release(&stage->resource);
      return;
    }
    assert_int_equal(rc, LC_ENOMEM);
    assert_non_null(strstr(error.message, "out of memory"));
    assert_null(stage);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_whole_lines),
      lc_test_case(test_dead_records_are_not_seen),
      lc_test_case(test_ttl),
      lc_test_case(test_whole_records_as_they_leave),
      lc_test_case(test_how_a_record_was_made_does_not_matter),
      lc_test_case(test_fields),
      lc_test_case(test_message_of_a_plain_line),
      lc_test_case(test_per_source),
      lc_test_case(test_save_and_load),
      lc_test_case(test_breathes),
      lc_test_case(test_takes_other_options_over),
      lc_test_case(test_takes_another_size_over_between_two_steps),
      lc_test_case(test_bad_options),
      lc_test_case(test_closed),
      lc_test_case(test_out_of_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
