#include "bind/record_view.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "bind/json_value.h"
#include "logcap/source.h"
#include "record/fields.h"

#define STRIDE_MAX 64u

void lc_view_deinit(lc_view *view) {
  lc_buf_free(&view->decoded);
  lc_buf_free(&view->spliced);
  lc_undo_deinit(&view->undo);
}

/* --- the loop over a batch --- */

void lc_view_begin(lc_view *view, lc_stage *stage, lc_batch *batch, uint32_t at, uint32_t to, int64_t turn_ns) {
  view->stage = stage;
  view->batch = batch;
  batch->undo = &view->undo;
  view->rec = NULL;
  view->at = at;
  view->to = to;
  view->stride = view->until_look = 1;
  view->looked_ns = lc_clock_mono();
  view->breathe_ns = view->looked_ns + turn_ns;
  view->breathe = false;
  view->stopped = 0;
  view->held = false;
  view->seen = view->dropped = view->refused = view->gone = 0;
}

void lc_view_end(lc_view *view) {
  view->serial++;
  view->batch->undo = NULL;
  view->batch = NULL;
  view->rec = NULL;
  view->stage = NULL;
}

/* Looks at the clock every so many records: seldom while they go fast, at each one when they take long. */
static bool time_is_up(lc_view *view) {
  int64_t now = lc_clock_mono();
  bool fast = now - view->looked_ns < LC_MILLISECOND;
  if (!fast) view->stride = 1;
  else if (view->stride < STRIDE_MAX) view->stride *= 2;
  view->until_look = view->stride;
  view->looked_ns = now;
  return now >= view->breathe_ns;
}

bool lc_view_next(lc_view *view) {
  if (view->held) return false;
  view->serial++;
  view->rec = NULL;
  if (view->stopped != 0) return false;
  while (view->at < view->to && !lc_record_live(&view->batch->records[view->at])) view->at++;
  if (view->at >= view->to) return false;
  if (--view->until_look == 0 && time_is_up(view) && view->seen > 0) {
    view->breathe = true;
    return false;
  }
  view->rec = &view->batch->records[view->at++];
  lc_undo_begin(&view->undo, view->rec);
  view->seen++;
  return true;
}

void lc_view_drop(lc_view *view) {
  if (view->rec == NULL) return;
  lc_batch_drop(view->batch, view->rec, LC_DROP_FILTERED);
  view->dropped++;
  view->rec = NULL;
}

void lc_view_undo(lc_view *view) {
  /* Without memory to take it back, the record goes on as far as it was changed: it is whole in any case. */
  if (view->rec != NULL) (void)lc_undo_roll_back(&view->undo, view->batch, view->rec);
}

/* --- reading --- */

static bool in_hand(const lc_view *view, uint64_t serial) { return serial == view->serial && view->rec != NULL; }

static int show_string(lc_view *view, const char *text, size_t len) {
  view->text = text;
  view->len = (uint32_t)len;
  return LC_VIEW_STRING;
}

static int show_decoded(lc_view *view, const char *inside, size_t len) {
  lc_buf_clear(&view->decoded);
  if (lc_buf_reserve(&view->decoded, len) != 0) {
    lc_buf_free(&view->decoded);
    return LC_VIEW_FAILED;
  }
  return show_string(view, view->decoded.data, lc_json_decode(inside, len, view->decoded.data));
}

static double plain_digits(const char *text, size_t len) {
  uint64_t value = 0;
  for (size_t i = 0; i < len; i++) value = value * 10 + (uint64_t)(text[i] - '0');
  return (double)value;
}

static int show_number(lc_view *view, const char *text, size_t len) {
  bool digits = len <= 15;
  for (size_t i = 0; digits && i < len; i++) digits = (unsigned char)(text[i] - '0') <= 9;
  if (digits) {
    view->number = plain_digits(text, len);
    return LC_VIEW_NUMBER;
  }
  if (lc_json_beyond_double(text, len)) return show_string(view, text, len);
  view->number = lc_json_double(text, len);
  return LC_VIEW_NUMBER;
}

static int show_value(lc_view *view, const char *text, size_t len, lc_json_type type, bool escaped) {
  switch (type) {
    case LC_JSON_STRING:
      return escaped ? show_decoded(view, text + 1, len - 2) : show_string(view, text + 1, len - 2);
    case LC_JSON_NUMBER: return show_number(view, text, len);
    case LC_JSON_TRUE: return LC_VIEW_TRUE;
    case LC_JSON_FALSE: return LC_VIEW_FALSE;
    case LC_JSON_NULL: return LC_VIEW_NULL;
    case LC_JSON_OBJECT:
    case LC_JSON_ARRAY: show_string(view, text, len); return LC_VIEW_NESTED;
    case LC_JSON_REMOVED: break;
  }
  return LC_VIEW_MISSING;
}

