/* Reload: described pipelines take the place of those that run, between two batches.
 *
 *     rc = lc_reload_prepare(engine, pipelines, n, &reload, &error); // opens what is new; may fail
 *     if (rc == LC_EAGAIN) ...                                       // something of that name still drains: wait
 *     live = lc_reload_live(reload, described);                        // what a handle should refer to
 *     lc_reload_commit(reload);                                        // cannot fail
 *
 * Pipelines are the same when they have the same name, resources when they have the same kind and identity. A resource
 * that fits is adopted: the live object stays, with its files, offsets, queues and entries. What no pipeline names any
 * more drains in the background (leave.c).
 *
 * A monitor whose successor is another object, or feeds another pipeline, ends first: all that it read is delivered and
 * saved before the successor resumes there. A sink that comes new into a pipeline gets what is read from now on.
 *
 * Thread: the loop thread, outside of the engine's own calls. Between prepare and commit or cancel the loop may not
 * turn. */
#ifndef LC_PIPELINE_RELOAD_H
#define LC_PIPELINE_RELOAD_H

#include "pipeline/engine.h"

typedef struct lc_reload lc_reload;

/* LC_EAGAIN: nothing is wrong, but a pipeline or sink of the same identity is still closing. On failure whatever was
 * opened closes again by itself, and the engine goes on as before. */
int lc_reload_prepare(lc_engine *engine, lc_pipeline *const *described, uint32_t n, lc_reload **ret, lc_error *error)
    LC_CHECK;
/* The live resource that takes the place of a described one, borrowed; itself when it is new. */
lc_resource *lc_reload_live(const lc_reload *reload, lc_resource *described);
/* The same for the `index`-th pipeline. */
lc_pipeline *lc_reload_live_pipeline(const lc_reload *reload, uint32_t index);
void lc_reload_commit(lc_reload *reload); /* frees it */
void lc_reload_cancel(lc_reload *reload); /* frees it; NULL is allowed */

#endif
