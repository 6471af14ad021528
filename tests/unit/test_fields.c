#include "record/fields.h"

#include <math.h>

#include "logcap/source.h"
#include "record/encode.h"
#include "record/json.h"
#include "record/json_shapes.h"
#include "support/records.h"
#include "support/support.h"

static void assert_json(lc_batch *batch, uint32_t i, const char *wanted) {
  lc_buf buf = {0};
  assert_int_equal(lc_encode_json(batch, &batch->records[i], &buf), 0);
  assert_string_equal(lc_buf_cstr(&buf), wanted);
  lc_buf_free(&buf);
}

static lc_batch *sliced(const char *lines) {
  lc_batch *batch = records_lines(lines);
  for (uint32_t i = 0; i < batch->n_records; i++) assert_int_equal(lc_json_slice(batch, &batch->records[i]), 0);
  return batch;
}

static void test_find(void **state) {
  (void)state;
  lc_batch *batch = sliced("{\"a\":1,\"abcdefgh\":2,\"abcdefghijklmnopqrst\":3}\n{\"b\":0,\"a\":4}\n{\"x\\\\\":5}\n");
  lc_record *recs = batch->records;
  uint32_t hint = 0;
  assert_non_null(lc_record_find(batch, &recs[0], "a", 1, &hint));
  assert_int_equal(hint, 0);
  assert_non_null(lc_record_find(batch, &recs[1], "a", 1, &hint));
  assert_int_equal(hint, 1);
  assert_non_null(lc_record_find(batch, &recs[1], "a", 1, &hint));
  assert_non_null(lc_record_find(batch, &recs[0], "a", 1, &hint));
  assert_int_equal(hint, 0);
  hint = 1000;
  assert_non_null(lc_record_find(batch, &recs[0], "abcdefgh", 8, &hint));
  assert_non_null(lc_record_find(batch, &recs[0], "abcdefghijklmnopqrst", 20, NULL));
  assert_null(lc_record_find(batch, &recs[0], "abcdefghijklmnopqrsT", 20, NULL));
  assert_null(lc_record_find(batch, &recs[0], "abcdefgH", 8, NULL));
  assert_null(lc_record_find(batch, &recs[0], "", 0, NULL));
  assert_non_null(lc_record_find(batch, &recs[2], "x\\", 2, NULL));
  assert_null(lc_record_find(batch, &recs[2], "x\\\\", 3, NULL));
  lc_batch_destroy(batch);
}

static void test_append(void **state) {
  (void)state;
  lc_batch *batch = sliced("{\"a\":1}\n{}\n{ }\n");
  for (uint32_t i = 0; i < 3; i++) {
    lc_record *rec = &batch->records[i];
    assert_int_equal(lc_record_set_string(batch, rec, "env", 3, "prod", 4), 0);
    assert_int_equal(lc_record_set_number(batch, rec, "n", 1, 2.5), 0);
    assert_int_equal(lc_record_set_bool(batch, rec, "t", 1, true), 0);
    assert_int_equal(lc_record_set_bool(batch, rec, "f", 1, false), 0);
    assert_int_equal(lc_record_set_null(batch, rec, "z", 1), 0);
    assert_int_equal(lc_record_set_raw(batch, rec, "o", 1, "{\"p\":[]}", 8, LC_JSON_OBJECT), 0);
    assert_int_equal(rec->flags & (LC_REC_APPENDED | LC_REC_REWRITTEN), LC_REC_APPENDED);
  }
  assert_json(batch, 0, "{\"a\":1,\"env\":\"prod\",\"n\":2.5,\"t\":true,\"f\":false,\"z\":null,\"o\":{\"p\":[]}}");
  assert_json(batch, 1, "{\"env\":\"prod\",\"n\":2.5,\"t\":true,\"f\":false,\"z\":null,\"o\":{\"p\":[]}}");
  assert_json(batch, 2, "{ \"env\":\"prod\",\"n\":2.5,\"t\":true,\"f\":false,\"z\":null,\"o\":{\"p\":[]}}");
  /* The same texts are shared. */
  lc_field *first = &batch->fields[batch->records[0].fields + 1], *second = &batch->fields[batch->records[1].fields];
  assert_int_equal(first->key, second->key);
  assert_int_equal(first->value, first->key + first->key_len + 2);
  lc_batch_destroy(batch);
}

