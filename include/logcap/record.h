/* Records, and the batches that carry them.
 *
 * A batch is a bounded arena: a block of bytes as they were read, an extra arena for bytes that stages add, and tables
 * of records, fields and source ranges that refer into both by offset. Nothing is copied per line, dropped records are
 * marked and never moved.
 *
 *     for (uint32_t i = 0; i < batch->n_records; i++) {
 *       lc_record *rec = &batch->records[i];
 *       if (!lc_record_live(rec)) continue;
 *       fwrite(lc_batch_at(batch, rec->body), 1, rec->body_len, stdout);
 *     }
 *
 * Thread: whoever holds the batch. It is handed on whole; one thread has it at a time. Only `refs` belongs to the loop
 * thread alone. */
#ifndef LOGCAP_RECORD_H
#define LOGCAP_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "logcap/error.h"

/* An offset into the batch: into the data block, or, with LC_REF_EXTRA set, into the extra arena. */
typedef uint32_t lc_ref;
#define LC_REF_EXTRA 0x80000000u

typedef enum lc_json_type {
  LC_JSON_REMOVED = 0, /* a field that a stage removed: a gap in the table, never shown */
  LC_JSON_NULL,
  LC_JSON_FALSE,
  LC_JSON_TRUE,
  LC_JSON_NUMBER,
  LC_JSON_STRING,
  LC_JSON_OBJECT,
  LC_JSON_ARRAY
} lc_json_type;

#define LC_FIELD_KEY_ESCAPED 0x01u   /* the key's bytes hold a backslash escape */
#define LC_FIELD_VALUE_ESCAPED 0x02u /* the string value's bytes hold a backslash escape */

/* One field of a record. `value` is JSON text as it was read or set: a string keeps its quotes and escapes, a nested
 * value is its whole text. `key` is the bytes between the key's quotes. Wherever the text `"key":value` stands in one
 * piece, value == key + key_len + 2, and encoders copy both at once. */
typedef struct lc_field {
  lc_ref key;
  lc_ref value;
  uint32_t value_len;
  uint16_t key_len;
  uint8_t type;  /* lc_json_type */
  uint8_t flags; /* LC_FIELD_* */
} lc_field;

/* What a record's flags say. */
#define LC_REC_DROPPED 0x0001u   /* settled: a stage dropped it, and counted why */
#define LC_REC_DEAD 0x0002u      /* settled: it goes to the dead-letter queue */
#define LC_REC_OBJECT 0x0004u    /* body is the text of a JSON object whose members are the first fields */
#define LC_REC_APPENDED 0x0008u  /* fields were added behind those of the body; the body still holds */
#define LC_REC_REWRITTEN 0x0010u /* a field of the body was changed or removed: write the fields, not the body */
#define LC_REC_TRUNCATED 0x0020u /* the line was longer than the limit and was cut */
#define LC_REC_UNPARSED 0x0040u  /* a parser could not read it and passed it on */
#define LC_REC_CREATED 0x0080u   /* made by a stage, not read from a source */
#define LC_REC_STDERR 0x0100u    /* came from the error stream of its source */
#define LC_REC_TWICE 0x0200u     /* some key may stand more than once among the fields: the last one counts */
#define LC_REC_REASON_SHIFT 12u  /* the upper bits of a dropped record: its lc_drop */

typedef struct lc_record {
  lc_ref body; /* the message; for LC_REC_OBJECT the object's text */
  uint32_t body_len;
  uint32_t fields; /* index of the first field in batch->fields */
  uint16_t n_fields;
  uint16_t cap_fields;
  uint16_t flags; /* LC_REC_* */
  uint16_t range; /* index of its range in batch->ranges */
  uint32_t end;   /* position just behind it, relative to its range's begin */
  int64_t time_ns; /* event time, ns since 1970; 0: not known, use batch->read_ns */
} lc_record;

static inline bool lc_record_live(const lc_record *rec) {
  return (rec->flags & (LC_REC_DROPPED | LC_REC_DEAD)) == 0;
}

typedef struct lc_source lc_source;

/* A monitor's own description of where to resume a source. Only the monitor reads it; the cursor store keeps it. */
typedef struct lc_mark {
  unsigned char bytes[64];
} lc_mark;

/* A piece of a source that a batch holds. Positions are counted by the monitor, grow along the source, and the ranges
 * of a source touch: each begins where the one before ended. */
typedef struct lc_range {
  lc_source *source; /* counted reference, held until the batch is released */
  struct lc_labels *labels; /* the same: those of the source when this was read; NULL: none */
  uint64_t begin;
  uint64_t end;
  lc_mark resume;        /* where to read on when all below `end` is acked */
  uint32_t first, count; /* its records: batch->records[first .. first + count) */
  bool last;             /* the source ends here and will never grow again */
  uint64_t written_to;   /* below it, all is written on the spot by the read job; `begin` when nothing is */
  lc_mark written_resume;
} lc_range;