static lc_field *find(lc_view *view, const char *key, size_t key_len) {
  lc_view_hint *hint = &view->hints[((uintptr_t)key >> 4) % LC_VIEW_HINTS];
  if (hint->key != key) *hint = (lc_view_hint){.key = key};
  return lc_record_find(view->batch, view->rec, key, key_len, &hint->index);
}

int lc_view_get(lc_view *view, uint64_t serial, const char *key, size_t key_len) {
  if (!in_hand(view, serial)) return LC_VIEW_EXPIRED;
  if (lc_record_key_is_body(view->rec, key, key_len)) {
    return show_string(view, lc_batch_at(view->batch, view->rec->body), view->rec->body_len);
  }
  const lc_field *field = find(view, key, key_len);
  if (field == NULL) return LC_VIEW_MISSING;
  return show_value(view, lc_batch_at(view->batch, field->value), field->value_len, (lc_json_type)field->type,
                    (field->flags & LC_FIELD_VALUE_ESCAPED) != 0);
}

/* The key of a field, decoded behind the value when that was decoded, too. */
static bool show_key(lc_view *view, const lc_field *field) {
  view->key = lc_batch_at(view->batch, field->key);
  view->key_len = field->key_len;
  if ((field->flags & LC_FIELD_KEY_ESCAPED) == 0) return true;
  lc_buf_clear(&view->spliced);
  if (lc_buf_reserve(&view->spliced, field->key_len + 1u) != 0) {
    lc_buf_free(&view->spliced);
    return false;
  }
  view->key_len = (uint32_t)lc_json_decode(view->key, field->key_len, view->spliced.data);
  view->key = view->spliced.data;
  return true;
}

/* A plain line's message comes first, as index 0; its fields, and those of objects, follow from 1 on. */
int lc_view_member(lc_view *view, uint64_t serial, uint32_t index) {
  if (!in_hand(view, serial)) return LC_VIEW_EXPIRED;
  const lc_record *rec = view->rec;
  if (index == 0 && (rec->flags & LC_REC_OBJECT) == 0) {
    view->next_index = 1;
    view->key = "message";
    view->key_len = 7;
    return show_string(view, lc_batch_at(view->batch, rec->body), rec->body_len);
  }
  for (uint32_t i = index > 0 ? index - 1 : 0; i < rec->n_fields; i++) {
    const lc_field *field = &view->batch->fields[rec->fields + i];
    if (field->type == LC_JSON_REMOVED) continue;
    view->next_index = i + 2;
    if (!show_key(view, field)) return LC_VIEW_FAILED;
    return show_value(view, lc_batch_at(view->batch, field->value), field->value_len, (lc_json_type)field->type,
                      (field->flags & LC_FIELD_VALUE_ESCAPED) != 0);
  }
  return LC_VIEW_MISSING;
}

static const lc_source *source_of(const lc_view *view) {
  return view->rec->range < view->batch->n_ranges ? view->batch->ranges[view->rec->range].source : NULL;
}

int lc_view_source(lc_view *view, uint64_t serial) {
  if (!in_hand(view, serial)) return LC_VIEW_EXPIRED;
  const lc_source *source = source_of(view);
  if (source == NULL) return LC_VIEW_MISSING;
  const char *name = atomic_load(&source->name);
  return show_string(view, name, strlen(name));
}

int lc_view_time(lc_view *view, uint64_t serial) {
  if (!in_hand(view, serial)) return LC_VIEW_EXPIRED;
  int64_t ns = view->rec->time_ns != 0 ? view->rec->time_ns : view->batch->read_ns;
  int64_t seconds = ns / LC_SECOND; /* apart from the fraction, or a double would round both */
  view->number = (double)seconds + (double)(ns - seconds * LC_SECOND) / 1e9;
  return LC_VIEW_NUMBER;
}

int lc_view_label(lc_view *view, uint64_t serial, uint32_t index) {
  if (!in_hand(view, serial)) return LC_VIEW_EXPIRED;
  const lc_batch *batch = view->batch;
  const lc_labels *labels = view->rec->range < batch->n_ranges ? batch->ranges[view->rec->range].labels : NULL;
  if (labels == NULL || index >= labels->n) return LC_VIEW_MISSING;
  const lc_label *label = &labels->items[index];
  view->key = label->name;
  view->key_len = (uint32_t)strlen(label->name);
  return show_string(view, label->value, strlen(label->value));
}

/* --- changing --- */

static int changed(lc_view *view, int rc) {
  if (rc == LC_ENOMEM) {
    return lc_error_set(&view->error, LC_ENOMEM,
                        "no room for the change: out of memory, or the batch's limit is reached");
  }
  if (rc != 0) return lc_error_set(&view->error, (lc_err)rc, "the field's name is longer than 65535 bytes");
  return 0;
}

