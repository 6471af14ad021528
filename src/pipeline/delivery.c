#include <stdlib.h>

#include "base/check.h"
#include "pipeline/inside.h"

/* The pipeline's side of a delivery. It lives until the cursors have passed all its ranges. */
typedef struct delivery {
  lc_delivery public; /* first */
  uint32_t pending;   /* records not yet settled */
  uint32_t dead;      /* of these, refused ones whose dead letters are not written yet */
  uint32_t holds;     /* ranges that a cursor has not yet passed, and one while records are unsettled */
  lc_ledger counts;
  struct delivery *prev, *next; /* edge's list */
  lc_ack acks[];
} delivery;

static void free_delivery(delivery *self) {
  free(self->public.ranges);
  free(self);
}

static delivery *allocate(uint32_t n_ranges) {
  delivery *self = calloc(1, sizeof *self + (size_t)n_ranges * sizeof(lc_ack));
  if (self == NULL) return NULL;
  self->public.ranges = calloc(n_ranges > 0 ? n_ranges : 1, sizeof *self->public.ranges);
  if (self->public.ranges == NULL) {
    free(self);
    return NULL;
  }
  self->public.n_ranges = n_ranges;
  return self;
}

lc_delivery *lc_delivery_create_lent(lc_edge *edge) {
  delivery *self = allocate(0);
  if (self == NULL) return NULL;
  self->public.edge = edge;
  return &self->public;
}

void lc_delivery_free_lent(lc_delivery *public) { free_delivery((delivery *)public); }

static void link_to_edge(delivery *self, lc_edge *edge) {
  self->next = edge->deliveries;
  if (self->next != NULL) self->next->prev = self;
  edge->deliveries = self;
}

static void unlink_from_edge(delivery *self, lc_edge *edge) {
  if (self->prev != NULL) {
    self->prev->next = self->next;
  } else {
    edge->deliveries = self->next;
  }
  if (self->next != NULL) self->next->prev = self->prev;
}

/* The cursors passed a range, or the last record settled. With the last of these our counts are as safe as the cursors.
 */
static void unhold(delivery *self) {
  if (--self->holds > 0) return;
  lc_edge *edge = self->public.edge;
  lc_ledger_add(&edge->saved, &self->counts);
  edge->changed = true;
  unlink_from_edge(self, edge);
  free_delivery(self);
}

static void ack_popped(lc_ack *ack) {
  ack->stream->acks--;
  unhold(ack->owner);
}

/* May free the delivery, unless somebody else holds it. */
static void range_done(delivery *self, uint32_t i) {
  lc_ack *ack = &self->acks[i];
  lc_stream *stream = ack->stream;
  ack->done = true;
  if (lc_cursor_advance(&stream->cursors[self->public.edge->index], ack_popped)) lc_stream_moved(stream);
}

/* Counts what the stages did to records that the sink has not seen in an earlier run. */
static void count_record(lc_ledger *counts, const lc_record *rec) {
  if ((rec->flags & LC_REC_CREATED) != 0) {
    counts->created++;
  } else {
    counts->read++;
  }
  if ((rec->flags & LC_REC_DROPPED) != 0) counts->dropped[rec->flags >> LC_REC_REASON_SHIFT]++;
  if ((rec->flags & LC_REC_DEAD) != 0) counts->dead_lettered++;
}

/* Fills range `i`: which of its records the sink wants. */
static void fill_range(delivery *self, uint32_t i) {
  lc_batch *batch = self->public.batch;
  const lc_range *range = &batch->ranges[i];
  struct lc_delivery_range *ret = &self->public.ranges[i];
  uint64_t skip_until = range->source->stream->cursors[self->public.edge->index].skip_until;
  uint32_t end = range->first + range->count, from = range->first;
  if (range->begin < skip_until) {
    while (from < end && range->begin + batch->records[from].end <= skip_until) from++;
  }
  ret->from = from;
  if (from > range->first) self->public.skips = true;
  for (uint32_t r = from; r < end; r++) ret->pending += lc_record_live(&batch->records[r]);
  self->pending += ret->pending;
}

static void count_batch(delivery *self) {
  const lc_batch *batch = self->public.batch;
  if (!self->public.skips) {
    lc_ledger_add_tally(&self->counts, &batch->tally);
    return;
  }
  self->counts.read_bytes = batch->tally.read_bytes;
  for (uint32_t i = 0; i < batch->n_ranges; i++) {
    const lc_range *range = &batch->ranges[i];
    uint64_t had = 0; /* bytes of lines that were counted in an earlier run */
    for (uint32_t r = range->first; r < self->public.ranges[i].from; r++) had += batch->records[r].body_len + 1u;
    self->counts.read_bytes -= had < self->counts.read_bytes ? had : self->counts.read_bytes;
    for (uint32_t r = self->public.ranges[i].from; r < range->first + range->count; r++) {
      count_record(&self->counts, &batch->records[r]);
    }
  }
}

lc_delivery *lc_delivery_create(lc_edge *edge, lc_batch *batch) {
  delivery *self = allocate(batch->n_ranges);
  if (self == NULL) return NULL;
  self->public.batch = batch;
  self->public.edge = edge;
  for (uint32_t i = 0; i < batch->n_ranges; i++) {
    const lc_range *range = &batch->ranges[i];
    lc_stream *stream = range->source->stream;
    self->acks[i] = (lc_ack){
        .end = range->end, .resume = range->resume, .final = range->last, .stream = stream, .owner = self};
    fill_range(self, i);
    lc_cursor_expect(&stream->cursors[edge->index], &self->acks[i]);
    stream->acks++;
  }
  self->holds = batch->n_ranges + 1;
  count_batch(self);
  lc_ledger_add(&edge->total, &self->counts);
  batch->refs++;
  edge->in_flight++;
  link_to_edge(self, edge);
  return &self->public;
}

