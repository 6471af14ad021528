#include "pipeline/pipeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "pipeline/inside.h"

#define TURN_NS (20 * LC_MILLISECOND) /* how long a pipeline may keep the loop */

/* --- describing --- */

static void close_pipeline(lc_resource *res) { lc_resource_closed(res); }

static void destroy_pipeline(lc_resource *res) {
  lc_pipeline *pipeline = (lc_pipeline *)res;
  lc_graph_release(pipeline->graph);
  for (uint32_t i = 0; i < pipeline->n_edges; i++) {
    if (pipeline->edges[i] != NULL) lc_edge_destroy(pipeline->edges[i]);
  }
  while (pipeline->n_feeds > 0) lc_feed_destroy(pipeline->feeds[--pipeline->n_feeds]);
  lc_samples_destroy(pipeline->samples);
  lc_batch_pool_destroy(pipeline->pool);
  free(pipeline->edges);
  free(pipeline->feeds);
  free(pipeline);
}

static const lc_resource_ops resource_ops = {.close = close_pipeline, .destroy = destroy_pipeline};

static int add_monitor(lc_pipeline *pipeline, lc_monitor *monitor, lc_error *error) {
  if (monitor->feed != NULL) {
    return lc_error_set(error, LC_EINVAL, "monitor %s already feeds pipeline %s; declare a second monitor for this one",
                        monitor->resource.name, monitor->feed->pipeline->resource.name);
  }
  lc_feed *feed = lc_feed_create(pipeline, monitor);
  if (feed == NULL) return lc_error_set(error, LC_ENOMEM, "out of memory");
  pipeline->feeds[pipeline->n_feeds++] = feed;
  monitor->feed = feed;
  return 0;
}

static int add_sink(lc_pipeline *pipeline, lc_sink *sink, lc_error *error) {
  for (uint32_t i = 0; i < pipeline->n_edges; i++) {
    if (pipeline->edges[i]->sink == sink) {
      return lc_error_set(error, LC_EINVAL, "sink %s stands twice in pipeline %s", sink->resource.name,
                          pipeline->resource.name);
    }
  }
  lc_edge *edge = lc_edge_create(pipeline, sink);
  if (edge == NULL) return lc_error_set(error, LC_ENOMEM, "out of memory");
  lc_graph_add_edge(pipeline->graph, edge);
  return 0;
}

static int fill(lc_pipeline *pipeline, const lc_pipeline_options *options, lc_error *error) {
  int rc = 0;
  for (uint32_t i = 0; i < options->n_monitors && rc == 0; i++) rc = add_monitor(pipeline, options->monitors[i], error);
  for (uint32_t i = 0; i < options->n_sinks && rc == 0; i++) rc = add_sink(pipeline, options->sinks[i], error);
  for (uint32_t i = 0; i < options->n_stages && rc == 0; i++) lc_graph_add_stage(pipeline->graph, options->stages[i]);
  return rc;
}

int lc_pipeline_create(const lc_pipeline_options *options, lc_registry *registry, lc_pipeline **ret, lc_error *error) {
  if (options->n_monitors == 0) return lc_error_set(error, LC_EINVAL, "pipeline %s has no monitor", options->name);
  if (options->n_sinks == 0) return lc_error_set(error, LC_EINVAL, "pipeline %s has no sink", options->name);
  if (options->memory != 0 && options->memory < LC_PIPELINE_MEMORY_LEAST) {
    return lc_error_set(error, LC_EINVAL, "pipeline %s: memory must be at least 2MiB", options->name);
  }
  lc_pipeline *pipeline = calloc(1, sizeof *pipeline);
  if (pipeline == NULL) return lc_error_set(error, LC_ENOMEM, "out of memory");
  int rc = lc_resource_init(&pipeline->resource, registry, &resource_ops, "pipeline", options->name, options->name,
                            options->made_at, error);
  if (rc != 0) {
    free(pipeline);
    return rc;
  }
  pipeline->memory = options->memory != 0 ? options->memory : LC_PIPELINE_MEMORY_DEFAULT;
  pipeline->feeds = calloc(options->n_monitors, sizeof(lc_feed *));
  pipeline->graph = lc_graph_create(options->n_stages, options->n_sinks);
  if (pipeline->feeds == NULL || pipeline->graph == NULL) {
    rc = lc_error_set(error, LC_ENOMEM, "out of memory");
  } else {
    rc = fill(pipeline, options, error);
  }
  if (rc != 0) {
    lc_resource_release(&pipeline->resource);
    return rc;
  }
  *ret = pipeline;
  return 0;
}

