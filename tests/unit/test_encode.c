#include "record/encode.h"

#include <stdio.h>

#include "logcap/source.h"
#include "record/fields.h"
#include "record/json.h"
#include "support/records.h"
#include "support/support.h"

/* All pieces of [0, n_records), with small steps, joined; *ret_shared counts the bytes that were not copied. */
static char *encode_all(lc_encoder *encoder, const lc_batch *batch, uint64_t limit, size_t max, size_t *ret_shared) {
  lc_buf out = {0};
  size_t shared = 0;
  uint32_t at = 0;
  while (at < batch->n_records) {
    struct iovec iov[8];
    size_t n = 0, bytes = 0, total = 0;
    uint32_t before = at;
    assert_int_equal(lc_encode(encoder, batch, &at, batch->n_records, limit, iov, max, &n, &bytes), 0);
    assert_true(at > before);
    for (size_t i = 0; i < n; i++) {
      const char *base = iov[i].iov_base;
      assert_non_null(base);
      assert_true(iov[i].iov_len > 0);
      lc_buf_add(&out, base, iov[i].iov_len);
      total += iov[i].iov_len;
      if (base >= batch->base[0] && base < batch->base[0] + batch->data_len) shared += iov[i].iov_len;
    }
    assert_int_equal(total, bytes);
  }
  if (ret_shared != NULL) *ret_shared = shared;
  char *text = strdup(lc_buf_cstr(&out));
  assert_non_null(text);
  lc_buf_free(&out);
  return text;
}

static void assert_encoded(lc_format format, const lc_batch *batch, const char *wanted) {
  for (int step = 0; step < 3; step++) {
    lc_encoder encoder = {.format = format};
    char *text = encode_all(&encoder, batch, step == 0 ? UINT64_MAX : 1, step == 2 ? 1 : 8, NULL);
    assert_string_equal(text, wanted);
    free(text);
    lc_encoder_deinit(&encoder);
    lc_encoder_deinit(&encoder);
  }
}

static void slice_all(lc_batch *batch) {
  for (uint32_t i = 0; i < batch->n_records; i++) {
    if (lc_json_slice(batch, &batch->records[i]) != 0) batch->records[i].flags |= LC_REC_UNPARSED;
  }
}

static void test_raw(void **state) {
  (void)state;
  lc_batch *batch = records_lines("one\n\ntwo\r\nthr\xff\xfe\ne\nlast");
  assert_encoded(LC_FORMAT_RAW, batch, "one\n\ntwo\r\nthr\xff\xfe\ne\nlast\n");
  lc_batch_drop(batch, &batch->records[1], LC_DROP_FILTERED);
  batch->records[2].body_len--; /* the framing took the carriage return away */
  assert_encoded(LC_FORMAT_RAW, batch, "one\ntwo\nthr\xff\xfe\ne\nlast\n");
  assert_int_equal(lc_record_set_string(batch, &batch->records[0], "message", 7, "new", 3), 0);
  assert_int_equal(lc_record_set_string(batch, &batch->records[3], "env", 3, "prod", 4), 0);
  assert_encoded(LC_FORMAT_RAW, batch, "new\ntwo\nthr\xff\xfe\ne\nlast\n");
  lc_batch_destroy(batch);
}

static void test_raw_of_objects(void **state) {
  (void)state;
  lc_batch *batch =
      records_lines("{\"message\":\"a\\tb\",\"x\":1}\n{\"x\": 1}\n{\"message\":12.50}\n{\"x\":2}\n{\"y\":3}\nplain\n");
  slice_all(batch);
  assert_int_equal(lc_record_set_bool(batch, &batch->records[3], "y", 1, true), 0);
  assert_int_equal(lc_record_set_string(batch, &batch->records[4], "message", 7, "set", 3), 0);
  assert_encoded(LC_FORMAT_RAW, batch, "a\tb\n{\"x\": 1}\n12.50\n{\"x\":2,\"y\":true}\nset\nplain\n");
  lc_batch_destroy(batch);
}

