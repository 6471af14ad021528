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

static void begin_stop(lc_engine *engine);
static void force(lc_engine *engine);

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

/* --- running --- */

static void on_idle(uv_idle_t *idle);

void lc_engine_wake(lc_engine *engine) {
  engine->woken = true;
  if (engine->phase >= LC_ENGINE_OPEN && engine->phase < LC_ENGINE_DONE &&
      !uv_is_closing((uv_handle_t *)&engine->idle)) {
    uv_idle_start(&engine->idle, on_idle);
  }
}

void lc_engine_tick(lc_engine *engine) {
  int64_t now_ns = lc_engine_wall(engine);
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    const lc_graph *graph = engine->pipelines[p]->graph;
    for (uint32_t i = 0; graph != NULL && i < graph->n_stages; i++) {
      lc_stage *stage = graph->stages[i];
      if (stage->ops->tick != NULL) stage->ops->tick(stage, now_ns);
    }
  }
}

static void on_tick(uv_timer_t *timer) { lc_engine_tick(timer->data); }

static bool any_ticks(const lc_engine *engine) {
  if (engine->runtime->clock_ns != NULL) return false; /* who drives the clock calls them */
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    const lc_graph *graph = engine->pipelines[p]->graph;
    for (uint32_t i = 0; graph != NULL && i < graph->n_stages; i++) {
      if (graph->stages[i]->ops->tick != NULL) return true;
    }
  }
  return false;
}

void lc_engine_start_ticks(lc_engine *engine) {
  if (any_ticks(engine)) uv_timer_start(&engine->tick_timer, on_tick, TICK_MS, TICK_MS);
  else uv_timer_stop(&engine->tick_timer);
}

static uint64_t settled_so_far(const lc_engine *engine) {
  uint64_t n = 0;
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    for (uint32_t e = 0; e < engine->pipelines[p]->n_edges; e++) {
      if (engine->pipelines[p]->edges[e] == NULL) continue;
      const lc_ledger *total = &engine->pipelines[p]->edges[e]->total;
      n += total->delivered + total->dead_lettered + total->dropped[LC_DROP_FULL];
    }
  }
  return n;
}

/* The first sink that holds something it does not settle; NULL: none, or dead letters that cannot be written. */
static const lc_edge *stalled_edge(const lc_engine *engine) {
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    for (uint32_t e = 0; e < engine->pipelines[p]->n_edges; e++) {
      const lc_edge *edge = engine->pipelines[p]->edges[e];
      if (edge != NULL && edge->in_flight > 0) return edge;
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
  lc_engine_wake(engine); /* a monitor may have been closed in use */
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
  lc_engine_start_ticks(engine);
  uint64_t patience = engine->runtime->patience_ms != 0 ? engine->runtime->patience_ms : PATIENCE_MS;
  if (engine->runtime->once) uv_timer_start(&engine->deadline_timer, on_once_check, patience, patience);
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    lc_pipeline *pipeline = engine->pipelines[p];
    for (uint32_t i = 0; i < pipeline->n_feeds; i++) lc_feed_start(pipeline->feeds[i]);
  }
}

void lc_feed_start(lc_feed *feed) {
  if (lc_resource_state_of(&feed->monitor->resource) != LC_RES_OPEN) return; /* somebody closed it, while it waited */
  feed->started = true;
  feed->monitor->ops->start(feed->monitor);
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

void lc_feed_stop(lc_feed *feed) {
  if (feed->stop_asked) return;
  feed->stop_asked = true;
  if (feed->started) feed->monitor->ops->stop(feed->monitor);
  else feed->stopped = true; /* it never read anything */
}

static void stop_monitors(lc_pipeline *pipeline) {
  for (uint32_t i = 0; i < pipeline->n_feeds; i++) lc_feed_stop(pipeline->feeds[i]);
}

/* What a pipeline that stopped had read and not delivered is read again: by whoever has its monitors next. */
static void let_go(lc_pipeline *pipeline) {
  stop_monitors(pipeline);
  lc_pipeline_discard_queue(pipeline);
}

/* Its monitors that were closed before they had finished. */
static uint32_t closed_unread(const lc_pipeline *pipeline) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < pipeline->n_feeds; i++) {
    const lc_feed *feed = pipeline->feeds[i];
    n += !feed->finished && atomic_load(&feed->monitor->resource.close_asked);
  }
  return n;
}

static void begin_stop(lc_engine *engine) {
  engine->phase = LC_ENGINE_STOPS;
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    if (engine->runtime->once) engine->result.unread += closed_unread(engine->pipelines[p]);
    stop_monitors(engine->pipelines[p]);
  }
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
      if (!says(pipeline->feeds[i])) return false;
    }
  }
  return true;
}

