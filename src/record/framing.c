#include "record/framing.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/check.h"

#define RESERVE 1024u /* records made room for at a time */

/* One call of lc_frame: the batch's tables, kept in registers. */
typedef struct lc_cutter {
  lc_framing *framing;
  lc_batch *batch;
  lc_range *range;
  uint32_t line;       /* where the line in hand begins */
  uint32_t delta;      /* add to an offset in the data block: the position relative to the range's begin */
  uint32_t n, room;    /* records written, and room for them */
  uint16_t range_index;
} lc_cutter;

static lc_cutter cutter_start(lc_framing *framing, lc_batch *batch, uint32_t from) {
  lc_require(batch->n_ranges > 0);
  lc_range *range = &batch->ranges[batch->n_ranges - 1];
  return (lc_cutter){.framing = framing,
                     .batch = batch,
                     .range = range,
                     .line = from,
                     .delta = (uint32_t)(range->end - range->begin) - from,
                     .n = batch->n_records,
                     .room = batch->n_records,
                     .range_index = (uint16_t)(batch->n_ranges - 1)};
}

/* False: the batch is full, or memory is short. */
static bool cutter_reserve(lc_cutter *cut) {
  uint32_t more = lc_batch_reserve_records(cut->batch, RESERVE);
  /* The batch does not know yet of the records written since it was last asked. */
  cut->room = cut->batch->n_records + more;
  return more > 0;
}

static void cutter_publish(lc_cutter *cut) {
  uint32_t added = cut->n - cut->batch->n_records;
  if (added == 0) return;
  if (cut->range->count == 0) cut->range->first = cut->batch->n_records;
  cut->range->count += added;
  cut->batch->tally.read += added;
  cut->batch->n_records = cut->n;
}

static bool cutter_has_room(lc_cutter *cut) {
  if (cut->n < cut->room) return true;
  cutter_publish(cut);
  return cutter_reserve(cut);
}

/* Writes the record of the line [cut->line, end); the next line begins at `next`. */
static inline void cutter_add(lc_cutter *cut, uint32_t end, uint32_t next) {
  uint32_t len = end - cut->line;
  uint16_t flags = 0;
  if (len > cut->framing->max_line) {
    cut->framing->truncated++;
    cut->framing->skipped += len - cut->framing->max_line;
    len = cut->framing->max_line;
    flags = LC_REC_TRUNCATED;
  }
  cut->batch->records[cut->n++] = (lc_record){
      .body = cut->line, .body_len = len, .flags = flags, .range = cut->range_index, .end = next + cut->delta};
  cut->line = next;
}

static uint32_t cutter_finish(lc_cutter *cut, uint32_t from) {
  cutter_publish(cut);
  uint32_t used = cut->line - from;
  cut->range->end += used;
  cut->batch->tally.read_bytes += used;
  return cut->line;
}

#ifdef __SSE2__
/* The bits of the newlines among 64 bytes. */
static inline uint64_t newlines(const char *at) {
  const __m128i line_end = _mm_set1_epi8('\n');
  uint64_t bits = 0;
  for (unsigned i = 0; i < 4; i++) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(at + 16 * i));
    bits |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, line_end)) << (16 * i);
  }
  return bits;
}

/* Reads up to 63 bytes behind `to`: LC_BATCH_PADDING is there for it. */
static bool cut_lines(lc_cutter *cut, uint32_t from, uint32_t to) {
  const char *data = cut->batch->base[0];
  for (uint32_t at = from; at < to; at += 64) {
    uint64_t bits = newlines(data + at);
    if (to - at < 64) bits &= (UINT64_C(1) << (to - at)) - 1;
    while (bits != 0) {
      uint32_t end = at + (uint32_t)__builtin_ctzll(bits);
      if (!cutter_has_room(cut)) return false;
      cutter_add(cut, end, end + 1);
      bits &= bits - 1;
    }
  }
  return true;
}
#else
static bool cut_lines(lc_cutter *cut, uint32_t from, uint32_t to) {
  const char *data = cut->batch->base[0];
  const char *end;
  for (; from < to && (end = memchr(data + from, '\n', to - from)) != NULL; from = cut->line) {
    if (!cutter_has_room(cut)) return false;
    uint32_t at = (uint32_t)(end - data);
    cutter_add(cut, at, at + 1);
  }
  return true;
}
#endif

/* Passes over the rest of a line that was cut. Returns whether its end was found. */
static bool skip_rest(lc_cutter *cut, uint32_t to) {
  const char *start = cut->batch->base[0] + cut->line;
  const char *end = memchr(start, '\n', to - cut->line);
  uint32_t next = end == NULL ? to : cut->line + (uint32_t)(end - start) + 1;
  cut->framing->skipped += next - cut->line - (end != NULL);
  cut->framing->skipping = end == NULL;
  cut->line = next;
  return end != NULL;
}

uint32_t lc_frame(lc_framing *framing, lc_batch *batch, uint32_t from, uint32_t to) {
  lc_cutter cut = cutter_start(framing, batch, from);
  bool whole = !(framing->skipping && from < to && !skip_rest(&cut, to));
  if (whole) whole = cut_lines(&cut, cut.line, to);
  if (whole && to - cut.line > framing->max_line && cutter_has_room(&cut)) {
    framing->skipping = true;
    cutter_add(&cut, to, to);
  }
  return cutter_finish(&cut, from);
}

bool lc_frame_rest(lc_framing *framing, lc_batch *batch, uint32_t from, uint32_t to, lc_frame_end end) {
  lc_cutter cut = cutter_start(framing, batch, from);
  if (!cutter_has_room(&cut)) return false;
  cutter_add(&cut, to, to + (end == LC_FRAME_NEWLINE));
  if (end == LC_FRAME_LONG) {
    lc_record *rec = &batch->records[cut.n - 1];
    if ((rec->flags & LC_REC_TRUNCATED) == 0) framing->truncated++;
    rec->flags |= LC_REC_TRUNCATED;
    framing->skipping = true;
  }
  (void)cutter_finish(&cut, from);
  return true;
}
