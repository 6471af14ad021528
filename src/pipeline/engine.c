#include "pipeline/engine.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/registry.h"
#include "pipeline/inside.h"

#define TICK_MS 1000u
#define CLOSE_POLL_MS 2u
#define COMMIT_TRIES 3u /* of the last commit, when no deadline bounds it */
#define PATIENCE_MS 30000u

static void close_parts(lc_engine *engine);
static void begin_stop(lc_engine *engine);
static void force(lc_engine *engine);

/* --- opening --- */

int lc_engine_create(lc_runtime *runtime, lc_engine **ret, lc_error *error) {
  lc_engine *engine = calloc(1, sizeof *engine);
  if (engine == NULL) return lc_error_set(error, LC_ENOMEM, "out of memory");
  engine->runtime = runtime;
  *ret = engine;
  return 0;
}

int lc_engine_add(lc_engine *engine, lc_pipeline *pipeline, lc_error *error) {
  lc_pipeline **grown = realloc(engine->pipelines, (engine->n_pipelines + 1) * sizeof(lc_pipeline *));
  if (grown == NULL) return lc_error_set(error, LC_ENOMEM, "out of memory");
  engine->pipelines = grown;
  grown[engine->n_pipelines++] = pipeline;
  pipeline->engine = engine;
  lc_resource_retain(&pipeline->resource);
  return 0;
}

static int collect_sinks(lc_engine *engine, lc_error *error) {
  uint32_t most = 0;
  for (uint32_t p = 0; p < engine->n_pipelines; p++) most += engine->pipelines[p]->n_edges;
  engine->sinks = calloc(most + 1u, sizeof(lc_sink *));
  if (engine->sinks == NULL) return lc_error_set(error, LC_ENOMEM, "out of memory");
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    for (uint32_t e = 0; e < engine->pipelines[p]->n_edges; e++) {
      lc_sink *sink = engine->pipelines[p]->edges[e].sink;
      uint32_t i = 0;
      while (i < engine->n_sinks && engine->sinks[i] != sink) i++;
      if (i == engine->n_sinks) engine->sinks[engine->n_sinks++] = sink;
    }
  }
  return 0;
}

static int opened(lc_resource *res, lc_error *error) {
  return lc_resource_state_of(res) == LC_RES_DESCRIBED ? lc_resource_opened(res, error) : 0;
}

static int open_feed(lc_feed *feed, lc_runtime *runtime, lc_error *error) {
  lc_monitor *monitor = feed->monitor;
  int rc = lc_store_resource_id(runtime->store, monitor->resource.identity, &feed->monitor_id, error);
  if (rc == 0) rc = lc_feed_load(feed, runtime->store, error);
  if (rc == 0) rc = monitor->ops->open(monitor, runtime, feed, error);
  if (rc == 0) rc = opened(&monitor->resource, error);
  return rc;
}

static bool feeds_sink(const lc_pipeline *pipeline, const lc_sink *sink) {
  for (uint32_t e = 0; e < pipeline->n_edges; e++) {
    if (pipeline->edges[e].sink == sink) return true;
  }
  return false;
}

/* Whether every source of its monitors that this sink may have beyond its cursor is there to be read again. */
static bool replayable(const lc_engine *engine, const lc_sink *sink) {
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    lc_pipeline *pipeline = engine->pipelines[p];
    for (uint32_t f = 0; feeds_sink(pipeline, sink) && f < pipeline->n_feeds; f++) {
      if (!lc_feed_replayable(&pipeline->feeds[f], sink->store_id)) return false;
    }
  }
  return true;
}

/* Sources that this sink may have beyond its cursor, and that nothing will read again: their monitor feeds it no more,
 * since somebody changed the pipeline files. */
typedef struct orphans {
  const lc_engine *engine;
  const lc_sink *sink;
  lc_changes changes; /* their cursors, IDLE */
} orphans;

