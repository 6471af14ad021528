#include "record/batch.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "logcap/source.h"
#include "record/json_shapes.h"

/* Tables larger than these shrink when the batch is recycled: one odd input does not pin memory for ever. */
#define KEEP_FIELDS 32768u
#define KEEP_EXTRA (1u << 20)
#define KEEP_RANGES 4096u

#define LONG_REASON 2048u /* bytes of a dead letter's reason that are kept */
#define SHORT_REASON 256u /* and where the extra arena is full */

static const char *const drop_names[LC_DROP_REASONS] = {"filtered", "duplicate", "error", "full", "rate", "sampled"};

const char *lc_drop_name(lc_drop reason) {
  lc_require((unsigned)reason < LC_DROP_REASONS);
  return drop_names[reason];
}

void lc_tally_add(lc_tally *tally, const lc_tally *more) {
  tally->read += more->read;
  tally->read_bytes += more->read_bytes;
  tally->created += more->created;
  for (int reason = 0; reason < LC_DROP_REASONS; reason++) tally->dropped[reason] += more->dropped[reason];
  tally->dead += more->dead;
}

lc_batch *lc_batch_create(uint32_t data_cap) {
  lc_batch *batch = calloc(1, sizeof *batch);
  if (batch == NULL) return NULL;
  batch->base[0] = malloc((size_t)data_cap + LC_BATCH_PADDING);
  if (batch->base[0] == NULL) {
    free(batch);
    return NULL;
  }
  memset(batch->base[0] + data_cap, 0, LC_BATCH_PADDING);
  batch->data_cap = data_cap;
  return batch;
}

void lc_batch_drop_range(lc_batch *batch) {
  const lc_range *range = &batch->ranges[--batch->n_ranges];
  lc_source_release(range->source);
  lc_labels_release(range->labels);
}

static void release_ranges(lc_batch *batch) {
  while (batch->n_ranges > 0) lc_batch_drop_range(batch);
}

void lc_batch_destroy(lc_batch *batch) {
  if (batch == NULL) return;
  release_ranges(batch);
  lc_json_shapes_free(batch->json_shapes);
  free(batch->base[0]);
  free(batch->base[1]);
  free(batch->records);
  free(batch->fields);
  free(batch->ranges);
  free(batch->dead);
  free(batch);
}

void lc_batch_refill(lc_batch *batch) {
  batch->data_len = 0;
  batch->extra_len = 0;
  batch->n_records = 0;
  batch->n_fields = 0;
  batch->n_dead = 0;
  for (uint32_t i = 0; i < batch->n_ranges; i++) batch->ranges[i].first = batch->ranges[i].count = 0;
  lc_json_shapes_reset(batch->json_shapes);
}

void lc_batch_recycle(lc_batch *batch) {
  lc_batch_refill(batch);
  release_ranges(batch);
  batch->tally = (lc_tally){0};
  batch->next = NULL;
  batch->refs = 0;
  if (batch->cap_fields > KEEP_FIELDS) {
    free(batch->fields);
    batch->fields = NULL;
    batch->cap_fields = 0;
  }
  if (batch->extra_cap > KEEP_EXTRA) {
    free(batch->base[1]);
    batch->base[1] = NULL;
    batch->extra_cap = 0;
  }
  if (batch->cap_ranges > KEEP_RANGES) {
    free(batch->ranges);
    batch->ranges = NULL;
    batch->cap_ranges = 0;
  }
}

size_t lc_batch_bytes(const lc_batch *batch) {
  return sizeof *batch + batch->data_cap + LC_BATCH_PADDING + batch->extra_cap +
         (size_t)batch->cap_records * sizeof(lc_record) + (size_t)batch->cap_fields * sizeof(lc_field) +
         (size_t)batch->cap_ranges * sizeof(lc_range) + (size_t)batch->cap_dead * sizeof(lc_dead);
}

/* Grows a table to hold at least `need` items, by half its size at a time. */
static bool grow(void **table, uint32_t *cap, uint64_t need, uint32_t least, size_t size) {
  if (need <= *cap) return true;
  uint64_t wanted = *cap + *cap / 2u;
  if (wanted < need) wanted = need;
  if (wanted < least) wanted = least;
  if (wanted > UINT32_MAX) return false;
  void *grown = realloc(*table, (size_t)wanted * size);
  if (grown == NULL) return false;
  *table = grown;
  *cap = (uint32_t)wanted;
  return true;
}

uint32_t lc_batch_reserve_records(lc_batch *batch, uint32_t n) {
  uint32_t room = LC_BATCH_RECORDS_MAX - batch->n_records;
  if (n > room) n = room;
  void *table = batch->records;
  if (!grow(&table, &batch->cap_records, (uint64_t)batch->n_records + n, 1024, sizeof(lc_record))) return 0;
  batch->records = table;
  return n;
}

