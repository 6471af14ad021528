#include "sink/path_template.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "logcap/source.h"
#include "record/json_text.h"

#define TEMPLATE_MAX 1024u
#define VALUE_MAX 100u
#define COMPONENT_MAX 200u
#define HASH_TEXT 17u /* a dash and 16 digits */
#define PARTS_MAX 64u

typedef enum part_kind { PART_TEXT, PART_FIELD, PART_SOURCE, PART_TIME } part_kind;

typedef struct part {
  part_kind kind;
  uint32_t at, len; /* its text in the template's own */
} part;

struct lc_path_template {
  char *text;    /* owned: texts, field names and conversions of the parts */
  char *missing; /* owned */
  bool local_time, has_time;
  int64_t step; /* seconds within which the time comes out the same */
  uint32_t n_values, n_parts;
  part parts[PARTS_MAX];
};

static int add_part(lc_path_template *self, part_kind kind, uint32_t at, uint32_t len, lc_error *error) {
  if (kind == PART_TEXT && self->n_parts > 0) {
    part *last = &self->parts[self->n_parts - 1];
    if (last->kind == PART_TEXT && last->at + last->len == at) {
      last->len += len;
      return 0;
    }
  }
  if (self->n_parts == PARTS_MAX) return lc_error_set(error, LC_EINVAL, "path has more than %u parts", PARTS_MAX);
  self->parts[self->n_parts++] = (part){kind, at, len};
  if (kind != PART_FIELD && kind != PART_SOURCE) return 0;
  if (++self->n_values <= LC_PATH_FIELDS_MAX) return 0;
  return lc_error_set(error, LC_EINVAL, "path has more than %u {fields}", LC_PATH_FIELDS_MAX);
}

/* Reads `{name}` at `*at`, which is behind the brace. */
static int parse_field(lc_path_template *self, uint32_t *at, lc_error *error) {
  const char *name = self->text + *at;
  const char *end = strchr(name, '}');
  if (end == NULL) return lc_error_set(error, LC_EINVAL, "path: { at byte %u is not closed; write {{ for a brace", *at);
  uint32_t len = (uint32_t)(end - name);
  if (len == 0) return lc_error_set(error, LC_EINVAL, "path: {} at byte %u names no field", *at);
  if (memchr(name, '{', len) != NULL) {
    return lc_error_set(error, LC_EINVAL, "path: { inside of {%.*s}", (int)len, name);
  }
  bool special = name[0] == '@';
  if (special && !(len == 7 && memcmp(name, "@source", 7) == 0)) {
    return lc_error_set(error, LC_EINVAL, "path: {%.*s} is not known; there is {@source}", (int)len, name);
  }
  uint32_t start = *at;
  *at += len + 1;
  return add_part(self, special ? PART_SOURCE : PART_FIELD, start, len, error);
}

/* Seconds for which a conversion stays the same; 0: not one of ours. */
static int64_t step_of(char conversion, bool local_time) {
  if (conversion == '\0') return 0;
  if (strchr("STs", conversion) != NULL) return 1;
  if (strchr("MR", conversion) != NULL || (local_time && strchr("YmdHFjybauGVzZ", conversion) != NULL)) return 60;
  return strchr("YmdHFjybauGVzZ", conversion) != NULL ? 3600 : 0;
}

static int parse_time(lc_path_template *self, uint32_t *at, lc_error *error) {
  char conversion = self->text[*at];
  int64_t step = step_of(conversion, self->local_time);
  if (step == 0) {
    return lc_error_set(error, LC_EINVAL, "path: %%%.1s at byte %u is not one of %%Y%%m%%d%%H%%M%%S %%F%%T%%R "
                        "%%j%%y%%b%%a%%u%%G%%V%%s%%z%%Z; write %%%% for a percent sign", self->text + *at, *at - 1);
  }
  self->has_time = true;
  if (self->step == 0 || step < self->step) self->step = step;
  return add_part(self, PART_TIME, (*at)++, 1, error);
}