static int note_orphan(void *arg, uint64_t source_id, uint32_t monitor_id, const char *name,
                       const lc_stored_cursor *cursor) {
  orphans *self = arg;
  for (uint32_t p = 0; p < self->engine->n_pipelines; p++) {
    const lc_pipeline *pipeline = self->engine->pipelines[p];
    for (uint32_t f = 0; feeds_sink(pipeline, self->sink) && f < pipeline->n_feeds; f++) {
      if (pipeline->feeds[f].monitor_id == monitor_id) return 0;
    }
  }
  lc_log(LC_LOG_WARN, "engine",
         "a source is not read any more, though it was not finished: its monitor is gone from the pipeline files",
         LC_S("source", name), LC_S("sink", self->sink->resource.name));
  lc_stored_cursor idle = *cursor;
  idle.state = LC_CURSOR_IDLE;
  return lc_changes_cursor(&self->changes, source_id, self->sink->store_id, &idle);
}

static int open_sink(lc_engine *engine, lc_sink *sink, lc_error *error) {
  lc_store *store = engine->runtime->store;
  orphans left = {.engine = engine, .sink = sink};
  int rc = lc_store_each_active(store, sink->store_id, note_orphan, &left, error);
  sink->replayable = left.changes.n == 0 && replayable(engine, sink);
  if (rc == 0) rc = sink->ops->open(sink, engine->runtime, error);
  if (rc == 0) rc = opened(&sink->resource, error);
  /* What the sink has of them it has kept by now: from here on they stand in nobody's way. */
  if (rc == 0 && left.changes.n > 0) rc = lc_store_apply(store, &left.changes, LC_STORE_NORMAL, error);
  lc_changes_free(&left.changes);
  return rc;
}

static int open_sinks(lc_engine *engine, lc_error *error) {
  int rc = 0;
  for (uint32_t i = 0; i < engine->n_sinks && rc == 0; i++) rc = open_sink(engine, engine->sinks[i], error);
  return rc;
}

static int open_pipeline(lc_pipeline *pipeline, lc_error *error) {
  int rc = lc_pipeline_open(pipeline, error);
  for (uint32_t i = 0; i < pipeline->n_stages && rc == 0; i++) rc = opened(&pipeline->stages[i]->resource, error);
  for (uint32_t i = 0; i < pipeline->n_feeds && rc == 0; i++) {
    rc = open_feed(&pipeline->feeds[i], pipeline->engine->runtime, error);
  }
  if (rc == 0) rc = opened(&pipeline->resource, error);
  return rc;
}

static void init_handles(lc_engine *engine) {
  uv_loop_t *loop = engine->runtime->loop;
  uv_idle_init(loop, &engine->idle);
  uv_timer_init(loop, &engine->commit_timer);
  uv_timer_init(loop, &engine->deadline_timer);
  uv_timer_init(loop, &engine->tick_timer);
  uv_timer_init(loop, &engine->dead_timer);
  engine->idle.data = engine->commit_timer.data = engine->deadline_timer.data = engine;
  engine->tick_timer.data = engine->dead_timer.data = engine;
  engine->open_handles = 5;
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
    rc = open_pipeline(engine->pipelines[p], error);
    if (rc != 0) lc_error_context(error, "pipeline %s", engine->pipelines[p]->resource.name);
  }
  if (rc == 0) rc = open_sinks(engine, error);
  if (rc != 0) close_parts(engine);
  return rc;
}

/* --- running --- */

static void on_idle(uv_idle_t *idle);

void lc_engine_wake(lc_engine *engine) {
  if (engine->phase >= LC_ENGINE_OPEN && engine->phase < LC_ENGINE_DONE &&
      !uv_is_closing((uv_handle_t *)&engine->idle)) {
    uv_idle_start(&engine->idle, on_idle);
  }
}

