#include "stage/dedup.h"

#include <stdlib.h>
#include <string.h>

#include "logcap/source.h"
#include "record/encode.h"
#include "record/fields.h"
#include "record/json_text.h"
#include "stage/dedup_table.h"

#define EXPIRE_STEP 65536u /* about two milliseconds */
#define GROUP 256u         /* records hashed before they are checked: their keys stay in the L1 */

typedef struct key_field {
  char *name; /* owned */
  size_t len;
  uint32_t hint; /* where it stood last time */
} key_field;

typedef struct dedup {
  lc_stage stage;        /* first */
  lc_dedup_table *table; /* owned; NULL when closed */
  key_field *fields;     /* owned */
  uint32_t n_fields;
  bool per_source;
  int64_t ttl_ns;
  uint32_t max_entries;
  uint64_t purpose; /* hash of what makes the key: saved keys of another making mean nothing */
  uint64_t unkeyed; /* records that had none of the fields */
  lc_buf scratch;   /* owned; strings with escapes, decoded; changed records, encoded */
} dedup;

/* The range whose source was hashed last: records of one source stand together. */
typedef struct source_hash {
  lc_hash128 hash;
  uint32_t range;
  bool valid;
} source_hash;

/* Adds a part to a key; `kind` tells parts of the same bytes apart. */
static lc_hash128 key_join(lc_hash128 key, uint64_t kind, lc_hash128 part) {
  const uint64_t words[5] = {key.low, key.high, kind, part.low, part.high};
  return lc_hash_128(words, sizeof words);
}

/* The content of a field: of a string its bytes, whatever their escapes, of anything else its spelling. */
static int hash_value(dedup *self, const lc_batch *batch, const lc_field *field, lc_hash128 *ret) {
  const char *text = lc_batch_at(batch, field->value);
  size_t len = field->value_len;
  if (field->type == LC_JSON_STRING && len >= 2) {
    text++;
    len -= 2;
    if (field->flags & LC_FIELD_VALUE_ESCAPED) {
      lc_buf_clear(&self->scratch);
      if (lc_buf_reserve(&self->scratch, len) != 0) {
        lc_buf_free(&self->scratch);
        return LC_ENOMEM;
      }
      len = lc_json_decode(text, len, self->scratch.data);
      text = self->scratch.data;
    }
  }
  *ret = lc_hash_128(text, len);
  return 0;
}

/* LC_ENOENT when the record has none of the fields. */
static int key_of_fields(dedup *self, const lc_batch *batch, const lc_record *rec, lc_hash128 *ret) {
  lc_hash128 key = {0, 0}, part;
  uint32_t found = 0;
  for (uint32_t i = 0; i < self->n_fields; i++) {
    key_field *wanted = &self->fields[i];
    uint64_t kind = LC_JSON_REMOVED;
    part = (lc_hash128){0, 0};
    const lc_field *field = lc_record_find(batch, rec, wanted->name, wanted->len, &wanted->hint);
    if (field) {
      kind = field->type;
      if (hash_value(self, batch, field, &part) != 0) return LC_ENOMEM;
    } else if (lc_record_key_is_body(rec, wanted->name, wanted->len)) {
      kind = LC_JSON_STRING;
      part = lc_hash_128(lc_batch_at(batch, rec->body), rec->body_len);
    }
    found += kind != LC_JSON_REMOVED;
    key = key_join(key, kind, part);
  }
  if (found == 0) return LC_ENOENT;
  *ret = key;
  return 0;
}

/* The record as it would leave: it does not matter whether it came so or was made so. */
static int key_of_all(dedup *self, const lc_batch *batch, const lc_record *rec, lc_hash128 *ret) {
  if ((rec->flags & (LC_REC_APPENDED | LC_REC_REWRITTEN)) == 0) {
    *ret = lc_hash_128(lc_batch_at(batch, rec->body), rec->body_len);
    return 0;
  }
  lc_buf_clear(&self->scratch);
  if (lc_encode_json(batch, rec, &self->scratch) != 0) {
    lc_buf_free(&self->scratch);
    return LC_ENOMEM;
  }
  *ret = lc_hash_128(self->scratch.data, self->scratch.len);
  return 0;
}

