/* What an operator looks at in a running engine, and what he may hold: samples of stages, parts, pauses.
 *
 *     lc_sampler *sampler = lc_engine_find_sampler(engine, "shop:2", &error);
 *     lc_samples *samples = lc_sampler_copy(sampler, 10);
 *
 * Thread: the loop thread. */
#ifndef LC_PIPELINE_INSPECT_H
#define LC_PIPELINE_INSPECT_H

#include "pipeline/engine.h"
#include "pipeline/sampler.h"

/* The sampler of the stage that is called `name`: the stage's own name, which for a function may be its FILE:LINE; or
 * PIPELINE:INDEX, counted from 1; or PIPELINE, which is its first stage. NULL, with an error that says what there is,
 * when there is none, or more than one of that name. Borrowed: until the loop goes on. */
lc_sampler *lc_engine_find_sampler(lc_engine *engine, const char *name, lc_error *error);

/* Stops a pipeline's reading, or lets it go on. What was read before goes its way; sources are still discovered. */
int lc_engine_pause(lc_engine *engine, const char *pipeline, bool paused, lc_error *error) LC_CHECK;

/* Calls `each` for every pipeline and its parts: monitors, stages, sinks; what stands in several comes several times. A
 * stage of the newest generation comes with its index, others with 0. */
void lc_engine_each_part(lc_engine *engine,
                         void (*each)(void *arg, const char *pipeline, uint32_t index, lc_resource *part), void *arg);

#endif
