/* The JSON slicer, with jansson as its oracle. */
#include "record/json.h"

#include <stdio.h>

#include "base/buf.h"
#include "record/encode.h"
#include "record/fields.h"
#include "support/oracle.h"
#include "support/records.h"
#include "support/slice.h"
#include "support/support.h"

static void test_limits(void **state) {
  (void)state;
  for (uint32_t n = 65531; n <= 65534; n++) {
    lc_buf buf = {0};
    for (uint32_t i = 0; i < n; i++) lc_buf_addf(&buf, "%c\"k%u\":%u", i == 0 ? '{' : ',', i, i);
    lc_buf_addc(&buf, '}');
    lc_batch *batch = records_one(buf.data, buf.len);
    assert_int_equal(lc_json_slice(batch, &batch->records[0]), n <= 65532 ? 0 : LC_EINVAL);
    if (n <= 65532) {
      assert_int_equal(batch->records[0].n_fields, n);
      assert_true(batch->n_fields <= batch->cap_fields);
      lc_field *last = lc_record_find(batch, &batch->records[0], "k65530", 6, NULL);
      assert_non_null(last);
      assert_memory_equal(lc_batch_at(batch, last->value), "65530", 5);
    }
    lc_batch_destroy(batch);
    lc_buf_free(&buf);
  }
  for (size_t len = 65535; len <= 65536; len++) {
    lc_buf buf = {0};
    lc_buf_adds(&buf, "{\"");
    for (size_t i = 0; i < len; i++) lc_buf_addc(&buf, 'k');
    lc_buf_adds(&buf, "\":1}");
    assert_int_equal(records_slice(buf.data, buf.len), len == 65535 ? 0 : LC_EINVAL);
    lc_buf_free(&buf);
  }
}

static void test_record(void **state) {
  (void)state;
  lc_batch *batch = records_lines("  {\"a\": 1, \"b\":\"x\\ty\",\"c\\n\":[1, {\"d\":2}]} \r\n");
  lc_record *rec = &batch->records[0];
  assert_int_equal(lc_json_slice(batch, rec), 0);
  assert_true((rec->flags & LC_REC_OBJECT) != 0);
  const char *object = "{\"a\": 1, \"b\":\"x\\ty\",\"c\\n\":[1, {\"d\":2}]}";
  assert_int_equal(rec->body_len, strlen(object));
  assert_memory_equal(lc_batch_at(batch, rec->body), object, strlen(object));
  assert_int_equal(rec->n_fields, 3);
  assert_true(rec->cap_fields >= 5);
  lc_field *fields = &batch->fields[rec->fields];
  assert_int_equal(fields[0].type, LC_JSON_NUMBER);
  assert_int_equal(fields[0].flags, 0);
  assert_int_equal(fields[1].type, LC_JSON_STRING);
  assert_int_equal(fields[1].flags, LC_FIELD_VALUE_ESCAPED);
  assert_int_equal(fields[2].type, LC_JSON_ARRAY);
  assert_int_equal(fields[2].flags, LC_FIELD_KEY_ESCAPED);
  assert_memory_equal(lc_batch_at(batch, fields[2].value), "[1, {\"d\":2}]", fields[2].value_len);
  lc_batch_destroy(batch);
}

/* One output line per object, even where a multi-line group was joined. */
static void test_newlines_between_tokens(void **state) {
  (void)state;
  const char *text = "{\n \"a\": 1,\n \"b\": [1,\n2]\n}\n";
  lc_batch *batch = records_one(text, strlen(text));
  assert_int_equal(lc_json_slice(batch, &batch->records[0]), 0);
  const char *wanted = "{  \"a\": 1,  \"b\": [1, 2] }";
  assert_int_equal(batch->records[0].body_len, strlen(wanted));
  assert_memory_equal(lc_batch_at(batch, batch->records[0].body), wanted, strlen(wanted));
  lc_batch_destroy(batch);
  const char *bad = "{\n\"a\": x}";
  batch = records_one(bad, strlen(bad));
  assert_int_equal(lc_json_slice(batch, &batch->records[0]), LC_EINVAL);
  assert_memory_equal(batch->base[0], bad, strlen(bad));
  lc_batch_destroy(batch);
}