static void on_tick(uv_timer_t *timer) {
  lc_engine *engine = timer->data;
  int64_t now_ns = lc_clock_wall();
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    lc_pipeline *pipeline = engine->pipelines[p];
    for (uint32_t i = 0; i < pipeline->n_stages; i++) {
      lc_stage *stage = pipeline->stages[i];
      if (stage->ops->tick != NULL) stage->ops->tick(stage, now_ns);
    }
  }
}

static bool any_ticks(const lc_engine *engine) {
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    const lc_pipeline *pipeline = engine->pipelines[p];
    for (uint32_t i = 0; i < pipeline->n_stages; i++) {
      if (pipeline->stages[i]->ops->tick != NULL) return true;
    }
  }
  return false;
}

static uint64_t settled_so_far(const lc_engine *engine) {
  uint64_t n = 0;
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    for (uint32_t e = 0; e < engine->pipelines[p]->n_edges; e++) {
      const lc_ledger *total = &engine->pipelines[p]->edges[e].total;
      n += total->delivered + total->dead_lettered + total->dropped[LC_DROP_FULL];
    }
  }
  return n;
}

/* The first sink that holds something it does not settle; NULL: none, or dead letters that cannot be written. */
static const lc_edge *stalled_edge(const lc_engine *engine) {
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    for (uint32_t e = 0; e < engine->pipelines[p]->n_edges; e++) {
      if (engine->pipelines[p]->edges[e].in_flight > 0) return &engine->pipelines[p]->edges[e];
    }
  }
  return NULL;
}

/* A `once` run has nobody who waits for the disk to have room again. */
static void on_once_check(uv_timer_t *timer) {
  lc_engine *engine = timer->data;
  uint64_t settled = settled_so_far(engine);
  const lc_edge *edge = stalled_edge(engine);
  bool stalls = settled == engine->once_settled && (edge != NULL || engine->dead_failed);
  engine->once_settled = settled;
  if (!stalls) return;
  snprintf(engine->result.message, sizeof engine->result.message, "%s %s took nothing for a long time",
           edge != NULL ? "sink" : "the dead-letter queue of", edge != NULL ? edge->sink->resource.name : "logcap");
  engine->result.failed = true;
  uv_timer_stop(timer);
  if (engine->phase == LC_ENGINE_RUNS) begin_stop(engine);
  force(engine);
}

void lc_engine_start(lc_engine *engine, void (*finished)(void *arg, const lc_engine_result *result), void *arg) {
  engine->finished = finished;
  engine->arg = arg;
  engine->phase = LC_ENGINE_RUNS;
  if (any_ticks(engine)) uv_timer_start(&engine->tick_timer, on_tick, TICK_MS, TICK_MS);
  uint64_t patience = engine->runtime->patience_ms != 0 ? engine->runtime->patience_ms : PATIENCE_MS;
  if (engine->runtime->once) uv_timer_start(&engine->deadline_timer, on_once_check, patience, patience);
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    lc_pipeline *pipeline = engine->pipelines[p];
    for (uint32_t i = 0; i < pipeline->n_feeds; i++) {
      lc_monitor *monitor = pipeline->feeds[i].monitor;
      monitor->ops->start(monitor);
    }
  }
}

void lc_monitor_stopped(lc_monitor *monitor) {
  monitor->feed->stopped = true;
  lc_engine_wake(monitor->feed->pipeline->engine);
}

void lc_monitor_finished(lc_monitor *monitor, uint32_t unread) {
  lc_engine *engine = monitor->feed->pipeline->engine;
  monitor->feed->finished = true;
  engine->result.unread += unread;
  lc_engine_wake(engine);
}

/* --- stopping --- */

static void flush_sinks(lc_engine *engine) {
  for (uint32_t i = 0; i < engine->n_sinks; i++) {
    lc_sink *sink = engine->sinks[i];
    if (sink->ops->flush != NULL) sink->ops->flush(sink);
  }
}

static void stop_monitors(lc_pipeline *pipeline) {
  for (uint32_t i = 0; i < pipeline->n_feeds; i++) {
    lc_feed *feed = &pipeline->feeds[i];
    if (feed->stop_asked) continue;
    feed->stop_asked = true;
    feed->monitor->ops->stop(feed->monitor);
  }
}

