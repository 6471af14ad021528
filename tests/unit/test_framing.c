#include "record/framing.h"

#include <stdlib.h>
#include <string.h>

#include "logcap/source.h"
#include "record/batch.h"
#include "support/support.h"

static void free_source(lc_source *source) {
  lc_source_deinit(source);
  free(source);
}

typedef struct block {
  lc_batch *batch;
  lc_source *source;
  lc_framing framing;
} block;

static block make(uint32_t cap, uint32_t max_line) {
  block self = {.batch = lc_batch_create(cap), .framing = {.max_line = max_line}};
  self.source = calloc(1, sizeof *self.source);
  assert_non_null(self.batch);
  assert_int_equal(lc_source_init(self.source, "k", "n", free_source), 0);
  assert_non_null(lc_batch_add_range(self.batch, self.source, 1000));
  return self;
}

static void drop(block *self) {
  lc_batch_destroy(self->batch);
  lc_source_release(self->source);
}

static uint32_t frame(block *self, const char *bytes, size_t len) {
  memcpy(self->batch->base[0], bytes, len);
  return lc_frame(&self->framing, self->batch, 0, (uint32_t)len);
}

static void check(const block *self, uint32_t i, const char *body, size_t len, uint32_t end, uint16_t flags) {
  assert_true(i < self->batch->n_records);
  const lc_record *rec = &self->batch->records[i];
  assert_int_equal(rec->body_len, len);
  assert_memory_equal(lc_batch_at(self->batch, rec->body), body, len);
  assert_int_equal(rec->end, end);
  assert_int_equal(rec->flags, flags);
  assert_int_equal(rec->range, 0);
}

static void test_lines(void **state) {
  (void)state;
  block self = make(4096, 4096);
  const char text[] = "one\ntwo\r\n\n\0x\xff\nrest";
  assert_int_equal(frame(&self, text, sizeof text - 1), 14);
  assert_int_equal(self.batch->n_records, 4);
  check(&self, 0, "one", 3, 4, 0);
  check(&self, 1, "two\r", 4, 9, 0);
  check(&self, 2, "", 0, 10, 0);
  check(&self, 3, "\0x\xff", 3, 14, 0);
  assert_int_equal(self.batch->ranges[0].end, 1014);
  assert_int_equal(self.batch->ranges[0].count, 4);
  assert_int_equal(self.batch->tally.read, 4);
  assert_int_equal(self.batch->tally.read_bytes, 14);
  assert_true(lc_frame_rest(&self.framing, self.batch, 14, 18, LC_FRAME_ENDED));
  check(&self, 4, "rest", 4, 18, 0);
  assert_int_equal(self.batch->ranges[0].end, 1018);
  drop(&self);
}

static void test_long_line(void **state) {
  (void)state;
  block self = make(4096, 8);
  assert_int_equal(frame(&self, "12345678\n123456789\nx\n", 21), 21);
  check(&self, 0, "12345678", 8, 9, 0);
  check(&self, 1, "12345678", 8, 19, LC_REC_TRUNCATED);
  check(&self, 2, "x", 1, 21, 0);
  assert_int_equal(self.framing.truncated, 1);
  assert_int_equal(self.framing.skipped, 1);
  assert_false(self.framing.skipping);
  drop(&self);
}

static void test_long_line_over_blocks(void **state) {
  (void)state;
  block self = make(4096, 8);
  assert_int_equal(frame(&self, "a\n123456789ab", 13), 13);
  check(&self, 1, "12345678", 8, 13, LC_REC_TRUNCATED);
  assert_true(self.framing.skipping);
  lc_batch_refill(self.batch);
  assert_int_equal(frame(&self, "cdefghijklmnopqrst", 18), 18);
  assert_int_equal(self.batch->n_records, 0);
  assert_true(self.framing.skipping);
  lc_batch_refill(self.batch);
  assert_int_equal(frame(&self, "uv\nnext\n", 8), 8);
  assert_int_equal(self.batch->n_records, 1);
  check(&self, 0, "next", 4, 13 + 18 + 8, 0);
  assert_int_equal(self.batch->ranges[0].end, 1000 + 39);
  assert_int_equal(self.framing.skipped, 3 + 18 + 2);
  drop(&self);
}

static void test_line_that_fills_the_block(void **state) {
  (void)state;
  char text[64];
  memset(text, 'x', sizeof text);
  block self = make(64, 64);
  assert_int_equal(frame(&self, text, 64), 0); /* not known yet whether it ends here */
  assert_true(lc_frame_rest(&self.framing, self.batch, 0, 64, LC_FRAME_NEWLINE));
  check(&self, 0, text, 64, 65, 0);
  assert_int_equal(self.batch->ranges[0].end, 1065);
  lc_batch_refill(self.batch);
  assert_int_equal(frame(&self, text, 64), 0);
  assert_true(lc_frame_rest(&self.framing, self.batch, 0, 64, LC_FRAME_LONG));
  check(&self, 0, text, 64, 129, LC_REC_TRUNCATED);
  assert_true(self.framing.skipping);
  drop(&self);
}

static void test_full_batch(void **state) {
  (void)state;
  uint32_t n = LC_BATCH_RECORDS_MAX + 10;
  char *text = malloc(n);
  memset(text, '\n', n);
  block self = make(n, n);
  assert_int_equal(frame(&self, text, n), LC_BATCH_RECORDS_MAX);
  assert_true(lc_frame_full(self.batch));
  lc_batch_refill(self.batch);
  memset(self.batch->base[0], '\n', 10);
  assert_int_equal(lc_frame(&self.framing, self.batch, 0, 10), 10);
  assert_int_equal(self.batch->tally.read, n);
  free(text);
  drop(&self);
}

/* Against the obvious way, on blocks cut at random places. */
static void test_random(void **state) {
  (void)state;
  srand(7);
  for (int round = 0; round < 300; round++) {
    char text[700];
    size_t len = (size_t)rand() % sizeof text;
    for (size_t i = 0; i < len; i++) text[i] = rand() % (1 + round % 40) == 0 ? '\n' : (char)('a' + rand() % 26);
    uint32_t max_line = 1 + (uint32_t)rand() % 60;
    block self = make(1024, max_line);
    size_t at = 0, line = 0; /* read so far; where the next expected line begins */
    while (at < len) {
      size_t step = 1 + (size_t)rand() % (len - at);
      lc_batch_refill(self.batch);
      uint32_t used = frame(&self, text + at, step);
      for (uint32_t i = 0; i < self.batch->n_records; i++) {
        const lc_record *rec = &self.batch->records[i];
        size_t end = line;
        while (end < len && text[end] != '\n') end++;
        size_t want = end - line < max_line ? end - line : max_line;
        assert_int_equal(rec->body_len, want);
        assert_memory_equal(lc_batch_at(self.batch, rec->body), text + line, want);
        assert_int_equal((rec->flags & LC_REC_TRUNCATED) != 0, end - line > max_line);
        line = end + 1;
      }
      at += used;
      if (used == 0 && at + step >= len) break;
    }
    drop(&self);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_lines),
      lc_test_case(test_long_line),
      lc_test_case(test_long_line_over_blocks),
      lc_test_case(test_line_that_fills_the_block),
      lc_test_case(test_full_batch),
      lc_test_case(test_random),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
