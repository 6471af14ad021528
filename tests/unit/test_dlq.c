/* The dead-letter queue: entries are whole, rotate, stay bounded, and survive what a kill or a full disk does. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "logcap/source.h"
#include "pipeline/dlq.h"
#include "record/batch.h"
#include "support/support.h"

/* A batch with one record, whose message is `text`. */
static lc_batch *make_batch(const char *text, size_t len) {
  lc_batch *batch = lc_batch_create((uint32_t)len + 64);
  assert_non_null(batch);
  memcpy(batch->base[0], text, len);
  batch->data_len = (uint32_t)len;
  lc_record *rec = lc_batch_add_record(batch);
  assert_non_null(rec);
  rec->body_len = (uint32_t)len;
  return batch;
}

static void add_field(lc_batch *batch, const char *key, const char *value, lc_json_type type) {
  lc_record *rec = &batch->records[0];
  lc_field *field = lc_batch_reserve_fields(batch, rec, 1);
  assert_non_null(field);
  field += rec->n_fields++;
  char *at = lc_batch_extra(batch, (uint32_t)strlen(key), &field->key);
  assert_non_null(at);
  memcpy(at, key, strlen(key));
  at = lc_batch_extra(batch, (uint32_t)strlen(value), &field->value);
  assert_non_null(at);
  memcpy(at, value, strlen(value));
  field->key_len = (uint16_t)strlen(key);
  field->value_len = (uint32_t)strlen(value);
  field->type = (uint8_t)type;
}

/* The entry of the batch's record, parsed by somebody else; checks that it is one line. */
static json_t *encode(lc_batch *batch) {
  lc_buf buf = {0};
  assert_int_equal(lc_dlq_encode_refused(&buf, batch, 0, "shop", "loki", "boom \"x\""), 0);
  assert_ptr_equal(memchr(buf.data, '\n', buf.len), buf.data + buf.len - 1);
  json_error_t error;
  json_t *entry = json_loadb(buf.data, buf.len, JSON_REJECT_DUPLICATES, &error);
  if (entry == NULL) fail_msg("%s: %.*s", error.text, (int)buf.len, buf.data);
  lc_buf_free(&buf);
  return entry;
}

static void expect(json_t *entry, const char *key, const char *expected) {
  json_t *value = json_object_get(entry, key);
  if (expected == NULL) {
    assert_null(value);
    return;
  }
  if (value == NULL) fail_msg("no %s", key);
  char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
  assert_non_null(text);
  assert_string_equal(text, expected);
  free(text);
}

static void destroy_source(lc_source *source) { lc_source_deinit(source); }

static void test_encode_message(void **state) {
  (void)state;
  lc_batch *batch = make_batch("say \"hi\"\n", 9);
  lc_source source = {0};
  assert_int_equal(lc_source_init(&source, "key", "/var/log/a", destroy_source), 0);
  assert_non_null(lc_batch_add_range(batch, &source, 100));
  batch->records[0].end = 10;
  batch->records[0].flags = LC_REC_TRUNCATED;
  json_t *entry = encode(batch);
  assert_int_equal(json_string_length(json_object_get(entry, "time")) > 10, 1);
  expect(entry, "pipeline", "\"shop\"");
  expect(entry, "stage", NULL);
  expect(entry, "sink", "\"loki\"");
  expect(entry, "reason", "\"boom \\\"x\\\"\"");
  expect(entry, "source", "\"/var/log/a\"");
  expect(entry, "position", "110");
  expect(entry, "truncated", "true");
  expect(entry, "message", "\"say \\\"hi\\\"\\n\"");
  expect(entry, "fields", NULL);
  json_decref(entry);
  add_field(batch, "a", "1", LC_JSON_NUMBER);
  entry = encode(batch);
  expect(entry, "fields", "{\"a\":1}");
  json_decref(entry);
  lc_batch_destroy(batch);
  lc_source_release(&source);
}

static void test_encode_binary(void **state) {
  (void)state;
  static const char *const expected[] = {"\"/w==\"", "\"/2E=\"", "\"/2Fi\"", "\"/2FiYw==\""};
  for (size_t len = 1; len <= 4; len++) {
    lc_batch *batch = make_batch("\xff" "abc", len);
    json_t *entry = encode(batch);
    expect(entry, "message", NULL);
    expect(entry, "message_base64", expected[len - 1]);
    json_decref(entry);
    lc_batch_destroy(batch);
  }
}

