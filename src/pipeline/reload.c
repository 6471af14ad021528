#include "pipeline/reload.h"

#include <stdlib.h>
#include <string.h>

#include "pipeline/reload_inside.h"

/* --- making what is new --- */

static int no_memory(lc_error *error) { return lc_error_set(error, LC_ENOMEM, "out of memory for a reload"); }

static lc_edge *edge_to(const lc_pipeline *pipeline, const lc_sink *sink) {
  for (uint32_t e = 0; e < pipeline->n_edges; e++) {
    if (pipeline->edges[e] != NULL && pipeline->edges[e]->sink == sink) return pipeline->edges[e];
  }
  return NULL;
}

/* The newest edge of the same sink in the store that is still in use: a successor waits for it. */
static lc_edge *edge_before(const lc_pipeline *pipeline, const lc_sink *sink) {
  lc_edge *found = NULL;
  for (uint32_t e = 0; e < pipeline->n_edges; e++) {
    lc_edge *edge = pipeline->edges[e];
    if (edge == NULL || !lc_same_identity(&edge->sink->resource, &sink->resource)) continue;
    if (found == NULL || edge->sink->resource.id > found->sink->resource.id) found = edge;
  }
  return found;
}

static int plan_edges(lc_reload *reload, plan *own, lc_error *error) {
  const lc_graph *described = own->described->graph;
  own->edges = calloc(described->n_edges + 1u, sizeof(lc_edge *));
  if (own->edges == NULL) return no_memory(error);
  for (uint32_t i = 0; i < described->n_edges; i++) {
    lc_sink *sink = (lc_sink *)lc_reload_live(reload, &described->edges[i]->sink->resource);
    lc_edge *edge = edge_to(own->live, sink);
    if (edge == NULL) {
      lc_edge *before = edge_before(own->live, sink);
      edge = lc_edge_create(own->live, sink);
      if (edge == NULL) return no_memory(error);
      edge->after = before;
      own->edges[own->n_edges++] = edge;
    }
    lc_graph_add_edge(own->graph, edge);
  }
  return lc_pipeline_fit_cursors(own->live) == 0 ? 0 : no_memory(error);
}

/* The live stage that does what a described one shall: the n-th of its identity for the n-th. */
static lc_stage *match_stage(lc_reload *reload, const plan *own, uint32_t index) {
  const lc_graph *described = own->described->graph, *live = own->live->graph;
  lc_resource *wanted = &described->stages[index]->resource;
  uint32_t skip = 0;
  for (uint32_t i = 0; i < index; i++) skip += lc_same_identity(&described->stages[i]->resource, wanted);
  for (uint32_t i = 0; i < live->n_stages; i++) {
    lc_resource *res = &live->stages[i]->resource;
    if (!lc_same_identity(res, wanted) || skip-- > 0) continue;
    return lc_reload_adopts(reload, wanted, res) ? live->stages[i] : described->stages[index];
  }
  return described->stages[index];
}

static int plan_feeds(lc_reload *reload, plan *own, lc_error *error) {
  const lc_pipeline *described = own->described;
  own->feeds = calloc(described->n_feeds + own->live->n_feeds + 1u, sizeof(lc_feed *));
  if (own->feeds == NULL) return no_memory(error);
  for (uint32_t i = 0; i < described->n_feeds; i++) {
    lc_monitor *monitor = described->feeds[i]->monitor;
    lc_feed *live = lc_reload_feed_of(reload->engine, &monitor->resource);
    bool here = live != NULL && live->pipeline == own->live && !live->leaving;
    if (here && lc_reload_adopts(reload, &monitor->resource, &live->monitor->resource)) {
      live->kept = true;
      continue;
    }
    lc_feed *feed = lc_feed_create(own->live, monitor);
    if (feed == NULL) return no_memory(error);
    feed->after = live;
    monitor->feed = feed;
    own->feeds[own->n_feeds++] = feed;
  }
  return 0;
}

/* A live pipeline gets a new graph, and what it lacks. */
static int plan_live(lc_reload *reload, plan *own, lc_error *error) {
  const lc_graph *described = own->described->graph;
  own->graph = lc_graph_create(described->n_stages, described->n_edges);
  if (own->graph == NULL) return no_memory(error);
  int rc = plan_edges(reload, own, error);
  for (uint32_t i = 0; i < described->n_stages; i++) lc_graph_add_stage(own->graph, match_stage(reload, own, i));
  return rc == 0 ? plan_feeds(reload, own, error) : rc;
}

