/* Framing and joining against the obvious way: whatever the bytes and wherever the blocks are cut, the lines are the
 * same.
 *
 * The input: one byte for the line limit, one for the blocks, the rest is text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "logcap/source.h"
#include "record/batch.h"
#include "record/framing.h"
#include "record/multiline.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CAP 256u

static void require(bool holds) {
  if (!holds) abort();
}

static void free_source(lc_source *source) {
  lc_source_deinit(source);
  free(source);
}

/* Checks the batch's records against the text from *line on, and moves it behind them. */
static void check_lines(const lc_batch *batch, const char *text, size_t len, size_t *line, uint32_t max_line) {
  for (uint32_t i = 0; i < batch->n_records; i++) {
    const lc_record *rec = &batch->records[i];
    const char *end = *line < len ? memchr(text + *line, '\n', len - *line) : NULL;
    size_t full = (end == NULL ? len : (size_t)(end - text)) - *line;
    size_t want = full < max_line ? full : max_line;
    require(rec->body_len == want);
    require(memcmp(lc_batch_at(batch, rec->body), text + *line, want) == 0);
    require(((rec->flags & LC_REC_TRUNCATED) != 0) == (full > max_line));
    *line += full + 1;
  }
}

static void frame_all(lc_batch *batch, const char *text, size_t len, uint32_t max_line, uint32_t step) {
  lc_framing framing = {.max_line = max_line};
  size_t at = 0, line = 0;
  while (at < len) {
    uint32_t block = len - at < step ? (uint32_t)(len - at) : step;
    bool last = at + block == len;
    lc_batch_refill(batch);
    memcpy(batch->base[0], text + at, block);
    uint32_t used = lc_frame(&framing, batch, 0, block);
    if (used < block && last) {
      require(lc_frame_rest(&framing, batch, used, block, LC_FRAME_ENDED));
      used = block;
    } else if (used == 0) {
      step = block < CAP ? block + 1 : block; /* an unfinished line: read more of it */
      require(block <= max_line);
      require(block < CAP);
    }
    check_lines(batch, text, len, &line, max_line);
    at += used;
    require(batch->ranges[0].end == at);
  }
  require(line >= len);
}

static void join_all(lc_batch *batch, const lc_multiline *multiline, const char *text, uint32_t len) {
  lc_framing framing = {.max_line = 64};
  lc_multiline_match match;
  require(lc_multiline_match_init(multiline, &match) == 0);
  lc_batch_refill(batch);
  batch->ranges[0].end = batch->ranges[0].begin;
  memcpy(batch->base[0], text, len);
  (void)lc_frame(&framing, batch, 0, len);
  uint64_t read = batch->tally.read - batch->n_records;
  uint32_t back = lc_multiline_join(multiline, &match, batch, 0, 0, (len & 1) != 0, false);
  uint32_t at = 0;
  for (uint32_t i = 0; i < batch->n_records; i++) {
    require(batch->records[i].body == at);
    require(batch->records[i].body + batch->records[i].body_len <= len);
    at = batch->records[i].end;
  }
  require(batch->ranges[0].end == at || batch->n_records == 0);
  require(batch->tally.read == read + batch->n_records);
  require(back <= len);
  lc_multiline_match_deinit(&match);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2 || size > 4096) return 0;
  uint32_t max_line = 1 + data[0] % (CAP - 1), step = 1 + data[1] % CAP;
  const char *text = (const char *)data + 2;
  size_t len = size - 2;
  lc_source *source = calloc(1, sizeof *source);
  lc_batch *batch = lc_batch_create(CAP);
  require(source != NULL && batch != NULL && lc_source_init(source, "k", "n", free_source) == 0);
  require(lc_batch_add_range(batch, source, 0) != NULL);
  frame_all(batch, text, len, max_line, step);
  lc_multiline *multiline = NULL;
  lc_multiline_options options = {.start = "^[0-9a]", .negate = (data[0] & 1) != 0, .max_lines = 1 + data[1] % 7};
  require(lc_multiline_create(&options, &multiline, NULL) == 0);
  join_all(batch, multiline, text, len < CAP ? (uint32_t)len : CAP);
  lc_multiline_destroy(multiline);
  lc_batch_destroy(batch);
  lc_source_release(source);
  return 0;
}