static void test_duplicate_keys(void **state) {
  (void)state;
  lc_batch *batch = records_lines("{\"a\":1,\"b\":2}\n{\"a\":1,\"b\":2,\"a\":3}\n{\"a\":1,\"b\":2,\"\\u0061\":4}\n");
  uint32_t hint = 0;
  for (uint32_t i = 0; i < 3; i++) {
    static const char wanted[] = "134";
    lc_record *rec = &batch->records[i];
    assert_int_equal(lc_json_slice(batch, rec), 0);
    assert_int_equal((rec->flags & LC_REC_TWICE) != 0, i > 0);
    lc_field *field = lc_record_find(batch, rec, "a", 1, &hint);
    assert_non_null(field);
    assert_int_equal(*lc_batch_at(batch, field->value), wanted[i]);
  }
  lc_batch_destroy(batch);
}

/* Fields that an earlier stage added stay, unless the object has them too. */
static void test_fields_before(void **state) {
  (void)state;
  lc_batch *batch = records_lines("{\"a\":1,\"b\":2}\n");
  lc_record *rec = &batch->records[0];
  assert_int_equal(lc_record_set_string(batch, rec, "host", 4, "web", 3), 0);
  assert_int_equal(lc_record_set_string(batch, rec, "b", 1, "old", 3), 0);
  assert_int_equal(lc_json_slice(batch, rec), 0);
  lc_buf out = {0};
  assert_int_equal(lc_encode_json(batch, rec, &out), 0);
  assert_string_equal(lc_buf_cstr(&out), "{\"a\":1,\"b\":2,\"host\":\"web\"}");
  lc_buf_free(&out);
  lc_batch_destroy(batch);
}

/* A body that a script has set stands in the extra arena. */
static void test_body_in_extra(void **state) {
  (void)state;
  lc_batch *batch = records_lines("x\n");
  lc_record *rec = &batch->records[0];
  const char *text = "{\"a\":\"b\",\"c\":12}";
  assert_int_equal(lc_record_set_string(batch, rec, "message", 7, text, strlen(text)), 0);
  uint32_t len = batch->extra_len;
  assert_int_equal(lc_json_slice(batch, rec), 0);
  assert_int_equal(batch->extra_len, len);
  lc_field *field = lc_record_find(batch, rec, "c", 1, NULL);
  assert_non_null(field);
  assert_memory_equal(lc_batch_at(batch, field->value), "12", 2);
  lc_batch_destroy(batch);
}

/* Random documents and mutations. */

typedef struct lc_maker {
  uint64_t seed;
  lc_buf buf;
} lc_maker;

static unsigned dice(lc_maker *maker, unsigned sides) {
  maker->seed = maker->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (unsigned)(maker->seed >> 33) % sides;
}

static void add_space(lc_maker *maker) {
  static const char *const spaces[] = {" ", "\t", "\r", "\n", "  "};
  if (dice(maker, 12) == 0) lc_buf_adds(&maker->buf, spaces[dice(maker, 5)]);
}

static void add_string(lc_maker *maker) {
  static const char *const pieces[] = {
      "a",   "level", "0123456789abcdef", "\\n",     "\\\"", "\\\\", "\\u00fc", "\xc3\xa4",
      "\\/", "\xff",  "\\ud83d\\ude00",   "\\ud800", " ",    "{",    "}",       ","};
  lc_buf_addc(&maker->buf, '"');
  for (unsigned n = dice(maker, 5); n > 0; n--) {
    /* Mostly harmless. */
    lc_buf_adds(&maker->buf, pieces[dice(maker, dice(maker, 3) == 0 ? 16 : 3)]);
  }
  lc_buf_addc(&maker->buf, '"');
}

