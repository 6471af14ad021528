#include "base/clock.h"
#include "pipeline/inside.h"

/* Whether the pipeline's sink can write in the read job at all. */
static bool lends(const lc_pipeline *pipeline) {
  const lc_graph *graph = pipeline->graph;
  return graph->n_edges == 1 && graph->n_pool_stages == graph->n_stages && graph->edges[0]->sink->ops->lend != NULL;
}

bool lc_feed_better_wait(lc_feed *feed) {
  lc_pipeline *pipeline = feed->pipeline;
  if (!lends(pipeline) || pipeline->lent != NULL || pipeline->carriers > 0) return false;
  if (pipeline->first == NULL && pipeline->graph->edges[0]->in_flight == 0) return false;
  pipeline->room = true;
  return true;
}

bool lc_pipeline_reader_waits(const lc_pipeline *pipeline) {
  return pipeline->room && lends(pipeline) && pipeline->first == NULL && pipeline->graph->edges[0]->in_flight == 0;
}

void lc_carrier_begin(lc_feed *feed, lc_carrier *carrier) {
  lc_pipeline *pipeline = feed->pipeline;
  *carrier = (lc_carrier){.feed = feed, .graph = lc_graph_retain(pipeline->graph)};
  pipeline->carriers++;
  if (!lends(pipeline)) return;
  if (pipeline->first != NULL || pipeline->lent != NULL || pipeline->engine->phase != LC_ENGINE_RUNS) return;
  lc_edge *edge = pipeline->graph->edges[0];
  lc_sink *sink = edge->sink;
  if (edge->in_flight > 0) return;
  lc_delivery *delivery = lc_delivery_create_lent(edge);
  if (delivery == NULL) return; /* out of memory: the batches take the longer way */
  if (!sink->ops->lend(sink)) {
    lc_delivery_free_lent(delivery);
    return;
  }
  carrier->sink = pipeline->lent = sink;
  carrier->delivery = delivery;
}

/* Runs the stages that need no loop thread. Returns false when one of them stops the pipeline. */
static bool run_stages(lc_carrier *carrier, lc_batch *batch) {
  const lc_graph *graph = carrier->graph;
  for (uint32_t i = 0; i < graph->n_pool_stages; i++) {
    lc_stage *stage = graph->stages[i];
    lc_samples *samples = lc_sampler_begin(graph->samplers[i], batch, batch->read_ns);
    uint32_t at = 0;
    int rc = LC_EAGAIN;
    while (rc == LC_EAGAIN)
      rc = stage->ops->process(stage, batch, &at, batch->n_records, batch->read_ns, &carrier->error);
    if (rc == 0) lc_sampler_end(graph->samplers[i], samples, batch);
    else lc_samples_destroy(samples);
    if (rc != 0) return false;
  }
  if (graph->n_stages == 0) {
    lc_sampler_end(graph->samplers[0], lc_sampler_begin(graph->samplers[0], batch, batch->read_ns), batch);
  }
  return true;
}

/* Whether the sink may have these records before the loop thread has seen them. */
static bool may_write(const lc_carrier *carrier, const lc_batch *batch) {
  if (carrier->sink == NULL || carrier->kept || batch->n_dead > 0) return false;
  for (uint32_t i = 0; i < batch->n_ranges; i++) {
    const lc_range *range = &batch->ranges[i];
    const lc_stream *stream = range->source->stream;
    if (!atomic_load_explicit(&stream->live, memory_order_acquire)) return false;
    if (range->begin < atomic_load_explicit(&stream->skip_most, memory_order_relaxed)) return false;
  }
  return true;
}

static uint64_t count_live(const lc_batch *batch) {
  uint64_t live = 0;
  for (uint32_t i = 0; i < batch->n_records; i++) live += lc_record_live(&batch->records[i]);
  return live;
}

/* The ranges stay open, but what they cover now is in the sink. */
static void note_written(lc_batch *batch) {
  for (uint32_t i = 0; i < batch->n_ranges; i++) {
    lc_range *range = &batch->ranges[i];
    range->written_to = range->end;
    range->written_resume = range->resume;
  }
}

lc_carrier_verdict lc_carrier_process(lc_carrier *carrier, lc_batch *batch) {
  if (carrier->error.code != 0 || !run_stages(carrier, batch) || !may_write(carrier, batch)) {
    carrier->kept = true;
    return LC_CARRIER_KEEP;
  }
  lc_delivery *delivery = carrier->delivery;
  delivery->batch = batch;
  delivery->at = 0;
  lc_error error = {0};
  if (carrier->sink->ops->write(carrier->sink, delivery, &error) != 0) {
    carrier->stuck = carrier->kept = true;
    return LC_CARRIER_KEEP;
  }
  note_written(batch);
  carrier->delivered += count_live(batch);
  lc_tally_add(&carrier->settled, &batch->tally);
  batch->tally = (lc_tally){0};
  lc_batch_refill(batch);
  return LC_CARRIER_REFILL;
}