/* A new pipeline runs itself, with the live resources that it shares with others. */
static void plan_new(lc_reload *reload, plan *own) {
  lc_pipeline *pipeline = own->described;
  pipeline->engine = reload->engine;
  for (uint32_t e = 0; e < pipeline->n_edges; e++) {
    lc_edge *edge = pipeline->edges[e];
    lc_sink *live = (lc_sink *)lc_reload_live(reload, &edge->sink->resource);
    if (live == edge->sink) continue;
    lc_resource_retain(&live->resource);
    lc_resource_release(&edge->sink->resource);
    edge->sink = live;
  }
  for (uint32_t f = 0; f < pipeline->n_feeds; f++) {
    lc_feed *feed = pipeline->feeds[f];
    feed->after = lc_reload_feed_of(reload->engine, &feed->monitor->resource);
  }
}

static int grow(void *table, size_t count, size_t size) {
  void *grown = realloc(*(void **)table, count * size);
  if (grown == NULL) return LC_ENOMEM;
  *(void **)table = grown;
  return 0;
}

/* Room in all tables for whatever may be added: what comes later cannot fail for it. */
static int make_room(lc_reload *reload, lc_error *error) {
  lc_engine *engine = reload->engine;
  size_t parts = 1, sinks = 0;
  for (uint32_t i = 0; i < reload->n; i++) {
    const lc_pipeline *described = reload->plans[i].described;
    parts += described->n_feeds + described->n_edges + described->graph->n_stages;
    sinks += described->n_edges;
  }
  reload->adoptions = calloc(parts, sizeof *reload->adoptions);
  if (reload->adoptions == NULL || grow(&engine->sinks, engine->n_sinks + sinks + 1u, sizeof(lc_sink *)) != 0 ||
      grow(&engine->pipelines, engine->n_pipelines + reload->n, sizeof(lc_pipeline *)) != 0) {
    return no_memory(error);
  }
  return 0;
}

/* --- opening what is new --- */

static bool is_new(const lc_resource *res) { return lc_resource_state_of(res) == LC_RES_DESCRIBED; }

static int each_new_sink(lc_reload *reload, int (*each)(lc_engine *engine, lc_sink *sink, lc_error *error),
                         lc_error *error) {
  int rc = 0;
  for (uint32_t i = 0; i < reload->n; i++) {
    const plan *own = &reload->plans[i];
    const lc_graph *graph = own->live != NULL ? own->graph : own->described->graph;
    for (uint32_t e = 0; e < graph->n_edges && rc == 0; e++) {
      lc_sink *sink = graph->edges[e]->sink;
      if (is_new(&sink->resource)) rc = each(reload->engine, sink, error);
    }
  }
  return rc;
}

/* Sinks are known to the store before anything asks for their cursors. */
static int name_sink(lc_engine *engine, lc_sink *sink, lc_error *error) {
  lc_engine_note_sink(engine, sink);
  return lc_store_resource_id(engine->runtime->store, sink->resource.identity, &sink->store_id, error);
}

static int open_sink(lc_engine *engine, lc_sink *sink, lc_error *error) {
  int rc = lc_engine_open_sink(engine, sink, error);
  if (rc != 0) lc_error_context(error, "%s made at %s", sink->resource.kind, sink->resource.made_at);
  return rc;
}

static int open_live(lc_engine *engine, plan *own, lc_error *error) {
  int rc = 0;
  lc_graph *graph = own->graph;
  for (uint32_t i = 0; i < graph->n_stages && rc == 0; i++) rc = lc_engine_opened(&graph->stages[i]->resource, error);
  for (uint32_t i = 0; i < own->n_feeds && rc == 0; i++) rc = lc_engine_open_feed(engine, own->feeds[i], error);
  for (uint32_t i = 0; i < own->n_edges && rc == 0; i++) {
    if (own->edges[i]->after == NULL) rc = lc_edge_open(own->edges[i], error);
  }
  return rc;
}