static void test_json(void **state) {
  (void)state;
  lc_batch *batch =
      records_lines("{\"a\": 1.50, \"b\":\"\xff\"}\nplain \"x\"\n {\"c\":3} \n{\"d\":4}\r\n{\"e\":5}\n\n{\"f\":6}");
  slice_all(batch);
  assert_encoded(LC_FORMAT_JSON, batch,
                 "{\"a\": 1.50, \"b\":\"\xff\"}\n{\"message\":\"plain \\\"x\\\"\"}\n{\"c\":3}\n{\"d\":4}\n{\"e\":5}\n"
                 "{\"message\":\"\"}\n{\"f\":6}\n");
  lc_batch_drop(batch, &batch->records[0], LC_DROP_FILTERED);
  lc_batch_drop(batch, &batch->records[6], LC_DROP_FILTERED);
  assert_int_equal(lc_record_set_number(batch, &batch->records[4], "g", 1, 7), 0);
  assert_encoded(LC_FORMAT_JSON, batch,
                 "{\"message\":\"plain \\\"x\\\"\"}\n{\"c\":3}\n{\"d\":4}\n{\"e\":5,\"g\":7}\n{\"message\":\"\"}\n");
  for (uint32_t i = 1; i < 6; i++) lc_batch_drop(batch, &batch->records[i], LC_DROP_FILTERED);
  assert_encoded(LC_FORMAT_JSON, batch, "");
  lc_batch_destroy(batch);
}

/* A blank in front of an object parts it from its neighbour. */
static void test_blank_ends_a_run(void **state) {
  (void)state;
  lc_batch *batch = records_lines("{\"x\":1}\n {\"y\":2}\n{\"z\":3}\n");
  slice_all(batch);
  assert_encoded(LC_FORMAT_JSON, batch, "{\"x\":1}\n{\"y\":2}\n{\"z\":3}\n");
  lc_batch_destroy(batch);
}

/* Untouched neighbours are handed out from the block itself. */
static void test_runs_are_not_copied(void **state) {
  (void)state;
  lc_buf in = {0};
  for (int i = 0; i < 1000; i++) lc_buf_addf(&in, "{\"n\":%d,\"text\":\"0123456789\"}\n", i);
  for (int format = 0; format < 2; format++) {
    lc_batch *batch = records_lines(lc_buf_cstr(&in));
    slice_all(batch);
    lc_encoder encoder = {.format = (lc_format)format};
    struct iovec iov[4];
    size_t n, bytes, shared;
    uint32_t at = 0;
    assert_int_equal(lc_encode(&encoder, batch, &at, 1000, UINT64_MAX, iov, 4, &n, &bytes), 0);
    assert_int_equal(n, 1);
    assert_ptr_equal(iov[0].iov_base, batch->base[0]);
    assert_int_equal(iov[0].iov_len, in.len);
    assert_int_equal(at, 1000);
    /* A limit cuts at a record's end, at or behind the limit. */
    at = 0;
    assert_int_equal(lc_encode(&encoder, batch, &at, 1000, 5000, iov, 4, &n, &bytes), 0);
    assert_true(bytes >= 5000 && bytes < 5040);
    assert_int_equal(batch->base[0][bytes - 1], '\n');
    assert_int_equal(batch->records[at].body, bytes);
    lc_batch_drop(batch, &batch->records[500], LC_DROP_FILTERED);
    char *text = encode_all(&encoder, batch, UINT64_MAX, 8, &shared);
    assert_int_equal(shared, strlen(text));
    assert_int_equal(strlen(text), in.len - batch->records[500].body_len - 1);
    free(text);
    lc_encoder_deinit(&encoder);
    lc_batch_destroy(batch);
  }
  lc_buf_free(&in);
}

/* More than the buffer holds at once, with records larger than it. */
static void test_large(void **state) {
  (void)state;
  enum { BIG = 700000 };
  char *big = malloc(BIG + 2);
  assert_non_null(big);
  memset(big, '"', BIG);
  big[BIG] = '\n';
  big[BIG + 1] = 0;
  lc_batch *batch = records_lines(big);
  for (int i = 0; i < 3; i++) {
    lc_record *rec = lc_batch_add_record(batch);
    assert_non_null(rec);
    *rec = batch->records[0];
  }
  lc_encoder encoder = {.format = LC_FORMAT_JSON};
  char *text = encode_all(&encoder, batch, UINT64_MAX, 8, NULL);
  assert_int_equal(strlen(text), 4 * (2 * BIG + 15));
  free(text);
  lc_encoder_deinit(&encoder);
  lc_batch_destroy(batch);
  free(big);
}