/* Why a record was dropped. The names stand in metrics and in the audit. */
typedef enum lc_drop {
  LC_DROP_FILTERED,  /* a stage decided so: a Lua function returned false */
  LC_DROP_DUPLICATE, /* the dedup cache had it */
  LC_DROP_ERROR,     /* a stage failed on it and its on_error is "drop" */
  LC_DROP_FULL,      /* the sink was full and its when_full is "drop" */
  LC_DROP_RATE,      /* above a rate limit */
  LC_DROP_SAMPLED,   /* not chosen by a sampler */
  LC_DROP_REASONS
} lc_drop;
const char *lc_drop_name(lc_drop reason);

/* What happened to the records of a batch, each counted where it happened. */
typedef struct lc_tally {
  uint64_t read;       /* records framed from sources */
  uint64_t read_bytes; /* bytes of the sources consumed, line ends and skipped bytes included */
  uint64_t created;    /* records that stages made */
  uint64_t dropped[LC_DROP_REASONS];
  uint64_t dead; /* records for the dead-letter queue */
} lc_tally;
void lc_tally_add(lc_tally *tally, const lc_tally *more);

/* A record that a stage refused. */
typedef struct lc_dead {
  uint32_t record;
  lc_ref reason; /* text in the extra arena */
  uint32_t reason_len;
  const char *stage; /* borrowed from the stage, which outlives the batch */
} lc_dead;

/* Bounds of one batch, whatever its lines look like. */
#define LC_BATCH_RECORDS_MAX 16384u       /* records */
#define LC_BATCH_RANGES_MAX 65535u        /* ranges */
#define LC_BATCH_EXTRA_MAX (16u << 20)    /* bytes that stages may add */
#define LC_BATCH_PADDING 64u              /* bytes behind the data block, and the extra arena, for scans to run into */

typedef struct lc_batch_pool lc_batch_pool;

typedef struct lc_batch {
  char *base[2]; /* the data block and the extra arena; owned */
  uint32_t data_cap, data_len;
  uint32_t extra_cap, extra_len;
  lc_record *records;
  uint32_t n_records, cap_records;
  lc_field *fields;
  uint32_t n_fields, cap_fields;
  lc_range *ranges;
  uint32_t n_ranges, cap_ranges;
  lc_dead *dead;
  uint32_t n_dead, cap_dead;
  lc_tally tally;
  int64_t read_ns;     /* wall clock when it was read */
  uint32_t refs;       /* loop thread: deliveries and queues that hold it */
  size_t charged;      /* bytes the pool has charged for it */
  lc_batch_pool *pool; /* where it returns to; borrowed */
  struct lc_batch *next; /* owner's queue link */
  struct lc_graph *graph; /* the pipeline's, while it is in its queue: the stages and sinks that it is for; counted */
  void *json_shapes;   /* the JSON slicer's memory of key sequences, kept across batches; owned */
  struct lc_undo *undo; /* borrowed: where changes of the record in hand are noted (record/undo.h); NULL: nowhere */
} lc_batch;

static inline char *lc_batch_at(const lc_batch *batch, lc_ref ref) {
  return batch->base[ref >> 31] + (ref & ~LC_REF_EXTRA);
}

/* Appends a record with an empty field table to the last range (or to none). Returns NULL when out of memory or at
 * LC_BATCH_RECORDS_MAX. The pointer holds until the next call. */
lc_record *lc_batch_add_record(lc_batch *batch) LC_CHECK;

/* Makes room for `n` more records, so that a framer may fill batch->records[n_records..] itself and then raise
 * n_records and the last range's count. Returns how many may be added, at most `n`: less at LC_BATCH_RECORDS_MAX, 0
 * also when out of memory. */
uint32_t lc_batch_reserve_records(lc_batch *batch, uint32_t n);

/* Opens a range for `source` (takes a reference) that begins at `begin`. Records added from now on belong to it.
 * Returns NULL when out of memory or when the batch already has 65,535 ranges. */
lc_range *lc_batch_add_range(lc_batch *batch, lc_source *source, uint64_t begin) LC_CHECK;

/* Takes the last range, of which there are no records, out again. */
void lc_batch_drop_range(lc_batch *batch);

/* Makes room for `n` more fields of `rec`, moving its table to the end of batch->fields when it must. Returns the
 * record's first field, or NULL when out of memory. Pointers into batch->fields are invalid afterwards. */
lc_field *lc_batch_reserve_fields(lc_batch *batch, lc_record *rec, uint16_t n) LC_CHECK;

/* Room for `len` bytes in the extra arena; *ret_ref is where they will stand. Returns the place to write to, or NULL.
 * Pointers into the extra arena are invalid afterwards, refs are not. */
char *lc_batch_extra(lc_batch *batch, uint32_t len, lc_ref *ret_ref) LC_CHECK;

/* Marks a live record and counts it. */
void lc_batch_drop(lc_batch *batch, lc_record *rec, lc_drop reason);

/* Marks a live record for the dead-letter queue, with the reason (its first 2,048 bytes are copied; 256 where the extra
 * arena is full). Falls back to keeping the record alive and returns LC_ENOMEM when there is no memory for it. */
int lc_batch_refuse(lc_batch *batch, lc_record *rec, const char *stage, const char *reason, size_t len) LC_CHECK;

/* Forgets records, fields and bytes, keeps ranges, tally and all memory: the next block of the same ranges may be read
 * into it. For a batch whose records were all settled on the spot. */
void lc_batch_refill(lc_batch *batch);

#endif
