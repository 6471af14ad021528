/* What is wrong with delivery, as /health and alerts say it. */
#include "base/clock.h"
#include "pipeline/inside.h"

int64_t lc_edge_stalled(lc_edge *edge, int64_t now_ns) {
  if (edge->in_flight == 0 || edge->settled != edge->watched || edge->watched_ns == 0) {
    edge->watched = edge->settled;
    edge->watched_ns = now_ns;
  }
  return now_ns - edge->watched_ns;
}

static void edge_health(lc_edge *edge, int64_t now_ns, int64_t stall_ns, lc_health *ret) {
  const char *pipeline = edge->pipeline->resource.name, *sink = edge->sink->resource.name;
  int64_t stalled_ns = lc_edge_stalled(edge, now_ns);
  if (!lc_ledger_balanced(&edge->total, lc_edge_in_flight(edge))) {
    lc_health_add(ret, LC_CAUSE_LEDGER, "%.80s -> %.80s: the ledger does not balance", pipeline, sink);
  }
  if (edge->total.abandoned_bytes > 0) {
    lc_health_add(ret, LC_CAUSE_ABANDONED, "%.80s -> %.80s: %llu bytes of sources vanished before they were read",
                  pipeline, sink, (unsigned long long)edge->total.abandoned_bytes);
  }
  if (stalled_ns >= stall_ns) {
    lc_health_add(ret, LC_CAUSE_SINK, "%.80s -> %.80s: the sink has taken nothing for %lld s while deliveries wait",
                  pipeline, sink, (long long)(stalled_ns / LC_SECOND));
  }
}

static void pipeline_health(const lc_pipeline *pipeline, lc_health *ret) {
  const char *name = pipeline->resource.name;
  if (pipeline->failed) {
    lc_health_add(ret, LC_CAUSE_PIPELINE, "%.80s: the pipeline stopped%s", name,
                  pipeline->broken ? ", since something was closed in use; a reload goes on where it was" : "");
  }
  for (uint32_t f = 0; f < pipeline->n_feeds; f++) {
    const lc_feed *feed = pipeline->feeds[f];
    if (feed->leaving || feed->stop_asked || !atomic_load(&feed->monitor->resource.close_asked)) continue;
    lc_health_add(ret, LC_CAUSE_PIPELINE, "%.80s: %.80s was closed in use; a reload goes on where it was", name,
                  feed->monitor->resource.name);
  }
  if (pipeline->gaps > 0) lc_health_add(ret, LC_CAUSE_LEDGER, "%.160s: ranges of a source did not touch", name);
}

void lc_engine_health(lc_engine *engine, int64_t now_ns, int64_t stall_ns, lc_health *ret) {
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    lc_pipeline *pipeline = engine->pipelines[p];
    pipeline_health(pipeline, ret);
    for (uint32_t e = 0; e < pipeline->n_edges; e++) {
      if (pipeline->edges[e] != NULL) edge_health(pipeline->edges[e], now_ns, stall_ns, ret);
    }
  }
  if (engine->expects) {
    lc_health_add(ret, LC_CAUSE_PIPELINE, "a pipeline stopped, and waits for a reload that brings it back");
  }
  if (engine->commit_failed) {
    lc_health_add(ret, LC_CAUSE_COMMITS, "positions cannot be saved: %llu commits failed in a row",
                  (unsigned long long)engine->last_failures);
  }
  if (engine->dead_failed) lc_health_add(ret, LC_CAUSE_DEAD_LETTERS, "dead letters cannot be written");
}