static void begin_stop(lc_engine *engine) {
  engine->phase = LC_ENGINE_STOPS;
  for (uint32_t p = 0; p < engine->n_pipelines; p++) stop_monitors(engine->pipelines[p]);
  lc_engine_wake(engine);
}

static void force(lc_engine *engine) {
  if (engine->forced) return;
  engine->forced = true;
  lc_log(LC_LOG_WARN, "engine", "stopping at once: what is not acked will be read again");
  lc_engine_wake(engine);
}

static void on_deadline(uv_timer_t *timer) { force(timer->data); }

void lc_engine_stop(lc_engine *engine, int64_t within_ns) {
  if (engine->phase > LC_ENGINE_RUNS || engine->deadline_set) {
    force(engine);
    return;
  }
  if (engine->phase != LC_ENGINE_RUNS) return;
  engine->deadline_set = true;
  uv_timer_start(&engine->deadline_timer, on_deadline, (uint64_t)(within_ns / LC_MILLISECOND), 0);
  begin_stop(engine);
}

static bool all_feeds(const lc_engine *engine, bool (*says)(const lc_feed *feed)) {
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    const lc_pipeline *pipeline = engine->pipelines[p];
    for (uint32_t i = 0; i < pipeline->n_feeds; i++) {
      if (!says(&pipeline->feeds[i])) return false;
    }
  }
  return true;
}

static bool is_over(const lc_feed *feed) { return feed->finished || feed->pipeline->failed; }
static bool is_stopped(const lc_feed *feed) { return feed->stopped; }

static uint64_t unacked(const lc_engine *engine) {
  uint64_t records = 0;
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    const lc_pipeline *pipeline = engine->pipelines[p];
    records += pipeline->discarded;
    for (uint32_t e = 0; e < pipeline->n_edges; e++) records += lc_edge_in_flight(&pipeline->edges[e]);
  }
  return records;
}

static bool drained(lc_engine *engine) {
  bool rest = true;
  if (engine->forced) lc_dead_give_up(engine); /* before the batches that wait for them */
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    lc_pipeline *pipeline = engine->pipelines[p];
    if (engine->forced || pipeline->failed) lc_pipeline_discard_queue(pipeline);
    if (pipeline->carriers > 0 || (!engine->forced && !lc_pipeline_at_rest(pipeline))) rest = false;
  }
  return rest && !engine->dead_running;
}

/* Resources close by themselves and tell only the registry. */
static void on_close_tick(uv_timer_t *timer) { lc_engine_wake(timer->data); }

static void close_parts(lc_engine *engine) {
  engine->result.unacked = unacked(engine);
  bool left = engine->result.unread > 0 || (engine->runtime->once && engine->result.unacked > 0);
  if (left) engine->result.failed = true;
  engine->phase = LC_ENGINE_CLOSES;
  lc_dead_give_up(engine);
  uv_timer_stop(&engine->commit_timer);
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    lc_pipeline *pipeline = engine->pipelines[p];
    for (uint32_t i = 0; i < pipeline->n_feeds; i++) lc_resource_close(&pipeline->feeds[i].monitor->resource);
    for (uint32_t i = 0; i < pipeline->n_stages; i++) lc_resource_close(&pipeline->stages[i]->resource);
    lc_resource_close(&pipeline->resource);
  }
  for (uint32_t i = 0; i < engine->n_sinks; i++) lc_resource_close(&engine->sinks[i]->resource);
  uv_timer_start(&engine->tick_timer, on_close_tick, 0, CLOSE_POLL_MS);
  lc_engine_wake(engine);
}

static bool is_closed(const lc_resource *res) { return lc_resource_state_of(res) == LC_RES_CLOSED; }

