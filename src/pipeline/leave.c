/* Leaving: what no generation names any more drains, is saved, and closes; nobody waits for it.
 *
 * A feed leaves when its monitor has stopped and all of its streams are acked and saved; an edge when no batch is for
 * it any more, it holds nothing, and a commit after that has all of it; a pipeline after its feeds and edges. An edge
 * whose sink took nothing for 30 seconds, and serves nobody else, gives up what it holds, counted as abandoned. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "pipeline/inside.h"

#define DRAIN_MS 30000u
#define REAP_EVERY_MS 2u
#define SHED_MOST 1000u /* streams that are freed at once: the loop has other things to do */
#define GONE_MOST 64u /* ledgers of edges that gave something up; the store has all of them */

static void on_reap(uv_timer_t *timer) { lc_engine_reap(timer->data); }

void lc_engine_reap_soon(lc_engine *engine) {
  engine->leaving = true;
  if (engine->phase == LC_ENGINE_RUNS) uv_timer_start(&engine->reap_timer, on_reap, REAP_EVERY_MS, REAP_EVERY_MS);
}

static int64_t leave_by(const lc_engine *engine) {
  uint64_t ms = engine->runtime->drain_ms > 0 ? engine->runtime->drain_ms : DRAIN_MS;
  return lc_clock_mono() + (int64_t)ms * LC_MILLISECOND;
}

void lc_feed_leave(lc_feed *feed) {
  const lc_monitor_ops *ops = feed->monitor->ops;
  feed->leaving = true;
  if (feed->started && !feed->stop_asked && ops->retire != NULL) ops->retire(feed->monitor);
  else lc_feed_stop(feed);
  if (feed->pipeline->paused) feed->pipeline->room = true; /* what leaves is paused no more */
  lc_engine_wake(feed->pipeline->engine);
  lc_engine_reap_soon(feed->pipeline->engine);
}

void lc_pipeline_leave(lc_pipeline *pipeline) {
  pipeline->leaving = true;
  for (uint32_t f = 0; f < pipeline->n_feeds; f++) lc_feed_leave(pipeline->feeds[f]);
  lc_engine_reap_soon(pipeline->engine);
}

/* --- feeds --- */

/* While an heir waits, the rows do not say what it has: whoever reads on from them would give it that again. */
static bool an_heir_waits(const lc_pipeline *pipeline) {
  for (uint32_t e = 0; e < pipeline->n_edges; e++) {
    if (pipeline->edges[e] != NULL && pipeline->edges[e]->after != NULL) return true;
  }
  return false;
}

static bool streams_saved(const lc_feed *feed) {
  bool active = false;
  if (an_heir_waits(feed->pipeline)) return false;
  for (const lc_stream *stream = feed->streams; stream != NULL; stream = stream->next) {
    if (stream->acks > 0 || stream->queued > 0) return false;
    active = active || stream->active;
  }
  if (active) lc_engine_commit_soon(feed->pipeline->engine, 0); /* somebody may wait for it */
  return !active;
}

/* Those that waited for this feed, of whatever pipeline, go on where it ended. */
static void start_successors(lc_engine *engine, const lc_feed *gone) {
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    for (uint32_t f = 0; f < engine->pipelines[p]->n_feeds; f++) {
      lc_feed *feed = engine->pipelines[p]->feeds[f];
      if (feed->after != gone) continue;
      lc_error error = {0};
      feed->after = NULL;
      if (feed->leaving || feed->stop_asked) continue;
      if (lc_feed_load(feed, engine->runtime->store, &error) != 0) {
        lc_pipeline_fail(feed->pipeline, error.message); /* without its cursors it would read all again */
        continue;
      }
      lc_feed_start(feed);
    }
  }
}

/* Returns true when it is gone. */
static bool reap_feed(lc_feed *feed) {
  if (!feed->leaving || !feed->stopped || feed->after != NULL || !streams_saved(feed)) return false;
  lc_resource *res = &feed->monitor->resource;
  if (lc_resource_state_of(res) != LC_RES_CLOSED) {
    lc_resource_close(res);
    return false;
  }
  lc_pipeline *pipeline = feed->pipeline;
  uint32_t f = 0;
  while (pipeline->feeds[f] != feed) f++;
  pipeline->feeds[f] = pipeline->feeds[--pipeline->n_feeds];
  start_successors(pipeline->engine, feed);
  feed->next_spent = pipeline->engine->spent;
  pipeline->engine->spent = feed;
  return true;
}