static void add_value(lc_maker *maker, unsigned depth);

static void add_nested(lc_maker *maker, unsigned depth, bool object) {
  lc_buf_addc(&maker->buf, object ? '{' : '[');
  add_space(maker);
  for (unsigned i = 0, n = dice(maker, depth == 0 ? 12 : 4); i < n; i++) {
    if (i > 0) lc_buf_addc(&maker->buf, ',');
    add_space(maker);
    if (object) {
      add_string(maker);
      add_space(maker);
      lc_buf_addc(&maker->buf, ':');
      add_space(maker);
    }
    add_value(maker, depth + 1);
    add_space(maker);
  }
  lc_buf_addc(&maker->buf, object ? '}' : ']');
}

static void add_value(lc_maker *maker, unsigned depth) {
  static const char *const scalars[] = {"true", "false",     "null",  "0",    "-1",
                                        "12.5", "123456789", "0.001", "-0.0", "1.25"};
  unsigned kind = dice(maker, 10);
  if (kind < 4) add_string(maker);
  else if (kind < 8 || depth > 4) lc_buf_adds(&maker->buf, scalars[dice(maker, 10)]);
  else add_nested(maker, depth, kind == 8);
}

static void mutate(lc_maker *maker) {
  static const char bytes[] = "{}[]\",:\\ \n\t0123456789.-+eEtrufalsn\x01\x80\xff";
  lc_buf *buf = &maker->buf;
  for (unsigned n = dice(maker, 3); n > 0 && buf->len > 0; n--) {
    size_t at = dice(maker, (unsigned)buf->len);
    switch (dice(maker, 3)) {
      case 0: buf->data[at] = bytes[dice(maker, sizeof bytes - 1)]; break;
      case 1: memmove(buf->data + at, buf->data + at + 1, --buf->len - at); break;
      default: buf->len = at; break;
    }
  }
}

static void compare_string(const char *text, size_t len, json_t *wanted) {
  /* The oracle saw another text where surrogates stand or where it is not UTF-8. */
  char *decoded = malloc(len + 1);
  assert_non_null(decoded);
  size_t n = lc_json_decode(text, len, decoded);
  bool special = memmem(text, len, "\\u", 2) != NULL;
  for (size_t i = 0; i < len; i++) special |= (unsigned char)text[i] >= 0x80;
  if (!special) {
    assert_int_equal(n, json_string_length(wanted));
    assert_memory_equal(decoded, json_string_value(wanted), n);
  }
  free(decoded);
}

static void compare_value(const char *text, size_t len, json_t *wanted);

static void compare_nested(const char *text, size_t len, json_t *wanted) {
  lc_json_members it = lc_json_open(text, len);
  size_t n = 0;
  for (; lc_json_next(&it); n++) {
    if (json_is_array(wanted)) {
      assert_null(it.key);
      compare_value(it.value, it.value_len, json_array_get(wanted, n));
    }
  }
  if (json_is_array(wanted)) assert_int_equal(n, json_array_size(wanted));
  else assert_true(n >= json_object_size(wanted));
}

static void compare_value(const char *text, size_t len, json_t *wanted) {
  int64_t integer;
  assert_non_null(wanted);
  switch (lc_json_type_of(text, len)) {
    case LC_JSON_NULL: assert_true(json_is_null(wanted)); break;
    case LC_JSON_TRUE: assert_true(json_is_true(wanted)); break;
    case LC_JSON_FALSE: assert_true(json_is_false(wanted)); break;
    case LC_JSON_STRING: compare_string(text + 1, len - 2, wanted); break;
    case LC_JSON_NUMBER:
      assert_true(lc_json_double(text, len) == json_number_value(wanted));
      if (json_is_integer(wanted)) {
        assert_true(lc_json_int64(text, len, &integer));
        assert_true(integer == json_integer_value(wanted));
      }
      break;
    default: assert_true(json_is_object(wanted) || json_is_array(wanted)); compare_nested(text, len, wanted);
  }
}