static bool parts_closed(const lc_engine *engine) {
  for (uint32_t i = 0; i < engine->n_sinks; i++) {
    if (!is_closed(&engine->sinks[i]->resource)) return false;
  }
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    const lc_pipeline *pipeline = engine->pipelines[p];
    for (uint32_t i = 0; i < pipeline->n_feeds; i++) {
      if (!is_closed(&pipeline->feeds[i].monitor->resource)) return false;
    }
  }
  return !engine->commit_running && !engine->dead_running;
}

static void handle_closed(uv_handle_t *handle) {
  lc_engine *engine = handle->data;
  if (--engine->open_handles > 0) return;
  engine->phase = LC_ENGINE_DONE;
  if (engine->finished != NULL) engine->finished(engine->arg, &engine->result);
}

static void close_handles(lc_engine *engine) {
  uv_close((uv_handle_t *)&engine->idle, handle_closed);
  uv_close((uv_handle_t *)&engine->commit_timer, handle_closed);
  uv_close((uv_handle_t *)&engine->deadline_timer, handle_closed);
  uv_close((uv_handle_t *)&engine->tick_timer, handle_closed);
  uv_close((uv_handle_t *)&engine->dead_timer, handle_closed);
}

static bool last_commit_over(lc_engine *engine) {
  if (engine->commit_running) return false;
  if (!lc_engine_uncommitted(engine)) return true;
  bool bounded = engine->deadline_set && !engine->forced;
  if (engine->last_failures > 0 && (engine->forced || (!bounded && engine->last_failures >= COMMIT_TRIES))) {
    lc_engine_result *result = &engine->result;
    if (!result->failed) snprintf(result->message, sizeof result->message, "the last commit failed");
    result->failed = true;
    return true;
  }
  if (engine->forced && engine->forced_commits++ >= 2) return true;
  lc_engine_commit_soon(engine, engine->last_failures > 0 ? 200 : 0);
  return false;
}

/* Moves the phases on. Returns true when it should be asked again at once. */
static bool advance(lc_engine *engine) {
  switch (engine->phase) {
    case LC_ENGINE_RUNS:
      for (uint32_t p = 0; p < engine->n_pipelines; p++) {
        if (engine->pipelines[p]->failed) stop_monitors(engine->pipelines[p]);
      }
      if (!all_feeds(engine, is_over)) return false;
      begin_stop(engine);
      return true;
    case LC_ENGINE_STOPS:
      if (!all_feeds(engine, is_stopped) && !engine->forced) return false;
      if (!drained(engine)) {
        flush_sinks(engine);
        return false;
      }
      engine->phase = LC_ENGINE_COMMITS;
      lc_engine_commit_soon(engine, 0);
      return true;
    case LC_ENGINE_COMMITS:
      if (!last_commit_over(engine)) return false;
      close_parts(engine);
      return true;
    case LC_ENGINE_CLOSES:
      lc_registry_run(engine->runtime->registry);
      if (parts_closed(engine) && !uv_is_closing((uv_handle_t *)&engine->idle)) close_handles(engine);
      return false;
    default:
      return false;
  }
}

static void on_idle(uv_idle_t *idle) {
  lc_engine *engine = idle->data;
  bool more = false;
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    lc_pipeline *pipeline = engine->pipelines[p];
    lc_pipeline_give_room(pipeline);
    more = lc_pipeline_pump(pipeline) || lc_pipeline_reader_waits(pipeline) || more;
  }
  while (advance(engine)) more = true;
  if (!more && !uv_is_closing((uv_handle_t *)idle)) uv_idle_stop(idle);
}

void lc_engine_destroy(lc_engine *engine) {
  if (engine == NULL) return;
  for (uint32_t p = 0; p < engine->n_pipelines; p++) lc_pipeline_release(engine->pipelines[p]);
  while (engine->forgets != NULL) {
    lc_forget *forget = engine->forgets;
    engine->forgets = forget->next;
    free(forget);
  }
  lc_dlq_close(engine->dlq);
  free(engine->pipelines);
  free(engine->sinks);
  free(engine);
}