static void test_encode_object(void **state) {
  (void)state;
  lc_batch *batch = make_batch("{\"n\": 1.50}", 11);
  lc_buf buf = {0};
  batch->records[0].flags = LC_REC_OBJECT;
  assert_int_equal(lc_dlq_encode_refused(&buf, batch, 0, "p", "s", "r"), 0);
  assert_non_null(strstr(lc_buf_cstr(&buf), ",\"record\":{\"n\": 1.50}}\n")); /* as it was, spelling and all */
  batch->records[0].flags = LC_REC_OBJECT | LC_REC_REWRITTEN;
  add_field(batch, "a", "\"x\"", LC_JSON_STRING);
  add_field(batch, "gone", "2", LC_JSON_REMOVED);
  add_field(batch, "b", "3", LC_JSON_NUMBER);
  json_t *entry = encode(batch);
  expect(entry, "record", "{\"a\":\"x\",\"b\":3}");
  json_decref(entry);
  lc_batch_destroy(batch);

  batch = make_batch("{\n}", 3); /* a joined group: its newline would end the entry */
  batch->records[0].flags = LC_REC_OBJECT;
  entry = encode(batch);
  expect(entry, "record_base64", "\"ewp9\"");
  json_decref(entry);
  lc_batch_destroy(batch);

  lc_dead dead = {.record = 0, .stage = "json", .reason_len = 3};
  batch = make_batch("x", 1);
  char *reason = lc_batch_extra(batch, 3, &dead.reason);
  assert_non_null(reason);
  memcpy(reason, "bad", 3);
  lc_buf_clear(&buf);
  assert_int_equal(lc_dlq_encode(&buf, batch, &dead, "p"), 0);
  assert_non_null(strstr(lc_buf_cstr(&buf), "\"stage\":\"json\",\"reason\":\"bad\",\"message\":\"x\"}\n"));
  lc_batch_destroy(batch);
  lc_buf_free(&buf);
}

static void test_encode_without_memory(void **state) {
  (void)state;
  lc_batch *batch = make_batch("some text", 9);
  add_field(batch, "a", "1", LC_JSON_NUMBER);
  for (unsigned n = 1;; n++) {
    lc_buf buf = {0};
    lc_fault_from(n);
    int rc = lc_dlq_encode_refused(&buf, batch, 0, "p", "s", "r");
    bool failed = lc_fault_off();
    if (failed) assert_int_equal(rc, LC_ENOMEM);
    if (failed) assert_int_equal(buf.len, 0);
    lc_buf_free(&buf);
    if (!failed) break;
  }
  lc_batch_destroy(batch);
}

static lc_dlq *open_dlq(const char *dir, uint64_t file_size, uint64_t total_size, lc_inodes *own) {
  lc_dlq *dlq = NULL;
  lc_error error = {0};
  lc_dlq_options options = {file_size, total_size};
  int rc = lc_dlq_open(dir, &options, own, &dlq, &error);
  if (rc != 0) fail_msg("%s", error.message);
  return dlq;
}

static void append(lc_dlq *dlq, const char *text) {
  lc_error error = {0};
  lc_buf buf = {0};
  assert_int_equal(lc_buf_adds(&buf, text), 0);
  int rc = lc_dlq_append(dlq, &buf, 1, &error);
  lc_buf_free(&buf);
  if (rc != 0) fail_msg("%s", error.message);
}

static void expect_file(lc_test *test, const char *name, const char *expected) {
  size_t len = 0;
  char *bytes = lc_test_read(test, name, &len);
  assert_string_equal(bytes, expected);
  free(bytes);
}

static bool exists(lc_test *test, const char *name) { return access(lc_test_path(test, name), F_OK) == 0; }

static void test_rotate_and_bound(void **state) {
  lc_test *test = *state;
  lc_inodes *own = NULL;
  assert_int_equal(lc_inodes_create(&own, NULL), 0);
  lc_dlq *dlq = open_dlq(test->dir, 10, 20, own);
  assert_false(exists(test, "dlq")); /* nothing before the first entry */
  append(dlq, "aaaa\n");
  struct stat st;
  assert_int_equal(stat(lc_test_path(test, "dlq/0000000001.ndjson"), &st), 0);
  assert_int_equal(st.st_mode & 07777, 0600);
  assert_true(lc_inodes_has(own, st.st_dev, st.st_ino));
  append(dlq, "bbbb\n");
  append(dlq, "cc\n");
  expect_file(test, "dlq/0000000001.ndjson", "aaaa\nbbbb\n");
  expect_file(test, "dlq/0000000002.ndjson", "cc\n");
  append(dlq, "ddd ddd\n"); /* does not fit behind cc, and 10 + 3 + 8 bytes are more than 20 */
  assert_false(exists(test, "dlq/0000000001.ndjson"));
  expect_file(test, "dlq/0000000003.ndjson", "ddd ddd\n");
  lc_dlq_stats stats = lc_dlq_stats_get(dlq);
  assert_int_equal(stats.entries, 4);
  assert_int_equal(stats.deleted_entries, 2);
  assert_int_equal(stats.files, 2);
  assert_int_equal(stats.bytes, 11);
  lc_dlq_close(dlq);

  dlq = open_dlq(test->dir, 10, 20, own); /* goes on where it was */
  append(dlq, "e\n");
  expect_file(test, "dlq/0000000003.ndjson", "ddd ddd\ne\n");
  append(dlq, "a long entry, longer than all may be together\n");
  stats = lc_dlq_stats_get(dlq);
  assert_int_equal(stats.files, 1);
  expect_file(test, "dlq/0000000004.ndjson", "a long entry, longer than all may be together\n");
  append(dlq, "f\n");
  assert_false(exists(test, "dlq/0000000004.ndjson"));
  assert_int_equal(lc_dlq_sync(dlq, NULL), 0);
  lc_dlq_close(dlq);
  lc_inodes_destroy(own);
}

