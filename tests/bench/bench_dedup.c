/* How fast the dedup table is, and how much memory it takes, beside a plain one in the same run: a chained hash map with
 * a list in the order of arrival, an allocation for each key, the same hash. One core, hashing included.
 *
 *     bench_dedup [ENTRIES [CHECKS]]        1,000,000 and 10,000,000 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "stage/dedup_table.h"

#define KEY_LEN 60
#define GROUP 256

static long resident_kb(void) {
  long kb = -1;
  char line[256];
  FILE *file = fopen("/proc/self/status", "r");
  if (!file) return -1;
  while (fgets(line, sizeof line, file)) {
    if (sscanf(line, "VmRSS: %ld", &kb) == 1) break;
  }
  fclose(file);
  return kb;
}

static void make_key(char key[KEY_LEN], uint64_t number) {
  memset(key, 'x', KEY_LEN);
  for (int i = 0; i < 20; i++, number /= 10) key[KEY_LEN - 1 - i] = (char)('0' + number % 10);
}

/* The plain one. */
typedef struct node {
  lc_hash128 key;
  int64_t time;
  struct node *chain, *newer;
} node;

typedef struct plain {
  node **heads;
  uint64_t n_heads, n, max;
  node *oldest, **newest;
} plain;

static void plain_evict(plain *self) {
  node *old = self->oldest, **link = &self->heads[old->key.low % self->n_heads];
  while (*link != old) link = &(*link)->chain;
  *link = old->chain;
  self->oldest = old->newer;
  if (!self->oldest) self->newest = &self->oldest;
  free(old);
  self->n--;
}

static bool plain_check(plain *self, lc_hash128 key, int64_t now) {
  node **head = &self->heads[key.low % self->n_heads];
  for (node *at = *head; at; at = at->chain) {
    if (at->key.low == key.low && at->key.high == key.high) return true;
  }
  if (self->n == self->max) {
    plain_evict(self);
    head = &self->heads[key.low % self->n_heads];
  }
  node *fresh = malloc(sizeof *fresh);
  if (!fresh) abort();
  *fresh = (node){key, now, *head, NULL};
  *head = fresh;
  *self->newest = fresh;
  self->newest = &fresh->newer;
  self->n++;
  return false;
}

typedef struct bench {
  lc_dedup_table *table; /* one of both */
  plain *plain;
  uint64_t hits;
} bench;

/* Numbers are used in whole groups. */
static uint64_t whole(uint64_t n) {
  return (n + GROUP - 1) / GROUP * GROUP;
}

/* Checks `n` keys of the numbers from `first` on (scattered over those below `wrap`); returns the seconds. */
static double run(bench *self, uint64_t first, uint64_t n, uint64_t wrap) {
  static char texts[GROUP][KEY_LEN];
  lc_hash128 keys[GROUP];
  bool seen[GROUP];
  int64_t spent = 0;
  for (uint64_t done = 0; done < n; done += GROUP) {
    for (unsigned i = 0; i < GROUP; i++) {
      uint64_t number = first + done + i;
      make_key(texts[i], wrap ? (number * UINT64_C(2654435761)) % wrap : number); /* not timed */
    }
    int64_t begin = lc_clock_mono();
    for (unsigned i = 0; i < GROUP; i++) keys[i] = lc_hash_128(texts[i], KEY_LEN);
    if (self->table) lc_dedup_table_check(self->table, keys, GROUP, seen);
    else for (unsigned i = 0; i < GROUP; i++) seen[i] = plain_check(self->plain, keys[i], begin);
    spent += lc_clock_mono() - begin;
    for (unsigned i = 0; i < GROUP; i++) self->hits += seen[i];
  }
  return (double)spent / 1e9;
}

static void report(const char *name, bench *self, long before, uint64_t entries, uint64_t checks) {
  run(self, 0, entries, 0);
  long filled = resident_kb();
  double distinct = run(self, whole(entries), checks, 0);
  uint64_t false_hits = self->hits;
  run(self, 0, entries, entries); /* all numbers below `entries` are in it now */
  self->hits = 0;
  double repeating = run(self, 0, checks, entries);
  printf("%-9s  %6.2f M/s distinct (an eviction each)  %6.2f M/s repeating  %6.1f MB filled  %6.1f MB at the end\n",
         name, (double)checks / distinct / 1e6, (double)checks / repeating / 1e6, (double)(filled - before) / 1e3,
         (double)(resident_kb() - before) / 1e3);
  if (false_hits != 0) printf("  %llu hits of keys that are new\n", (unsigned long long)false_hits);
  if (self->hits < checks * 999 / 1000) printf("  only %llu hits\n", (unsigned long long)self->hits);
}

int main(int argc, char **argv) {
  uint32_t entries = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000;
  uint64_t checks = argc > 2 ? strtoull(argv[2], NULL, 10) : 10000000;
  if (entries == 0 || checks == 0) return 2;
  printf("%u entries, keys of %d bytes, %llu checks, one core, hashing included\n", entries, KEY_LEN,
         (unsigned long long)checks);

  lc_error error;
  long before = resident_kb();
  bench ours = {0};
  if (lc_dedup_table_create(entries, INT64_MAX / 4, &ours.table, &error) != 0) {
    fprintf(stderr, "%s\n", error.message);
    return 1;
  }
  report("logcap", &ours, before, entries, checks);
  printf("           %.1f MB reserved\n", (double)lc_dedup_table_stats_get(ours.table).bytes / 1e6);
  lc_dedup_table_destroy(ours.table);

  before = resident_kb();
  plain other = {.max = entries, .n_heads = (uint64_t)entries * 4 / 3};
  other.newest = &other.oldest;
  other.heads = calloc(other.n_heads, sizeof *other.heads);
  if (!other.heads) return 1;
  report("plain", &(bench){.plain = &other}, before, entries, checks);
  while (other.n > 0) plain_evict(&other);
  free(other.heads);
  return 0;
}
