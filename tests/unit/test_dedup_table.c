/* The dedup table against a plain model: a list of (key, time), searched from one end to the other. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "stage/dedup_table.h"
#include "stage/dedup_table_impl.h"

#define TTL 1000

/* What the table must do, written as simply as can be. */
typedef struct model {
  lc_hash128 keys[4096];
  int64_t times[4096];
  uint32_t n, max_entries;
  int64_t clock, wall_ns;
  uint64_t evictions, expired, hits;
} model;

static void model_remove_oldest(model *self) {
  self->n--;
  memmove(self->keys, self->keys + 1, self->n * sizeof *self->keys);
  memmove(self->times, self->times + 1, self->n * sizeof *self->times);
}

static void model_time(model *self, int64_t now_ns) {
  if (self->wall_ns != 0 && now_ns > self->wall_ns) self->clock += now_ns - self->wall_ns;
  self->wall_ns = now_ns;
  while (self->n > 0 && self->clock - self->times[0] >= TTL) {
    model_remove_oldest(self);
    self->expired++;
  }
}

static bool model_check(model *self, lc_hash128 key) {
  for (uint32_t i = 0; i < self->n; i++) {
    if (self->keys[i].low != key.low || self->keys[i].high != key.high) continue;
    self->hits++;
    return true;
  }
  if (self->n == self->max_entries) {
    model_remove_oldest(self);
    self->evictions++;
  }
  self->keys[self->n] = key;
  self->times[self->n++] = self->clock;
  return false;
}

static uint64_t random_next(uint64_t *state) {
  *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return *state >> 33;
}

/* `crowd` makes keys share their home bucket, their tag and halves of themselves, so that buckets overflow. */
static lc_hash128 key_of(uint64_t number, bool crowd) {
  if (crowd) return (lc_hash128){.low = (number / 3) << 40, .high = (number % 3) << 29};
  return lc_hash_128(&number, sizeof number);
}

static lc_dedup_table *make(uint32_t max_entries, int64_t ttl_ns) {
  lc_dedup_table *table = NULL;
  lc_error error;
  assert_int_equal(lc_dedup_table_create(max_entries, ttl_ns, &table, &error), 0);
  return table;
}

static bool check_one(lc_dedup_table *table, lc_hash128 key) {
  bool seen;
  lc_dedup_table_check(table, &key, 1, &seen);
  return seen;
}

static void assert_index_empty(const lc_dedup_table *table) {
  for (uint32_t i = 0; i < table->n_buckets; i++) {
    assert_int_equal(table->buckets[i].overflow, 0);
    for (unsigned j = 0; j < LC_DEDUP_SLOTS; j++) assert_int_equal(table->buckets[i].slots[j], 0);
  }
}

static lc_dedup_table *saved_and_loaded(lc_dedup_table *table) {
  lc_buf saved = {0};
  lc_error error;
  assert_int_equal(lc_dedup_table_save(table, 7, &saved, &error), 0);
  lc_dedup_table *again = make(table->max_entries, table->ttl_ns);
  assert_int_equal(lc_dedup_table_load(again, 7, saved.data, saved.len, &error), 0);
  lc_buf_free(&saved);
  again->hits = table->hits; /* counters are of the run, not of the state */
  again->evictions = table->evictions;
  again->expired = table->expired;
  lc_dedup_table_destroy(table);
  return again;
}

/* A table of another size in its place; back again when `max_entries` is what it was. */
static lc_dedup_table *resized(lc_dedup_table *table, model *self, uint32_t max_entries) {
  lc_dedup_table *other = make(max_entries, TTL);
  lc_dedup_table_take(other, table);
  lc_dedup_table_destroy(table);
  self->max_entries = max_entries;
  for (; self->n > max_entries; self->evictions++) model_remove_oldest(self);
  return other;
}

/* One random life of a table beside its model. */
static void live(uint64_t seed, uint32_t max_entries, uint64_t distinct, bool crowd) {
  model *self = calloc(1, sizeof *self);
  assert_non_null(self);
  self->max_entries = max_entries;
  lc_dedup_table *table = make(max_entries, TTL);
  int64_t now = 1000000;
  for (unsigned step = 0; step < 300; step++) {
    lc_hash128 keys[100];
    bool seen[100];
    now += (int64_t)(random_next(&seed) % 400);
    if (random_next(&seed) % 40 == 0) now -= 5000; /* the clock jumps back */
    if (random_next(&seed) % 50 == 0) now += 2 * TTL;
    if (random_next(&seed) % 30 == 0) table = saved_and_loaded(table);
    if (random_next(&seed) % 30 == 0) table = resized(table, self, 1 + (uint32_t)(random_next(&seed) % (max_entries * 2)));
    uint32_t n = (uint32_t)(random_next(&seed) % 100) + 1;
    for (uint32_t i = 0; i < n; i++) keys[i] = key_of(random_next(&seed) % distinct, crowd);
    while (lc_dedup_table_expire(table, now, 3)) continue;
    model_time(self, now);
    lc_dedup_table_check(table, keys, n, seen);
    for (uint32_t i = 0; i < n; i++) assert_int_equal(seen[i], model_check(self, keys[i]));
    lc_dedup_table_stats stats = lc_dedup_table_stats_get(table);
    assert_int_equal(stats.entries, self->n);
    assert_int_equal(stats.hits, self->hits);
    assert_int_equal(stats.evictions, self->evictions);
    assert_int_equal(stats.expired, self->expired);
  }
  while (lc_dedup_table_expire(table, now + TTL, 100)) continue;
  assert_int_equal(lc_dedup_table_stats_get(table).entries, 0);
  assert_index_empty(table);
  lc_dedup_table_destroy(table);
  free(self);
}

