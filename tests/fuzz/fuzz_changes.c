/* Sequences of changes of one record, as Lua functions make them, against the same changes of a jansson value: set and
 * remove, by name and by path, taken back, encoded and read again.
 *
 * The first byte of the input chooses the record, the others the changes. */
#include <stdint.h>
#include <stdlib.h>

#include "../support/oracle.h"
#include "../support/records.h"
#include "bind/record_view.h"
#include "record/encode.h"

#define STEPS 3u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const texts[] = {
    "plain line",
    "",
    "{}",
    "{ \"a\" : 1 , \"o\":{ \"a\" : {\"b\":[ 1 , {\"a\":2} ]}, \"a2\":3} ,\"l\":[ [ ] , 2,\"x\"] }",
    "{\"a\":1,\"b\":2,\"a\":{\"a\":1,\"b\":5,\"a\":2},\"message\":\"m\",\"l\":[1,2,3]}",
    "{\"\":{\"\":{\"\":[]}},\"q\\\"\":1,\"\\u0061\":\"\\u0041\\n\",\"o\":\"text\"}",
};
static const char *const keys[] = {"a", "b", "o", "l", "message", "", "q\"", "n\n", "\xC3\xA9", "a2"};
static const char *const strings[] = {"", "x", "say \"hi\"\\", "\x01\n", "\xC3\xA9\xF0\x9F\x98\x80", "prod"};
static const char *const values[] = {"null", "true", "[]", "{}", "\"raw\"", "[1,[2,{\"a\":[3]}]]", "{\"a\":{\"b\":0}}"};
static const double numbers[] = {0, 1, -5, 0.5, 9007199254740992.0};

#define PICK(table, byte) (table)[(byte) % (sizeof(table) / sizeof *(table))]

/* What is left of the input; zeros behind its end. */
typedef struct input {
  const uint8_t *at, *end;
} input;

typedef struct path {
  const char *key;
  lc_json_step steps[STEPS];
  uint32_t n;
} path;

static void require(bool holds) {
  if (!holds) abort();
}

static uint8_t next(input *in) {
  return in->at < in->end ? *in->at++ : 0;
}

static json_t *loaded(const char *text) {
  json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
  require(value != NULL);
  return value;
}

/* --- the model --- */

static json_t *child_of(const json_t *value, const lc_json_step *step) {
  return step->key != NULL ? json_object_get(value, step->key) : json_array_get(value, (size_t)step->index - 1);
}

static bool put_child(json_t *value, const lc_json_step *step, json_t *child) {
  bool fits = step->key != NULL ? json_is_object(value) : json_is_array(value);
  if (fits && step->key != NULL) return json_object_set_new(value, step->key, child) == 0;
  if (fits && step->index <= json_array_size(value)) {
    return json_array_set_new(value, (size_t)step->index - 1, child) == 0;
  }
  if (fits && step->index == json_array_size(value) + 1) return json_array_append_new(value, child) == 0;
  json_decref(child);
  return false;
}

/* Sets (takes `value` over) or, with NULL, removes. Returns whether the path fits. */
static bool model_path(json_t *root, const path *to, json_t *value) {
  json_t *field = json_object_get(root, to->key), *fresh = field == NULL ? json_object() : NULL;
  json_t *at = field != NULL ? field : fresh;
  uint32_t i = 0;
  for (json_t *child; i + 1 < to->n && (child = child_of(at, &to->steps[i])) != NULL; i++) at = child;
  bool fits = true;
  if (value == NULL) {
    if (i + 1 == to->n && child_of(at, &to->steps[i]) != NULL) {
      if (to->steps[i].key != NULL) (void)json_object_del(at, to->steps[i].key);
      else (void)json_array_remove(at, (size_t)to->steps[i].index - 1);
    }
  } else {
    for (uint32_t rest = to->n - 1; rest > i; rest--) {
      json_t *around = json_object();
      if (fits) fits = put_child(around, &to->steps[rest], value);
      else json_decref(value);
      value = around;
    }
    if (fits) fits = put_child(at, &to->steps[i], value);
    else json_decref(value);
  }
  if (fresh != NULL && fits && json_object_size(fresh) > 0) (void)json_object_set(root, to->key, fresh);
  json_decref(fresh);
  return fits;
}

/* --- the record --- */