static lc_hash128 hash_source(source_hash *last, const lc_batch *batch, const lc_record *rec) {
  if (last->valid && last->range == rec->range) return last->hash;
  const lc_source *source = rec->range < batch->n_ranges ? batch->ranges[rec->range].source : NULL;
  const char *key = source ? source->key : ""; /* made by a stage: of no source */
  *last = (source_hash){.hash = lc_hash_128(key, strlen(key)), .range = rec->range, .valid = true};
  return last->hash;
}

static int key_of(dedup *self, const lc_batch *batch, const lc_record *rec, source_hash *last, lc_hash128 *ret) {
  int rc = 0;
  if (self->n_fields > 0) rc = key_of_fields(self, batch, rec, ret);
  else rc = key_of_all(self, batch, rec, ret);
  if (rc == 0 && self->per_source) *ret = key_join(*ret, 0, hash_source(last, batch, rec));
  return rc;
}

/* Hashes the records from *at on into keys[0..*ret_n) and moves *at behind them. */
static int gather_keys(dedup *self, const lc_batch *batch, uint32_t *at, uint32_t to, source_hash *last,
                       lc_hash128 keys[GROUP], uint32_t records[GROUP], uint32_t *ret_n) {
  uint32_t n = 0, i = *at;
  for (; i < to && n < GROUP; i++) {
    const lc_record *rec = &batch->records[i];
    if (!lc_record_live(rec)) continue;
    int rc = key_of(self, batch, rec, last, &keys[n]);
    if (rc == LC_ENOENT) self->unkeyed++;
    else if (rc != 0) return rc;
    else records[n++] = i;
  }
  *at = i;
  *ret_n = n;
  return 0;
}

static void count_records(lc_stage *stage, const lc_batch *batch, uint32_t from, uint32_t to, uint64_t dropped) {
  uint64_t kept = 0;
  for (uint32_t i = from; i < to; i++) kept += lc_record_live(&batch->records[i]);
  atomic_fetch_add_explicit(&stage->resource.records_in, kept + dropped, memory_order_relaxed);
  atomic_fetch_add_explicit(&stage->resource.records_out, kept, memory_order_relaxed);
}

static int dedup_process(lc_stage *stage, lc_batch *batch, uint32_t *at, uint32_t to, int64_t now_ns, lc_error *error) {
  dedup *self = (dedup *)stage;
  lc_hash128 keys[GROUP];
  uint32_t records[GROUP], n = 0;
  const uint32_t from = *at;
  uint64_t dropped = 0;
  bool seen[GROUP];
  source_hash last = {.valid = false};
  if (!self->table) return lc_error_set(error, LC_ECLOSED, "dedup \"%.100s\" is closed", stage->resource.name);
  if (lc_dedup_table_expire(self->table, now_ns, EXPIRE_STEP)) return LC_EAGAIN;
  while (*at < to) {
    if (gather_keys(self, batch, at, to, &last, keys, records, &n) != 0) {
      return lc_error_set(error, LC_ENOMEM, "dedup \"%.100s\": out of memory for a key", stage->resource.name);
    }
    lc_dedup_table_check(self->table, keys, n, seen);
    for (uint32_t i = 0; i < n; i++) {
      if (seen[i]) lc_batch_drop(batch, &batch->records[records[i]], LC_DROP_DUPLICATE);
      dropped += seen[i];
    }
  }
  count_records(stage, batch, from, to, dropped);
  return 0;
}

static void dedup_tick(lc_stage *stage, int64_t now_ns) {
  dedup *self = (dedup *)stage;
  if (self->table) (void)lc_dedup_table_expire(self->table, now_ns, EXPIRE_STEP); /* the next tick goes on */
}