static void test_replace_and_remove(void **state) {
  (void)state;
  lc_batch *batch =
      sliced("{\"a\":1, \"b\":2,\"c\":3,\"d\" : 4}\n{\"a\":1,\"b\":2,\"a\":3}\n{\"a\":1}\n{\"a\":1,\"a\":2}\n");
  lc_record *recs = batch->records;
  assert_int_equal(lc_record_set_string(batch, &recs[0], "b", 1, "x\"y", 3), 0);
  assert_true((recs[0].flags & LC_REC_REWRITTEN) != 0);
  assert_json(batch, 0, "{\"a\":1,\"b\":\"x\\\"y\",\"c\":3,\"d\":4}");
  lc_record_remove(batch, &recs[0], "a", 1);
  assert_int_equal(lc_record_set_number(batch, &recs[0], "new", 3, 7), 0);
  assert_json(batch, 0, "{\"b\":\"x\\\"y\",\"c\":3,\"d\":4,\"new\":7}");
  lc_record_remove(batch, &recs[0], "new", 3);
  assert_null(lc_record_find(batch, &recs[0], "new", 3, NULL));
  assert_int_equal(lc_record_set_null(batch, &recs[0], "a", 1), 0);
  assert_json(batch, 0, "{\"b\":\"x\\\"y\",\"c\":3,\"d\":4,\"a\":null}");

  assert_int_equal(lc_record_set_number(batch, &recs[1], "a", 1, 9), 0);
  assert_json(batch, 1, "{\"a\":1,\"b\":2,\"a\":9}");
  lc_record_remove(batch, &recs[1], "a", 1);
  assert_json(batch, 1, "{\"b\":2}");

  assert_int_equal(lc_record_set_number(batch, &recs[2], "x", 1, 1), 0);
  lc_record_remove(batch, &recs[2], "x", 1);
  lc_record_remove(batch, &recs[2], "nope", 4);
  assert_int_equal(recs[2].flags & LC_REC_REWRITTEN, 0);
  assert_json(batch, 2, "{\"a\":1}");
  lc_record_remove(batch, &recs[2], "a", 1);
  assert_json(batch, 2, "{}");
  lc_batch_destroy(batch);
}

static void test_strange_keys_and_values(void **state) {
  (void)state;
  lc_batch *batch = sliced("{}\n");
  lc_record *rec = &batch->records[0];
  for (int round = 0; round < 2; round++) {
    assert_int_equal(lc_record_set_string(batch, rec, "k\"1\n", 4, "\x01\xff\xc3\xa4", 4), 0);
    assert_int_equal(lc_record_set_string(batch, rec, "", 0, "", 0), 0);
    assert_int_equal(lc_record_set_string(batch, rec, "\xc3\xa4", 2, "a\\n", 3), 0);
  }
  assert_json(batch, 0, "{\"k\\\"1\\n\":\"\\u0001\xef\xbf\xbd\xc3\xa4\",\"\":\"\",\"\xc3\xa4\":\"a\\\\n\"}");
  assert_non_null(lc_record_find(batch, rec, "k\"1\n", 4, NULL));
  assert_int_equal(lc_record_set_number(batch, rec, "inf", 3, (double)INFINITY), LC_EINVAL);
  assert_int_equal(lc_record_set_number(batch, rec, "nan", 3, (double)NAN), LC_EINVAL);
  char *key = malloc(70000);
  assert_non_null(key);
  memset(key, 'k', 70000);
  assert_int_equal(lc_record_set_null(batch, rec, key, 65536), LC_EINVAL);
  assert_int_equal(lc_record_set_null(batch, rec, key, 65535), 0);
  key[0] = '"';
  assert_int_equal(lc_record_set_null(batch, rec, key, 65535), LC_EINVAL);
  free(key);
  lc_batch_destroy(batch);
}

