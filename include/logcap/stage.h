/* A stage: one step on a batch.
 *
 * A stage looks at the live records in [*at, to), changes, drops, refuses or (LC_STAGE_MEMORY) holds and creates them.
 * Time is a parameter.
 *
 * Thread: a stage with LC_STAGE_STATELESS runs on any pool thread, on several batches at once, and its struct is
 * read-only after creation (counters are atomic). All others run on the loop thread. */
#ifndef LOGCAP_STAGE_H
#define LOGCAP_STAGE_H

#include "logcap/record.h"
#include "logcap/resource.h"

typedef struct lc_stage lc_stage;

typedef enum lc_on_error { LC_ON_ERROR_DLQ, LC_ON_ERROR_PASS, LC_ON_ERROR_DROP, LC_ON_ERROR_STOP } lc_on_error;

#define LC_STAGE_STATELESS 0x1u /* process may run in the pool */

typedef struct lc_stage_ops {
  unsigned flags; /* LC_STAGE_* */
  /* Works on live records from *at up to `to` and moves *at. `now_ns` is the wall clock. Returns 0 when *at == to,
   * LC_EAGAIN when it wants the loop to breathe before it goes on from *at, another error to stop the pipeline. */
  int (*process)(lc_stage *stage, lc_batch *batch, uint32_t *at, uint32_t to, int64_t now_ns, lc_error *error);
  /* Optional. Called about once a second on the loop thread. */
  void (*tick)(lc_stage *stage, int64_t now_ns);
  /* Optional. Appends the state to be saved to `ret` / reads it back. For stages with memory. */
  int (*save)(lc_stage *stage, struct lc_buf *ret, lc_error *error);
  int (*load)(lc_stage *stage, const void *bytes, size_t len, lc_error *error);
} lc_stage_ops;

struct lc_stage {
  lc_resource resource; /* first: a stage is a resource */
  const lc_stage_ops *ops;
  lc_on_error on_error;
};

/* Applies the stage's on_error to a live record: dead-letters it, keeps it marked LC_REC_UNPARSED, or drops it. Returns
 * 0, or LC_ECANCELED with `error` filled when on_error is "stop", or LC_ENOMEM. Any thread that holds the batch. */
int lc_stage_refuse(lc_stage *stage, lc_batch *batch, lc_record *rec, const char *reason, lc_error *error) LC_CHECK;

#endif
