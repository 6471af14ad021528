/* A pipeline: monitors, stages and sinks joined under a name. This header is how one is described;
 * src/pipeline/engine.h runs them.
 *
 * Thread: the loop thread. */
#ifndef LC_PIPELINE_PIPELINE_H
#define LC_PIPELINE_PIPELINE_H

#include "logcap/monitor.h"
#include "logcap/sink.h"
#include "logcap/stage.h"

#define LC_PIPELINE_MEMORY_DEFAULT (UINT64_C(16) << 20)
#define LC_PIPELINE_MEMORY_LEAST (UINT64_C(2) << 20)

typedef struct lc_pipeline_options {
  const char *name;
  const char *made_at; /* "pipeline.lua:12" */
  lc_monitor **monitors;
  uint32_t n_monitors;
  lc_stage **stages;
  uint32_t n_stages;
  lc_sink **sinks;
  uint32_t n_sinks;
  uint64_t memory; /* bytes of batches in flight; 0: LC_PIPELINE_MEMORY_DEFAULT */
} lc_pipeline_options;

typedef struct lc_pipeline lc_pipeline;

/* Describes a pipeline; holds a reference to each of its parts. LC_EINVAL when a monitor already feeds another one. */
int lc_pipeline_create(const lc_pipeline_options *options, lc_registry *registry, lc_pipeline **ret, lc_error *error)
    LC_CHECK;
void lc_pipeline_retain(lc_pipeline *pipeline);
void lc_pipeline_release(lc_pipeline *pipeline);
bool lc_pipeline_failed(const lc_pipeline *pipeline); /* a stage stopped it */

#endif