/* A string that spells like JSON text that was set raw must not share it. */
static void test_cache_is_exact(void **state) {
  (void)state;
  lc_batch *batch = sliced("{}\n{}\n{}\n{}\n{}\n");
  lc_record *recs = batch->records;
  assert_int_equal(lc_record_set_raw(batch, &recs[0], "k", 1, "\"a\\n\"", 5, LC_JSON_STRING), 0);
  assert_int_equal(lc_record_set_string(batch, &recs[1], "k", 1, "a\\n", 3), 0);
  assert_int_equal(lc_record_set_string(batch, &recs[2], "k", 1, "1", 1), 0);
  assert_int_equal(lc_record_set_number(batch, &recs[3], "k", 1, 1), 0);
  assert_json(batch, 0, "{\"k\":\"a\\n\"}");
  assert_json(batch, 1, "{\"k\":\"a\\\\n\"}");
  assert_json(batch, 2, "{\"k\":\"1\"}");
  assert_json(batch, 3, "{\"k\":1}");
  assert_true((batch->fields[recs[0].fields].flags & LC_FIELD_VALUE_ESCAPED) != 0);
  lc_batch_destroy(batch);
}

/* The extra arena starts again at 0 with each refill: nothing remembered may point into what is written then. */
static void test_refill(void **state) {
  (void)state;
  lc_batch *batch = records_lines("{\"a\":1}\n");
  for (int round = 0; round < 3; round++) {
    uint32_t len = batch->data_len > 0 ? batch->data_len : 8;
    lc_batch_refill(batch);
    batch->data_len = len;
    lc_record *rec = lc_batch_add_record(batch);
    assert_non_null(rec);
    rec->body_len = 7;
    assert_int_equal(lc_json_slice(batch, rec), 0);
    /* The second round finds the first one's text still standing where nothing was written yet. */
    for (int i = 0; i < 2; i++) {
      if (i == round % 2) assert_int_equal(lc_record_set_string(batch, rec, "env", 3, "prod", 4), 0);
      else assert_int_equal(lc_record_set_string(batch, rec, "v", 1, "something else", 14), 0);
    }
    lc_field *env = lc_record_find(batch, rec, "env", 3, NULL);
    assert_non_null(env);
    assert_memory_equal(lc_batch_at(batch, env->value), "\"prod\"", 6);
    assert_true((env->value & ~LC_REF_EXTRA) + env->value_len <= batch->extra_len);
  }
  lc_batch_destroy(batch);
}

/* The value may stand in the arena that grows under it. */
static void test_value_in_the_batch(void **state) {
  (void)state;
  lc_batch *batch = sliced("{\"a\":\"first\"}\n");
  lc_record *rec = &batch->records[0];
  assert_int_equal(lc_record_set_string(batch, rec, "k", 1, "0123456789", 10), 0);
  for (int i = 0; i < 3000; i++) {
    lc_field *field = lc_record_find(batch, rec, "k", 1, NULL);
    const char *text = lc_batch_at(batch, field->value);
    char tail[16];
    snprintf(tail, sizeof tail, "x%d", i);
    assert_int_equal(lc_record_set_raw(batch, rec, tail, strlen(tail), text, field->value_len, LC_JSON_STRING), 0);
  }
  lc_field *last = lc_record_find(batch, rec, "x2999", 5, NULL);
  assert_memory_equal(lc_batch_at(batch, last->value), "\"0123456789\"", 12);
  lc_batch_destroy(batch);
}