static void free_spent(lc_engine *engine) {
  lc_feed *feed = engine->spent;
  if (feed == NULL || !lc_feed_shed(feed, SHED_MOST)) return;
  engine->spent = feed->next_spent;
  lc_feed_destroy(feed);
}

/* --- edges --- */

/* It leaves, and its sink has taken nothing for too long. */
static bool is_overdue(const lc_edge *edge, int64_t now_ns) {
  return edge->leave_by_ns != 0 && now_ns >= edge->leave_by_ns;
}

/* As long as it takes something, or has nothing to take, it has its time. */
static void look_at_leaving(lc_edge *edge) {
  uint64_t settled = edge->total.delivered + edge->total.dead_lettered + edge->total.dropped[LC_DROP_FULL];
  if (edge->leave_by_ns != 0 && edge->deliveries != NULL && settled == edge->settled_seen) return;
  edge->settled_seen = settled;
  edge->leave_by_ns = leave_by(edge->pipeline->engine);
}

/* Whether the sink has other edges. */
static bool serves_others(const lc_engine *engine, const lc_edge *self, bool (*counts)(const lc_edge *edge)) {
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    const lc_pipeline *pipeline = engine->pipelines[p];
    for (uint32_t e = 0; e < pipeline->n_edges; e++) {
      const lc_edge *edge = pipeline->edges[e];
      if (edge != NULL && edge != self && edge->sink == self->sink && counts(edge)) return true;
    }
  }
  return false;
}

static void each_stream(lc_pipeline *pipeline, void (*each)(lc_stream *stream, const lc_edge *edge),
                        const lc_edge *edge) {
  for (uint32_t f = 0; f < pipeline->n_feeds; f++) {
    for (lc_stream *stream = pipeline->feeds[f]->streams; stream != NULL; stream = stream->next) each(stream, edge);
  }
}

/* The next commit has a row of every edge. */
static void save_anew(lc_stream *stream, const lc_edge *edge) {
  (void)edge;
  stream->rows_stale = true;
  lc_stream_moved(stream);
}

static void forget_acks(lc_stream *stream, const lc_edge *edge) {
  lc_cursor *cursor = &stream->cursors[edge->index];
  for (const lc_ack *ack = cursor->first; ack != NULL; ack = ack->next) stream->acks--;
  cursor->first = cursor->last = NULL;
}

/* What its sink has let go of unsettled; its cursors stay before it. It is read again, but for what nobody names any
 * more: that is given up. A pipeline that stopped leaves to be read again by its successor. */
static void drop_deliveries(lc_edge *edge) {
  const lc_pipeline *pipeline = edge->pipeline;
  if (edge->deliveries == NULL || edge->in_flight > 0) return;
  bool leaves = pipeline->leaving || !lc_graph_names(pipeline->graph, edge);
  each_stream(edge->pipeline, forget_acks, edge);
  if (leaves && !pipeline->failed) {
    lc_edge_abandon_deliveries(edge);
  } else {
    lc_edge_free_deliveries(edge);
    edge->total = edge->saved;
  }
  each_stream(edge->pipeline, save_anew, edge);
}

void lc_edge_forget_closed(lc_edge *edge) {
  if (lc_resource_state_of(&edge->sink->resource) == LC_RES_CLOSED) drop_deliveries(edge);
}

static bool any_edge(const lc_edge *edge) { return edge != NULL; }

/* Of edges that leave, only one that holds something, and whose time is not over, keeps the sink. */
static bool still_counts(const lc_edge *edge) {
  return edge->leave_by_ns == 0 || (edge->deliveries != NULL && !is_overdue(edge, lc_clock_mono()));
}

