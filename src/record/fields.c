#include "record/fields.h"

#include <math.h>

#include "logcap/source.h"
#include "record/json_scan.h"
#include "record/json_shapes.h"
#include "record/json_text.h"
#include "record/undo.h"

static bool escaped_key_is(const lc_batch *batch, const lc_field *field, const char *key, size_t len) {
  return lc_json_key_equals(lc_batch_at(batch, field->key), field->key_len, true, key, len);
}

static inline bool key_is(const lc_batch *batch, const lc_field *field, const char *key, size_t len) {
  if (lc_unlikely((field->flags & LC_FIELD_KEY_ESCAPED) != 0)) {
    return escaped_key_is(batch, field, key, len) && field->type != LC_JSON_REMOVED;
  }
  return field->key_len == len && lc_scan_equal(lc_batch_at(batch, field->key), key, len) &&
         field->type != LC_JSON_REMOVED;
}

lc_field *lc_record_find(const lc_batch *batch, const lc_record *rec, const char *key, size_t len, uint32_t *hint) {
  lc_field *fields = lc_record_fields(batch, rec);
  if (hint != NULL && *hint < rec->n_fields && (rec->flags & LC_REC_TWICE) == 0 &&
      key_is(batch, &fields[*hint], key, len)) {
    return &fields[*hint];
  }
  for (uint32_t i = rec->n_fields; i > 0; i--) {
    if (!key_is(batch, &fields[i - 1], key, len)) continue;
    if (hint != NULL) *hint = i - 1;
    return &fields[i - 1];
  }
  return NULL;
}

/* Text of a value to be set, as it is or as plain bytes to be put between quotes. */
typedef struct piece {
  const char *bytes;
  size_t len;
  lc_json_type type;
  bool quote;
} piece;

/* Where a piece of the extra arena stands after the arena has moved. */
static const char *moved(const char *bytes, const char *old_base, const lc_batch *batch, uint32_t old_len) {
  uintptr_t offset = (uintptr_t)bytes - (uintptr_t)old_base;
  return old_base != NULL && offset < old_len ? batch->base[1] + offset : bytes;
}

/* The pair of places where a text is remembered. A piece's ends tell most values from each other. */
static lc_json_set *cache_pair(lc_json_shapes *shapes, const char *key, size_t key_len, const piece *value) {
  uint32_t hash = (uint32_t)key_len << 8 ^ (uint32_t)value->len << 16 ^ (unsigned char)key[0];
  hash = hash * 0x9E3779B1u ^ (unsigned char)key[key_len - 1];
  if (value->len > 0) {
    hash = hash * 0x9E3779B1u ^ (unsigned char)value->bytes[0];
    hash = hash * 0x9E3779B1u ^ (unsigned char)value->bytes[value->len - 1];
  }
  return &shapes->sets[(hash * 0x9E3779B1u >> 16) & (LC_JSON_SETS - 2)];
}

static bool cached(const lc_batch *batch, const lc_json_set *set, const char *key, size_t key_len, const piece *value) {
  size_t quotes = value->quote ? 2 : 0;
  if (!set->filled || set->key_len != key_len || set->type != value->type || set->value_len != value->len + quotes) {
    return false;
  }
  const char *text = lc_batch_at(batch, set->key);
  return lc_scan_equal(text, key, key_len) && lc_scan_equal(text + key_len + 2 + quotes / 2, value->bytes, value->len);
}

/* Writes `,"key":value` into the extra arena. */
static int write_text(lc_batch *batch, const char *key, size_t key_len, piece value, lc_field *ret) {
  bool key_plain = lc_json_plain(key, key_len) == key_len;
  size_t key_text = key_plain ? key_len + 2 : lc_json_encoded_len(key, key_len);
  bool value_plain = !value.quote || lc_json_plain(value.bytes, value.len) == value.len;
  size_t value_text = value_plain ? value.len + (value.quote ? 2 : 0) : lc_json_encoded_len(value.bytes, value.len);
  if (key_text - 2 > UINT16_MAX) return LC_EINVAL;
  if (value_text > LC_BATCH_EXTRA_MAX) return LC_ENOMEM;
  const char *old_base = batch->base[1];
  uint32_t old_len = batch->extra_len;
  lc_ref ref;
  char *to = lc_batch_extra(batch, (uint32_t)(key_text + value_text + 2), &ref);
  if (to == NULL) return LC_ENOMEM;
  key = moved(key, old_base, batch, old_len);
  value.bytes = moved(value.bytes, old_base, batch, old_len);
  *to++ = ',';
  to += lc_json_encode(key, key_len, to);
  *to++ = ':';
  if (value.quote) {
    (void)lc_json_encode(value.bytes, value.len, to);
  } else {
    memcpy(to, value.bytes, value.len);
  }
  bool escaped =
      value.type == LC_JSON_STRING && memchr(lc_batch_at(batch, ref) + key_text + 2, '\\', value_text) != NULL;
  bool key_escaped = !key_plain && memchr(lc_batch_at(batch, ref) + 2, '\\', key_text - 2) != NULL;
  *ret = (lc_field){
      .key = ref + 2,
      .value = ref + 2 + (lc_ref)key_text,
      .value_len = (uint32_t)value_text,
      .key_len = (uint16_t)(key_text - 2),
      .type = (uint8_t)value.type,
      .flags = (uint8_t)((escaped ? LC_FIELD_VALUE_ESCAPED : 0) | (key_escaped ? LC_FIELD_KEY_ESCAPED : 0)),
  };
  return 0;
}