int lc_view_set_string(lc_view *view, uint64_t serial, const char *key, size_t key_len, const char *bytes, size_t len) {
  if (!in_hand(view, serial)) return LC_VIEW_EXPIRED;
  return changed(view, lc_record_set_string(view->batch, view->rec, key, key_len, bytes, len));
}

int lc_view_set_number(lc_view *view, uint64_t serial, const char *key, size_t key_len, double number) {
  if (!in_hand(view, serial)) return LC_VIEW_EXPIRED;
  if (!isfinite(number)) {
    return lc_error_set(&view->error, LC_EINVAL, "an infinite number or NaN cannot be JSON");
  }
  return changed(view, lc_record_set_number(view->batch, view->rec, key, key_len, number));
}

int lc_view_set_bool(lc_view *view, uint64_t serial, const char *key, size_t key_len, bool value) {
  if (!in_hand(view, serial)) return LC_VIEW_EXPIRED;
  return changed(view, lc_record_set_bool(view->batch, view->rec, key, key_len, value));
}

int lc_view_set_json(lc_view *view, uint64_t serial, const char *key, size_t key_len, const char *text, size_t len) {
  if (!in_hand(view, serial)) return LC_VIEW_EXPIRED;
  return changed(view, lc_record_set_raw(view->batch, view->rec, key, key_len, text, len, lc_json_type_of(text, len)));
}

int lc_view_remove(lc_view *view, uint64_t serial, const char *key, size_t key_len) {
  if (!in_hand(view, serial)) return LC_VIEW_EXPIRED;
  lc_record_remove(view->batch, view->rec, key, key_len);
  return 0;
}

/* --- paths --- */

void lc_view_path(lc_view *view) { view->n_steps = 0; }

static int add_step(lc_view *view, lc_json_step step) {
  if (view->n_steps == LC_VIEW_STEPS) {
    return lc_error_set(&view->error, LC_ELIMIT, "a path has at most %d steps", LC_VIEW_STEPS + 1);
  }
  view->steps[view->n_steps++] = step;
  return 0;
}

int lc_view_path_key(lc_view *view, const char *key, size_t key_len) {
  return add_step(view, (lc_json_step){.key = key, .key_len = key_len});
}

int lc_view_path_index(lc_view *view, double index) {
  if (!(index >= 1 && index < 4e9) || index != floor(index)) {
    return lc_error_set(&view->error, LC_EINVAL, "%.14g is no index into a list: they count from 1", index);
  }
  return add_step(view, (lc_json_step){.index = (uint64_t)index});
}

int lc_view_path_get(lc_view *view, uint64_t serial, const char *key, size_t key_len) {
  if (!in_hand(view, serial)) return LC_VIEW_EXPIRED;
  const lc_field *field = lc_record_key_is_body(view->rec, key, key_len) ? NULL : find(view, key, key_len);
  if (field == NULL) return LC_VIEW_MISSING;
  const char *value = NULL;
  size_t len = 0;
  lc_json_type type = LC_JSON_REMOVED;
  int rc = lc_json_path(lc_batch_at(view->batch, field->value), field->value_len, view->steps, view->n_steps, &value,
                        &len, &type);
  return rc == 0 ? show_value(view, value, len, type, true) : LC_VIEW_MISSING;
}

static bool has_path(const lc_view *view, const lc_field *field) {
  const char *value = NULL;
  size_t len = 0;
  lc_json_type type = LC_JSON_REMOVED;
  return lc_json_path(lc_batch_at(view->batch, field->value), field->value_len, view->steps, view->n_steps, &value,
                      &len, &type) == 0;
}

int lc_view_path_set(lc_view *view, uint64_t serial, const char *key, size_t key_len, const char *text, size_t len) {
  if (!in_hand(view, serial)) return LC_VIEW_EXPIRED;
  bool is_body = lc_record_key_is_body(view->rec, key, key_len);
  const lc_field *field = is_body ? NULL : find(view, key, key_len);
  if (text == NULL && (field == NULL || !has_path(view, field))) return 0; /* nothing to remove: no byte changes */
  const char *whole = field != NULL ? lc_batch_at(view->batch, field->value) : is_body ? "\"\"" : "{}";
  size_t whole_len = field != NULL ? field->value_len : 2;
  lc_buf_clear(&view->spliced);
  int rc = lc_json_splice(whole, whole_len, view->steps, view->n_steps, text, len, &view->spliced);
  if (rc == LC_EINVAL) {
    return lc_error_set(&view->error, LC_EINVAL, "the path does not fit the value of \"%.*s\"",
                        (int)(key_len < 100 ? key_len : 100), key);
  }
  if (rc == 0) {
    rc = lc_record_set_raw(view->batch, view->rec, key, key_len, view->spliced.data, view->spliced.len,
                           lc_json_type_of(view->spliced.data, view->spliced.len));
  }
  if (view->spliced.failed) lc_buf_free(&view->spliced);
  return changed(view, rc);
}