static int open_all(lc_reload *reload, lc_error *error) {
  lc_engine *engine = reload->engine;
  int rc = each_new_sink(reload, name_sink, error);
  for (uint32_t i = 0; i < reload->n && rc == 0; i++) {
    plan *own = &reload->plans[i];
    rc = own->live != NULL ? open_live(engine, own, error) : lc_engine_open_pipeline(own->described, error);
    if (rc != 0) lc_error_context(error, "pipeline %s", own->described->resource.name);
  }
  return rc == 0 ? each_new_sink(reload, open_sink, error) : rc;
}

static void free_reload(lc_reload *reload) {
  for (uint32_t i = 0; i < reload->n; i++) {
    plan *own = &reload->plans[i];
    for (uint32_t f = 0; own->live != NULL && f < own->live->n_feeds; f++) own->live->feeds[f]->kept = false;
    free(own->feeds);
    free(own->edges);
  }
  free(reload->plans);
  free(reload->adoptions);
  free(reload);
}

int lc_reload_prepare(lc_engine *engine, lc_pipeline *const *described, uint32_t n, lc_reload **ret, lc_error *error) {
  if (engine->phase != LC_ENGINE_RUNS) return lc_error_set(error, LC_ECANCELED, "logcap is stopping");
  lc_reload *reload = calloc(1, sizeof *reload);
  if (reload == NULL || (reload->plans = calloc(n + 1u, sizeof *reload->plans)) == NULL) {
    free(reload);
    return no_memory(error);
  }
  reload->engine = engine;
  reload->n = n;
  for (uint32_t i = 0; i < n; i++) reload->plans[i].described = described[i];
  int rc = make_room(reload, error);
  if (rc == 0) rc = lc_reload_match_pipelines(reload, error);
  for (uint32_t i = 0; i < n; i++) {
    const lc_graph *graph = described[i]->graph;
    for (uint32_t e = 0; e < graph->n_edges && rc == 0; e++) {
      rc = lc_reload_match_sink(reload, graph->edges[e]->sink, error);
    }
  }
  bool planned = rc == 0; /* before that nothing is to be taken back */
  for (uint32_t i = 0; i < n && rc == 0; i++) {
    plan *own = &reload->plans[i];
    if (own->live != NULL) rc = plan_live(reload, own, error);
    else plan_new(reload, own);
  }
  if (rc == 0) rc = open_all(reload, error);
  if (rc == 0) {
    *ret = reload;
  } else if (planned) {
    lc_reload_cancel(reload);
  } else {
    free_reload(reload);
  }
  return rc;
}

/* --- taking its place --- */

static void add_feeds(plan *own) {
  lc_pipeline *live = own->live;
  memmove(own->feeds + live->n_feeds, own->feeds, own->n_feeds * sizeof(lc_feed *));
  if (live->n_feeds > 0) memcpy(own->feeds, live->feeds, live->n_feeds * sizeof(lc_feed *));
  free(live->feeds);
  live->feeds = own->feeds;
  live->n_feeds += own->n_feeds;
  own->feeds = NULL;
}

static bool is_new_edge(const plan *own, const lc_edge *edge) {
  for (uint32_t e = 0; e < own->n_edges; e++) {
    if (own->edges[e] == edge) return true;
  }
  return false;
}

/* Edges that drained come back: their rows may say IDLE by now. Returns whether there are any. */
static bool revive_edges(const plan *own) {
  bool any = false;
  for (uint32_t e = 0; e < own->graph->n_edges; e++) {
    lc_edge *edge = own->graph->edges[e];
    edge->leave_by_ns = 0; /* when it leaves again, it has its time again */
    any = any || edge->graphs == 1;
  }
  return any;
}

/* They get what is read from now on. Nothing of a stream goes to them before its rows say so. */
static void start_edges(const plan *own) {
  bool any = revive_edges(own);
  for (uint32_t f = 0; any && f < own->live->n_feeds; f++) {
    for (lc_stream *stream = own->live->feeds[f]->streams; stream != NULL; stream = stream->next) {
      for (uint32_t e = 0; e < own->graph->n_edges; e++) {
        const lc_edge *edge = own->graph->edges[e];
        if (edge->graphs > 1 || (!is_new_edge(own, edge) && stream->cursors[edge->index].first != NULL)) continue;
        lc_cursor_start(stream, edge->index, stream->delivered_to, &stream->delivered_mark);
      }
      lc_stream_rows_changed(stream);
    }
  }
}