static int parse(lc_path_template *self, lc_error *error) {
  uint32_t at = 0;
  int rc = 0;
  while (rc == 0 && self->text[at] != '\0') {
    char c = self->text[at++];
    char next = self->text[at];
    if ((c == '{' || c == '}' || c == '%') && next == c) {
      rc = add_part(self, PART_TEXT, at++, 1, error);
    } else if (c == '{') {
      rc = parse_field(self, &at, error);
    } else if (c == '%') {
      rc = parse_time(self, &at, error);
    } else if (c == '}') {
      rc = lc_error_set(error, LC_EINVAL, "path: } at byte %u closes nothing; write }} for a brace", at - 1);
    } else {
      rc = add_part(self, PART_TEXT, at - 1, 1, error);
    }
  }
  return rc;
}

static int check_texts(const char *text, const char *missing, lc_error *error) {
  size_t len = strlen(text);
  if (len > TEMPLATE_MAX) return lc_error_set(error, LC_EINVAL, "path is longer than %u bytes", TEMPLATE_MAX);
  if (text[0] != '/') return lc_error_set(error, LC_EINVAL, "path must be absolute: %s", text);
  if (text[len - 1] == '/') return lc_error_set(error, LC_EINVAL, "path names a folder, not a file: %s", text);
  if (strstr(text, "/../") != NULL || strstr(text, "/./") != NULL) {
    return lc_error_set(error, LC_EINVAL, "path has a . or .. in it: %s", text);
  }
  if (missing[0] == '\0' || strchr(missing, '/') != NULL || missing[0] == '.' || strlen(missing) > VALUE_MAX) {
    return lc_error_set(error, LC_EINVAL, "missing must be a plain name without a slash, of at most %u bytes: \"%s\"",
                        VALUE_MAX, missing);
  }
  return 0;
}

int lc_path_template_parse(const char *text, const char *missing, bool local_time, lc_path_template **ret,
                           lc_error *error) {
  if (missing == NULL) missing = "_missing";
  int rc = check_texts(text, missing, error);
  if (rc != 0) return rc;
  lc_path_template *self = calloc(1, sizeof *self);
  if (self != NULL) {
    self->text = strdup(text);
    self->missing = strdup(missing);
    self->local_time = local_time;
  }
  if (self == NULL || self->text == NULL || self->missing == NULL) {
    rc = lc_error_set(error, LC_ENOMEM, "no memory for a path");
  } else {
    rc = parse(self, error);
  }
  if (rc != 0) {
    lc_path_template_destroy(self);
    return rc;
  }
  *ret = self;
  return 0;
}

void lc_path_template_destroy(lc_path_template *self) {
  if (self == NULL) return;
  free(self->text);
  free(self->missing);
  free(self);
}

bool lc_path_template_same(const lc_path_template *a, const lc_path_template *b) {
  return strcmp(a->text, b->text) == 0 && strcmp(a->missing, b->missing) == 0 && a->local_time == b->local_time;
}

bool lc_path_template_is_fixed(const lc_path_template *self) { return self->n_values == 0 && !self->has_time; }

void lc_path_values_reset(lc_path_values *values) { values->n = UINT32_MAX; }

