#include "stage/dedup_table.h"

#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/check.h"
#include "stage/dedup_table_impl.h"

#define GROUP 64u /* keys whose memory is fetched together: enough to hide its latency, few enough to stay in the L1 */
#define ENTRIES_MAX (1u << 26) /* leaves at least 5 bits of the key in a slot */

static size_t bucket_bytes(const lc_dedup_table *table) {
  return (size_t)table->n_buckets * sizeof(lc_dedup_bucket);
}

int lc_dedup_table_create(uint32_t max_entries, int64_t ttl_ns, lc_dedup_table **ret, lc_error *error) {
  lc_require(max_entries >= 1 && max_entries <= ENTRIES_MAX && ttl_ns > 0);
  lc_dedup_table *table = calloc(1, sizeof *table);
  if (!table) goto out_of_memory;
  table->max_entries = max_entries;
  table->ttl_ns = ttl_ns;
  /* Four of five slots in use when full: few buckets overflow, and one slot more than entries is always free. */
  table->n_buckets = max_entries / 12 + 1;
  table->index_mask = 1;
  while (table->index_mask < max_entries) table->index_mask = table->index_mask << 1 | 1;
  table->memory = calloc(1, bucket_bytes(table) + 63); /* large zeroes cost nothing until they are touched */
  table->keys = malloc((size_t)max_entries * sizeof *table->keys);
  table->times = malloc((size_t)max_entries * sizeof *table->times);
  if (!table->memory || !table->keys || !table->times) goto out_of_memory;
  table->buckets = (lc_dedup_bucket *)(void *)(((uintptr_t)table->memory + 63) & ~(uintptr_t)63);
  *ret = table;
  return 0;

out_of_memory:
  lc_dedup_table_destroy(table);
  return lc_error_set(error, LC_ENOMEM, "out of memory for a dedup cache of %u entries", max_entries);
}

void lc_dedup_table_destroy(lc_dedup_table *table) {
  if (!table) return;
  free(table->memory);
  free(table->keys);
  free(table->times);
  free(table);
}

void lc_dedup_table_clear(lc_dedup_table *table) {
  memset(table->buckets, 0, bucket_bytes(table));
  table->tail = table->entries = 0;
}

static uint32_t home_of(const lc_dedup_table *table, lc_hash128 key) {
  return (uint32_t)((key.high >> 32) * table->n_buckets >> 32);
}

static uint32_t tag_of(const lc_dedup_table *table, lc_hash128 key) {
  return (uint32_t)key.low & ~table->index_mask;
}

static uint32_t next_bucket(const lc_dedup_table *table, uint32_t bucket) {
  return bucket + 1 == table->n_buckets ? 0 : bucket + 1;
}

static uint32_t ring_at(const lc_dedup_table *table, uint32_t steps) {
  uint32_t left = table->max_entries - table->tail; /* no sum that could overflow */
  return steps < left ? table->tail + steps : steps - left;
}

/* A bit for each slot that is `want` under `mask`. */
static uint32_t matching_slots(const lc_dedup_bucket *bucket, uint32_t want, uint32_t mask) {
#ifdef __SSE2__
  const __m128i *four = (const __m128i *)(const void *)bucket;
  const __m128i wants = _mm_set1_epi32((int)want), masks = _mm_set1_epi32((int)mask);
  __m128i a = _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(four), masks), wants);
  __m128i b = _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(four + 1), masks), wants);
  __m128i c = _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(four + 2), masks), wants);
  __m128i d = _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(four + 3), masks), wants);
  __m128i bytes = _mm_packs_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d));
  return (uint32_t)_mm_movemask_epi8(bytes) & ((1u << LC_DEDUP_SLOTS) - 1); /* the 16th is the overflow count */
#else
  uint32_t found = 0;
  for (unsigned i = 0; i < LC_DEDUP_SLOTS; i++) found |= (uint32_t)((bucket->slots[i] & mask) == want) << i;
  return found;
#endif
}

static bool same_key(lc_hash128 a, lc_hash128 b) {
  return a.low == b.low && a.high == b.high;
}

bool lc_dedup_table_has(const lc_dedup_table *table, lc_hash128 key) {
  const uint32_t tag = tag_of(table, key), home = home_of(table, key);
  uint32_t at = home;
  do {
    const lc_dedup_bucket *bucket = &table->buckets[at];
    for (uint32_t found = matching_slots(bucket, tag, ~table->index_mask); found; found &= found - 1) {
      uint32_t position = bucket->slots[__builtin_ctz(found)] & table->index_mask;
      if (position != 0 && same_key(table->keys[position - 1], key)) return true;
    }
    if (bucket->overflow == 0) return false;
    at = next_bucket(table, at);
  } while (at != home); /* in a small table all buckets may have pushed keys on */
  return false;
}

