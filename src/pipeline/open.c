/* Opening: what may fail, before anything runs, and again when a reload brings something new. */
#include <stdlib.h>

#include "base/log.h"
#include "pipeline/inside.h"

void lc_engine_note_sink(lc_engine *engine, lc_sink *sink) {
  uint32_t i = 0;
  while (i < engine->n_sinks && engine->sinks[i] != sink) i++;
  if (i == engine->n_sinks) engine->sinks[engine->n_sinks++] = sink;
}

static int collect_sinks(lc_engine *engine, lc_error *error) {
  uint32_t most = 0;
  for (uint32_t p = 0; p < engine->n_pipelines; p++) most += engine->pipelines[p]->n_edges;
  engine->sinks = calloc(most + 1u, sizeof(lc_sink *));
  if (engine->sinks == NULL) return lc_error_set(error, LC_ENOMEM, "out of memory");
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    for (uint32_t e = 0; e < engine->pipelines[p]->n_edges; e++) {
      lc_engine_note_sink(engine, engine->pipelines[p]->edges[e]->sink);
    }
  }
  return 0;
}

int lc_engine_opened(lc_resource *res, lc_error *error) {
  return lc_resource_state_of(res) == LC_RES_DESCRIBED ? lc_resource_opened(res, error) : 0;
}

int lc_engine_open_feed(lc_engine *engine, lc_feed *feed, lc_error *error) {
  lc_runtime *runtime = engine->runtime;
  lc_monitor *monitor = feed->monitor;
  int rc = lc_store_resource_id(runtime->store, monitor->resource.identity, &feed->monitor_id, error);
  if (rc == 0 && feed->after == NULL) rc = lc_feed_load(feed, runtime->store, error);
  if (rc == 0) rc = monitor->ops->open(monitor, runtime, feed, error);
  if (rc == 0) rc = lc_engine_opened(&monitor->resource, error);
  return rc;
}

static bool feeds_sink(const lc_pipeline *pipeline, const lc_sink *sink) {
  for (uint32_t e = 0; e < pipeline->n_edges; e++) {
    if (pipeline->edges[e] != NULL && pipeline->edges[e]->sink == sink) return true;
  }
  return false;
}

/* Whether every source of its monitors that this sink may have beyond its cursor is there to be read again. */
static bool replayable(const lc_engine *engine, const lc_sink *sink) {
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    lc_pipeline *pipeline = engine->pipelines[p];
    for (uint32_t f = 0; feeds_sink(pipeline, sink) && f < pipeline->n_feeds; f++) {
      if (!lc_feed_replayable(pipeline->feeds[f], sink->store_id)) return false;
    }
  }
  return true;
}

/* Sources that this sink may have beyond its cursor, and that nothing will read again: their monitor feeds it no more,
 * since somebody changed the pipeline files. */
typedef struct orphans {
  const lc_engine *engine;
  const lc_sink *sink;
  uint64_t seen;
  lc_changes changes; /* their cursors, IDLE */
} orphans;

static int note_orphan(void *arg, uint64_t source_id, uint32_t monitor_id, const char *name,
                       const lc_stored_cursor *cursor) {
  orphans *self = arg;
  self->seen++;
  if (self->engine->phase != LC_ENGINE_OPEN) return 0;
  for (uint32_t p = 0; p < self->engine->n_pipelines; p++) {
    const lc_pipeline *pipeline = self->engine->pipelines[p];
    for (uint32_t f = 0; feeds_sink(pipeline, self->sink) && f < pipeline->n_feeds; f++) {
      if (pipeline->feeds[f]->monitor_id == monitor_id) return 0;
    }
  }
  lc_log(LC_LOG_WARN, "engine",
         "a source is not read any more, though it was not finished: its monitor is gone from the pipeline files",
         LC_S("source", name), LC_S("sink", self->sink->resource.name));
  lc_stored_cursor idle = *cursor;
  idle.state = LC_CURSOR_IDLE;
  return lc_changes_cursor(&self->changes, source_id, self->sink->store_id, &idle);
}

int lc_engine_open_sink(lc_engine *engine, lc_sink *sink, lc_error *error) {
  lc_store *store = engine->runtime->store;
  orphans left = {.engine = engine, .sink = sink};
  sink->engine = engine;
  int rc = lc_store_each_active(store, sink->store_id, note_orphan, &left, error);
  /* Once monitors read, they cannot tell any more: only a sink with nothing beyond its cursors is sure then. */
  sink->replayable = engine->phase == LC_ENGINE_OPEN ? left.changes.n == 0 && replayable(engine, sink) : left.seen == 0;
  if (rc == 0) rc = sink->ops->open(sink, engine->runtime, error);
  if (rc == 0) rc = lc_engine_opened(&sink->resource, error);
  /* What the sink has of them it has kept by now: from here on they stand in nobody's way. */
  if (rc == 0 && left.changes.n > 0) rc = lc_store_apply(store, &left.changes, LC_STORE_NORMAL, error);
  lc_changes_free(&left.changes);
  return rc;
}

static int open_sinks(lc_engine *engine, lc_error *error) {
  int rc = 0;
  for (uint32_t i = 0; i < engine->n_sinks && rc == 0; i++) rc = lc_engine_open_sink(engine, engine->sinks[i], error);
  return rc;
}

int lc_engine_open_pipeline(lc_pipeline *pipeline, lc_error *error) {
  lc_graph *graph = pipeline->graph;
  int rc = lc_pipeline_open(pipeline, error);
  for (uint32_t i = 0; i < graph->n_stages && rc == 0; i++) rc = lc_engine_opened(&graph->stages[i]->resource, error);
  for (uint32_t i = 0; i < pipeline->n_feeds && rc == 0; i++) {
    rc = lc_engine_open_feed(pipeline->engine, pipeline->feeds[i], error);
  }
  if (rc == 0) rc = lc_engine_opened(&pipeline->resource, error);
  return rc;
}

static void init_handles(lc_engine *engine) {
  uv_loop_t *loop = engine->runtime->loop;
  uv_idle_init(loop, &engine->idle);
  uv_timer_init(loop, &engine->commit_timer);
  uv_timer_init(loop, &engine->deadline_timer);
  uv_timer_init(loop, &engine->tick_timer);
  uv_timer_init(loop, &engine->dead_timer);
  uv_timer_init(loop, &engine->reap_timer);
  engine->idle.data = engine->commit_timer.data = engine->deadline_timer.data = engine;
  engine->tick_timer.data = engine->dead_timer.data = engine->reap_timer.data = engine;
  engine->open_handles = 6;
}

int lc_engine_open(lc_engine *engine, lc_error *error) {
  lc_runtime *runtime = engine->runtime;
  init_handles(engine); /* these cannot fail */
  engine->phase = LC_ENGINE_OPEN;
  int rc = lc_dlq_open(runtime->state_dir, NULL, runtime->own, &engine->dlq, error);
  if (rc == 0) rc = collect_sinks(engine, error);
  for (uint32_t i = 0; i < engine->n_sinks && rc == 0; i++) {
    lc_sink *sink = engine->sinks[i];
    rc = lc_store_resource_id(runtime->store, sink->resource.identity, &sink->store_id, error);
  }
  for (uint32_t p = 0; p < engine->n_pipelines && rc == 0; p++) {
    rc = lc_engine_open_pipeline(engine->pipelines[p], error);
    if (rc != 0) lc_error_context(error, "pipeline %s", engine->pipelines[p]->resource.name);
  }
  if (rc == 0) rc = open_sinks(engine, error);
  if (rc != 0) lc_engine_close_parts(engine);
  return rc;
}