/* All members whose key the oracle knows by the same name. */
static void compare_record(const lc_batch *batch, const lc_record *rec, json_t *root) {
  const char *key;
  json_t *value;
  assert_true(rec->n_fields >= json_object_size(root));
  json_object_foreach(root, key, value) {
    lc_field *field = lc_record_find(batch, rec, key, strlen(key), NULL);
    if (field == NULL) continue; /* a key that the oracle saw changed */
    assert_true(lc_json_type_of(lc_batch_at(batch, field->value), field->value_len) == (lc_json_type)field->type);
    if (memmem(lc_batch_at(batch, rec->body), rec->body_len, "\\u", 2) == NULL) {
      compare_value(lc_batch_at(batch, field->value), field->value_len, value);
    }
  }
}

static void test_random(void **state) {
  (void)state;
  lc_maker maker = {.seed = 42};
  unsigned accepted = 0, refused = 0;
  lc_batch *batch = lc_batch_create(1 << 20);
  assert_non_null(batch);
  for (int round = 0; round < 40000; round++) {
    lc_buf_clear(&maker.buf);
    add_nested(&maker, 0, true);
    mutate(&maker);
    assert_false(maker.buf.failed);
    json_t *root = oracle_parse(maker.buf.data, maker.buf.len);
    lc_batch_refill(batch);
    memcpy(batch->base[0] + 7, maker.buf.data, maker.buf.len);
    batch->data_len = 7 + (uint32_t)maker.buf.len;
    batch->base[0][batch->data_len] = (char)dice(&maker, 256);
    lc_record *rec = lc_batch_add_record(batch);
    assert_non_null(rec);
    rec->body = 7;
    rec->body_len = (uint32_t)maker.buf.len;
    int rc = lc_json_slice(batch, rec);
    if ((rc == 0) != (root != NULL) && !oracle_big_numbers(maker.buf.data, maker.buf.len)) {
      fail_msg("%s: %.*s", rc == 0 ? "accepted" : "refused", (int)maker.buf.len, maker.buf.data);
    }
    if (rc == 0 && root != NULL) compare_record(batch, rec, root);
    accepted += rc == 0;
    refused += rc != 0;
    json_decref(root);
  }
  assert_true(accepted > 10000 && refused > 10000);
  lc_batch_destroy(batch);
  lc_buf_free(&maker.buf);
}

static void test_no_memory(void **state) {
  (void)state;
  lc_buf buf = {0};
  for (int i = 0; i < 6000; i++) lc_buf_addf(&buf, "%c\"k%d\":%d", i == 0 ? '{' : ',', i, i);
  lc_buf_addc(&buf, '}');
  for (unsigned n = 1;; n++) {
    lc_batch *batch = records_one(buf.data, buf.len);
    lc_record before = batch->records[0];
    lc_fault_after(n);
    int rc = lc_json_slice(batch, &batch->records[0]);
    bool failed = lc_fault_off();
    if (rc != 0) {
      assert_int_equal(rc, LC_ENOMEM);
      assert_memory_equal(&before, &batch->records[0], sizeof before);
      assert_int_equal(batch->n_fields, 0);
    }
    lc_batch_destroy(batch);
    if (!failed) {
      assert_int_equal(rc, 0);
      assert_true(n > 2);
      break;
    }
  }
  lc_buf_free(&buf);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_limits),
      lc_test_case(test_record),
      lc_test_case(test_newlines_between_tokens),
      lc_test_case(test_duplicate_keys),
      lc_test_case(test_fields_before),
      lc_test_case(test_body_in_extra),
      lc_test_case(test_random),
      lc_test_case(test_no_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