void lc_batch_release(lc_pipeline *pipeline, lc_batch *batch) {
  if (batch->refs > 0 && --batch->refs > 0) return;
  lc_batch_pool_put(pipeline->pool, batch);
}

/* No record is left to settle: the batch may go. */
static void complete(delivery *self) {
  lc_batch *batch = self->public.batch;
  lc_pipeline *pipeline = self->public.edge->pipeline;
  self->public.batch = NULL;
  self->public.edge->in_flight--;
  unhold(self);
  lc_batch_release(pipeline, batch);
  lc_engine_wake(pipeline->engine);
}

bool lc_delivery_begin(lc_delivery *public) {
  delivery *self = (delivery *)public;
  for (uint32_t i = 0; i < public->n_ranges; i++) {
    if (public->ranges[i].pending == 0) range_done(self, i);
  }
  if (self->pending == 0) {
    complete(self);
    return false;
  }
  lc_sink *sink = public->edge->sink;
  atomic_fetch_add_explicit(&sink->resource.records_in, self->pending, memory_order_relaxed);
  return true;
}

void lc_delivery_start(lc_delivery *public) {
  lc_sink *sink = public->edge->sink;
  if (lc_delivery_begin(public)) sink->ops->submit(sink, public);
}

static void count_outcome(lc_delivery *public, uint64_t n, lc_outcome outcome) {
  delivery *self = (delivery *)public;
  lc_edge *edge = public->edge;
  lc_ledger counts = {0};
  edge->settled += n;
  if (outcome == LC_DELIVERED) {
    counts.delivered = n;
    atomic_fetch_add_explicit(&edge->sink->resource.records_out, n, memory_order_relaxed);
  }
  if (outcome == LC_REFUSED) counts.dead_lettered = n;
  if (outcome == LC_DROPPED) counts.dropped[LC_DROP_FULL] = n;
  lc_ledger_add(&self->counts, &counts);
  lc_ledger_add(&edge->total, &counts);
}

void lc_delivery_settle_counted(lc_delivery *public, uint32_t first, uint32_t count, lc_outcome outcome) {
  delivery *self = (delivery *)public;
  lc_batch *batch = public->batch;
  uint64_t settled = 0;
  lc_require(first <= batch->n_records && count <= batch->n_records - first);
  for (uint32_t i = first; i < first + count; i++) {
    if (!lc_delivery_wants(public, i)) continue;
    uint32_t range = batch->records[i].range;
    lc_require(public->ranges[range].pending > 0 && self->pending > 0);
    settled++;
    self->pending--;
    if (--public->ranges[range].pending == 0) range_done(self, range); /* our own hold keeps us */
  }
  count_outcome(public, settled, outcome);
  if (self->pending == 0) complete(self);
}

void lc_delivery_settle_all(lc_delivery *public, lc_outcome outcome, const char *reason) {
  delivery *self = (delivery *)public;
  if (outcome == LC_REFUSED) {
    lc_delivery_settle(public, 0, public->batch->n_records, outcome, reason);
    return;
  }
  count_outcome(public, self->pending, outcome);
  self->pending = 0;
  for (uint32_t i = 0; i < public->n_ranges; i++) {
    if (public->ranges[i].pending == 0) continue;
    public->ranges[i].pending = 0;
    range_done(self, i);
  }
  complete(self);
}

void lc_delivery_dead(lc_delivery *public, int64_t change) {
  delivery *self = (delivery *)public;
  self->dead = (uint32_t)((int64_t)self->dead + change);
}

bool lc_delivery_only_dead(const lc_delivery *public) {
  const delivery *self = (const delivery *)public;
  return self->dead == self->pending;
}

void lc_delivery_settle(lc_delivery *public, uint32_t first, uint32_t count, lc_outcome outcome, const char *reason) {
  if (outcome == LC_REFUSED) {
    lc_dead_refused(public, first, count, reason);
  } else {
    lc_delivery_settle_counted(public, first, count, outcome);
  }
}

void lc_delivery_discard(lc_delivery *public) {
  delivery *self = (delivery *)public;
  lc_batch *batch = public->batch;
  lc_pipeline *pipeline = public->edge->pipeline;
  if (self->dead > 0) lc_dead_forget(pipeline->engine, public);
  pipeline->discarded += self->pending;
  public->batch = NULL;
  public->edge->in_flight--;
  /* Its acks stay in their cursors' queues, never done: no cursor moves past them. Freed with the pipeline. */
  lc_batch_release(pipeline, batch);
  lc_engine_wake(pipeline->engine);
}

void lc_edge_free_deliveries(lc_edge *edge) {
  while (edge->deliveries != NULL) {
    delivery *self = edge->deliveries;
    edge->deliveries = self->next;
    free_delivery(self);
  }
}

static uint64_t unsettled(const delivery *self) {
  uint64_t records = 0;
  for (uint32_t i = 0; i < self->public.n_ranges; i++) records += self->public.ranges[i].pending;
  return records;
}

void lc_edge_abandon_deliveries(lc_edge *edge) {
  for (const delivery *self = edge->deliveries; self != NULL; self = self->next) {
    edge->total.abandoned += unsettled(self);
    lc_ledger_add(&edge->saved, &self->counts);
    edge->saved.abandoned += unsettled(self);
    edge->pipeline->discarded -= unsettled(self); /* by its sink, when it closed */
    edge->changed = true;
  }
  lc_edge_free_deliveries(edge);
}

uint64_t lc_edge_in_flight(const lc_edge *edge) {
  uint64_t records = 0;
  for (const delivery *self = edge->deliveries; self != NULL; self = self->next) records += unsettled(self);
  return records;
}
