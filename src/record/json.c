#include "record/json.h"

#include "record/fields.h"
#include "record/json_check.h"
#include "record/json_shapes.h"

#define SPARE_FIELDS 2u /* so that a stage may add some without moving the table */
#define FIELDS_MAX (UINT16_MAX - SPARE_FIELDS - 1u)
#define SHARED_BIT (UINT64_C(1) << 63)

/* One record being sliced. Its fields are written behind batch->n_fields and belong to nobody until they are kept. */
typedef struct slicing {
  lc_json_scan scan; /* first: what the checks need */
  lc_batch *batch;
  lc_json_shapes *shapes;
  const char *origin; /* refs count from here */
  lc_ref arena;       /* LC_REF_EXTRA when the text stands there */
  uint32_t first;     /* index of the first field */
  uint32_t room;      /* fields that fit behind it */
  uint32_t count;
  bool twice; /* some key may stand more than once */
  bool no_memory;
} slicing;

/* A key that no successor predicted. */
typedef struct fresh_key {
  const lc_json_node *node;
  const char *key, *value;
  size_t len;
  bool escaped;
} fresh_key;

/* Makes room for more fields; what is written so far counts as the probe's. */
static bool grow_fields(slicing *slicer) {
  lc_batch *batch = slicer->batch;
  if (slicer->count >= FIELDS_MAX) return false;
  uint32_t more = slicer->count < 16 ? 32 : slicer->count;
  if (more > FIELDS_MAX - slicer->count) more = FIELDS_MAX - slicer->count;
  lc_record probe = {
      .fields = slicer->first, .n_fields = (uint16_t)slicer->count, .cap_fields = (uint16_t)slicer->count};
  uint32_t before = batch->n_fields;
  batch->n_fields = slicer->first + slicer->count;
  bool grown = lc_batch_reserve_fields(batch, &probe, (uint16_t)more) != NULL;
  batch->n_fields = before;
  if (!grown) {
    slicer->no_memory = true;
    return false;
  }
  slicer->first = probe.fields;
  slicer->room = slicer->count + more;
  return true;
}

/* Reads separator, key and colon at `p`, which stands behind a value or at the opening bracket, and learns them. */
__attribute__((noinline)) static bool read_key(slicing *slicer, const lc_json_node *before, const char *p,
                                               fresh_key *ret) {
  lc_json_scan *scan = &slicer->scan;
  const char *text = p;
  char separator = before == &slicer->shapes->nodes[LC_JSON_ROOT] ? '{' : ',';
  p = lc_json_skip_spaces(scan, p);
  if (*p != separator) return false;
  p = lc_json_skip_spaces(scan, p + 1);
  if (*p != '"') return false;
  ret->key = p + 1;
  ret->escaped = false;
  p = lc_json_string(p + 1, &ret->escaped);
  if (p == NULL) return false;
  ret->len = (size_t)(p - 1 - ret->key);
  p = lc_json_skip_spaces(scan, p);
  if (*p != ':' || ret->len > UINT16_MAX) return false;
  ret->value = lc_json_skip_spaces(scan, p + 1);
  ret->node = ret->escaped ? &slicer->shapes->nodes[LC_JSON_STRAY]
                           : lc_json_shapes_learn(slicer->shapes, before, text, (size_t)(ret->value - text),
                                                  (size_t)(ret->key - text), ret->len);
  return true;
}

/* The closing bracket of an object that is empty or has blanks before it; `p` stands at the opening bracket or behind a
 * value. */
__attribute__((noinline)) static const char *find_end(slicing *slicer, const lc_json_node *before, const char *p) {
  if (before == &slicer->shapes->nodes[LC_JSON_ROOT]) {
    if (*p != '{') return NULL;
    p++;
  }
  p = lc_json_skip_spaces(&slicer->scan, p);
  return *p == '}' ? p : NULL;
}

/* Slices the members of the object at `p`. Returns the byte behind it, or NULL. */
static const char *slice_members(slicing *slicer, const char *p) {
  lc_json_shapes *shapes = slicer->shapes;
  const lc_json_node *node = &shapes->nodes[LC_JSON_ROOT];
  lc_field *fields = slicer->batch->fields + slicer->first;
  const char *origin = slicer->origin;
  const lc_ref arena = slicer->arena;
  uint32_t count = 0, room = slicer->room;
  uint64_t seen = 0, again = 0;
  for (; *p != '}'; count++) {
    const char *key;
    size_t key_len;
    bool key_escaped = false, value_escaped = false;
    const lc_json_node *next = lc_json_shapes_follow(shapes, node, p);
    if (lc_likely(next != NULL)) {
      key = p + next->key_at;
      key_len = next->key_len;
      p = lc_json_skip_spaces(&slicer->scan, p + next->len); /* this one may be spaced more widely */
    } else {
      fresh_key fresh;
      const char *end = find_end(slicer, node, p);
      if (end != NULL) {
        p = end;
        break;
      }
      if (!read_key(slicer, node, p, &fresh)) return NULL;
      next = fresh.node, key = fresh.key, key_len = fresh.len, key_escaped = fresh.escaped, p = fresh.value;
    }
    node = next;
    again |= seen & next->bit;
    seen |= next->bit;
    const char *value = p;
    uint8_t type;
    p = lc_json_value(&slicer->scan, p, 1, &type, &value_escaped);
    if (lc_unlikely(p == NULL)) return NULL;
    if (lc_unlikely(count == room)) {
      slicer->count = count;
      if (!grow_fields(slicer)) return NULL;
      fields = slicer->batch->fields + slicer->first;
      room = slicer->room;
    }
    fields[count] = (lc_field){
        .key = (uint32_t)(key - origin) | arena,
        .value = (uint32_t)(value - origin) | arena,
        .value_len = (uint32_t)(p - value),
        .key_len = (uint16_t)key_len,
        .type = type,
        .flags = (uint8_t)((key_escaped ? LC_FIELD_KEY_ESCAPED : 0) | (value_escaped ? LC_FIELD_VALUE_ESCAPED : 0)),
    };
    if (lc_unlikely(key_escaped)) again |= SHARED_BIT;
  }
  slicer->count = count;
  slicer->twice = again != 0;
  return p + 1;
}