static void test_is_exact(void **state) {
  (void)state;
  const uint32_t sizes[] = {1, 2, 11, 12, 13, 22, 30, 35, 100, 1000}; /* 22: two buckets that both overflow */
  for (uint64_t seed = 1; seed <= 12; seed++) {
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
      live(seed, sizes[i], sizes[i] / 2 + 1, false);
      live(seed, sizes[i], sizes[i] * 2 + 2, false);
      live(seed, sizes[i], 100000, false);
      live(seed, sizes[i], sizes[i] + 5, true);
    }
  }
}

static void test_ttl_counts_from_first_sight(void **state) {
  (void)state;
  lc_dedup_table *table = make(10, TTL);
  lc_hash128 key = key_of(1, false);
  assert_false(lc_dedup_table_expire(table, 5000, 10));
  assert_false(check_one(table, key));
  for (int64_t age = 1; age < TTL; age++) {
    assert_false(lc_dedup_table_expire(table, 5000 + age, 10));
    assert_true(check_one(table, key));
  }
  assert_false(lc_dedup_table_expire(table, 5000 + TTL, 10));
  assert_false(check_one(table, key));
  lc_dedup_table_destroy(table);
}

static void test_another_ttl_counts_for_what_is_there(void **state) {
  (void)state;
  lc_dedup_table *table = make(10, TTL);
  (void)lc_dedup_table_expire(table, 5000, 10);
  assert_false(check_one(table, key_of(1, false)));
  lc_dedup_table_set_ttl(table, 3 * TTL);
  (void)lc_dedup_table_expire(table, 5000 + 3 * TTL - 1, 10);
  assert_true(check_one(table, key_of(1, false)));
  assert_false(check_one(table, key_of(2, false)));
  lc_dedup_table_set_ttl(table, 2);
  (void)lc_dedup_table_expire(table, 5000 + 3 * TTL, 10);
  assert_false(check_one(table, key_of(1, false)));
  assert_true(check_one(table, key_of(2, false)));
  lc_dedup_table_destroy(table);
}

static void test_clock_jumps(void **state) {
  (void)state;
  lc_dedup_table *table = make(10, TTL);
  lc_hash128 key = key_of(1, false);
  int64_t hour = INT64_C(3600) * 1000000000;
  (void)lc_dedup_table_expire(table, 2 * hour, 10);
  assert_false(check_one(table, key));
  (void)lc_dedup_table_expire(table, hour, 10); /* back: stands still, then goes on from there */
  assert_true(check_one(table, key));
  (void)lc_dedup_table_expire(table, hour + TTL - 1, 10);
  assert_true(check_one(table, key));
  (void)lc_dedup_table_expire(table, hour + TTL, 10);
  assert_false(check_one(table, key));
  (void)lc_dedup_table_expire(table, 9 * hour, 10); /* forward: lived long enough */
  assert_false(check_one(table, key));
  lc_dedup_table_destroy(table);
}

static void test_expires_in_steps(void **state) {
  (void)state;
  lc_dedup_table *table = make(100, TTL);
  (void)lc_dedup_table_expire(table, 1, 10);
  for (uint64_t i = 0; i < 100; i++) assert_false(check_one(table, key_of(i, false)));
  unsigned steps = 1;
  while (lc_dedup_table_expire(table, 1 + TTL, 30)) steps++;
  assert_int_equal(steps, 4);
  assert_int_equal(lc_dedup_table_stats_get(table).expired, 100);
  lc_dedup_table_destroy(table);
}

static void test_memory_is_bounded(void **state) {
  (void)state;
  lc_dedup_table *table = make(1000000, TTL);
  assert_true(lc_dedup_table_stats_get(table).bytes <= 32000000);
  lc_dedup_table_destroy(table);
}

static void test_load_keeps_the_newest(void **state) {
  (void)state;
  lc_dedup_table *big = make(100, TTL), *small = make(10, TTL);
  lc_buf saved = {0};
  lc_error error;
  (void)lc_dedup_table_expire(big, 1, 10);
  for (uint64_t i = 0; i < 100; i++) assert_false(check_one(big, key_of(i, false)));
  assert_int_equal(lc_dedup_table_save(big, 1, &saved, &error), 0);
  assert_int_equal(lc_dedup_table_load(small, 1, saved.data, saved.len, &error), 0);
  assert_int_equal(lc_dedup_table_stats_get(small).entries, 10);
  for (uint64_t i = 90; i < 100; i++) assert_true(check_one(small, key_of(i, false)));
  assert_int_equal(lc_dedup_table_load(small, 2, saved.data, saved.len, &error), LC_EINVAL);
  assert_non_null(strstr(error.message, "other key fields"));
  assert_int_equal(lc_dedup_table_stats_get(small).entries, 0);
  lc_buf_free(&saved);
  lc_dedup_table_destroy(big);
  lc_dedup_table_destroy(small);
}