static int dedup_save(lc_stage *stage, lc_buf *ret, lc_error *error) {
  dedup *self = (dedup *)stage;
  if (!self->table) return lc_error_set(error, LC_ECLOSED, "dedup \"%.100s\" is closed", stage->resource.name);
  return lc_dedup_table_save(self->table, self->purpose, ret, error);
}

static int dedup_load(lc_stage *stage, const void *bytes, size_t len, lc_error *error) {
  dedup *self = (dedup *)stage;
  if (!self->table) return lc_error_set(error, LC_ECLOSED, "dedup \"%.100s\" is closed", stage->resource.name);
  if (lc_dedup_table_load(self->table, self->purpose, bytes, len, error) == 0) return 0;
  return lc_error_context(error, "dedup \"%.100s\"", stage->resource.name);
}

static int dedup_stats(lc_resource *res, lc_buf *ret) {
  const dedup *self = (const dedup *)res;
  lc_dedup_table_stats stats = {0};
  if (self->table) stats = lc_dedup_table_stats_get(self->table);
  return lc_buf_addf(ret,
                     "{\"checks\":%llu,\"hits\":%llu,\"entries\":%u,\"max_entries\":%u,\"evictions\":%llu,"
                     "\"expired\":%llu,\"unkeyed\":%llu,\"bytes\":%zu}",
                     (unsigned long long)stats.checks, (unsigned long long)stats.hits, stats.entries,
                     stats.max_entries, (unsigned long long)stats.evictions, (unsigned long long)stats.expired,
                     (unsigned long long)self->unkeyed, stats.bytes);
}

static void dedup_close(lc_resource *res) {
  dedup *self = (dedup *)res;
  lc_dedup_table_destroy(self->table);
  self->table = NULL;
  atomic_store(&res->bytes, 0);
  lc_resource_closed(res);
}

static void free_parts(dedup *self) {
  lc_dedup_table_destroy(self->table);
  for (uint32_t i = 0; i < self->n_fields; i++) free(self->fields[i].name);
  free(self->fields);
  lc_buf_free(&self->scratch);
  free(self);
}

static void dedup_destroy(lc_resource *res) {
  free_parts((dedup *)res);
}

static lc_fit dedup_fit(const lc_resource *res, const lc_resource *described) {
  const dedup *self = (const dedup *)res, *other = (const dedup *)described;
  if (self->purpose != other->purpose) return LC_FIT_REPLACE; /* its keys mean nothing then */
  return self->ttl_ns == other->ttl_ns && self->max_entries == other->max_entries ? LC_FIT_SAME : LC_FIT_CHANGED;
}

/* With another size, into the table that the other one has reserved. */
static void dedup_adopt(lc_resource *res, lc_resource *described) {
  dedup *self = (dedup *)res, *other = (dedup *)described;
  if (!self->table) return;
  if (self->max_entries != other->max_entries) {
    lc_dedup_table *before = self->table;
    lc_dedup_table_take(other->table, before);
    self->table = other->table;
    other->table = before;
    atomic_store(&described->bytes, atomic_exchange(&res->bytes, atomic_load(&described->bytes)));
  }
  self->ttl_ns = other->ttl_ns;
  self->max_entries = other->max_entries;
  lc_dedup_table_set_ttl(self->table, self->ttl_ns);
}

static const lc_resource_ops dedup_resource_ops = {.close = dedup_close,
                                                   .destroy = dedup_destroy,
                                                   .stats = dedup_stats,
                                                   .fit = dedup_fit,
                                                   .adopt = dedup_adopt};
static const lc_stage_ops dedup_ops = {
    .process = dedup_process, .tick = dedup_tick, .save = dedup_save, .load = dedup_load};

