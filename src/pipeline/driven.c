/* What tests ask of an engine that they drive. */
#include "pipeline/inside.h"

bool lc_pipeline_failed(const lc_pipeline *pipeline) { return pipeline->failed; }

bool lc_engine_at_rest(const lc_engine *engine) {
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    const lc_pipeline *pipeline = engine->pipelines[p];
    if (!pipeline->failed && !lc_pipeline_at_rest(pipeline)) return false;
  }
  return !engine->dead_running;
}

const char *lc_engine_failure(const lc_engine *engine) {
  return engine->result.failed ? engine->result.message : NULL;
}
