#include "pipeline/inspect.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "pipeline/inside.h"

/* --- finding --- */

static bool lives(const lc_pipeline *pipeline) { return pipeline->graph != NULL && !pipeline->leaving; }

static lc_pipeline *find_pipeline(const lc_engine *engine, const char *name, size_t len) {
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    lc_pipeline *pipeline = engine->pipelines[p];
    const char *own = pipeline->resource.name;
    if (lives(pipeline) && strlen(own) == len && memcmp(own, name, len) == 0) return pipeline;
  }
  return NULL;
}

/* Whether a stage is called so: by its name, or, when that is "function at /folder/file.lua:3", by its end. */
static bool is_called(const lc_stage *stage, const char *name, size_t len) {
  const char *own = stage->resource.name;
  size_t own_len = strlen(own);
  if (len == 0 || own_len < len || memcmp(own + own_len - len, name, len) != 0) return false;
  return own_len == len || own[own_len - len - 1] == ' ' || own[own_len - len - 1] == '/';
}

/* "shop:2": the sampler of a pipeline's second stage. */
static lc_sampler *find_indexed(const lc_engine *engine, const char *name) {
  const char *colon = strrchr(name, ':');
  const lc_pipeline *pipeline = find_pipeline(engine, name, strlen(name)); /* it may have a colon in its name */
  unsigned long index = 1;
  if (pipeline == NULL && colon != NULL && colon[1] >= '0' && colon[1] <= '9') {
    char *end = NULL;
    index = strtoul(colon + 1, &end, 10);
    if (*end == '\0') pipeline = find_pipeline(engine, name, (size_t)(colon - name));
  }
  if (pipeline == NULL || index < 1 || index > pipeline->graph->n_samplers) return NULL;
  return pipeline->graph->samplers[index - 1];
}

/* Appends what may be asked for, as far as there is room. */
static void list_stages(const lc_engine *engine, lc_buf *ret) {
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    const lc_pipeline *pipeline = engine->pipelines[p];
    if (!lives(pipeline)) continue;
    const char *name = pipeline->resource.name;
    if (pipeline->graph->n_stages == 0) lc_buf_addf(ret, "%s%s", ret->len > 0 ? ", " : "", name);
    for (uint32_t s = 0; s < pipeline->graph->n_stages; s++) {
      lc_buf_addf(ret, "%s%s:%u (%s)", ret->len > 0 ? ", " : "", name, s + 1,
                  pipeline->graph->stages[s]->resource.name);
    }
  }
}

lc_sampler *lc_engine_find_sampler(lc_engine *engine, const char *name, lc_error *error) {
  lc_sampler *found = NULL;
  lc_buf list = {0};
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    const lc_pipeline *pipeline = engine->pipelines[p];
    for (uint32_t s = 0; lives(pipeline) && s < pipeline->graph->n_stages; s++) {
      if (!is_called(pipeline->graph->stages[s], name, strlen(name))) continue;
      if (found != NULL) {
        (void)lc_error_set(error, LC_EINVAL,
                           "several stages are called \"%.100s\"; name one by its pipeline, as in %.100s:%u", name,
                           pipeline->resource.name, s + 1);
        return NULL;
      }
      found = pipeline->graph->samplers[s];
    }
  }
  if (found == NULL) found = find_indexed(engine, name);
  if (found != NULL) return found;
  list_stages(engine, &list);
  (void)lc_error_set(error, LC_ENOENT, "no stage is called \"%.100s\"; there are %s", name, lc_buf_cstr(&list));
  lc_buf_free(&list);
  return NULL;
}

/* --- pausing --- */

static void flush_sinks(const lc_pipeline *pipeline) {
  for (uint32_t e = 0; e < pipeline->n_edges; e++) {
    lc_sink *sink = pipeline->edges[e] != NULL ? pipeline->edges[e]->sink : NULL;
    if (sink != NULL && sink->ops->flush != NULL) sink->ops->flush(sink);
  }
}

int lc_engine_pause(lc_engine *engine, const char *name, bool paused, lc_error *error) {
  lc_pipeline *pipeline = find_pipeline(engine, name, strlen(name));
  if (pipeline == NULL) return lc_error_set(error, LC_ENOENT, "no pipeline is called \"%.200s\"", name);
  if (engine->runtime->once) {
    return lc_error_set(error, LC_EINVAL, "a run with --once cannot be paused: it would never end");
  }
  if (pipeline->paused == paused) return 0;
  pipeline->paused = paused;
  lc_log(LC_LOG_INFO, "pipeline", paused ? "paused" : "resumed", LC_S("pipeline", pipeline->resource.name));
  if (paused) flush_sinks(pipeline);
  else pipeline->room = true;
  lc_engine_wake(engine);
  return 0;
}

/* --- parts --- */

typedef void each_part(void *arg, const char *pipeline, uint32_t index, lc_resource *part);

/* Of former generations, whose batches are still under way. */
static void each_former_stage(const lc_pipeline *pipeline, each_part *each, void *arg) {
  const lc_graph *last = pipeline->graph;
  for (const lc_batch *batch = pipeline->first; batch != NULL; batch = batch->next) {
    if (batch->graph == last) continue;
    last = batch->graph;
    for (uint32_t i = 0; i < last->n_stages; i++) each(arg, pipeline->resource.name, 0, &last->stages[i]->resource);
  }
}

void lc_engine_each_part(lc_engine *engine, each_part *each, void *arg) {
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    lc_pipeline *pipeline = engine->pipelines[p];
    const char *name = pipeline->resource.name;
    each(arg, name, 0, &pipeline->resource);
    for (uint32_t i = 0; i < pipeline->n_feeds; i++) each(arg, name, 0, &pipeline->feeds[i]->monitor->resource);
    for (uint32_t i = 0; pipeline->graph != NULL && i < pipeline->graph->n_stages; i++) {
      each(arg, name, i + 1, &pipeline->graph->stages[i]->resource);
    }
    each_former_stage(pipeline, each, arg);
    for (uint32_t i = 0; i < pipeline->n_edges; i++) {
      if (pipeline->edges[i] != NULL) each(arg, name, 0, &pipeline->edges[i]->sink->resource);
    }
  }
  for (uint32_t i = 0; i < engine->n_closing; i++) each(arg, "", 0, engine->closing[i]);
}