static void commit_live(plan *own) {
  lc_pipeline *live = own->live;
  uint32_t before = live->n_feeds;
  start_edges(own);
  for (uint32_t e = 0; e < own->n_edges; e++) lc_engine_forget_gone(live->engine, own->edges[e]->key);
  lc_graph_release(live->graph);
  live->graph = own->graph;
  own->graph = NULL;
  add_feeds(own);
  live->memory = own->described->memory;
  lc_batch_pool_resize(live->pool, live->memory, lc_pipeline_block_size(live));
  lc_resource_take_place(&live->resource, &own->described->resource);
  for (uint32_t f = 0; f < before; f++) {
    if (!live->feeds[f]->kept && !live->feeds[f]->leaving) lc_feed_leave(live->feeds[f]);
  }
  for (uint32_t f = before; f < live->n_feeds; f++) {
    if (live->feeds[f]->after == NULL) lc_feed_start(live->feeds[f]);
  }
  live->room = true;
}

static void add_pipeline(lc_engine *engine, lc_pipeline *pipeline) {
  lc_resource_retain(&pipeline->resource);
  engine->pipelines[engine->n_pipelines++] = pipeline;
}

static bool is_planned(const lc_reload *reload, const lc_pipeline *pipeline) {
  for (uint32_t i = 0; i < reload->n; i++) {
    if (lc_reload_live_pipeline(reload, i) == pipeline) return true;
  }
  return false;
}

void lc_reload_commit(lc_reload *reload) {
  lc_engine *engine = reload->engine;
  for (uint32_t i = 0; i < reload->n_adoptions; i++) {
    const adoption *own = &reload->adoptions[i];
    if (own->fit == LC_FIT_CHANGED) own->live->ops->adopt(own->live, own->described);
    lc_resource_take_place(own->live, own->described);
  }
  for (uint32_t i = 0; i < reload->n; i++) {
    if (reload->plans[i].live != NULL) commit_live(&reload->plans[i]);
  }
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    lc_pipeline *pipeline = engine->pipelines[p];
    if (!pipeline->leaving && !is_planned(reload, pipeline)) lc_pipeline_leave(pipeline);
  }
  for (uint32_t i = 0; i < reload->n; i++) {
    lc_pipeline *pipeline = reload->plans[i].described;
    if (reload->plans[i].live != NULL) continue;
    for (uint32_t e = 0; e < pipeline->n_edges; e++) lc_engine_forget_gone(engine, pipeline->edges[e]->key);
    add_pipeline(engine, pipeline);
    for (uint32_t f = 0; f < pipeline->n_feeds; f++) {
      if (pipeline->feeds[f]->after == NULL) lc_feed_start(pipeline->feeds[f]);
    }
  }
  free_reload(reload);
  engine->expects = false;
  lc_engine_forgive(engine);
  lc_engine_start_ticks(engine);
  lc_engine_reap_soon(engine);
  lc_engine_wake(engine);
}

/* What was made for a live pipeline goes again: edges at once, feeds when their monitors are closed. */
static void cancel_live(plan *own) {
  lc_graph_release(own->graph);
  for (uint32_t e = 0; e < own->n_edges; e++) lc_edge_remove(own->edges[e]);
  uint32_t before = own->live->n_feeds;
  if (own->feeds != NULL) add_feeds(own);
  for (uint32_t f = before; f < own->live->n_feeds; f++) {
    own->live->feeds[f]->after = NULL;
    lc_feed_leave(own->live->feeds[f]);
  }
}

void lc_reload_cancel(lc_reload *reload) {
  if (reload == NULL) return;
  lc_engine *engine = reload->engine;
  for (uint32_t i = 0; i < reload->n; i++) {
    plan *own = &reload->plans[i];
    if (own->live != NULL) {
      cancel_live(own);
    } else if (own->described->engine != NULL) { /* it was planned */
      for (uint32_t f = 0; f < own->described->n_feeds; f++) own->described->feeds[f]->after = NULL;
      add_pipeline(engine, own->described);
      lc_pipeline_leave(own->described);
    }
  }
  free_reload(reload);
  lc_engine_reap_soon(engine);
  lc_engine_wake(engine);
}
