/* A bounded set of 128-bit keys that forgets the oldest first: the memory of the dedup stage.
 *
 *     lc_dedup_table_create(1000000, 10 * LC_SECOND, &table, &error);
 *     while (lc_dedup_table_expire(table, now_ns, 65536)) ...;      // in steps, so that the loop may breathe
 *     lc_dedup_table_check(table, keys, n, seen);                   // seen[i]: keys[i] was there; now all of them are
 *     lc_dedup_table_destroy(table);
 *
 * Thread: its owner's.
 *
 * The keys stand in a ring in the order of their arrival, beside a ring of their times; so the oldest is at the tail,
 * for eviction and for expiry. An index of 64-byte buckets finds them: 15 slots, each a ring position with some bits of
 * the key, and a count of the keys whose home is here or before, and which live behind because the bucket was full. The
 * count tells a search where to stop; removing a key lowers it again, so that nothing is left behind: no tombstones, no
 * moves. Memory: 24 bytes an entry for the rings, 5.5 for the index. */
#ifndef LC_STAGE_DEDUP_TABLE_H
#define LC_STAGE_DEDUP_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/hash.h"
#include "logcap/error.h"

typedef struct lc_dedup_table lc_dedup_table;

typedef struct lc_dedup_table_stats {
  uint64_t checks, hits, evictions, expired;
  uint32_t entries, max_entries;
  size_t bytes; /* all memory that it owns */
} lc_dedup_table_stats;

/* All memory is reserved here; none is touched before a key comes. `max_entries` from 1 to 2^26, `ttl_ns` above 0. */
int lc_dedup_table_create(uint32_t max_entries, int64_t ttl_ns, lc_dedup_table **ret, lc_error *error) LC_CHECK;
void lc_dedup_table_destroy(lc_dedup_table *table); /* NULL is allowed */

/* Moves its time on to `now_ns` and forgets at most `most` keys that have reached their time to live. True: there are
 * more. A clock that jumps back stands still for that step and then goes on, so that nothing lives longer for it. */
bool lc_dedup_table_expire(lc_dedup_table *table, int64_t now_ns, uint32_t most);

/* From now on keys live so long, those that are there as well. */
void lc_dedup_table_set_ttl(lc_dedup_table *table, int64_t ttl_ns);
/* A new table takes over what another one remembers, of more than max_entries the newest, with its time and its
 * counters: about 30 ms for a million keys. */
void lc_dedup_table_take(lc_dedup_table *table, const lc_dedup_table *from);

/* Looks up and remembers `n` keys, one after the other, at the time of the last lc_dedup_table_expire. A full table
 * forgets its oldest for each new one. */
void lc_dedup_table_check(lc_dedup_table *table, const lc_hash128 *keys, uint32_t n, bool *ret_seen);

lc_dedup_table_stats lc_dedup_table_stats_get(const lc_dedup_table *table);

/* Appends its keys with their ages and the time, 17 bytes an entry and more, to be read back by load. `purpose` is kept
 * with them. LC_ENOMEM. */
int lc_dedup_table_save(const lc_dedup_table *table, uint64_t purpose, lc_buf *ret, lc_error *error) LC_CHECK;
/* Takes over what save wrote; of more than max_entries the newest. LC_ECORRUPT when the bytes are damaged, LC_EINVAL
 * when they were saved for another purpose or by a newer program: the table is empty then. */
int lc_dedup_table_load(lc_dedup_table *table, uint64_t purpose, const void *bytes, size_t len, lc_error *error)
    LC_CHECK;

#endif
