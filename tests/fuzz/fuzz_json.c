/* The JSON slicer against jansson: what is accepted, and that what is set, removed and written reads back as it must.
 *
 * The input is a text. It is sliced twice in one batch, so that the second time every key is predicted, with other
 * bytes behind it. */
#include <stdint.h>
#include <stdlib.h>

#include "../support/oracle.h"
#include "../support/records.h"
#include "record/encode.h"
#include "record/fields.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds) {
  if (!holds) abort();
}

/* The encoded record as the oracle reads it. */
static json_t *encoded(const lc_batch *batch, const lc_record *rec) {
  lc_buf buf = {0};
  require(lc_encode_json(batch, rec, &buf) == 0);
  require(memchr(buf.data, '\n', buf.len) == NULL);
  json_t *root = oracle_parse(buf.data, buf.len);
  lc_buf_free(&buf);
  return root;
}

/* Every kind of change, mirrored in the oracle. */
static void change(lc_batch *batch, lc_record *rec, json_t *root) {
  require(lc_record_set_string(batch, rec, "env", 3, "prod", 4) == 0);
  require(json_object_set_new(root, "env", json_string("prod")) == 0);
  require(lc_record_set_number(batch, rec, "n\"\n", 3, 12.5) == 0);
  require(json_object_set_new(root, "n\"\n", json_real(12.5)) == 0);
  require(lc_record_set_null(batch, rec, "a", 1) == 0);
  require(json_object_set_new(root, "a", json_null()) == 0);
  lc_record_remove(batch, rec, "b", 1);
  (void)json_object_del(root, "b");
  json_t *seen = encoded(batch, rec);
  require(seen != NULL && json_equal(seen, root));
  json_decref(seen);
}

/* Walks all nested text: nothing may lead outside. */
static void walk(const char *text, size_t len, int depth) {
  char *copy = malloc(len + 1);
  require(copy != NULL);
  lc_json_members it = lc_json_open(text, len);
  while (lc_json_next(&it)) {
    require(it.value >= text && it.value + it.value_len <= text + len);
    if (it.key != NULL) require(lc_json_decode(it.key, it.key_len, copy) <= it.key_len);
    if (it.type == LC_JSON_STRING) require(lc_json_decode(it.value + 1, it.value_len - 2, copy) <= it.value_len);
    if (it.type == LC_JSON_NUMBER) require(!isnan(lc_json_double(it.value, it.value_len)));
    if (depth < 8) walk(it.value, it.value_len, depth + 1);
  }
  free(copy);
}

/* Text that nobody checked may mean anything, but stays within its bounds. */
static void walk_unchecked(const char *text, size_t len) {
  const lc_json_step steps[] = {{.key = "a", .key_len = 1}, {.index = 2}};
  const char *value;
  size_t value_len;
  lc_json_type type;
  lc_buf buf = {0};
  if (lc_json_path(text, len, steps, 2, &value, &value_len, &type) == 0) require(value + value_len <= text + len);
  require(lc_json_splice(text, len, steps, 2, "1", 1, &buf) <= 0);
  require(lc_json_splice(text, len, steps, 1, NULL, 0, &buf) <= 0);
  lc_buf_free(&buf);
}

/* Keys that jansson saw changed (escaped surrogates, bytes that are not UTF-8) may fall together: nothing to compare.
 */
static bool comparable(const char *text, size_t len) {
  for (size_t i = 0; i < len; i++) {
    if ((unsigned char)text[i] >= 0x80 || (text[i] == '\\' && i + 1 < len && text[i + 1] == 'u')) return false;
  }
  return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size > 65536) return 0;
  const char *text = (const char *)data;
  lc_batch *batch = lc_batch_create((uint32_t)size + 1);
  require(batch != NULL);
  json_t *root = oracle_parse(text, size);
  for (int round = 0; round < 2; round++) {
    lc_batch_refill(batch);
    if (size > 0) memcpy(batch->base[0] + 1, text, size);
    batch->data_len = (uint32_t)size + 1;
    batch->base[0][size + 1] = round == 0 ? '"' : '0';
    lc_record *rec = lc_batch_add_record(batch);
    require(rec != NULL);
    rec->body = 1;
    rec->body_len = (uint32_t)size;
    int rc = lc_json_slice(batch, rec);
    require(rc == 0 || rc == LC_EINVAL);
    require(batch->base[0][size + 1] == (round == 0 ? '"' : '0'));
    if (rc != 0) {
      require(root == NULL && memcmp(batch->base[0] + 1, text, size) == 0);
      continue;
    }
    require(root != NULL || oracle_big_numbers(text, size));
    walk(lc_batch_at(batch, rec->body), rec->body_len, 0);
    if (root == NULL || !comparable(text, size)) continue;
    json_t *seen = encoded(batch, rec), *copy = json_deep_copy(root);
    require(seen != NULL && copy != NULL && json_equal(seen, root));
    change(batch, rec, copy);
    json_decref(seen);
    json_decref(copy);
  }
  walk_unchecked(text, size);
  json_decref(root);
  lc_batch_destroy(batch);
  return 0;
}
