/* Times the JSON slicer: ns per record for records of one shape and of mixed shapes, beside a memchr that only looks
 * for the newlines of the same text, in the same run.
 *
 *     build/bench/bench_json [ROUNDS [FILE]]      FILE: JSON lines of one's own, of which the first 256 KiB count */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "record/batch.h"
#include "record/encode.h"
#include "record/fields.h"
#include "record/json.h"

#define BLOCK (256u * 1024)

static void fail(const char *what) {
  fprintf(stderr, "%s\n", what);
  exit(1);
}

typedef struct bench {
  const char *name;
  int (*line)(char *to, size_t room, unsigned i);
} bench;

static const char *const levels[] = {"info", "debug", "warn", "error", "info"};
static const char *const words[] = {"payment accepted", "cart updated for a returning customer", "login",
                                    "stock reserved in the second warehouse"};

static int uniform_line(char *to, size_t room, unsigned i) {
  return snprintf(
      to, room,
      "{\"ts\":\"2026-11-23T21:09:%02u.%06uZ\",\"level\":\"%s\",\"service\":\"shop-%u\",\"host\":\"web-%02u\","
      "\"msg\":\"%s\",\"user_id\":%u,\"duration_ms\":%u.%03u,\"status\":%u,\"ok\":%s,"
      "\"request_id\":\"%08x-%04x-4a7c-9d21\"}\n",
      i % 60, i % 1000000, levels[i * 7 % 5], i % 9, i % 40, words[i * 13 % 4], i * 7919 % 100000, i % 300, i % 1000,
      i % 11 == 0 ? 500u : 200u, i % 11 == 0 ? "false" : "true", i * 2654435761u, i & 0xffff);
}

static int mixed_line(char *to, size_t room, unsigned i) {
  unsigned dice = i * 2654435761u >> 16;
  if (dice % 4 == 0) {
    return snprintf(to, room,
                    "{\"ts\":\"2026-11-23T21:09:%02u.%06uZ\",\"level\":\"%s\",\"service\":\"auth\",\"event\":\"token\","
                    "\"scopes\":[\"read\",\"write\"],\"ttl\":%u,\"client\":{\"ip\":\"10.0.%u.%u\",\"agent\":\"curl\"},"
                    "\"cached\":null,\"ok\":true,\"trace\":\"%08x%08x\"}\n",
                    i % 60, i % 1000000, levels[i % 5], i % 3600, i % 256, dice % 256, dice, i);
  }
  if (dice % 4 == 1) {
    return snprintf(
        to, room,
        "{\"ts\":\"2026-11-23T21:09:%02u.%06uZ\",\"level\":\"error\",\"service\":\"db\",\"msg\":\"%s\","
        "\"query\":\"select \\\"name\\\" from t where id = %u\",\"rows\":%u,\"retry\":%s,\"host\":\"db-%02u\","
        "\"took\":%u.%u,\"pool\":%u}\n",
        i % 60, i % 1000000, words[i % 4], i, i % 500, i % 3 != 0 ? "true" : "false", i % 12, i % 900, i % 10,
        dice % 64);
  }
  return uniform_line(to, room, dice % 4 == 2 ? i : i * 31);
}

static uint32_t fill(lc_batch *batch, const bench *work) {
  uint32_t len = 0, n = 0;
  for (;; n++) {
    char line[1024];
    int written = work->line(line, sizeof line, n);
    if (written < 0 || len + (uint32_t)written > batch->data_cap) break;
    memcpy(batch->base[0] + len, line, (size_t)written);
    len += (uint32_t)written;
  }
  batch->data_len = len;
  return n;
}

static uint32_t fill_from_file(lc_batch *batch, const char *path) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) fail("cannot open the file");
  size_t len = fread(batch->base[0], 1, batch->data_cap, file);
  fclose(file);
  while (len > 0 && batch->base[0][len - 1] != '\n') len--;
  batch->data_len = (uint32_t)len;
  uint32_t n = 0;
  for (size_t i = 0; i < len; i++) n += batch->base[0][i] == '\n';
  if (n == 0) fail("no whole line in the file's first block");
  return n;
}