static int check_options(const lc_dedup_options *options, lc_error *error) {
  if (options->ttl_ns < 0) return lc_error_set(error, LC_EINVAL, "dedup: ttl is below 0");
  if (options->max_entries > LC_DEDUP_ENTRIES_MAX) {
    return lc_error_set(error, LC_EINVAL, "dedup: max_entries is %u; at most %u are possible", options->max_entries,
                        LC_DEDUP_ENTRIES_MAX);
  }
  if (options->n_fields > LC_DEDUP_FIELDS_MAX) {
    return lc_error_set(error, LC_EINVAL, "dedup: %u key fields; at most %u are possible", options->n_fields,
                        LC_DEDUP_FIELDS_MAX);
  }
  for (uint32_t i = 0; i < options->n_fields; i++) {
    if (options->fields[i][0] == '\0') return lc_error_set(error, LC_EINVAL, "dedup: a key field has no name");
    for (uint32_t j = 0; j < i; j++) {
      if (strcmp(options->fields[i], options->fields[j]) != 0) continue;
      return lc_error_set(error, LC_EINVAL, "dedup: key field \"%.100s\" is named twice", options->fields[i]);
    }
  }
  return 0;
}

static int copy_fields(dedup *self, const lc_dedup_options *options) {
  self->per_source = options->per_source;
  if (options->n_fields == 0) return 0;
  self->fields = calloc(options->n_fields, sizeof *self->fields);
  if (!self->fields) return LC_ENOMEM;
  for (uint32_t i = 0; i < options->n_fields; i++) {
    self->fields[i].name = strdup(options->fields[i]);
    if (!self->fields[i].name) return LC_ENOMEM;
    self->fields[i].len = strlen(options->fields[i]);
    self->n_fields++;
  }
  return 0;
}

/* What makes the key, for people and for comparing: "dedup:user,code per source". */
static int describe_key(const dedup *self, lc_buf *ret) {
  (void)lc_buf_adds(ret, "dedup:");
  for (uint32_t i = 0; i < self->n_fields; i++) {
    if (i > 0) (void)lc_buf_addc(ret, ',');
    (void)lc_buf_adds(ret, self->fields[i].name);
  }
  if (self->per_source) (void)lc_buf_adds(ret, " per source");
  return ret->failed ? LC_ENOMEM : 0;
}

static int init_resource(dedup *self, lc_registry *registry, const char *name, const char *made_at, lc_error *error) {
  lc_buf key = {0};
  int rc = LC_ENOMEM;
  if (describe_key(self, &key) != 0) goto out;
  self->purpose = lc_hash64(key.data, key.len);
  if (name) {
    lc_buf_clear(&key);
    (void)lc_buf_adds(&key, "dedup:");
    if (lc_buf_adds(&key, name) != 0) goto out;
  }
  const char *identity = lc_buf_cstr(&key);
  if (key.failed) goto out;
  rc = lc_resource_init(&self->stage.resource, registry, &dedup_resource_ops, "dedup", name, identity, made_at, error);
  lc_buf_free(&key);
  return rc;

out:
  lc_buf_free(&key);
  return lc_error_set(error, LC_ENOMEM, "out of memory for a dedup stage");
}

int lc_dedup_create(const lc_dedup_options *options, lc_registry *registry, const char *name, const char *made_at,
                    lc_stage **ret, lc_error *error) {
  int rc = check_options(options, error);
  if (rc != 0) return rc;
  dedup *self = calloc(1, sizeof *self);
  if (!self) return lc_error_set(error, LC_ENOMEM, "out of memory for a dedup stage");
  self->stage.ops = &dedup_ops;
  self->ttl_ns = options->ttl_ns > 0 ? options->ttl_ns : LC_DEDUP_TTL_DEFAULT;
  self->max_entries = options->max_entries > 0 ? options->max_entries : LC_DEDUP_ENTRIES_DEFAULT;
  rc = copy_fields(self, options);
  if (rc != 0) {
    rc = lc_error_set(error, LC_ENOMEM, "out of memory for a dedup stage");
    goto failed;
  }
  rc = lc_dedup_table_create(self->max_entries, self->ttl_ns, &self->table, error);
  if (rc != 0) goto failed;
  rc = init_resource(self, registry, name, made_at, error);
  if (rc != 0) goto failed;
  atomic_store(&self->stage.resource.bytes, (int64_t)lc_dedup_table_stats_get(self->table).bytes);
  *ret = &self->stage;
  return 0;

failed:
  free_parts(self);
  return rc;
}