static void count_read(const lc_carrier *carrier, const lc_batch *batches) {
  uint64_t read = carrier->settled.read;
  for (; batches != NULL; batches = batches->next) read += batches->tally.read;
  atomic_fetch_add_explicit(&carrier->feed->monitor->resource.records_out, read, memory_order_relaxed);
}

/* What was settled on the spot enters the ledger. */
static void account(lc_carrier *carrier) {
  if (carrier->sink == NULL) return;
  lc_edge *edge = carrier->graph->edges[0];
  lc_ledger counts = {.delivered = carrier->delivered};
  lc_resource *resource = &carrier->sink->resource;
  atomic_fetch_add_explicit(&resource->records_in, carrier->delivered, memory_order_relaxed);
  atomic_fetch_add_explicit(&resource->records_out, carrier->delivered, memory_order_relaxed);
  lc_ledger_add_tally(&counts, &carrier->settled);
  lc_ledger_add(&edge->total, &counts);
  lc_ledger_add(&edge->saved, &counts);
  edge->changed = true;
}

/* The cursors move over what was written on the spot in the turn of the loop in which the sink shows it: what is left
 * of these batches may wait in the queue for long, and a commit meanwhile must find both or neither. */
static void pass_written(const lc_edge *edge, const lc_batch *batches) {
  for (const lc_batch *batch = batches; batch != NULL; batch = batch->next) {
    for (uint32_t i = 0; i < batch->n_ranges; i++) {
      const lc_range *range = &batch->ranges[i];
      if (range->written_to == range->begin) continue;
      lc_stream *stream = range->source->stream;
      lc_cursor_pass(&stream->cursors[edge->index], range->written_to, &range->written_resume);
      lc_stream_moved(stream);
    }
  }
}

/* The batch whose write failed becomes the sink's again; its ranges leave the count of what is queued. NULL: no memory.
 */
static lc_delivery *hand_back(const lc_carrier *carrier, lc_batch *batch) {
  lc_pipeline *pipeline = carrier->feed->pipeline;
  for (uint32_t i = 0; i < batch->n_ranges; i++) batch->ranges[i].source->stream->queued--;
  lc_delivery *stuck = lc_delivery_create(carrier->graph->edges[0], batch);
  if (stuck == NULL) {
    lc_pipeline_fail(pipeline, "out of memory");
    lc_batch_release(pipeline, batch);
    return NULL;
  }
  stuck->at = carrier->delivery->at;
  stuck->progress = carrier->delivery->progress;
  return lc_delivery_begin(stuck) ? stuck : NULL;
}

/* Gives the sink back, with the batch whose write failed, if any did, which leaves the list. */
static lc_batch *give_back(lc_carrier *carrier, lc_batch *batches) {
  lc_delivery *stuck = NULL;
  if (carrier->stuck) {
    lc_batch *batch = carrier->delivery->batch, **link = &batches;
    while (*link != NULL && *link != batch) link = &(*link)->next;
    if (*link != NULL) *link = batch->next;
    batch->next = NULL;
    stuck = hand_back(carrier, batch);
  }
  lc_delivery_free_lent(carrier->delivery);
  carrier->feed->pipeline->lent = NULL;
  carrier->sink->ops->unlend(carrier->sink, stuck);
  return batches;
}

/* Edges that came while the job ran do not get what it read: they begin behind it. */
static void pass_unnamed(const lc_carrier *carrier, const lc_batch *batch) {
  const lc_graph *newest = carrier->feed->pipeline->graph;
  for (uint32_t e = 0; newest != NULL && e < newest->n_edges; e++) {
    if (lc_graph_names(carrier->graph, newest->edges[e])) continue;
    for (uint32_t i = 0; i < batch->n_ranges; i++) {
      const lc_range *range = &batch->ranges[i];
      lc_cursor *cursor = &range->source->stream->cursors[newest->edges[e]->index];
      if (cursor->first != NULL || cursor->position > range->end) continue;
      lc_cursor_pass(cursor, range->end, &range->resume);
      cursor->from = range->end;
      cursor->drained = cursor->drained || range->last;
      lc_stream_moved(range->source->stream);
    }
  }
}

void lc_feed_deliver(lc_feed *feed, lc_carrier *carrier, lc_batch *batches) {
  lc_pipeline *pipeline = feed->pipeline;
  count_read(carrier, batches);
  account(carrier);
  for (lc_batch *batch = batches; batch != NULL; batch = batch->next) {
    lc_batch_pool_recharge(pipeline->pool, batch);
    lc_feed_note_ranges(feed, batch);
    if (carrier->graph != pipeline->graph) pass_unnamed(carrier, batch);
  }
  pipeline->carriers--;
  if (carrier->sink != NULL) {
    pass_written(carrier->graph->edges[0], batches);
    batches = give_back(carrier, batches);
  }
  if (carrier->error.code != 0) lc_pipeline_fail(pipeline, carrier->error.message);
  while (batches != NULL) {
    lc_batch *batch = batches;
    batches = batch->next;
    lc_pipeline_enqueue(pipeline, batch, carrier->graph);
  }
  lc_graph_release(carrier->graph);
  lc_engine_wake(pipeline->engine); /* the loop's stages have their turn when the next read job is under way */
}
