/* Cuts blocks of bytes into lines.
 *
 *     framing = (lc_framing){.max_line = 262144};
 *     used = lc_frame(&framing, batch, from, to);        // bytes [from, to) of the data block
 *     if (ended && used < to) lc_frame_rest(&framing, batch, used, to, LC_FRAME_ENDED);
 *
 * A line ends with '\n', which is not part of it; every other byte is (carriage returns, NUL, invalid UTF-8), and a
 * blank line is an empty record. A line longer than max_line is cut and marked LC_REC_TRUNCATED, its rest is skipped up
 * to the next line end, however far that is: `skipping` carries this from block to block, and through a restart in the
 * mark.
 *
 * The bytes belong to the batch's last range, whose `end` stands for `from` and moves with what is used. Positions are
 * counted in bytes. The batch's tally counts the records and the used bytes.
 *
 * Thread: whoever holds the batch. */
#ifndef LC_RECORD_FRAMING_H
#define LC_RECORD_FRAMING_H

#include "logcap/record.h"

typedef struct lc_framing {
  uint32_t max_line;  /* the most bytes of a line, at least 1, at most the data block */
  bool skipping;      /* the next bytes are the rest of a line that was cut */
  uint64_t truncated; /* lines cut so far */
  uint64_t skipped;   /* bytes skipped so far */
} lc_framing;

/* Cuts [from, to) into records. Returns where it stopped: `to`, or the start of an unfinished line of at most max_line
 * bytes, or earlier when the batch can hold no more records (see lc_frame_full) or memory is short. */
uint32_t lc_frame(lc_framing *framing, lc_batch *batch, uint32_t from, uint32_t to);

/* Whether the batch can take another record. */
static inline bool lc_frame_full(const lc_batch *batch) { return batch->n_records >= LC_BATCH_RECORDS_MAX; }

/* What is known of an unfinished line. */
typedef enum lc_frame_end {
  LC_FRAME_ENDED,   /* the source ended behind it */
  LC_FRAME_NEWLINE, /* its line end is the next byte of the source, which counts as used */
  LC_FRAME_LONG     /* it goes on beyond what a batch can hold: cut it, skip the rest */
} lc_frame_end;

/* Makes a record of the unfinished line [from, to). Returns false when there is no room for a record. */
bool lc_frame_rest(lc_framing *framing, lc_batch *batch, uint32_t from, uint32_t to, lc_frame_end end);

#endif