/* Forgets the key at the tail of the ring. */
static void remove_oldest(lc_dedup_table *table) {
  lc_hash128 key = table->keys[table->tail];
  uint32_t slot = tag_of(table, key) | (table->tail + 1), found;
  uint32_t at = home_of(table, key);
  while ((found = matching_slots(&table->buckets[at], slot, UINT32_MAX)) == 0) {
    lc_require(table->buckets[at].overflow > 0);
    table->buckets[at].overflow--;
    at = next_bucket(table, at);
  }
  table->buckets[at].slots[__builtin_ctz(found)] = 0;
  table->tail = ring_at(table, 1);
  table->entries--;
}

void lc_dedup_table_insert(lc_dedup_table *table, lc_hash128 key) {
  if (table->entries == table->max_entries) {
    remove_oldest(table);
    table->evictions++;
  }
  uint32_t position = ring_at(table, table->entries), free_slots;
  table->keys[position] = key;
  table->times[position] = table->clock;
  table->entries++;
  uint32_t at = home_of(table, key);
  while ((free_slots = matching_slots(&table->buckets[at], 0, UINT32_MAX)) == 0) {
    table->buckets[at].overflow++;
    at = next_bucket(table, at);
  }
  table->buckets[at].slots[__builtin_ctz(free_slots)] = tag_of(table, key) | (position + 1);
}

/* The tail of the ring may wrap: what is fetched in vain does no harm. */
static void prefetch_oldest(const lc_dedup_table *table, uint32_t steps) {
  if (steps >= table->entries) return;
  __builtin_prefetch(&table->buckets[home_of(table, table->keys[ring_at(table, steps)])], 1);
}

bool lc_dedup_table_expire(lc_dedup_table *table, int64_t now_ns, uint32_t most) {
  if (table->wall_ns != 0 && now_ns > table->wall_ns) table->clock += now_ns - table->wall_ns;
  table->wall_ns = now_ns;
  const int64_t born = table->clock - table->ttl_ns; /* who came then or earlier has lived long enough */
  for (; table->entries > 0 && table->times[table->tail] <= born; most--) {
    if (most == 0) return true;
    prefetch_oldest(table, 16);
    remove_oldest(table);
    table->expired++;
  }
  return false;
}

void lc_dedup_table_set_ttl(lc_dedup_table *table, int64_t ttl_ns) {
  lc_require(ttl_ns > 0);
  table->ttl_ns = ttl_ns;
}

void lc_dedup_table_take(lc_dedup_table *table, const lc_dedup_table *from) {
  lc_require(table->entries == 0);
  const uint32_t skip = from->entries > table->max_entries ? from->entries - table->max_entries : 0;
  for (uint32_t i = skip; i < from->entries; i++) {
    if (i + 16 < from->entries) {
      __builtin_prefetch(&table->buckets[home_of(table, from->keys[ring_at(from, i + 16)])], 1);
    }
    table->clock = from->times[ring_at(from, i)];
    lc_dedup_table_insert(table, from->keys[ring_at(from, i)]);
  }
  table->clock = from->clock;
  table->wall_ns = from->wall_ns;
  table->checks = from->checks;
  table->hits = from->hits;
  table->evictions = from->evictions + skip;
  table->expired = from->expired;
}

/* Brings the keys that the home buckets point to: a repeating key is there nearly always. */
static void prefetch_candidates(const lc_dedup_table *table, lc_hash128 key) {
  const lc_dedup_bucket *bucket = &table->buckets[home_of(table, key)];
  uint32_t found = matching_slots(bucket, tag_of(table, key), ~table->index_mask);
  if (found == 0) return;
  uint32_t position = bucket->slots[__builtin_ctz(found)] & table->index_mask;
  if (position != 0) __builtin_prefetch(&table->keys[position - 1], 0);
}

static void check_group(lc_dedup_table *table, const lc_hash128 *keys, uint32_t n, bool *ret_seen) {
  const bool full = table->entries + n > table->max_entries;
  for (uint32_t i = 0; i < n; i++) {
    __builtin_prefetch(&table->buckets[home_of(table, keys[i])], 1);
    if (full) prefetch_oldest(table, i);
  }
  for (uint32_t i = 0; i < n; i++) prefetch_candidates(table, keys[i]);
  for (uint32_t i = 0; i < n; i++) {
    ret_seen[i] = lc_dedup_table_has(table, keys[i]);
    if (ret_seen[i]) table->hits++;
    else lc_dedup_table_insert(table, keys[i]);
  }
}

void lc_dedup_table_check(lc_dedup_table *table, const lc_hash128 *keys, uint32_t n, bool *ret_seen) {
  table->checks += n;
  for (uint32_t i = 0; i < n; i += GROUP) check_group(table, keys + i, n - i < GROUP ? n - i : GROUP, ret_seen + i);
}

lc_dedup_table_stats lc_dedup_table_stats_get(const lc_dedup_table *table) {
  return (lc_dedup_table_stats){
      .checks = table->checks,
      .hits = table->hits,
      .evictions = table->evictions,
      .expired = table->expired,
      .entries = table->entries,
      .max_entries = table->max_entries,
      .bytes = sizeof *table + bucket_bytes(table) +
               (size_t)table->max_entries * (sizeof *table->keys + sizeof *table->times),
  };
}