/* It has taken too long: what it holds goes, once its sink has let go of it. */
static void force_edge(lc_edge *edge) {
  lc_engine *engine = edge->pipeline->engine;
  if (!edge->forced) {
    if (serves_others(engine, edge, still_counts)) return; /* it drains when the sink does */
    edge->forced = true;
    lc_log(LC_LOG_ERROR, "reload",
           edge->pipeline->failed ? "a sink of a pipeline that stopped did not take all in time: it is read again"
                                  : "a sink that is named no more did not take all it had in time: given up",
           LC_S("pipeline", edge->pipeline->resource.name), LC_S("sink", edge->sink->resource.name),
           LC_I("records", lc_edge_in_flight(edge)));
    lc_resource_close(&edge->sink->resource);
  }
  drop_deliveries(edge);
}

static void let_sink_go(lc_engine *engine, const lc_edge *edge) {
  if (serves_others(engine, edge, any_edge)) return;
  uint32_t i = 0;
  while (i < engine->n_sinks && engine->sinks[i] != edge->sink) i++;
  if (i == engine->n_sinks) return;
  engine->sinks[i] = engine->sinks[--engine->n_sinks];
  lc_resource *res = &edge->sink->resource;
  lc_resource_close(res);
  lc_resource **grown = realloc(engine->closing, (engine->n_closing + 1u) * sizeof *grown);
  if (grown == NULL) return; /* then nobody waits for it */
  engine->closing = grown;
  lc_resource_retain(res);
  grown[engine->n_closing++] = res;
}

/* What was on its way to the one before it may have been let go unsettled, at a stop: that is read again. */
static void hand_over(const lc_stream *stream, const lc_edge *edge, const lc_edge *heir) {
  const lc_cursor *had = &stream->cursors[edge->index];
  lc_cursor *cursor = &stream->cursors[heir->index];
  if (had->position >= cursor->from) return;
  cursor->position = cursor->from = had->position;
  cursor->mark = had->mark;
  cursor->drained = false;
}

/* The successor goes on with its ledger and its rows. */
static void let_heir_on(lc_edge *edge) {
  lc_pipeline *pipeline = edge->pipeline;
  for (uint32_t e = 0; e < pipeline->n_edges; e++) {
    lc_edge *heir = pipeline->edges[e];
    if (heir == NULL || heir->after != edge) continue;
    heir->after = NULL;
    lc_ledger_add(&heir->total, &edge->total);
    lc_ledger_add(&heir->saved, &edge->saved);
    heir->changed = true;
    edge->over = true;
    edge->changed = false;
    for (uint32_t f = 0; f < pipeline->n_feeds; f++) {
      const lc_stream *stream = pipeline->feeds[f]->streams;
      for (; stream != NULL; stream = stream->next) hand_over(stream, edge, heir);
    }
    each_stream(pipeline, save_anew, heir);
  }
}

/* Those that follow one another go on one after the other: the next one looks again. */
static bool let_some_on(lc_pipeline *pipeline) {
  bool any = false;
  for (uint32_t e = 0; e < pipeline->n_edges; e++) {
    lc_edge *edge = pipeline->edges[e];
    if (edge == NULL || edge->over || edge->after != NULL || edge->graphs > 0 || edge->deliveries != NULL) continue;
    let_heir_on(edge);
    any = any || edge->over;
  }
  return any;
}

void lc_engine_let_heirs_on(lc_engine *engine) {
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    while (let_some_on(engine->pipelines[p])) continue;
  }
}

void lc_engine_forget_gone(lc_engine *engine, const char *key) {
  lc_gone **link = &engine->gone;
  while (*link != NULL) {
    lc_gone *gone = *link;
    if (key != NULL && strcmp(gone->key, key) != 0) {
      link = &gone->next;
      continue;
    }
    *link = gone->next;
    engine->n_gone--;
    free(gone->key);
    free(gone->sink);
    free(gone);
  }
}

/* Its ledger goes with it, but not what was lost. */
static void note_gone(const lc_edge *edge) {
  lc_engine *engine = edge->pipeline->engine;
  if (edge->over || engine->n_gone == GONE_MOST || (edge->total.abandoned == 0 && edge->total.abandoned_bytes == 0)) {
    return;
  }
  lc_gone *gone = calloc(1, sizeof *gone);
  if (gone == NULL) return; /* it was logged, and is in the store */
  *gone = (lc_gone){strdup(edge->key), strdup(edge->sink->resource.name), edge->total, engine->gone};
  if (gone->key == NULL || gone->sink == NULL) {
    free(gone->key);
    free(gone->sink);
    free(gone);
    return;
  }
  engine->gone = gone;
  engine->n_gone++;
}