void lc_pipeline_retain(lc_pipeline *pipeline) { lc_resource_retain(&pipeline->resource); }

void lc_pipeline_release(lc_pipeline *pipeline) {
  if (pipeline != NULL) lc_resource_release(&pipeline->resource);
}

const char *lc_pipeline_name(const lc_pipeline *pipeline) { return pipeline->resource.name; }

/* --- running --- */

static void room(void *arg) {
  lc_pipeline *pipeline = arg;
  pipeline->room = true;
  lc_engine_wake(pipeline->engine);
}

int lc_pipeline_open(lc_pipeline *pipeline, lc_error *error) {
  pipeline->pool = lc_batch_pool_create(pipeline->memory, lc_pipeline_block_size(pipeline), room, pipeline);
  if (pipeline->pool == NULL) return lc_error_set(error, LC_ENOMEM, "out of memory");
  int rc = 0;
  for (uint32_t i = 0; i < pipeline->n_edges && rc == 0; i++) rc = lc_edge_open(pipeline->edges[i], error);
  return rc;
}

uint32_t lc_pipeline_block_size(const lc_pipeline *pipeline) {
  uint32_t block = LC_BLOCK_SIZE;
  for (uint32_t i = 0; i < pipeline->n_feeds; i++) {
    uint32_t line_max = pipeline->feeds[i]->monitor->line_max;
    if (line_max > block) block = line_max;
  }
  return block;
}

int lc_edge_open(lc_edge *edge, lc_error *error) {
  int rc = lc_ledger_load(&edge->saved, edge->key, edge->pipeline->engine->runtime->store, error);
  if (rc == 0) edge->total = edge->saved;
  return rc;
}

/* Another batch is the first one: it begins behind the stages that ran in its read job. */
static void begin_first(lc_pipeline *pipeline) {
  pipeline->stage = pipeline->first != NULL ? pipeline->first->graph->n_pool_stages : 0;
  pipeline->at = 0;
  pipeline->dead_written = false;
  lc_samples_destroy(pipeline->samples);
  pipeline->samples = NULL;
}

void lc_pipeline_enqueue(lc_pipeline *pipeline, lc_batch *batch, lc_graph *graph) {
  batch->next = NULL;
  batch->graph = lc_graph_retain(graph);
  if (pipeline->last != NULL) {
    pipeline->last->next = batch;
  } else {
    pipeline->first = batch;
    begin_first(pipeline);
  }
  pipeline->last = batch;
}

/* The caller takes the batch over, and its reference to the graph. */
static lc_batch *pop(lc_pipeline *pipeline, lc_graph **ret_graph) {
  lc_batch *batch = pipeline->first;
  pipeline->first = batch->next;
  if (pipeline->first == NULL) pipeline->last = NULL;
  batch->next = NULL;
  *ret_graph = batch->graph;
  batch->graph = NULL;
  begin_first(pipeline);
  for (uint32_t i = 0; i < batch->n_ranges; i++) batch->ranges[i].source->stream->queued--;
  return batch;
}

/* Runs what is left of the loop's stages on the first batch. Returns 0, LC_EAGAIN, or the error that stops it. */
static int run_stages(lc_pipeline *pipeline, int64_t now_ns, lc_error *error) {
  lc_batch *batch = pipeline->first;
  while (pipeline->stage < batch->graph->n_stages) {
    lc_stage *stage = batch->graph->stages[pipeline->stage];
    lc_sampler *sampler = batch->graph->samplers[pipeline->stage];
    if (pipeline->at == 0 && pipeline->samples == NULL) pipeline->samples = lc_sampler_begin(sampler, batch, now_ns);
    int rc = stage->ops->process(stage, batch, &pipeline->at, batch->n_records, now_ns, error);
    if (rc != 0) return rc;
    lc_sampler_end(sampler, pipeline->samples, batch);
    pipeline->samples = NULL;
    pipeline->stage++;
    pipeline->at = 0;
  }
  return 0;
}

/* Whether the sinks may have this batch: the rows of its sources say so. Asks for those that do not yet. */
static bool sources_live(const lc_batch *batch) {
  bool live = true;
  for (uint32_t i = 0; i < batch->n_ranges; i++) {
    lc_stream *stream = batch->ranges[i].source->stream;
    if (atomic_load_explicit(&stream->live, memory_order_relaxed)) continue;
    if (!stream->waits) lc_stream_activate(stream);
    live = false;
  }
  return live;
}