/* Fields that the record had before stay behind its members, unless a member has the same key. */
static int carry_over(slicing *slicer, const lc_record *rec) {
  lc_batch *batch = slicer->batch;
  lc_record members = {.fields = slicer->first, .n_fields = (uint16_t)slicer->count, .flags = LC_REC_TWICE};
  for (uint32_t i = 0; i < rec->n_fields; i++) {
    lc_field had = batch->fields[rec->fields + i];
    if (had.type == LC_JSON_REMOVED) continue;
    if (lc_record_find(batch, &members, lc_batch_at(batch, had.key), had.key_len, NULL) != NULL) continue;
    if (slicer->count == slicer->room && !grow_fields(slicer)) return slicer->no_memory ? LC_ENOMEM : LC_EINVAL;
    members.fields = slicer->first;
    batch->fields[slicer->first + slicer->count++] = had;
  }
  return 0;
}

static int keep(slicing *slicer, lc_record *rec, const char *object, const char *end) {
  lc_batch *batch = slicer->batch;
  uint32_t members = slicer->count;
  if (lc_unlikely(rec->n_fields > 0)) {
    int rc = carry_over(slicer, rec);
    if (rc != 0) return rc;
    if (slicer->count > members) rec->flags |= LC_REC_APPENDED;
  }
  if (slicer->count > slicer->shapes->expected) slicer->shapes->expected = slicer->count < 4096 ? slicer->count : 4096;
  rec->body = (uint32_t)(object - slicer->origin) | slicer->arena;
  rec->body_len = (uint32_t)(end - object);
  rec->fields = slicer->first;
  rec->n_fields = (uint16_t)slicer->count;
  rec->cap_fields = (uint16_t)(slicer->count + SPARE_FIELDS);
  rec->flags = (uint16_t)(rec->flags | LC_REC_OBJECT | (slicer->twice ? LC_REC_TWICE : 0));
  batch->n_fields = slicer->first + rec->cap_fields;
  if (lc_unlikely(slicer->scan.newlines)) {
    /* In valid JSON a bare newline stands only between tokens. */
    for (char *c = lc_batch_at(batch, rec->body), *stop = c + rec->body_len; c < stop; c++) {
      if (*c == '\n') *c = ' ';
    }
  }
  return 0;
}

static int slice(slicing *slicer, lc_record *rec, const char *text) {
  const char *object = lc_json_skip_spaces(&slicer->scan, text);
  if (*object != '{') return LC_EINVAL;
  slicer->scan.newlines = false;
  const char *end = slice_members(slicer, object);
  if (end == NULL) return slicer->no_memory ? LC_ENOMEM : LC_EINVAL;
  bool inside = slicer->scan.newlines;
  if (end != slicer->scan.end && lc_json_skip_spaces(&slicer->scan, end) != slicer->scan.end) return LC_EINVAL;
  slicer->scan.newlines = inside;
  return keep(slicer, rec, object, end);
}

int lc_json_slice(lc_batch *batch, lc_record *rec) {
  lc_json_shapes *shapes = lc_json_shapes_of(batch);
  if (lc_unlikely(shapes == NULL)) return LC_ENOMEM;
  lc_json_shapes_renew(shapes);
  char *text = lc_batch_at(batch, rec->body), *end = text + rec->body_len;
  slicing slicer = {
      .scan = {.end = end},
      .batch = batch,
      .shapes = shapes,
      .origin = batch->base[rec->body >> 31],
      .arena = rec->body & LC_REF_EXTRA,
      .first = batch->n_fields,
  };
  /* The spare fields that will stand behind the members are part of what is needed, but never written. */
  if (lc_unlikely(batch->cap_fields - batch->n_fields < shapes->expected + SPARE_FIELDS) && !grow_fields(&slicer)) {
    return LC_ENOMEM;
  }
  uint32_t room = batch->cap_fields - slicer.first - SPARE_FIELDS;
  slicer.room = room < FIELDS_MAX ? room : FIELDS_MAX;
  /* Every scan stops at a control character: mostly it is there already, the line's end. */
  uint32_t filled = slicer.arena == 0 ? batch->data_len : batch->extra_len;
  bool stops = lc_likely((uint64_t)(end - slicer.origin) < filled) && (unsigned char)*end < 0x20;
  char behind = *end;
  if (!stops) *end = '\n';
  int rc = slice(&slicer, rec, text);
  if (!stops) *end = behind;
  return rc;
}