lc_record *lc_batch_add_record(lc_batch *batch) {
  if (lc_batch_reserve_records(batch, 1) == 0) return NULL;
  lc_record *rec = &batch->records[batch->n_records++];
  *rec = (lc_record){0};
  if (batch->n_ranges > 0) {
    lc_range *range = &batch->ranges[batch->n_ranges - 1];
    if (range->count == 0) range->first = batch->n_records - 1;
    range->count++;
    rec->range = (uint16_t)(batch->n_ranges - 1);
  }
  return rec;
}

lc_range *lc_batch_add_range(lc_batch *batch, lc_source *source, uint64_t begin) {
  if (batch->n_ranges >= LC_BATCH_RANGES_MAX) return NULL;
  void *table = batch->ranges;
  if (!grow(&table, &batch->cap_ranges, (uint64_t)batch->n_ranges + 1, 16, sizeof(lc_range))) return NULL;
  batch->ranges = table;
  lc_range *range = &batch->ranges[batch->n_ranges++];
  *range = (lc_range){.source = source,
                      .labels = source->labels,
                      .begin = begin,
                      .end = begin,
                      .first = batch->n_records,
                      .written_to = begin};
  lc_source_retain(source);
  lc_labels_retain(source->labels);
  return range;
}

lc_field *lc_batch_reserve_fields(lc_batch *batch, lc_record *rec, uint16_t n) {
  uint32_t need = (uint32_t)rec->n_fields + n;
  if (need <= rec->cap_fields) return &batch->fields[rec->fields];
  if (need > UINT16_MAX) return NULL;
  uint32_t cap = need < UINT16_MAX - 2 ? need + 2 : need;
  bool at_end = rec->cap_fields > 0 && rec->fields + rec->cap_fields == batch->n_fields;
  void *table = batch->fields;
  if (!grow(&table, &batch->cap_fields, (uint64_t)batch->n_fields + cap, 4096, sizeof(lc_field))) return NULL;
  batch->fields = table;
  if (at_end) {
    batch->n_fields = rec->fields + cap;
  } else {
    if (rec->n_fields > 0) {
      memcpy(&batch->fields[batch->n_fields], &batch->fields[rec->fields], rec->n_fields * sizeof(lc_field));
    }
    rec->fields = batch->n_fields;
    batch->n_fields += cap;
  }
  rec->cap_fields = (uint16_t)cap;
  return &batch->fields[rec->fields];
}

/* The padding is memory behind what is filled, for scans, and gives an arena that holds nothing a place. */
static char *extra_within(lc_batch *batch, uint32_t len, uint32_t limit, lc_ref *ret_ref) {
  if (batch->extra_len > limit || len > limit - batch->extra_len) return NULL;
  void *arena = batch->base[1];
  uint64_t need = (uint64_t)batch->extra_len + len + LC_BATCH_PADDING;
  if (!grow(&arena, &batch->extra_cap, need, 16384, 1)) return NULL;
  batch->base[1] = arena;
  *ret_ref = batch->extra_len | LC_REF_EXTRA;
  char *place = batch->base[1] + batch->extra_len;
  batch->extra_len += len;
  return place;
}

char *lc_batch_extra(lc_batch *batch, uint32_t len, lc_ref *ret_ref) {
  return extra_within(batch, len, LC_BATCH_EXTRA_MAX, ret_ref);
}

/* The reason of a dead letter must find a place also where a script has filled the arena, or one record would stop the
 * pipeline: beyond the limit there is some room for each record. */
static char *extra_for_reason(lc_batch *batch, size_t *len, lc_ref *ret_ref) {
  if (batch->extra_len + *len <= LC_BATCH_EXTRA_MAX) return lc_batch_extra(batch, (uint32_t)*len, ret_ref);
  if (*len > SHORT_REASON) *len = SHORT_REASON;
  return extra_within(batch, (uint32_t)*len, LC_BATCH_EXTRA_MAX + LC_BATCH_RECORDS_MAX * SHORT_REASON, ret_ref);
}

void lc_batch_drop(lc_batch *batch, lc_record *rec, lc_drop reason) {
  lc_require((unsigned)reason < LC_DROP_REASONS);
  if (lc_fails_assert(lc_record_live(rec))) return;
  rec->flags = (uint16_t)(rec->flags | LC_REC_DROPPED | (unsigned)reason << LC_REC_REASON_SHIFT);
  batch->tally.dropped[reason]++;
}

int lc_batch_refuse(lc_batch *batch, lc_record *rec, const char *stage, const char *reason, size_t len) {
  if (lc_fails_assert(lc_record_live(rec))) return LC_EINVAL;
  if (len > LONG_REASON) len = LONG_REASON;
  uint32_t index = (uint32_t)(rec - batch->records);
  lc_ref ref = 0;
  void *table = batch->dead;
  if (!grow(&table, &batch->cap_dead, (uint64_t)batch->n_dead + 1, 16, sizeof(lc_dead))) return LC_ENOMEM;
  batch->dead = table;
  char *text = extra_for_reason(batch, &len, &ref);
  if (text == NULL) return LC_ENOMEM;
  memcpy(text, reason, len);
  batch->dead[batch->n_dead++] = (lc_dead){index, ref, (uint32_t)len, stage};
  rec->flags |= LC_REC_DEAD;
  batch->tally.dead++;
  return 0;
}
