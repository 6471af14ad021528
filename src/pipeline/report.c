/* Audit, status and positions as JSON. */
#include "base/clock.h"
#include "base/registry.h"
#include "pipeline/inside.h"

static int string_member(lc_buf *ret, const char *key, const char *value) {
  lc_buf_addf(ret, "\"%s\":", key);
  return lc_buf_add_json_string(ret, value, strlen(value));
}

/* Appends the reasons why an edge is not well; returns whether it is. */
static bool edge_reasons(const lc_edge *edge, uint64_t in_flight, lc_buf *ret) {
  lc_buf_adds(ret, "\"reasons\":");
  bool well = lc_ledger_reasons(&edge->total, in_flight, ret);
  if (edge->pipeline->gaps == 0 || ret->failed) return well;
  ret->len--; /* the bracket */
  lc_buf_addf(ret, "%s\"ranges of a source did not touch\"]", well ? "" : ",");
  return false;
}

static bool edge_audit(const lc_edge *edge, lc_buf *ret) {
  uint64_t in_flight = lc_edge_in_flight(edge);
  lc_buf_addc(ret, '{');
  string_member(ret, "pipeline", edge->pipeline->resource.name);
  lc_buf_addc(ret, ',');
  string_member(ret, "sink", edge->sink->resource.name);
  lc_buf_addc(ret, ',');
  lc_ledger_json(&edge->total, ret);
  lc_buf_addf(ret, ",\"in_flight\":%llu,\"discarded\":%llu,\"balanced\":%s,", (unsigned long long)in_flight,
              (unsigned long long)edge->pipeline->discarded,
              lc_ledger_balanced(&edge->total, in_flight) ? "true" : "false");
  bool well = edge_reasons(edge, in_flight, ret);
  lc_buf_addc(ret, '}');
  return well;
}

/* What left with something given up: it is named no more, and must show all the same. */
static bool gone_audit(const lc_gone *gone, lc_buf *ret) {
  size_t pipeline = strcspn(gone->key, "/");
  lc_buf_adds(ret, "{\"pipeline\":");
  lc_buf_add_json_string(ret, gone->key, pipeline);
  lc_buf_addc(ret, ',');
  string_member(ret, "sink", gone->sink);
  lc_buf_addc(ret, ',');
  lc_ledger_json(&gone->ledger, ret);
  lc_buf_addf(ret, ",\"in_flight\":0,\"discarded\":0,\"balanced\":%s,\"reasons\":",
              lc_ledger_balanced(&gone->ledger, 0) ? "true" : "false");
  bool well = lc_ledger_reasons(&gone->ledger, 0, ret);
  lc_buf_addc(ret, '}');
  return well;
}

int lc_engine_audit(lc_engine *engine, lc_buf *ret, bool *ret_balanced) {
  bool well = true;
  const char *comma = "";
  lc_buf_adds(ret, "{\"ledger\":[");
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    for (uint32_t e = 0; e < engine->pipelines[p]->n_edges; e++) {
      const lc_edge *edge = engine->pipelines[p]->edges[e];
      if (edge == NULL || edge->over) continue;
      lc_buf_adds(ret, comma);
      comma = ",";
      well = edge_audit(edge, ret) && well;
    }
  }
  for (const lc_gone *gone = engine->gone; gone != NULL; gone = gone->next) {
    lc_buf_adds(ret, comma);
    comma = ",";
    well = gone_audit(gone, ret) && well;
  }
  lc_buf_addf(ret, "],\"commits\":%llu,\"commit_failures\":%llu,\"healthy\":%s}", (unsigned long long)engine->commits,
              (unsigned long long)engine->commit_failures, well && !engine->commit_failed ? "true" : "false");
  *ret_balanced = well && !engine->commit_failed;
  return ret->failed ? LC_ENOMEM : 0;
}

static const char *state_of(const lc_pipeline *pipeline) {
  if (pipeline->failed) return "stopped";
  if (pipeline->leaving) return "draining";
  return pipeline->paused ? "paused" : "running";
}