static void destroy_source(lc_source *source) {
  lc_source_deinit(source);
}

static void test_metadata(void **state) {
  (void)state;
  lc_label items[] = {{"team", "a\"b"}, {"env", "prod"}};
  lc_labels *labels = NULL;
  assert_int_equal(lc_labels_create(items, 2, &labels), 0);
  lc_source one = {0}, two = {0};
  assert_int_equal(lc_source_init(&one, "1", "/var/log/one.log", destroy_source), 0);
  assert_int_equal(lc_source_init(&two, "2", "/var/log/two.log", destroy_source), 0);
  one.labels = labels; /* which takes our reference over */
  lc_batch *batch = lc_batch_create(128);
  assert_non_null(batch);
  const char *text = "{\"a\":1}\nplain\n{}\n{\"@source\":\"x\"}\n";
  memcpy(batch->base[0], text, strlen(text));
  batch->data_len = (uint32_t)strlen(text);
  batch->read_ns = INT64_C(1700000000000000000);
  static const uint32_t ends[] = {7, 13, 16, 32};
  for (uint32_t i = 0, start = 0; i < 4; i++) {
    if (i == 0) assert_non_null(lc_batch_add_range(batch, &one, 0));
    if (i == 2) assert_non_null(lc_batch_add_range(batch, &two, 0));
    lc_record *rec = lc_batch_add_record(batch);
    assert_non_null(rec);
    rec->body = start;
    rec->body_len = ends[i] - start;
    start = ends[i] + 1;
  }
  slice_all(batch);
  batch->records[1].time_ns = INT64_C(1700000001500000000);
  lc_encoder encoder = {.format = LC_FORMAT_JSON, .metadata = true};
  char *out = encode_all(&encoder, batch, UINT64_MAX, 8, NULL);
  assert_string_equal(
      out,
      "{\"a\":1,\"@timestamp\":\"2023-11-14T22:13:20Z\",\"@source\":\"/var/log/one.log\","
      "\"@labels\":{\"team\":\"a\\\"b\",\"env\":\"prod\"}}\n"
      "{\"message\":\"plain\",\"@timestamp\":\"2023-11-14T22:13:21.5Z\",\"@source\":\"/var/log/one.log\","
      "\"@labels\":{\"team\":\"a\\\"b\",\"env\":\"prod\"}}\n"
      "{\"@timestamp\":\"2023-11-14T22:13:20Z\",\"@source\":\"/var/log/two.log\"}\n"
      "{\"@source\":\"x\",\"@timestamp\":\"2023-11-14T22:13:20Z\"}\n");
  free(out);
  lc_encoder_deinit(&encoder);
  lc_batch_destroy(batch);
  lc_source_release(&one);
  lc_source_release(&two);
}

static void test_no_memory(void **state) {
  (void)state;
  for (unsigned n = 1;; n++) {
    lc_batch *batch = records_lines("plain\n{\"a\":1}\n");
    lc_encoder encoder = {.format = LC_FORMAT_JSON, .metadata = true};
    struct iovec iov[4];
    size_t pieces, bytes;
    uint32_t at = 0;
    lc_fault_after(n);
    int rc = lc_encode(&encoder, batch, &at, 2, UINT64_MAX, iov, 4, &pieces, &bytes);
    bool failed = lc_fault_off();
    assert_int_equal(rc, failed ? LC_ENOMEM : 0);
    if (failed) {
      assert_int_equal(at, 0);
      assert_int_equal(lc_encode(&encoder, batch, &at, 2, UINT64_MAX, iov, 4, &pieces, &bytes), 0);
    }
    assert_int_equal(at, 2);
    lc_encoder_deinit(&encoder);
    lc_batch_destroy(batch);
    if (!failed) break;
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_raw),
      lc_test_case(test_raw_of_objects),
      lc_test_case(test_json),
      lc_test_case(test_blank_ends_a_run),
      lc_test_case(test_runs_are_not_copied),
      lc_test_case(test_large),
      lc_test_case(test_metadata),
      lc_test_case(test_no_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
