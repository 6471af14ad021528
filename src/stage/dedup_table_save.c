/* The saved form, all numbers little-endian:
 *   "LCDEDUP1", purpose (8), wall clock at the save (8), entries (4),
 *   for each entry, oldest first: ns since the one before (for the first: 0) as a varint, key (16),
 *   ns from the newest to the save as a varint,
 *   XXH3-64 of everything before it (8). */
#include <endian.h>
#include <string.h>

#include "stage/dedup_table_impl.h"

#define MAGIC "LCDEDUP1"
#define MAGIC_LEN 8u
#define HEAD_LEN (MAGIC_LEN + 8 + 8 + 4)
#define SUM_LEN 8u
#define VARINT_MAX 10u

static void add_u64(lc_buf *buf, uint64_t value) {
  value = htole64(value);
  (void)lc_buf_add(buf, &value, sizeof value); /* sticky: checked at the end */
}

static void add_varint(lc_buf *buf, uint64_t value) {
  char bytes[VARINT_MAX];
  size_t n = 0;
  for (; value >= 0x80; value >>= 7) bytes[n++] = (char)(value | 0x80);
  bytes[n++] = (char)value;
  (void)lc_buf_add(buf, bytes, n);
}

int lc_dedup_table_save(const lc_dedup_table *table, uint64_t purpose, lc_buf *ret, lc_error *error) {
  const size_t begin = ret->len;
  uint32_t entries = htole32(table->entries);
  (void)lc_buf_reserve(ret, HEAD_LEN + (size_t)table->entries * 18 + SUM_LEN);
  (void)lc_buf_add(ret, MAGIC, MAGIC_LEN);
  add_u64(ret, purpose);
  add_u64(ret, (uint64_t)table->wall_ns);
  (void)lc_buf_add(ret, &entries, sizeof entries);
  int64_t before = table->clock;
  for (uint32_t i = 0, at = table->tail; i < table->entries; i++, at = at + 1 == table->max_entries ? 0 : at + 1) {
    if (i == 0) before = table->times[at];
    add_varint(ret, (uint64_t)(table->times[at] - before));
    before = table->times[at];
    add_u64(ret, table->keys[at].low);
    add_u64(ret, table->keys[at].high);
  }
  add_varint(ret, (uint64_t)(table->clock - before));
  if (!ret->failed) add_u64(ret, lc_hash64(ret->data + begin, ret->len - begin));
  if (ret->failed)
    return lc_error_set(error, LC_ENOMEM, "out of memory to save a dedup cache of %u entries", table->entries);
  return 0;
}

/* What is left to be read. */
typedef struct reader {
  const unsigned char *at, *end;
  bool failed;
} reader;

static uint64_t read_u64(reader *in) {
  uint64_t value;
  if (in->failed || (size_t)(in->end - in->at) < sizeof value) {
    in->failed = true;
    return 0;
  }
  memcpy(&value, in->at, sizeof value);
  in->at += sizeof value;
  return le64toh(value);
}

/* A span of time: never more than INT64_MAX. */
static int64_t read_span(reader *in) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 63 && !in->failed && in->at < in->end; shift += 7) {
    unsigned char byte = *in->at++;
    value |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80) return (int64_t)value;
  }
  in->failed = true;
  return 0;
}

static int corrupt(lc_error *error, const char *what) {
  return lc_error_set(error, LC_ECORRUPT, "the saved dedup cache is damaged: %s", what);
}

/* Reads the entries into the table, whose clock follows their times. False: what is written there makes no sense. */
static bool load_entries(lc_dedup_table *table, reader *in, uint32_t n) {
  int64_t clock = 0;
  const uint32_t skip = n > table->max_entries ? n - table->max_entries : 0;
  for (uint32_t i = 0; i < n; i++) {
    if (__builtin_add_overflow(clock, read_span(in), &clock)) return false;
    lc_hash128 key = {.low = read_u64(in)};
    key.high = read_u64(in);
    if (in->failed) return false;
    if (i < skip) continue;
    if (lc_dedup_table_has(table, key)) return false;
    table->clock = clock;
    lc_dedup_table_insert(table, key);
  }
  if (__builtin_add_overflow(clock, read_span(in), &clock) || clock > INT64_MAX / 2) return false;
  table->clock = clock;
  return !in->failed && in->at == in->end;
}

int lc_dedup_table_load(lc_dedup_table *table, uint64_t purpose, const void *bytes, size_t len, lc_error *error) {
  lc_dedup_table_clear(table);
  table->clock = table->wall_ns = 0;
  if (len < HEAD_LEN + 1 + SUM_LEN) return corrupt(error, "it is too short");
  if (memcmp(bytes, "LCDEDUP", MAGIC_LEN - 1) != 0) return corrupt(error, "it does not begin like one");
  reader in = {(const unsigned char *)bytes, (const unsigned char *)bytes + len - SUM_LEN, false};
  reader sum = {in.end, in.end + SUM_LEN, false};
  if (read_u64(&sum) != lc_hash64(bytes, len - SUM_LEN)) return corrupt(error, "its checksum does not fit");
  if (memcmp(bytes, MAGIC, MAGIC_LEN) != 0) {
    return lc_error_set(error, LC_EINVAL, "the saved dedup cache was written by another version of logcap");
  }
  in.at += MAGIC_LEN;
  if (read_u64(&in) != purpose) {
    return lc_error_set(error, LC_EINVAL, "the saved dedup cache was made with other key fields");
  }
  const int64_t wall_ns = (int64_t)read_u64(&in);
  uint32_t entries;
  memcpy(&entries, in.at, sizeof entries);
  in.at += sizeof entries;
  if (!load_entries(table, &in, le32toh(entries))) {
    lc_dedup_table_clear(table);
    table->clock = 0;
    return corrupt(error, "its entries make no sense");
  }
  table->wall_ns = wall_ns;
  return 0;
}