static void test_large_entry(void **state) {
  lc_test *test = *state;
  size_t len = 1 << 20;
  char *text = malloc(len);
  assert_non_null(text);
  memset(text, 'x', len);
  lc_batch *batch = make_batch(text, len);
  lc_buf buf = {0};
  lc_dlq *dlq = open_dlq(test->dir, 0, 0, NULL);
  for (int i = 0; i < 3; i++) assert_int_equal(lc_dlq_encode_refused(&buf, batch, 0, "p", "s", "r"), 0);
  assert_int_equal(lc_dlq_append(dlq, &buf, 3, NULL), 0);
  struct stat st;
  assert_int_equal(stat(lc_test_path(test, "dlq/0000000001.ndjson"), &st), 0);
  assert_int_equal(st.st_size, buf.len);
  lc_dlq_close(dlq);
  lc_buf_free(&buf);
  lc_batch_destroy(batch);
  free(text);
}

static void test_torn_tail(void **state) {
  lc_test *test = *state;
  lc_dlq *dlq = open_dlq(test->dir, 1000000, 2000000, NULL);
  append(dlq, "whole\n");
  lc_dlq_close(dlq);
  char torn[100000];
  memset(torn, 't', sizeof torn);
  lc_test_append(test, "dlq/0000000001.ndjson", torn, sizeof torn);
  lc_test_write(test, "dlq/notes.txt", "not ours", 8);
  lc_test_write(test, "dlq/1.ndjson", "not ours", 8);
  dlq = open_dlq(test->dir, 1000000, 2000000, NULL);
  append(dlq, "next\n");
  expect_file(test, "dlq/0000000001.ndjson", "whole\nnext\n");
  assert_true(exists(test, "dlq/notes.txt"));
  lc_dlq_stats stats = lc_dlq_stats_get(dlq);
  assert_int_equal(stats.files, 1);
  assert_int_equal(stats.bytes, 11);
  lc_dlq_close(dlq);

  lc_test_append(test, "dlq/0000000001.ndjson", "half\0\0\0\0\0\n{behind a hole}\n", 27);
  dlq = open_dlq(test->dir, 1000000, 2000000, NULL);
  append(dlq, "more\n");
  expect_file(test, "dlq/0000000001.ndjson", "whole\nnext\nmore\n");
  assert_int_equal(unlink(lc_test_path(test, "dlq/0000000001.ndjson")), 0); /* purged while in use */
  append(dlq, "again\n");
  expect_file(test, "dlq/0000000002.ndjson", "again\n");
  lc_dlq_close(dlq);
}

static void test_refused(void **state) {
  lc_test *test = *state;
  lc_dlq *dlq = NULL;
  lc_error error = {0};
  lc_dlq_options options = {100, 150};
  assert_int_equal(lc_dlq_open(test->dir, &options, NULL, &dlq, &error), LC_EINVAL);
  lc_test_write(test, "dlq", "a file", 6);
  assert_int_equal(lc_dlq_open(test->dir, NULL, NULL, &dlq, &error), LC_ESYS);
  assert_int_equal(error.sys, ENOTDIR);
  assert_null(dlq);
  lc_dlq_close(NULL);
}

/* A full disk: the append fails whole, and succeeds once there is room. */
static void test_disk_full(void **state) {
  lc_test *test = *state;
  const char *dir = lc_test_path(test, "small");
  assert_int_equal(mkdir(dir, 0700), 0);
  if (mount("tmpfs", dir, "tmpfs", 0, "size=64k") != 0) skip();
  lc_dlq *dlq = open_dlq(dir, 0, 0, NULL);
  append(dlq, "first\n");
  lc_buf big = {0};
  assert_int_equal(lc_buf_reserve(&big, 100000), 0);
  memset(big.data, 'b', 100000);
  big.len = 100000;
  big.data[big.len - 1] = '\n';
  lc_error error = {0};
  assert_int_equal(lc_dlq_append(dlq, &big, 1, &error), LC_ESYS);
  assert_int_equal(error.sys, ENOSPC);
  expect_file(test, "small/dlq/0000000001.ndjson", "first\n");
  big.len = 2;
  big.data[1] = '\n';
  assert_int_equal(lc_dlq_append(dlq, &big, 1, &error), 0);
  expect_file(test, "small/dlq/0000000001.ndjson", "first\nb\n");
  lc_dlq_stats stats = lc_dlq_stats_get(dlq);
  assert_int_equal(stats.failures, 1);
  assert_int_equal(stats.entries, 2);
  lc_buf_free(&big);
  lc_dlq_close(dlq);
  assert_int_equal(umount(dir), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_encode_message), lc_test_case(test_encode_binary), lc_test_case(test_encode_object),
      lc_test_case(test_encode_without_memory), lc_test_case(test_rotate_and_bound), lc_test_case(test_large_entry),
      lc_test_case(test_torn_tail), lc_test_case(test_refused), lc_test_case(test_disk_full)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
