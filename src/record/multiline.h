/* Joins lines into groups: a stack trace becomes one record.
 *
 *     lc_multiline_create(&(lc_multiline_options){.start = "^\\d{4}-"}, &multiline, &error);
 *     lc_multiline_match_init(multiline, &match);                      // one per job
 *     open = lc_multiline_join(multiline, &match, batch, first, flush);  // after framing
 *
 * A group is contiguous in its source, so a joined record is one slice from its first line to its last, inner line ends
 * included. Nothing is copied. An open group pins nothing: its lines are taken out of the batch again, and its source
 * is read from the group's start the next time.
 *
 * Thread: create and destroy on the loop thread; join on any, with a match of its own. */
#ifndef LC_RECORD_MULTILINE_H
#define LC_RECORD_MULTILINE_H

#include "logcap/record.h"

#define LC_MULTILINE_LINES_DEFAULT 1000u
#define LC_MULTILINE_LINES_MOST 10000u
#define LC_MULTILINE_BYTES_DEFAULT (UINT64_C(256) << 10)
#define LC_MULTILINE_TIMEOUT_DEFAULT (INT64_C(5) * 1000000000)

/* Zeroes mean the defaults. Exactly one of the patterns, or none: then nothing is joined. */
typedef struct lc_multiline_options {
  const char *start;        /* PCRE2: a line that matches starts a group */
  const char *continuation; /* PCRE2: a line that matches belongs to the group before it */
  bool negate;              /* the pattern means the lines that do not match */
  uint32_t max_lines;       /* a group is closed at so many lines. Default: 1,000, at most 10,000 */
  uint64_t max_bytes;       /* and before it grows beyond so many bytes. Default: 256 KiB, also the most */
  int64_t timeout_ns;       /* an open group is closed after so long without a new line. Default: 5 s */
} lc_multiline_options;

typedef struct lc_multiline lc_multiline;

/* LC_EINVAL when a pattern does not compile (the message says where), or both are given. */
int lc_multiline_create(const lc_multiline_options *options, lc_multiline **ret, lc_error *error) LC_CHECK;
void lc_multiline_destroy(lc_multiline *multiline); /* NULL is allowed */
/* Whether both join in the same way. NULL joins nothing. */
bool lc_multiline_same(const lc_multiline *a, const lc_multiline *b);
int64_t lc_multiline_timeout(const lc_multiline *multiline);

/* What one thread needs to match. */
typedef struct lc_multiline_match {
  void *data, *context; /* owned */
  uint64_t failed;      /* lines on which the pattern gave up at its limits; they count as not matching */
} lc_multiline_match;
int lc_multiline_match_init(const lc_multiline *multiline, lc_multiline_match *match) LC_CHECK;
void lc_multiline_match_deinit(lc_multiline_match *match);

/* Joins the lines in batch->records[first ..), all of the last range, in place; each was framed and counted on its own
 * before. `begin` is the position of the first line, relative to the range's begin. With `flush` the last group is
 * closed too. Otherwise it is taken out again (of the records, the range and the tally), and range->end is set back to
 * its start. `full`: no more can be read into this batch; then a group that starts with the first record is closed
 * although it may go on. Returns the number of bytes taken back, 0: none. */
uint32_t lc_multiline_join(const lc_multiline *multiline, lc_multiline_match *match, lc_batch *batch, uint32_t first,
                           uint32_t begin, bool flush, bool full);

#endif