void lc_edge_remove(lc_edge *edge) {
  let_sink_go(edge->pipeline->engine, edge);
  lc_edge_destroy(edge);
}

/* Returns true when it is gone. */
static bool reap_edge(lc_edge *edge) {
  lc_engine *engine = edge->pipeline->engine;
  lc_edge_forget_closed(edge);
  if (edge->pipeline->leaving || edge->graphs == 0) {
    look_at_leaving(edge);
    if (edge->forced || is_overdue(edge, lc_clock_mono())) force_edge(edge);
  }
  if (edge->graphs > 0 || edge->after != NULL) return false;
  if (edge->in_flight > 0 || edge->deliveries != NULL) return false;
  if (edge->quiet_at == 0) {
    each_stream(edge->pipeline, save_anew, edge);
    edge->quiet_at = engine->commits + 1 + engine->commit_running;
    lc_engine_commit_soon(engine, 0);
  }
  if (engine->commits < edge->quiet_at || edge->changed) {
    lc_engine_commit_soon(engine, 0);
    return false;
  }
  let_heir_on(edge);
  note_gone(edge);
  lc_edge_remove(edge);
  return true;
}

/* --- pipelines --- */

/* Returns true when nothing of it is left. */
static bool reap_parts(lc_pipeline *pipeline, bool *ret_left) {
  for (uint32_t f = 0; f < pipeline->n_feeds;) {
    if (reap_feed(pipeline->feeds[f])) continue; /* another one stands there now */
    if (pipeline->feeds[f]->leaving) *ret_left = true;
    f++;
  }
  bool any = false;
  for (uint32_t e = 0; e < pipeline->n_edges; e++) {
    lc_edge *edge = pipeline->edges[e];
    if (edge == NULL || reap_edge(edge)) continue;
    any = true;
    if (!lc_graph_names(pipeline->graph, edge)) *ret_left = true;
  }
  return pipeline->n_feeds == 0 && !any;
}

void lc_engine_forgive(lc_engine *engine) {
  if (engine->expects) return;
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    if (engine->pipelines[p]->failed) return;
  }
  engine->result.failed = false;
  engine->result.message[0] = '\0';
}

/* Returns true when it is gone. */
static bool reap_pipeline(lc_engine *engine, uint32_t index, bool *ret_left) {
  lc_pipeline *pipeline = engine->pipelines[index];
  bool empty = reap_parts(pipeline, ret_left);
  if (!pipeline->leaving) return false;
  *ret_left = true;
  if (pipeline->n_feeds == 0 && pipeline->carriers == 0 && pipeline->first == NULL) {
    lc_graph_release(pipeline->graph); /* its edges are free to leave */
    pipeline->graph = NULL;
  }
  if (!empty) return false;
  engine->pipelines[index] = engine->pipelines[--engine->n_pipelines];
  if (pipeline->failed) lc_engine_forgive(engine);
  lc_resource_close(&pipeline->resource);
  lc_pipeline_release(pipeline);
  return true;
}

void lc_engine_reap(lc_engine *engine) {
  bool left = false;
  if (!engine->leaving || engine->phase != LC_ENGINE_RUNS) return;
  free_spent(engine);
  for (uint32_t p = 0; p < engine->n_pipelines;) p += !reap_pipeline(engine, p, &left);
  for (uint32_t i = 0; i < engine->n_closing;) {
    lc_resource *res = engine->closing[i];
    if (lc_resource_state_of(res) != LC_RES_CLOSED) {
      i++;
      continue;
    }
    engine->closing[i] = engine->closing[--engine->n_closing];
    lc_resource_release(res);
  }
  engine->leaving = left || engine->n_closing > 0 || engine->spent != NULL;
  if (!engine->leaving) uv_timer_stop(&engine->reap_timer);
}