static void test_message_of_a_plain_line(void **state) {
  (void)state;
  lc_batch *batch = records_lines("one\ntwo\nthree\nfour\nfive\n");
  lc_record *recs = batch->records;
  assert_true(lc_record_key_is_body(&recs[0], "message", 7));
  assert_int_equal(lc_record_set_string(batch, &recs[0], "message", 7, "o\xff\"e", 4), 0);
  assert_int_equal(recs[0].body_len, 4);
  assert_memory_equal(lc_batch_at(batch, recs[0].body), "o\xff\"e", 4);
  assert_int_equal(recs[0].flags, 0);
  assert_json(batch, 0, "{\"message\":\"o\xef\xbf\xbd\\\"e\"}");
  assert_int_equal(lc_record_set_raw(batch, &recs[1], "message", 7, "\"t\\n\"", 5, LC_JSON_STRING), 0);
  assert_memory_equal(lc_batch_at(batch, recs[1].body), "t\n", 2);
  assert_int_equal(lc_record_set_string(batch, &recs[1], "env", 3, "prod", 4), 0);
  assert_json(batch, 1, "{\"message\":\"t\\n\",\"env\":\"prod\"}");
  assert_int_equal(lc_record_set_number(batch, &recs[2], "message", 7, 3), 0);
  assert_json(batch, 2, "{\"message\":3}");
  assert_int_equal(lc_record_set_string(batch, &recs[2], "message", 7, "m", 1), 0);
  assert_json(batch, 2, "{\"message\":\"m\"}");
  assert_int_equal(lc_record_set_bool(batch, &recs[3], "x", 1, true), 0);
  lc_record_remove(batch, &recs[3], "message", 7);
  assert_json(batch, 3, "{\"x\":true}");
  lc_record_remove(batch, &recs[4], "message", 7);
  assert_json(batch, 4, "{}");
  lc_batch_destroy(batch);
}

static void destroy_source(lc_source *source) {
  lc_source_deinit(source);
}

static void test_text(void **state) {
  (void)state;
  lc_label items[] = {{"service", "from label"}, {"a", "hidden"}};
  lc_source source = {0};
  assert_int_equal(lc_source_init(&source, "key", "name", destroy_source), 0);
  assert_int_equal(lc_labels_create(items, 2, &source.labels), 0);
  lc_batch *batch = lc_batch_create(64);
  assert_non_null(batch);
  assert_non_null(lc_batch_add_range(batch, &source, 0));
  const char *text = "{\"a\":\"x\\ty\",\"n\":1.50,\"t\":true,\"o\":[1]}";
  memcpy(batch->base[0], text, strlen(text));
  batch->data_len = (uint32_t)strlen(text);
  lc_record *rec = lc_batch_add_record(batch);
  assert_non_null(rec);
  rec->body_len = batch->data_len;
  static const char *const wanted[][2] = {
      {"a", "x\ty"}, {"n", "1.50"}, {"t", "true"}, {"o", "[1]"}, {"service", "from label"}};
  lc_buf buf = {0};
  assert_int_equal(lc_record_text(batch, rec, "message", 7, &buf), 0);
  assert_string_equal(lc_buf_cstr(&buf), text);
  assert_int_equal(lc_json_slice(batch, rec), 0);
  for (size_t i = 0; i < 5; i++) {
    lc_buf_clear(&buf);
    assert_int_equal(lc_record_text(batch, rec, wanted[i][0], strlen(wanted[i][0]), &buf), 0);
    assert_string_equal(lc_buf_cstr(&buf), wanted[i][1]);
  }
  assert_int_equal(lc_record_text(batch, rec, "nope", 4, &buf), LC_ENOENT);
  assert_int_equal(lc_record_text(batch, rec, "message", 7, &buf), LC_ENOENT);
  lc_buf_free(&buf);
  lc_batch_destroy(batch);
  lc_source_release(&source);
}

static void test_no_memory(void **state) {
  (void)state;
  for (unsigned n = 1;; n++) {
    lc_batch *batch = sliced("{\"a\":1}\n");
    lc_record *rec = &batch->records[0];
    char big[20000];
    memset(big, 'x', sizeof big);
    lc_fault_after(n);
    int rc = lc_record_set_string(batch, rec, "env", 3, "prod", 4);
    if (rc == 0) rc = lc_record_set_string(batch, rec, "big", 3, big, sizeof big);
    bool failed = lc_fault_off();
    assert_int_equal(rc, failed ? LC_ENOMEM : 0);
    lc_buf buf = {0};
    assert_int_equal(lc_encode_json(batch, rec, &buf), 0);
    lc_buf_free(&buf);
    lc_batch_destroy(batch);
    if (!failed) break;
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_find),
      lc_test_case(test_append),
      lc_test_case(test_replace_and_remove),
      lc_test_case(test_strange_keys_and_values),
      lc_test_case(test_cache_is_exact),
      lc_test_case(test_refill),
      lc_test_case(test_value_in_the_batch),
      lc_test_case(test_message_of_a_plain_line),
      lc_test_case(test_text),
      lc_test_case(test_no_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