/* The last of equal keys counts, as everywhere. */
static struct lc_path_value find_field(const lc_batch *batch, const lc_record *rec, const char *name, uint32_t len) {
  const lc_field *field = NULL;
  for (uint32_t i = 0; i < rec->n_fields; i++) {
    const lc_field *one = &batch->fields[rec->fields + i];
    bool escaped = (one->flags & LC_FIELD_KEY_ESCAPED) != 0;
    if (one->type == LC_JSON_REMOVED || (!escaped && one->key_len != len)) continue;
    const char *key = lc_batch_at(batch, one->key);
    if (escaped ? lc_json_key_equals(key, one->key_len, true, name, len) : memcmp(key, name, len) == 0) field = one;
  }
  if (field == NULL) return (struct lc_path_value){0};
  const char *bytes = lc_batch_at(batch, field->value);
  switch ((lc_json_type)field->type) {
    case LC_JSON_STRING:
      return (struct lc_path_value){bytes + 1, field->value_len - 2, (field->flags & LC_FIELD_VALUE_ESCAPED) != 0};
    case LC_JSON_NUMBER:
    case LC_JSON_TRUE:
    case LC_JSON_FALSE:
      return (struct lc_path_value){bytes, field->value_len, false};
    default:
      return (struct lc_path_value){"", 0, false}; /* there, but nothing to name a file after */
  }
}

static struct lc_path_value text_value(const char *text) {
  return (struct lc_path_value){text, text != NULL ? (uint32_t)strlen(text) : 0, false};
}

static struct lc_path_value value_of(const lc_path_template *self, const part *one, const lc_batch *batch,
                                     const lc_record *rec) {
  const lc_source *source = rec->range < batch->n_ranges ? batch->ranges[rec->range].source : NULL;
  if (one->kind == PART_SOURCE) return text_value(source != NULL ? atomic_load(&source->name) : NULL);
  const char *name = self->text + one->at;
  struct lc_path_value value = find_field(batch, rec, name, one->len);
  const lc_labels *labels = source != NULL ? batch->ranges[rec->range].labels : NULL;
  if (value.bytes != NULL || labels == NULL) return value;
  for (uint32_t i = 0; i < labels->n; i++) {
    const lc_label *label = &labels->items[i];
    if (strlen(label->name) == one->len && memcmp(label->name, name, one->len) == 0) return text_value(label->value);
  }
  return value;
}

static bool same_value(const struct lc_path_value *a, const struct lc_path_value *b) {
  return a->len == b->len && a->escaped == b->escaped && (a->len == 0 || memcmp(a->bytes, b->bytes, a->len) == 0);
}

static int64_t bucket_of(int64_t time_ns, int64_t step) {
  int64_t seconds = time_ns / LC_SECOND - (time_ns % LC_SECOND < 0);
  return seconds / step - (seconds % step < 0);
}

bool lc_path_values_take(const lc_path_template *self, const lc_batch *batch, const lc_record *rec,
                         lc_path_values *values) {
  bool same = values->n == self->n_values;
  values->n = self->n_values;
  uint32_t n = 0;
  for (uint32_t i = 0; i < self->n_parts && n < self->n_values; i++) {
    const part *one = &self->parts[i];
    if (one->kind != PART_FIELD && one->kind != PART_SOURCE) continue;
    struct lc_path_value value = value_of(self, one, batch, rec);
    same = same && same_value(&value, &values->items[n]);
    values->items[n++] = value;
  }
  if (!self->has_time) return same;
  int64_t time_ns = rec->time_ns != 0 ? rec->time_ns : batch->read_ns;
  int64_t bucket = bucket_of(time_ns, self->step);
  same = same && bucket == values->bucket;
  values->bucket = bucket;
  values->time_ns = time_ns;
  return same;
}

void lc_path_values_overflow(lc_path_values *values) {
  for (uint32_t i = 0; i < values->n; i++) values->items[i] = text_value("_overflow");
}

lc_hash128 lc_path_values_hash(const lc_path_template *self, const lc_path_values *values) {
  lc_hash128 parts[LC_PATH_FIELDS_MAX + 1];
  uint32_t n = 0;
  for (; n < values->n; n++) {
    parts[n] = lc_hash_128(values->items[n].len > 0 ? values->items[n].bytes : "", values->items[n].len);
    parts[n].low += values->items[n].escaped;
  }
  parts[n++] = (lc_hash128){self->has_time ? (uint64_t)values->bucket : 0, 0};
  return lc_hash_128(parts, n * sizeof parts[0]);
}

