/* The figures of pipelines for Prometheus. A sink is called by its identity, which is one sink's alone. */
#include <stdlib.h>

#include "pipeline/inside.h"

/* A sink of a pipeline. While a reload replaces a sink, the old and the new one share a row. */
typedef struct row {
  const char *pipeline, *sink;
  lc_ledger ledger;
  uint64_t in_flight;
  uint32_t deliveries;
  bool balanced;
  int64_t stalled_ns;
} row;

typedef struct rows {
  row *items; /* owned */
  uint32_t n;
} rows;

static row *row_of(rows *self, const lc_edge *edge) {
  const char *pipeline = edge->pipeline->resource.name, *sink = edge->sink->resource.identity;
  for (uint32_t i = 0; i < self->n; i++) {
    row *item = &self->items[i];
    if (item->pipeline == pipeline && strcmp(item->sink, sink) == 0) return item;
  }
  row *fresh = &self->items[self->n++];
  *fresh = (row){.pipeline = pipeline, .sink = sink, .balanced = true};
  return fresh;
}

static void add_edge(rows *self, lc_edge *edge, int64_t now_ns) {
  row *item = row_of(self, edge);
  uint64_t in_flight = lc_edge_in_flight(edge);
  int64_t stalled_ns = lc_edge_stalled(edge, now_ns);
  lc_ledger_add(&item->ledger, &edge->total);
  item->in_flight += in_flight;
  item->deliveries += edge->in_flight;
  item->balanced = item->balanced && lc_ledger_balanced(&edge->total, in_flight);
  if (stalled_ns > item->stalled_ns) item->stalled_ns = stalled_ns;
}

static int gather(const lc_engine *engine, int64_t now_ns, rows *ret) {
  size_t most = 1;
  for (uint32_t p = 0; p < engine->n_pipelines; p++) most += engine->pipelines[p]->n_edges;
  ret->items = calloc(most, sizeof *ret->items);
  if (ret->items == NULL) return LC_ENOMEM;
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    lc_pipeline *pipeline = engine->pipelines[p];
    for (uint32_t e = 0; e < pipeline->n_edges; e++) {
      if (pipeline->edges[e] != NULL) add_edge(ret, pipeline->edges[e], now_ns);
    }
  }
  return 0;
}

#define LABELS(item) LC_LABELS({"pipeline", (item)->pipeline}, {"sink", (item)->sink})

static void ledger_terms(const rows *list, lc_metrics *out) {
  static const struct {
    const char *name, *help;
    size_t at;
  } terms[] = {
      {"logcap_records_read_total", "Records of sources that came in for the sink.", offsetof(lc_ledger, read)},
      {"logcap_read_bytes_total", "Bytes of sources that came in for the sink.", offsetof(lc_ledger, read_bytes)},
      {"logcap_records_created_total", "Records that stages made.", offsetof(lc_ledger, created)},
      {"logcap_records_delivered_total", "Records that the destination has.", offsetof(lc_ledger, delivered)},
      {"logcap_records_dead_lettered_total", "Records that went to the dead-letter queue.",
       offsetof(lc_ledger, dead_lettered)},
      {"logcap_records_abandoned_total", "Records that were given up.", offsetof(lc_ledger, abandoned)},
      {"logcap_abandoned_bytes_total", "Bytes of sources that vanished before they were read.",
       offsetof(lc_ledger, abandoned_bytes)},
  };
  for (size_t t = 0; t < sizeof terms / sizeof *terms; t++) {
    lc_metrics_family(out, terms[t].name, "counter", terms[t].help);
    for (uint32_t i = 0; i < list->n; i++) {
      const row *item = &list->items[i];
      const void *term = (const char *)&item->ledger + terms[t].at;
      lc_metrics_count(out, LABELS(item), *(const uint64_t *)term);
    }
  }
}

static void dropped(const rows *list, lc_metrics *out) {
  lc_metrics_family(out, "logcap_records_dropped_total", "counter", "Records that were dropped, by reason.");
  for (uint32_t i = 0; i < list->n; i++) {
    const row *item = &list->items[i];
    for (int reason = 0; reason < LC_DROP_REASONS; reason++) {
      const lc_metric_label labels[] = {
          {"pipeline", item->pipeline}, {"sink", item->sink}, {"reason", lc_drop_name((lc_drop)reason)}, {NULL, NULL}};
      lc_metrics_count(out, labels, item->ledger.dropped[reason]);
    }
  }
}

static double in_flight(const row *item) { return (double)item->in_flight; }
static double deliveries(const row *item) { return item->deliveries; }
static double balanced(const row *item) { return item->balanced; }
static double stalled(const row *item) { return (double)item->stalled_ns / 1e9; }

