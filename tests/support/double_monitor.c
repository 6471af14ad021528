#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "support/doubles.h"

#define PARTITIONS 8

typedef struct partition {
  lc_source *source; /* NULL: not assigned */
  char key[64];
  uint32_t total, next, resumed_at;
  bool ended;
} partition;

struct double_monitor {
  lc_monitor base; /* first */
  lc_runtime *runtime;
  partition partitions[PARTITIONS];
  uint32_t n_partitions, per_batch, settled, refills, train, jobs;
  uint32_t adopted_batch; /* per_batch from the next job on; 0: as it is */
  bool started, stopping, closing, finished, forgets;
  lc_fit fit;
  struct job *job;
};

typedef struct job {
  uv_work_t work;
  double_monitor *monitor;
  lc_carrier carrier;
  lc_batch *batch;  /* the filled ones, after the job */
  lc_batch *empty;
} job;

static void next_job(double_monitor *self);

/* The mark is the index in plain bytes; the position is 1,000 a record, from 500,000. */
static uint64_t position_of(uint32_t index) { return 500000u + (uint64_t)index * DOUBLE_STEP; }

static lc_mark mark_of(uint32_t index) {
  lc_mark mark = {{0}};
  snprintf((char *)mark.bytes, sizeof mark.bytes, "index %u", index);
  return mark;
}

static void free_source(lc_source *source) {
  lc_source_deinit(source);
  free(source);
}

static void attach(double_monitor *self, partition *part) {
  lc_error error = {0};
  lc_source *source = calloc(1, sizeof *source);
  lc_require(source != NULL && lc_source_init(source, part->key, part->key, free_source) == 0);
  source->resume_at = position_of(0);
  source->resume = mark_of(0);
  lc_require(lc_feed_attach(self->base.feed, source, &error) == 0);
  lc_require(sscanf((char *)source->resume.bytes, "index %u", &part->next) == 1);
  lc_require(source->resume_at == position_of(part->next));
  part->source = source;
  part->resumed_at = part->next;
  part->ended = false;
}

static void add_record(lc_batch *batch, lc_range *range, partition *part, uint32_t end_index) {
  char line[96];
  int len = snprintf(line, sizeof line, "%s %u", part->key, part->next);
  lc_record *rec = lc_batch_add_record(batch);
  lc_require(rec != NULL);
  rec->body = batch->data_len;
  rec->body_len = (uint32_t)len;
  memcpy(batch->base[0] + batch->data_len, line, (size_t)len);
  batch->base[0][batch->data_len + (uint32_t)len] = '\n';
  batch->data_len += (uint32_t)len + 1;
  rec->end = (uint32_t)(position_of(end_index) - range->begin);
  batch->tally.read++;
  batch->tally.read_bytes += (uint64_t)len + 1;
}

static void fill_batch(double_monitor *self, lc_batch *batch) {
  uint32_t room = self->per_batch;
  for (uint32_t i = 0; i < self->n_partitions && room > 0; i++) {
    partition *part = &self->partitions[i];
    if (part->source == NULL || part->ended) continue;
    uint32_t n = part->total - part->next < room ? part->total - part->next : room;
    if (n > (self->per_batch + 1) / 2) n = (self->per_batch + 1) / 2; /* so that partitions share batches */
    lc_range *range = lc_batch_add_range(batch, part->source, position_of(part->next));
    lc_require(range != NULL);
    for (uint32_t r = 0; r < n; r++) {
      add_record(batch, range, part, part->next + 1);
      part->next++;
    }
    range->end = position_of(part->next);
    range->resume = mark_of(part->next);
    range->last = part->ended = part->next == part->total;
    room -= n;
  }
}

static bool anything_left(const double_monitor *self) {
  for (uint32_t i = 0; i < self->n_partitions; i++) {
    if (self->partitions[i].source != NULL && !self->partitions[i].ended) return true;
  }
  return false;
}

static void fill(uv_work_t *work) {
  job *task = work->data;
  double_monitor *self = task->monitor;
  lc_batch **end = &task->batch;
  uint32_t refills = 0;
  while (task->empty != NULL) {
    lc_batch *batch = task->empty;
    fill_batch(self, batch);
    if (lc_carrier_process(&task->carrier, batch) == LC_CARRIER_REFILL && refills++ < self->refills &&
        anything_left(self)) {
      continue;
    }
    task->empty = batch->next;
    batch->next = NULL;
    *end = batch;
    end = &batch->next;
    if (!anything_left(self)) break;
  }
}

/* The end of its closing. */
static void release_sources(double_monitor *self) {
  for (uint32_t i = 0; i < self->n_partitions; i++) {
    lc_source_release(self->partitions[i].source);
    self->partitions[i].source = NULL;
  }
  lc_resource_closed(&self->base.resource);
}

static void filled(uv_work_t *work, int status) {
  (void)status;
  job *task = work->data;
  double_monitor *self = task->monitor;
  self->job = NULL;
  while (task->empty != NULL) {
    lc_batch *batch = task->empty;
    task->empty = batch->next;
    lc_feed_give_back(self->base.feed, batch);
  }
  lc_feed_deliver(self->base.feed, &task->carrier, task->batch);
  free(task);
  if (self->closing) release_sources(self);
  if (self->stopping) {
    lc_monitor_stopped(&self->base);
  } else {
    next_job(self);
  }
}