/* Gives the first batch to the sinks of its graph. */
static void dispatch(lc_pipeline *pipeline) {
  lc_graph *graph;
  lc_batch *batch = pop(pipeline, &graph);
  lc_batch_pool_recharge(pipeline->pool, batch);
  batch->refs = 1; /* our own, until every sink has its delivery */
  for (uint32_t i = 0; i < graph->n_edges; i++) {
    lc_delivery *delivery = lc_delivery_create(graph->edges[i], batch);
    if (delivery == NULL) { /* no cursor may move past this batch: stop here, it will be read again */
      lc_pipeline_fail(pipeline, "out of memory");
      break;
    }
    lc_delivery_start(delivery);
  }
  lc_batch_release(pipeline, batch);
  lc_graph_release(graph);
}

static bool step(lc_pipeline *pipeline, int64_t now_ns) {
  lc_error error = {0};
  int rc = run_stages(pipeline, now_ns, &error);
  if (rc == LC_EAGAIN) return true;
  if (rc != 0) {
    pipeline->broken = rc == LC_ECLOSED;
    lc_pipeline_fail(pipeline, error.message);
    return false;
  }
  lc_batch *batch = pipeline->first;
  if (batch->n_dead > 0 && !pipeline->dead_written) {
    if (pipeline->engine->forced) return false; /* it is discarded; another attempt would keep it */
    pipeline->dead_under_way = true;
    lc_dead_batch(pipeline, batch);
    return false;
  }
  if (!sources_live(batch)) return false;
  lc_pipeline_check_sinks(pipeline);
  if (pipeline->failed) return false;
  dispatch(pipeline);
  return true;
}

bool lc_pipeline_pump(lc_pipeline *pipeline) {
  if (pipeline->pumping) return false;
  pipeline->pumping = true;
  int64_t until = lc_clock_mono() + TURN_NS;
  int64_t now_ns = lc_engine_wall(pipeline->engine);
  bool more = false;
  while (pipeline->first != NULL && !pipeline->failed && !pipeline->dead_under_way) {
    if (!step(pipeline, now_ns)) break;
    if (pipeline->first != NULL && lc_clock_mono() >= until) {
      more = true;
      break;
    }
  }
  pipeline->pumping = false;
  if (more) lc_engine_wake(pipeline->engine);
  return more;
}

void lc_pipeline_give_room(lc_pipeline *pipeline) {
  if (!pipeline->room) return;
  pipeline->room = false;
  for (uint32_t i = 0; i < pipeline->n_feeds; i++) {
    lc_feed *feed = pipeline->feeds[i];
    if (feed->started && !feed->stopped && feed->monitor->ops->room != NULL) feed->monitor->ops->room(feed->monitor);
  }
}

void lc_pipeline_discard_queue(lc_pipeline *pipeline) {
  while (pipeline->first != NULL && !pipeline->dead_under_way) {
    lc_graph *graph;
    lc_batch *batch = pop(pipeline, &graph);
    lc_graph_release(graph);
    for (uint32_t i = 0; i < batch->n_records; i++) pipeline->discarded += lc_record_live(&batch->records[i]);
    lc_batch_pool_put(pipeline->pool, batch);
  }
}

void lc_pipeline_fail(lc_pipeline *pipeline, const char *message) {
  if (pipeline->failed) return;
  pipeline->failed = true;
  lc_engine_result *result = &pipeline->engine->result;
  if (!result->failed) {
    snprintf(result->message, sizeof result->message, "pipeline %s stopped: %s", pipeline->resource.name, message);
  }
  result->failed = true;
  lc_log(LC_LOG_ERROR, "pipeline", "stopped", LC_S("pipeline", pipeline->resource.name), LC_S("error", message));
  lc_engine_wake(pipeline->engine);
}

void lc_pipeline_check_sinks(lc_pipeline *pipeline) {
  const lc_graph *graph = pipeline->graph;
  if (pipeline->leaving) return; /* what its sinks do not take is given up */
  for (uint32_t e = 0; e < graph->n_edges && !pipeline->failed; e++) {
    const lc_resource *res = &graph->edges[e]->sink->resource;
    if (!atomic_load(&res->close_asked)) continue;
    char why[160];
    snprintf(why, sizeof why, "sink \"%.100s\" was closed in use", res->name);
    pipeline->broken = true;
    lc_pipeline_fail(pipeline, why);
  }
}

bool lc_pipeline_at_rest(const lc_pipeline *pipeline) {
  if (pipeline->carriers > 0 || pipeline->first != NULL || pipeline->dead_under_way) return false;
  for (uint32_t i = 0; i < pipeline->n_edges; i++) {
    if (pipeline->edges[i] != NULL && pipeline->edges[i]->in_flight > 0) return false;
  }
  return true;
}
