/* The engine runs pipelines: it opens their parts, moves batches, commits cursors, and stops.
 *
 *     lc_engine_create(&runtime, &engine, &error);
 *     lc_engine_add(engine, pipeline, &error);          // for each
 *     lc_engine_open(engine, &error);                   // prepares everything; may fail, may block
 *     lc_engine_start(engine, on_finished, arg);        // then uv_run
 *     lc_engine_stop(engine, 30 * LC_SECOND);           // from a signal or the control socket
 *     lc_engine_destroy(engine);                        // after the loop ended
 *
 * Thread: the loop thread. */
#ifndef LC_PIPELINE_ENGINE_H
#define LC_PIPELINE_ENGINE_H

#include "base/alert.h"
#include "base/buf.h"
#include "base/metrics.h"
#include "logcap/runtime.h"
#include "pipeline/pipeline.h"

typedef struct lc_engine lc_engine;

typedef struct lc_engine_result {
  bool failed;        /* a stage stopped its pipeline, or something stayed unread or unacked with `once` */
  uint32_t unread;    /* sources not read to their end (once) */
  uint64_t unacked;   /* records still in flight at the end */
  char message[480];  /* the first reason */
} lc_engine_result;

int lc_engine_create(lc_runtime *runtime, lc_engine **ret, lc_error *error) LC_CHECK;
/* Takes a reference. */
int lc_engine_add(lc_engine *engine, lc_pipeline *pipeline, lc_error *error) LC_CHECK;
/* On failure everything is asked to close again: run the loop until it ends, then destroy. */
int lc_engine_open(lc_engine *engine, lc_error *error) LC_CHECK;
/* `finished` is called once, when all is stopped, committed and closed: by lc_engine_stop, by the end of a `once` run,
 * or by a failure. The engine has no open handle on the loop then. */
void lc_engine_start(lc_engine *engine, void (*finished)(void *arg, const lc_engine_result *result), void *arg);
/* Stop reading, drain, flush, commit, close; what is not done at the deadline is let go and will be read again. A
 * second call stops at once. */
void lc_engine_stop(lc_engine *engine, int64_t within_ns);
/* It looks at everything in the next turn of the loop: somebody may have closed what a pipeline needs. */
void lc_engine_wake(lc_engine *engine);
void lc_engine_destroy(lc_engine *engine);

/* For tests, which drive the clock (lc_runtime.clock_ns): calls the stages' ticks, which no timer does then. */
void lc_engine_tick(lc_engine *engine);
/* Whether nothing is under way between monitors and sinks, but in pipelines that stopped. */
bool lc_engine_at_rest(const lc_engine *engine);
/* Why the first of the pipelines that stopped did so; NULL: none did. */
const char *lc_engine_failure(const lc_engine *engine);

/* JSON objects, appended to `ret`. audit: one entry per pipeline and sink with every term, `balanced` and `reasons`.
 * status: pipelines, monitors, sinks, resources and their figures. positions: sources with a cursor per sink. */
int lc_engine_audit(lc_engine *engine, lc_buf *ret, bool *ret_balanced);
int lc_engine_status(lc_engine *engine, lc_buf *ret);
int lc_engine_positions(lc_engine *engine, lc_buf *ret);

/* Adds what is wrong. A sink stalls when it has settled nothing for `stall_ns` while deliveries wait, as far as this
 * function, or the next, was called meanwhile. `now_ns` is monotonic. */
void lc_engine_health(lc_engine *engine, int64_t now_ns, int64_t stall_ns, lc_health *ret);
/* Figures of pipelines, their sinks, commits and dead letters. */
int lc_engine_metrics(lc_engine *engine, int64_t now_ns, lc_metrics *out) LC_CHECK;

#endif