static uint32_t frame(lc_batch *batch) {
  const char *data = batch->base[0], *end = data + batch->data_len;
  uint32_t n = 0;
  for (const char *p = data; p < end; n++) {
    const char *newline = memchr(p, '\n', (size_t)(end - p));
    batch->records[n] = (lc_record){.body = (uint32_t)(p - data), .body_len = (uint32_t)(newline - p)};
    p = newline + 1;
  }
  return n;
}

/* One round over the block. Returns ns for framing, and adds to the others. */
static void round_of(lc_batch *batch, uint32_t n, lc_encoder *encoder, int64_t times[4]) {
  uint32_t len = batch->data_len, at = 0, hint = 0;
  lc_batch_refill(batch);
  batch->data_len = len;
  int64_t start = lc_clock_mono();
  if (frame(batch) != n) fail("framing lost a line");
  batch->n_records = n;
  int64_t framed = lc_clock_mono();
  for (uint32_t i = 0; i < n; i++) {
    if (lc_json_slice(batch, &batch->records[i]) != 0) fail("a line was refused");
  }
  int64_t sliced = lc_clock_mono();
  for (uint32_t i = 0; i < n; i++) {
    lc_record *rec = &batch->records[i];
    lc_field *level = lc_record_find(batch, rec, "level", 5, &hint);
    if (level == NULL) fail("no level");
    if (level->value_len == 7 && memcmp(lc_batch_at(batch, level->value) + 1, "debug", 5) == 0) {
      lc_batch_drop(batch, rec, LC_DROP_FILTERED);
    } else if (lc_record_set_string(batch, rec, "env", 3, "prod", 4) != 0) {
      fail("set failed");
    }
  }
  int64_t set = lc_clock_mono();
  while (at < n) {
    struct iovec iov[64];
    size_t pieces, bytes;
    if (lc_encode(encoder, batch, &at, n, UINT64_MAX, iov, 64, &pieces, &bytes) != 0) fail("encoding failed");
  }
  int64_t done = lc_clock_mono();
  times[0] += framed - start;
  times[1] += sliced - framed;
  times[2] += set - sliced;
  times[3] += done - set;
}

int main(int argc, char **argv) {
  const bench benches[] = {
      {"one shape", uniform_line}, {"mixed shapes", mixed_line}, {argc > 2 ? argv[2] : NULL, NULL}};
  int rounds = argc > 1 ? atoi(argv[1]) : 400;
  lc_encoder encoder = {.format = LC_FORMAT_JSON};
  printf("%-14s %8s %8s %10s %10s %10s %10s   ns per record\n", "records", "bytes", "fields", "memchr", "slice",
         "find+set", "encode");
  for (size_t b = 0; b < (argc > 2 ? 3 : 2); b++) {
    lc_batch *batch = lc_batch_create(BLOCK);
    if (batch == NULL) fail("out of memory");
    uint32_t n = benches[b].line != NULL ? fill(batch, &benches[b]) : fill_from_file(batch, argv[2]);
    if (lc_batch_reserve_records(batch, n) != n) fail("out of memory");
    int64_t times[4] = {0}, best[4] = {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX};
    for (int i = 0; i < rounds; i++) {
      int64_t once[4] = {0};
      round_of(batch, n, &encoder, once);
      for (int k = 0; k < 4; k++) {
        times[k] += once[k];
        if (once[k] < best[k]) best[k] = once[k];
      }
    }
    uint64_t fields = 0;
    for (uint32_t i = 0; i < n; i++) fields += batch->records[i].n_fields;
    for (int k = 0; k < 2; k++) {
      printf("%-14s %8.1f %8.1f", benches[b].name, (double)batch->data_len / n, (double)fields / n);
      for (int j = 0; j < 4; j++) printf(" %10.1f", (double)(k == 0 ? times[j] / rounds : best[j]) / n);
      printf("   %s\n", k == 0 ? "mean" : "best");
    }
    lc_batch_destroy(batch);
  }
  lc_encoder_deinit(&encoder);
  return 0;
}
