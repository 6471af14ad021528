/* The insides of the dedup table, shared by its two halves: dedup_table.c (set) and dedup_table_save.c (save and load).
 * Thread: its owner's. */
#ifndef LC_STAGE_DEDUP_TABLE_IMPL_H
#define LC_STAGE_DEDUP_TABLE_IMPL_H

#include "stage/dedup_table.h"

#define LC_DEDUP_SLOTS 15

/* One cache line of the index. */
typedef struct lc_dedup_bucket {
  uint32_t slots[LC_DEDUP_SLOTS]; /* 0: free; else key bits above index_bits, and the ring position + 1 below */
  uint32_t overflow;              /* keys that would live here or before, and live behind */
} lc_dedup_bucket;

struct lc_dedup_table {
  void *memory;             /* owned: of the buckets */
  lc_dedup_bucket *buckets; /* 64-byte aligned */
  lc_hash128 *keys;         /* owned; ring of max_entries */
  int64_t *times;           /* owned; ring of max_entries: `clock` at first sight, never falling */
  uint32_t n_buckets, max_entries;
  uint32_t tail, entries; /* the oldest, and how many there are */
  uint32_t index_mask;    /* of a slot: the ring position + 1 */
  int64_t ttl_ns;
  int64_t clock;   /* ns of forward time that this table has seen */
  int64_t wall_ns; /* wall clock of the last step; 0: none yet */
  uint64_t checks, hits, evictions, expired;
};

/* Remembers a key that is not there, at table->clock; forgets the oldest when full. */
void lc_dedup_table_insert(lc_dedup_table *table, lc_hash128 key);
bool lc_dedup_table_has(const lc_dedup_table *table, lc_hash128 key);
/* Forgets everything, keeps the memory and the counters. */
void lc_dedup_table_clear(lc_dedup_table *table);

#endif
