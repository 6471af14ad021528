/* The sampler of a stage: a few records now and then, as they were before the stage and after it, for an operator who
 * looks into a running pipeline.
 *
 *     lc_samples *samples = lc_sampler_begin(sampler, batch, now_ns);    // mostly NULL: not yet time
 *     ... the stage works on the batch ...
 *     lc_sampler_end(sampler, samples, batch);                           // takes them over; NULL is fine
 *
 * At most every LC_SAMPLER_EVERY_NS some records are copied, so that it costs nothing that could be measured; the last
 * LC_SAMPLER_KEPT are kept. Nothing of a batch is changed, held or counted.
 *
 * Thread: any; a stage in the pool works on several batches at once. */
#ifndef LC_PIPELINE_SAMPLER_H
#define LC_PIPELINE_SAMPLER_H

#include "base/buf.h"
#include "logcap/record.h"

#define LC_SAMPLER_EVERY_NS INT64_C(100000000)
#define LC_SAMPLER_RECORDS 8u  /* of one batch */
#define LC_SAMPLER_KEPT 64u
#define LC_SAMPLER_TEXT 4096u /* bytes of a record's JSON that are kept */

typedef enum lc_sample_fate { LC_SAMPLE_KEPT, LC_SAMPLE_DROPPED, LC_SAMPLE_DEAD } lc_sample_fate;

typedef struct lc_sample {
  int64_t taken_ns, time_ns; /* wall clock; the record's own time */
  char *source;              /* owned; NULL: it has none */
  lc_buf before, after;      /* owned; JSON. After: of a dead record the reason, of a dropped one its name */
  bool before_cut, after_cut; /* the text is longer than was kept */
  lc_sample_fate fate;
  uint32_t record;           /* its index in the batch */
} lc_sample;

typedef struct lc_samples {
  uint32_t n;
  lc_sample items[]; /* owned */
} lc_samples;

typedef struct lc_sampler lc_sampler;

lc_sampler *lc_sampler_create(void); /* NULL: out of memory */
void lc_sampler_destroy(lc_sampler *sampler); /* NULL is allowed */

/* NULL when it is not time, when no record is live, and without memory. */
lc_samples *lc_sampler_begin(lc_sampler *sampler, const lc_batch *batch, int64_t now_ns);
void lc_sampler_end(lc_sampler *sampler, lc_samples *samples, const lc_batch *batch);
/* Forgets what was begun: the batch goes no further. NULL is allowed. */
void lc_samples_destroy(lc_samples *samples);

/* The newest `n` at the most, oldest first; to be destroyed. NULL: out of memory. */
lc_samples *lc_sampler_copy(lc_sampler *sampler, uint32_t n);

#endif