static void pipeline_status(const lc_pipeline *pipeline, lc_buf *ret) {
  lc_batch_pool_stats pool = {0};
  if (pipeline->pool != NULL) pool = lc_batch_pool_stats_get(pipeline->pool); /* else it could not be opened */
  uint64_t sources = 0;
  for (uint32_t f = 0; f < pipeline->n_feeds; f++) sources += pipeline->feeds[f]->n_streams;
  lc_buf_addc(ret, '{');
  string_member(ret, "name", pipeline->resource.name);
  lc_buf_addf(ret,
              ",\"state\":\"%s\",\"sources\":%llu,\"batches\":{\"in_use\":%u,\"spare\":%u,\"bytes\":%llu,"
              "\"budget\":%llu,\"refused\":%llu},\"sinks\":[",
              state_of(pipeline), (unsigned long long)sources, pool.in_use, pool.spare,
              (unsigned long long)pool.charged, (unsigned long long)pool.budget, (unsigned long long)pool.refused);
  const char *comma = "{";
  for (uint32_t e = 0; e < pipeline->n_edges; e++) {
    const lc_edge *edge = pipeline->edges[e];
    if (edge == NULL) continue;
    lc_buf_adds(ret, comma);
    comma = ",{";
    string_member(ret, "name", edge->sink->resource.name);
    lc_buf_addf(ret, ",\"state\":\"%s\",\"deliveries\":%u,\"in_flight\":%llu,",
                edge->graphs > 0 ? "running" : "draining", edge->in_flight,
                (unsigned long long)lc_edge_in_flight(edge));
    lc_ledger_json(&edge->total, ret);
    lc_buf_addc(ret, '}');
  }
  lc_buf_adds(ret, "]}");
}

int lc_engine_status(lc_engine *engine, lc_buf *ret) {
  lc_buf_adds(ret, "{\"pipelines\":[");
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    if (p > 0) lc_buf_addc(ret, ',');
    pipeline_status(engine->pipelines[p], ret);
  }
  lc_buf_addf(ret, "],\"commits\":%llu,\"commit_failures\":%llu,\"resources\":", (unsigned long long)engine->commits,
              (unsigned long long)engine->commit_failures);
  int rc = lc_registry_json(engine->runtime->registry, lc_clock_wall(), ret);
  lc_buf_addc(ret, '}');
  return rc != 0 ? rc : ret->failed ? LC_ENOMEM : 0;
}

static void stream_position(const lc_feed *feed, const lc_stream *stream, lc_buf *ret) {
  lc_buf_addc(ret, '{');
  string_member(ret, "pipeline", feed->pipeline->resource.name);
  lc_buf_addc(ret, ',');
  string_member(ret, "source", stream->source->name);
  lc_buf_addc(ret, ',');
  string_member(ret, "key", stream->source->key);
  lc_buf_addf(ret, ",\"read_to\":%llu,\"committed\":%s,\"sinks\":[", (unsigned long long)stream->delivered_to,
              stream->active ? "false" : "true");
  const char *comma = "{";
  for (uint32_t e = 0; e < feed->pipeline->n_edges; e++) {
    const lc_edge *edge = feed->pipeline->edges[e];
    if (edge == NULL) continue;
    lc_buf_adds(ret, comma);
    comma = ",{";
    string_member(ret, "sink", edge->sink->resource.name);
    lc_buf_addf(ret, ",\"position\":%llu,\"drained\":%s}", (unsigned long long)stream->cursors[e].position,
                stream->cursors[e].drained ? "true" : "false");
  }
  lc_buf_adds(ret, "]}");
}

int lc_engine_positions(lc_engine *engine, lc_buf *ret) {
  const char *comma = "";
  lc_buf_adds(ret, "{\"positions\":[");
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    const lc_pipeline *pipeline = engine->pipelines[p];
    for (uint32_t f = 0; f < pipeline->n_feeds; f++) {
      const lc_feed *feed = pipeline->feeds[f];
      for (const lc_stream *stream = feed->streams; stream != NULL; stream = stream->next) {
        lc_buf_adds(ret, comma);
        comma = ",";
        stream_position(feed, stream, ret);
      }
    }
  }
  return lc_buf_adds(ret, "]}");
}