static path read_path(input *in) {
  path to = {.key = PICK(keys, next(in)), .n = 1};
  to.n += next(in) % STEPS;
  for (uint32_t i = 0; i < to.n; i++) {
    uint8_t byte = next(in);
    if (byte % 3 == 0) to.steps[i].index = 1 + byte / 3 % 4;
    else to.steps[i].key = PICK(keys, byte / 3);
    if (to.steps[i].key != NULL) to.steps[i].key_len = strlen(to.steps[i].key);
  }
  return to;
}

static void change_by_path(lc_view *view, json_t *root, input *in) {
  path to = read_path(in);
  const char *text = next(in) % 3 == 0 ? NULL : PICK(values, next(in));
  lc_view_path(view);
  for (uint32_t i = 0; i < to.n; i++) {
    const lc_json_step *step = &to.steps[i];
    if (step->key != NULL) require(lc_view_path_key(view, step->key, step->key_len) == 0);
    else require(lc_view_path_index(view, (double)step->index) == 0);
  }
  int rc = lc_view_path_set(view, view->serial, to.key, strlen(to.key), text, text != NULL ? strlen(text) : 0);
  require(rc == (model_path(root, &to, text != NULL ? loaded(text) : NULL) ? 0 : LC_EINVAL));
}

static void change_by_name(lc_view *view, json_t *root, uint8_t how, input *in) {
  const char *key = PICK(keys, next(in));
  size_t len = strlen(key);
  const char *text = how == 0 ? PICK(strings, next(in)) : PICK(values, next(in));
  double number = PICK(numbers, next(in));
  int rc = 0;
  json_t *value = NULL;
  switch (how) {
    case 0:
      rc = lc_view_set_string(view, view->serial, key, len, text, strlen(text));
      value = json_string(text);
      break;
    case 1:
      rc = lc_view_set_number(view, view->serial, key, len, number);
      value = number == 0.5 ? json_real(number) : json_integer((json_int_t)number);
      break;
    case 2:
      rc = lc_view_set_bool(view, view->serial, key, len, number > 0);
      value = json_boolean(number > 0);
      break;
    case 3:
      rc = lc_view_set_json(view, view->serial, key, len, text, strlen(text));
      value = loaded(text);
      break;
    default: rc = lc_view_remove(view, view->serial, key, len); break;
  }
  require(rc == 0);
  if (value != NULL) require(json_object_set_new(root, key, value) == 0);
  else (void)json_object_del(root, key);
}

/* What the record would be written as, and what it is read as, is the model. */
static void compare(lc_view *view, const json_t *root) {
  lc_buf buf = {0};
  require(lc_encode_json(view->batch, view->rec, &buf) == 0);
  json_t *seen = json_loadb(buf.data, buf.len, 0, NULL);
  require(seen != NULL && json_equal(seen, root));
  json_decref(seen);
  lc_batch *again = records_one(buf.data, buf.len);
  require(lc_json_slice(again, &again->records[0]) == 0);
  lc_batch_destroy(again);
  lc_buf_free(&buf);
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    const json_t *value = json_object_get(root, keys[i]);
    int kind = lc_view_get(view, view->serial, keys[i], strlen(keys[i]));
    require((kind == LC_VIEW_MISSING) == (value == NULL));
    require((kind == LC_VIEW_NULL) == json_is_null(value) && (kind == LC_VIEW_NUMBER) == json_is_number(value));
    if (!json_is_string(value)) continue;
    require(kind == LC_VIEW_STRING && view->len == json_string_length(value));
    require(memcmp(view->text, json_string_value(value), view->len) == 0);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  input in = {data, data + (size < 512 ? size : 512)};
  const char *text = PICK(texts, next(&in));
  lc_batch *batch = records_one(text, strlen(text));
  bool object = lc_json_slice(batch, &batch->records[0]) == 0;
  json_t *before = object ? loaded(text) : json_pack("{s:s}", "message", text), *root = json_deep_copy(before);
  lc_view view = {0};
  lc_view_begin(&view, NULL, batch, 0, 1, INT64_C(1) << 60);
  require(lc_view_next(&view));
  while (in.at < in.end) {
    uint8_t how = next(&in) % 8;
    if (how < 5) change_by_name(&view, root, how, &in);
    else if (how < 7) change_by_path(&view, root, &in);
    if (how == 7) {
      lc_view_undo(&view);
      json_decref(root);
      root = json_deep_copy(before);
    }
    compare(&view, root);
  }
  lc_view_end(&view);
  lc_view_deinit(&view);
  json_decref(root);
  json_decref(before);
  lc_batch_destroy(batch);
  return 0;
}