static bool is_closed(const lc_resource *res) { return lc_resource_state_of(res) == LC_RES_CLOSED; }

/* What was closed in use waits for a reload, but in a `once` run. */
static bool is_over(const lc_feed *feed) {
  bool once = feed->pipeline->engine->runtime->once, closed = once && is_closed(&feed->monitor->resource);
  bool failed = feed->pipeline->failed && (once || !feed->pipeline->broken);
  return feed->finished || feed->leaving || failed || closed;
}
static bool is_stopped(const lc_feed *feed) { return feed->stopped; }

static uint64_t unacked(const lc_engine *engine) {
  uint64_t records = 0;
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    const lc_pipeline *pipeline = engine->pipelines[p];
    records += pipeline->discarded;
    for (uint32_t e = 0; e < pipeline->n_edges; e++) {
      if (pipeline->edges[e] != NULL) records += lc_edge_in_flight(pipeline->edges[e]);
    }
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

void lc_engine_close_parts(lc_engine *engine) {
  engine->result.unacked = unacked(engine);
  bool left = engine->result.unread > 0 || (engine->runtime->once && engine->result.unacked > 0);
  if (left) engine->result.failed = true;
  engine->phase = LC_ENGINE_CLOSES;
  lc_dead_give_up(engine);
  uv_timer_stop(&engine->commit_timer);
  uv_timer_stop(&engine->reap_timer);
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    lc_pipeline *pipeline = engine->pipelines[p];
    const lc_graph *graph = pipeline->graph;
    for (uint32_t i = 0; i < pipeline->n_feeds; i++) lc_resource_close(&pipeline->feeds[i]->monitor->resource);
    for (uint32_t i = 0; graph != NULL && i < graph->n_stages; i++) lc_resource_close(&graph->stages[i]->resource);
    lc_resource_close(&pipeline->resource);
  }
  for (uint32_t i = 0; i < engine->n_sinks; i++) {
    lc_sink *sink = engine->sinks[i];
    bool waits = lc_resource_state_of(&sink->resource) == LC_RES_CLOSING; /* for a commit, as nobody makes any more */
    if (waits && sink->ops->committed != NULL) sink->ops->committed(sink, false);
    lc_resource_close(&sink->resource);
  }
  uv_timer_start(&engine->tick_timer, on_close_tick, 0, CLOSE_POLL_MS);
  lc_engine_wake(engine);
}

static bool parts_closed(const lc_engine *engine) {
  for (uint32_t i = 0; i < engine->n_sinks; i++) {
    if (!is_closed(&engine->sinks[i]->resource)) return false;
  }
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    const lc_pipeline *pipeline = engine->pipelines[p];
    for (uint32_t i = 0; i < pipeline->n_feeds; i++) {
      if (!is_closed(&pipeline->feeds[i]->monitor->resource)) return false;
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
  uv_close((uv_handle_t *)&engine->reap_timer, handle_closed);
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
        lc_pipeline_check_sinks(engine->pipelines[p]);
        if (engine->pipelines[p]->failed) let_go(engine->pipelines[p]);
      }
      lc_engine_reap(engine);
      if (engine->expects || !all_feeds(engine, is_over)) return false;
      begin_stop(engine);
      return true;
    case LC_ENGINE_STOPS:
      if (!all_feeds(engine, is_stopped) && !engine->forced) return false;
      if (!drained(engine)) {
        flush_sinks(engine);
        return false;
      }
      engine->phase = LC_ENGINE_COMMITS;
      lc_engine_let_heirs_on(engine);
      lc_engine_commit_soon(engine, 0);
      return true;
    case LC_ENGINE_COMMITS:
      if (!last_commit_over(engine)) return false;
      lc_engine_close_parts(engine);
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
  engine->woken = false;
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    lc_pipeline *pipeline = engine->pipelines[p];
    lc_pipeline_give_room(pipeline);
    more = lc_pipeline_pump(pipeline) || lc_pipeline_reader_waits(pipeline) || more;
  }
  while (advance(engine)) more = true;
  /* What was woken for in here, such as room that a delivery left, is looked at in the next turn. */
  if (!more && !engine->woken && !uv_is_closing((uv_handle_t *)idle)) uv_idle_stop(idle);
}

void lc_engine_destroy(lc_engine *engine) {
  if (engine == NULL) return;
  for (uint32_t p = 0; p < engine->n_pipelines; p++) lc_pipeline_release(engine->pipelines[p]);
  for (lc_feed *feed = engine->spent, *next; feed != NULL; feed = next) {
    next = feed->next_spent;
    lc_feed_destroy(feed);
  }
  for (uint32_t i = 0; i < engine->n_closing; i++) lc_resource_release(engine->closing[i]);
  free(engine->closing);
  lc_engine_forget_gone(engine, NULL);
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