/* A name that was cut goes on with a hash of the whole, so that different ones stay different. */
static int add_cut(lc_buf *ret, size_t start, size_t keep, const char *whole, size_t len) {
  uint64_t hash = lc_hash64(whole, len);
  ret->len = start + keep;
  /* not inside of a UTF-8 sequence */
  while (ret->len > start && ((unsigned char)ret->data[ret->len] & 0xc0u) == 0x80u) ret->len--;
  return lc_buf_addf(ret, "-%016llx", (unsigned long long)hash);
}

static int add_value(const lc_path_template *self, const struct lc_path_value *value, lc_buf *ret) {
  size_t start = ret->len;
  if (value->len == 0) return lc_buf_adds(ret, self->missing);
  if (lc_buf_reserve(ret, value->len) != 0) return LC_ENOMEM;
  char *to = ret->data + start;
  size_t len = value->len;
  if (value->escaped) {
    len = lc_json_decode(value->bytes, value->len, to);
  } else {
    memcpy(to, value->bytes, len);
  }
  uint64_t whole = len > VALUE_MAX ? lc_hash64(to, len) : 0;
  for (size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char)to[i];
    if (c == '/' || c < 0x20 || c == 0x7f) to[i] = '_';
  }
  ret->len = start + len;
  if (len <= VALUE_MAX) return 0;
  return add_cut(ret, start, VALUE_MAX - HASH_TEXT, (const char *)&whole, sizeof whole);
}

static int add_time(const lc_path_template *self, const part *one, const struct tm *tm, lc_buf *ret) {
  char format[3] = {'%', self->text[one->at], '\0'};
  char text[64];
  size_t len = strftime(text, sizeof text, format, tm);
  for (size_t i = 0; i < len; i++) {
    if (text[i] == '/') text[i] = '_'; /* a zone's name is from outside */
  }
  return lc_buf_add(ret, text, len);
}

/* Makes the component from `start` to the end a name that a file system takes and that leads nowhere else. */
static int close_component(lc_buf *ret, size_t start) {
  size_t len = ret->len - start;
  if (len == 0) return 0; /* and there may be no memory yet */
  char *name = ret->data + start;
  if ((len == 1 && name[0] == '.') || (len == 2 && name[0] == '.' && name[1] == '.')) memset(name, '_', len);
  if (len <= COMPONENT_MAX) return 0;
  uint64_t whole = lc_hash64(name, len);
  return add_cut(ret, start, COMPONENT_MAX - HASH_TEXT, (const char *)&whole, sizeof whole);
}

/* Adds text of the template, whose slashes separate components. */
static int add_text(const char *text, uint32_t len, lc_buf *ret, size_t *component) {
  for (uint32_t i = 0; i < len; i++) {
    if (text[i] == '/' && close_component(ret, *component) != 0) return LC_ENOMEM;
    if (lc_buf_addc(ret, text[i]) != 0) return LC_ENOMEM;
    if (text[i] == '/') *component = ret->len;
  }
  return 0;
}

int lc_path_template_render(const lc_path_template *self, const lc_path_values *values, lc_buf *ret) {
  struct tm tm = {0};
  time_t seconds = (time_t)bucket_of(values->time_ns, 1);
  if (self->has_time) (void)(self->local_time ? localtime_r(&seconds, &tm) : gmtime_r(&seconds, &tm));
  lc_buf_clear(ret);
  size_t component = 0;
  uint32_t n = 0;
  int rc = 0;
  for (uint32_t i = 0; rc == 0 && i < self->n_parts; i++) {
    const part *one = &self->parts[i];
    if (one->kind == PART_TEXT) {
      rc = add_text(self->text + one->at, one->len, ret, &component);
    } else if (one->kind == PART_TIME) {
      rc = add_time(self, one, &tm, ret);
    } else {
      rc = add_value(self, &values->items[n++], ret);
    }
  }
  return rc == 0 ? close_component(ret, component) : rc;
}