static void next_job(double_monitor *self) {
  if (self->job != NULL || self->stopping || self->closing || !self->started || self->jobs == 0) return;
  if (!anything_left(self)) {
    if (!self->finished && self->runtime->once) lc_monitor_finished(&self->base, 0);
    self->finished = true;
    return;
  }
  lc_batch *batch = lc_feed_take(self->base.feed);
  if (batch == NULL) return;
  job *task = calloc(1, sizeof *task);
  lc_require(task != NULL);
  task->work.data = task;
  task->monitor = self;
  task->empty = batch;
  for (uint32_t i = 1; i < self->train && batch != NULL; i++) batch = batch->next = lc_feed_take(self->base.feed);
  self->job = task;
  if (self->adopted_batch != 0) self->per_batch = self->adopted_batch;
  self->adopted_batch = 0;
  self->jobs--;
  lc_carrier_begin(self->base.feed, &task->carrier);
  lc_require(uv_queue_work(self->runtime->loop, &task->work, fill, filled) == 0);
}

static int open_it(lc_monitor *monitor, lc_runtime *runtime, lc_feed *feed, lc_error *error) {
  (void)error;
  monitor->feed = feed;
  ((double_monitor *)monitor)->runtime = runtime;
  return 0;
}

static void start(lc_monitor *monitor) {
  double_monitor *self = (double_monitor *)monitor;
  self->started = true;
  for (uint32_t i = 0; i < self->n_partitions; i++) attach(self, &self->partitions[i]);
  next_job(self);
}

static void room(lc_monitor *monitor) { next_job((double_monitor *)monitor); }

static void settled(lc_monitor *monitor, lc_source *source) {
  double_monitor *self = (double_monitor *)monitor;
  self->settled++;
  if (!self->forgets) return;
  for (uint32_t i = 0; i < self->n_partitions; i++) {
    if (self->partitions[i].source == source) self->partitions[i].source = NULL;
  }
  lc_feed_detach(monitor->feed, source);
  lc_feed_abandon(monitor->feed, source->key, source->name, 0);
  lc_source_release(source);
}

void double_monitor_forget_settled(double_monitor *monitor) { monitor->forgets = true; }

static void stop(lc_monitor *monitor) {
  double_monitor *self = (double_monitor *)monitor;
  self->stopping = true;
  if (self->job == NULL) lc_monitor_stopped(monitor);
}

static bool replayable(lc_monitor *monitor, const lc_stored_source *stored) {
  (void)monitor;
  return stored->key[0] != '-'; /* a partition whose name begins with a dash is gone for ever */
}

static const lc_monitor_ops ops = {
    .open = open_it, .start = start, .room = room, .settled = settled, .stop = stop, .replayable = replayable};

static void close_it(lc_resource *res) {
  double_monitor *self = (double_monitor *)res;
  self->closing = true;
  if (self->job == NULL) release_sources(self);
}

static void destroy(lc_resource *res) { free(res); }

static lc_fit fit(const lc_resource *res, const lc_resource *described) {
  (void)described;
  return ((const double_monitor *)res)->fit;
}

static void adopt(lc_resource *res, lc_resource *described) {
  ((double_monitor *)res)->adopted_batch = ((double_monitor *)described)->per_batch; /* a job reads the other one */
}

static const lc_resource_ops resource_ops = {.close = close_it, .destroy = destroy, .fit = fit, .adopt = adopt};

double_monitor *double_monitor_create(lc_registry *registry, const char *name) {
  double_monitor *self = calloc(1, sizeof *self);
  lc_error error = {0};
  lc_require(self != NULL);
  lc_require(lc_resource_init(&self->base.resource, registry, &resource_ops, "double_monitor", name, name, "t:1", &error) == 0);
  self->base.ops = &ops;
  self->per_batch = 100;
  self->train = 1;
  self->jobs = UINT32_MAX;
  return self;
}

lc_monitor *double_monitor_base(double_monitor *monitor) { return &monitor->base; }

static partition *find(double_monitor *self, const char *key) {
  for (uint32_t i = 0; i < self->n_partitions; i++) {
    if (strcmp(self->partitions[i].key, key) == 0) return &self->partitions[i];
  }
  lc_require(self->n_partitions < PARTITIONS);
  partition *part = &self->partitions[self->n_partitions++];
  snprintf(part->key, sizeof part->key, "%s", key);
  return part;
}

void double_monitor_partition(double_monitor *monitor, const char *key, uint32_t n) { find(monitor, key)->total = n; }
void double_monitor_batch(double_monitor *monitor, uint32_t records) { monitor->per_batch = records; }
void double_monitor_jobs(double_monitor *monitor, uint32_t jobs) {
  monitor->jobs = jobs;
  next_job(monitor);
}
void double_monitor_train(double_monitor *monitor, uint32_t batches, uint32_t refills) {
  monitor->train = batches;
  monitor->refills = refills;
}

void double_monitor_revoke(double_monitor *monitor, const char *key) {
  partition *part = find(monitor, key);
  lc_require(monitor->job == NULL && part->source != NULL);
  lc_feed_detach(monitor->base.feed, part->source);
  lc_source_release(part->source);
  part->source = NULL;
}

void double_monitor_assign(double_monitor *monitor, const char *key) {
  attach(monitor, find(monitor, key));
  monitor->finished = false;
  next_job(monitor);
}

uint32_t double_monitor_resumed_at(double_monitor *monitor, const char *key) { return find(monitor, key)->resumed_at; }
uint32_t double_monitor_settled(double_monitor *monitor) { return monitor->settled; }
void double_monitor_fit(double_monitor *monitor, lc_fit wanted) { monitor->fit = wanted; }