/* Only plain text is remembered: then what is given compares with what stands there byte for byte, and text that was
 * set raw is never taken for the bytes of a string. */
static bool is_plain(const char *key, size_t key_len, const piece *value) {
  if (lc_json_plain(key, key_len) < key_len) return false;
  if (value->type != LC_JSON_STRING) return true;
  return value->quote && lc_json_plain(value->bytes, value->len) == value->len;
}

/* The text of a field, shared with an earlier one that is alike when there is one in the cache. */
static int make_text(lc_batch *batch, const char *key, size_t key_len, piece value, lc_field *ret) {
  lc_json_shapes *shapes = lc_json_shapes_of(batch);
  if (shapes == NULL) return LC_ENOMEM;
  if (key_len == 0 || value.len > 256) return write_text(batch, key, key_len, value, ret);
  lc_json_set *pair = cache_pair(shapes, key, key_len, &value);
  for (unsigned i = 0; i < 2; i++) {
    const lc_json_set *set = &pair[i];
    if (!cached(batch, set, key, key_len, &value)) continue;
    *ret = (lc_field){set->key, set->key + set->key_len + 2, set->value_len, set->key_len, set->type, 0};
    return 0;
  }
  bool plain = is_plain(key, key_len, &value); /* asked before the arena moves: the bytes may stand there */
  int rc = write_text(batch, key, key_len, value, ret);
  if (rc != 0 || !plain) return rc;
  pair[1] = pair[0];
  pair[0] = (lc_json_set){ret->key, ret->value_len, ret->key_len, ret->type, true};
  return 0;
}

/* Whether the field's value still stands in the record's object. */
static bool in_body(const lc_record *rec, const lc_field *field) {
  return (rec->flags & LC_REC_OBJECT) != 0 && field->value - rec->body < rec->body_len;
}

static int set_field(lc_batch *batch, lc_record *rec, const char *key, size_t key_len, piece value) {
  lc_field made;
  lc_field *field = lc_record_find(batch, rec, key, key_len, NULL);
  if (field == NULL && rec->n_fields == rec->cap_fields && lc_batch_reserve_fields(batch, rec, 1) == NULL) {
    return LC_ENOMEM;
  }
  int rc = make_text(batch, key, key_len, value, &made);
  if (rc != 0) return rc;
  if (field != NULL) {
    if (batch->undo != NULL) lc_undo_note(batch->undo, batch, rec, field);
    if (in_body(rec, field)) rec->flags |= LC_REC_REWRITTEN;
    *field = made;
    return 0;
  }
  batch->fields[rec->fields + rec->n_fields++] = made;
  rec->flags |= LC_REC_APPENDED;
  /* A key that is not UTF-8 was changed on its way into the text: it may be there already. */
  if (made.key_len != key_len || memcmp(lc_batch_at(batch, made.key), key, key_len) != 0) rec->flags |= LC_REC_TWICE;
  return 0;
}

static int set_body(lc_batch *batch, lc_record *rec, const char *bytes, size_t len) {
  const char *old_base = batch->base[1];
  uint32_t old_len = batch->extra_len;
  lc_ref ref;
  if (len > LC_BATCH_EXTRA_MAX) return LC_ENOMEM;
  char *to = lc_batch_extra(batch, (uint32_t)len, &ref);
  if (to == NULL) return LC_ENOMEM;
  memcpy(to, moved(bytes, old_base, batch, old_len), len);
  rec->body = ref;
  rec->body_len = (uint32_t)len;
  return 0;
}