/* Time goes on while the program is down. */
static void test_load_ages(void **state) {
  (void)state;
  lc_dedup_table *table = make(10, TTL);
  (void)lc_dedup_table_expire(table, 5000, 10);
  assert_false(check_one(table, key_of(1, false)));
  (void)lc_dedup_table_expire(table, 5400, 10);
  assert_false(check_one(table, key_of(2, false)));
  table = saved_and_loaded(table);
  (void)lc_dedup_table_expire(table, 6000, 10);
  assert_true(check_one(table, key_of(2, false)));
  assert_false(check_one(table, key_of(1, false)));
  lc_dedup_table_destroy(table);
}

static void put_sum(lc_buf *buf) {
  uint64_t sum = lc_hash64(buf->data, buf->len - 8);
  memcpy(buf->data + buf->len - 8, &sum, 8);
}

static void test_damage_is_refused(void **state) {
  (void)state;
  lc_dedup_table *table = make(20, TTL), *other = make(20, TTL);
  lc_buf saved = {0};
  lc_error error;
  (void)lc_dedup_table_expire(table, 1, 10);
  for (uint64_t i = 0; i < 20; i++) assert_false(check_one(table, key_of(i, false)));
  assert_int_equal(lc_dedup_table_save(table, 7, &saved, &error), 0);
  for (size_t i = 0; i < saved.len; i++) {
    saved.data[i] ^= 0x40;
    assert_int_equal(lc_dedup_table_load(other, 7, saved.data, saved.len, &error), LC_ECORRUPT);
    saved.data[i] ^= 0x40;
    assert_int_equal(lc_dedup_table_load(other, 7, saved.data, i, &error), LC_ECORRUPT);
    assert_int_equal(lc_dedup_table_stats_get(other).entries, 0);
  }
  /* Nonsense with a fitting checksum: counts, spans and doubles are checked as well. */
  uint64_t seed = 1;
  for (unsigned round = 0; round < 20000; round++) {
    lc_buf copy = {0};
    assert_int_equal(lc_buf_add(&copy, saved.data, saved.len), 0);
    for (unsigned k = 0; k < 2; k++) {
      copy.data[24 + random_next(&seed) % (copy.len - 32)] = (char)random_next(&seed);
    }
    if (round % 4 == 0) copy.len -= random_next(&seed) % (copy.len - 40);
    put_sum(&copy);
    if (lc_dedup_table_load(other, 7, copy.data, copy.len, &error) == 0) {
      while (lc_dedup_table_expire(other, INT64_MAX / 4, 10)) continue;
    } else {
      assert_int_equal(error.code, LC_ECORRUPT);
    }
    lc_buf_free(&copy);
  }
  lc_buf_free(&saved);
  lc_dedup_table_destroy(table);
  lc_dedup_table_destroy(other);
}

static void test_doubles_are_refused(void **state) {
  (void)state;
  lc_dedup_table *table = make(20, TTL);
  lc_buf saved = {0};
  lc_error error;
  (void)lc_dedup_table_expire(table, 1, 10);
  for (uint64_t i = 0; i < 2; i++) assert_false(check_one(table, key_of(i, false)));
  assert_int_equal(lc_dedup_table_save(table, 7, &saved, &error), 0);
  char *entries = saved.data + 28; /* each a span of one byte and a key */
  memcpy(entries + 17, entries, 17);
  put_sum(&saved);
  assert_int_equal(lc_dedup_table_load(table, 7, saved.data, saved.len, &error), LC_ECORRUPT);
  assert_int_equal(lc_dedup_table_stats_get(table).entries, 0);
  assert_index_empty(table);
  lc_buf_free(&saved);
  lc_dedup_table_destroy(table);
}

static void test_out_of_memory(void **state) {
  (void)state;
  for (unsigned n = 1;; n++) {
    lc_dedup_table *table = NULL;
    lc_error error;
    lc_fault_after(n);
    int rc = lc_dedup_table_create(100, TTL, &table, &error);
    if (!lc_fault_off()) {
      assert_int_equal(rc, 0);
      lc_dedup_table_destroy(table);
      break;
    }
    assert_int_equal(rc, LC_ENOMEM);
    assert_null(table);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_is_exact),
      lc_test_case(test_ttl_counts_from_first_sight),
      lc_test_case(test_another_ttl_counts_for_what_is_there),
      lc_test_case(test_clock_jumps),
      lc_test_case(test_expires_in_steps),
      lc_test_case(test_memory_is_bounded),
      lc_test_case(test_load_keeps_the_newest),
      lc_test_case(test_load_ages),
      lc_test_case(test_damage_is_refused),
      lc_test_case(test_doubles_are_refused),
      lc_test_case(test_out_of_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