static void edge_state(const rows *list, lc_metrics *out) {
  static const struct {
    const char *name, *help;
    double (*get)(const row *item);
  } figures[] = {
      {"logcap_records_in_flight", "Records that the sink has not yet settled.", in_flight},
      {"logcap_deliveries_in_flight", "Batches with records that the sink has not settled.", deliveries},
      {"logcap_ledger_balanced", "1 when every record is accounted for, 0 when not.", balanced},
      {"logcap_sink_stalled_seconds", "For how long the sink has taken nothing while deliveries wait.", stalled},
  };
  for (size_t f = 0; f < sizeof figures / sizeof *figures; f++) {
    lc_metrics_family(out, figures[f].name, "gauge", figures[f].help);
    for (uint32_t i = 0; i < list->n; i++) {
      lc_metrics_value(out, LABELS(&list->items[i]), figures[f].get(&list->items[i]));
    }
  }
}

static double sources_of(const lc_pipeline *pipeline) {
  uint64_t n = 0;
  for (uint32_t f = 0; f < pipeline->n_feeds; f++) n += pipeline->feeds[f]->n_streams;
  return (double)n;
}

static double failed(const lc_pipeline *pipeline) { return pipeline->failed; }
static double discarded(const lc_pipeline *pipeline) { return (double)pipeline->discarded; }
/* One that could not be opened has none, until it is gone. */
static lc_batch_pool_stats pool_of(const lc_pipeline *pipeline) {
  const lc_batch_pool_stats none = {0};
  return pipeline->pool != NULL ? lc_batch_pool_stats_get(pipeline->pool) : none;
}

static double charged(const lc_pipeline *pipeline) { return (double)pool_of(pipeline).charged; }
static double budget(const lc_pipeline *pipeline) { return (double)pool_of(pipeline).budget; }
static double refused(const lc_pipeline *pipeline) { return (double)pool_of(pipeline).refused; }
static double in_use(const lc_pipeline *pipeline) { return pool_of(pipeline).in_use; }

static void pipelines(const lc_engine *engine, lc_metrics *out) {
  static const struct {
    const char *name, *type, *help;
    double (*get)(const lc_pipeline *pipeline);
  } figures[] = {
      {"logcap_pipeline_failed", "gauge", "1 when a stage stopped the pipeline, or memory ran out.", failed},
      {"logcap_pipeline_sources", "gauge", "Sources that the pipeline follows.", sources_of},
      {"logcap_pipeline_discarded_records_total", "counter",
       "Records let go unsettled at a forced stop; they are read again.", discarded},
      {"logcap_batches_in_use", "gauge", "Batches that hold records.", in_use},
      {"logcap_batch_memory_bytes", "gauge", "Memory of batches, in use and spare.", charged},
      {"logcap_batch_memory_limit_bytes", "gauge", "The pipeline's memory for batches.", budget},
      {"logcap_batch_waits_total", "counter", "How often a reader found no room for a batch.", refused},
  };
  for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
    lc_metrics_family(out, figures[i].name, figures[i].type, figures[i].help);
    for (uint32_t p = 0; p < engine->n_pipelines; p++) {
      const lc_pipeline *pipeline = engine->pipelines[p];
      lc_metrics_value(out, LC_LABELS({"pipeline", pipeline->resource.name}), figures[i].get(pipeline));
    }
  }
}

static void one(lc_metrics *out, const char *name, const char *type, const char *help, uint64_t value) {
  lc_metrics_family(out, name, type, help);
  lc_metrics_count(out, NULL, value);
}

static void commits_and_dead_letters(const lc_engine *engine, lc_metrics *out) {
  lc_dlq_stats dlq = lc_dlq_stats_get(engine->dlq);
  one(out, "logcap_commits_total", "counter", "Commits of positions.", engine->commits);
  one(out, "logcap_commit_failures_total", "counter", "Commits of positions that failed.", engine->commit_failures);
  one(out, "logcap_dead_letter_files", "gauge", "Files of the dead-letter queue.", dlq.files);
  one(out, "logcap_dead_letter_stored_bytes", "gauge", "Bytes of the dead-letter queue.", dlq.bytes);
  one(out, "logcap_dead_letters_written_total", "counter", "Dead letters written.", dlq.entries);
  one(out, "logcap_dead_letters_deleted_total", "counter", "Dead letters deleted to keep the queue within its size.",
      dlq.deleted_entries);
  one(out, "logcap_dead_letter_failures_total", "counter", "Writes of dead letters that failed.", dlq.failures);
}

int lc_engine_metrics(lc_engine *engine, int64_t now_ns, lc_metrics *out) {
  rows list = {0};
  commits_and_dead_letters(engine, out);
  pipelines(engine, out);
  int rc = gather(engine, now_ns, &list);
  if (rc == 0) edge_state(&list, out);
  if (rc == 0) {
    ledger_terms(&list, out);
    dropped(&list, out);
  }
  free(list.items);
  return rc;
}