/* A plain line becomes an object of its fields; the line is gone. */
static void forget_body(lc_record *rec) {
  rec->flags |= LC_REC_OBJECT | LC_REC_REWRITTEN;
  rec->body_len = 0;
}

static int set_piece(lc_batch *batch, lc_record *rec, const char *key, size_t key_len, piece value) {
  if (!lc_record_key_is_body(rec, key, key_len)) return set_field(batch, rec, key, key_len, value);
  int rc = set_field(batch, rec, key, key_len, value);
  if (rc == 0) forget_body(rec);
  return rc;
}

int lc_record_set_raw(lc_batch *batch, lc_record *rec, const char *key, size_t key_len, const char *text, size_t len,
                      lc_json_type type) {
  if (type != LC_JSON_STRING || !lc_record_key_is_body(rec, key, key_len)) {
    return set_piece(batch, rec, key, key_len, (piece){text, len, type, false});
  }
  /* A string for the message of a plain line: its bytes are the body. */
  lc_buf decoded = {0};
  if (lc_buf_reserve(&decoded, len) != 0) return LC_ENOMEM;
  size_t n = lc_json_decode(text + 1, len - 2, decoded.data);
  int rc = set_body(batch, rec, decoded.data, n);
  lc_buf_free(&decoded);
  return rc;
}

int lc_record_set_string(lc_batch *batch, lc_record *rec, const char *key, size_t key_len, const char *bytes,
                         size_t len) {
  if (lc_record_key_is_body(rec, key, key_len)) return set_body(batch, rec, bytes, len);
  return set_field(batch, rec, key, key_len, (piece){bytes, len, LC_JSON_STRING, true});
}

int lc_record_set_number(lc_batch *batch, lc_record *rec, const char *key, size_t key_len, double number) {
  char text[LC_JSON_NUMBER_TEXT];
  if (!isfinite(number)) return LC_EINVAL;
  size_t len = lc_json_number_text(number, text);
  return set_piece(batch, rec, key, key_len, (piece){text, len, LC_JSON_NUMBER, false});
}

int lc_record_set_bool(lc_batch *batch, lc_record *rec, const char *key, size_t key_len, bool value) {
  piece text = value ? (piece){"true", 4, LC_JSON_TRUE, false} : (piece){"false", 5, LC_JSON_FALSE, false};
  return set_piece(batch, rec, key, key_len, text);
}

int lc_record_set_null(lc_batch *batch, lc_record *rec, const char *key, size_t key_len) {
  return set_piece(batch, rec, key, key_len, (piece){"null", 4, LC_JSON_NULL, false});
}

void lc_record_remove(lc_batch *batch, lc_record *rec, const char *key, size_t key_len) {
  if (lc_record_key_is_body(rec, key, key_len)) {
    forget_body(rec);
    return;
  }
  for (uint32_t i = 0; i < rec->n_fields; i++) {
    lc_field *field = &batch->fields[rec->fields + i];
    if (!key_is(batch, field, key, key_len)) continue;
    if (batch->undo != NULL) lc_undo_note(batch->undo, batch, rec, field);
    if (in_body(rec, field)) rec->flags |= LC_REC_REWRITTEN;
    field->type = LC_JSON_REMOVED;
  }
}

static int label_text(const lc_batch *batch, const lc_record *rec, const char *name, size_t len, lc_buf *ret) {
  const lc_labels *labels = rec->range < batch->n_ranges ? batch->ranges[rec->range].labels : NULL;
  for (uint32_t i = 0; labels != NULL && i < labels->n; i++) {
    const lc_label *label = &labels->items[i];
    if (strlen(label->name) == len && memcmp(label->name, name, len) == 0) return lc_buf_adds(ret, label->value);
  }
  return LC_ENOENT;
}

int lc_record_text(const lc_batch *batch, const lc_record *rec, const char *name, size_t len, lc_buf *ret) {
  if (lc_record_key_is_body(rec, name, len)) return lc_buf_add(ret, lc_batch_at(batch, rec->body), rec->body_len);
  const lc_field *field = lc_record_find(batch, rec, name, len, NULL);
  if (field == NULL) return label_text(batch, rec, name, len, ret);
  const char *text = lc_batch_at(batch, field->value);
  if (field->type != LC_JSON_STRING) return lc_buf_add(ret, text, field->value_len);
  if ((field->flags & LC_FIELD_VALUE_ESCAPED) == 0) return lc_buf_add(ret, text + 1, field->value_len - 2);
  if (lc_buf_reserve(ret, field->value_len) != 0) return LC_ENOMEM;
  ret->len += lc_json_decode(text + 1, field->value_len - 2, ret->data + ret->len);
  return 0;
}
