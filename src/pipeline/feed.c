#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "pipeline/inside.h"

lc_feed *lc_feed_create(lc_pipeline *pipeline, lc_monitor *monitor) {
  lc_feed *feed = calloc(1, sizeof *feed);
  if (feed == NULL) return NULL;
  *feed = (lc_feed){.pipeline = pipeline, .monitor = monitor};
  lc_resource_retain(&monitor->resource);
  return feed;
}

bool lc_feed_shed(lc_feed *feed, uint32_t most) {
  for (; feed->streams != NULL && most > 0; most--) lc_stream_unlink(feed->streams);
  return feed->streams == NULL;
}

void lc_feed_destroy(lc_feed *feed) {
  while (feed->streams != NULL) lc_stream_unlink(feed->streams);
  lc_feed_unload(feed);
  if (feed->monitor->feed == feed) feed->monitor->feed = NULL;
  lc_resource_release(&feed->monitor->resource);
  free(feed);
}

/* --- what the store knows --- */

static lc_known **bucket_of(const lc_feed *feed, const char *key) {
  return &feed->known[lc_hash64(key, strlen(key)) & (feed->known_buckets - 1)];
}

lc_known *lc_feed_known(const lc_feed *feed, const char *key) {
  if (feed->known == NULL) return NULL;
  lc_known *known = *bucket_of(feed, key);
  while (known != NULL && strcmp(known->key, key) != 0) known = known->next;
  return known;
}

static void free_known(lc_known *known) {
  if (known == NULL) return;
  free(known->key);
  free(known->name);
  free(known->cursors);
  free(known);
}

static int grow_table(lc_feed *feed) {
  uint32_t buckets = feed->known_buckets > 0 ? feed->known_buckets * 2 : 64;
  lc_known **old = feed->known, **table = calloc(buckets, sizeof(lc_known *));
  if (table == NULL) return LC_ENOMEM;
  uint32_t old_buckets = feed->known_buckets;
  feed->known = table;
  feed->known_buckets = buckets;
  for (uint32_t i = 0; i < old_buckets; i++) {
    for (lc_known *known = old[i], *next; known != NULL; known = next) {
      next = known->next;
      lc_known **bucket = bucket_of(feed, known->key);
      known->next = *bucket;
      *bucket = known;
    }
  }
  free(old);
  return 0;
}

static lc_known *add_known(lc_feed *feed, uint64_t id, const char *key, const char *name, int64_t seen_ns) {
  if (feed->n_known >= feed->known_buckets && grow_table(feed) != 0) return NULL;
  lc_known *known = calloc(1, sizeof *known);
  if (known == NULL) return NULL;
  known->id = id;
  known->seen_ns = seen_ns;
  known->key = strdup(key);
  known->name = strdup(name);
  if (known->key == NULL || known->name == NULL) {
    free_known(known);
    return NULL;
  }
  lc_known **bucket = bucket_of(feed, key);
  known->next = *bucket;
  *bucket = known;
  feed->n_known++;
  return known;
}

static void forget_known(lc_feed *feed, const char *key) {
  if (feed->known == NULL) return;
  lc_known **link = bucket_of(feed, key);
  while (*link != NULL && strcmp((*link)->key, key) != 0) link = &(*link)->next;
  if (*link == NULL) return;
  lc_known *known = *link;
  *link = known->next;
  feed->n_known--;
  free_known(known);
}

lc_stored_cursor *lc_known_cursor_of(lc_known *known, uint32_t sink_id, bool create) {
  for (uint32_t i = 0; i < known->n_cursors; i++) {
    if (known->cursors[i].sink_id == sink_id) return &known->cursors[i].cursor;
  }
  if (!create) return NULL;
  struct lc_known_cursor *grown = realloc(known->cursors, (known->n_cursors + 1) * sizeof *grown);
  if (grown == NULL) return NULL;
  known->cursors = grown;
  grown[known->n_cursors] = (struct lc_known_cursor){.sink_id = sink_id};
  return &grown[known->n_cursors++].cursor;
}

typedef struct loading {
  lc_feed *feed;
  lc_known *known; /* whose cursors come */
} loading;

static int load_known(void *arg, uint64_t id, const char *key, const char *name, int64_t seen_ns, uint32_t sink_id,
                      const lc_stored_cursor *cursor) {
  loading *self = arg;
  if (self->known == NULL || self->known->id != id) self->known = add_known(self->feed, id, key, name, seen_ns);
  if (self->known == NULL) return LC_ENOMEM;
  if (cursor == NULL) return 0;
  lc_stored_cursor *ret = lc_known_cursor_of(self->known, sink_id, true);
  if (ret == NULL) return LC_ENOMEM;
  *ret = *cursor;
  return 0;
}

int lc_feed_load(lc_feed *feed, lc_store *store, lc_error *error) {
  loading self = {.feed = feed};
  return lc_store_each_known(store, feed->monitor_id, load_known, &self, error);
}

void lc_feed_unload(lc_feed *feed) {
  for (uint32_t i = 0; i < feed->known_buckets; i++) {
    for (lc_known *known = feed->known[i], *next; known != NULL; known = next) {
      next = known->next;
      free_known(known);
    }
  }
  free(feed->known);
  feed->known = NULL;
  feed->known_buckets = feed->n_known = 0;
}

/* The lowest cursor over the sinks that the pipeline has now. A sink without a cursor starts where the others are least
 * far, so that it misses nothing that is still there. */
bool lc_known_lowest(const lc_feed *feed, const lc_known *known, lc_stored_source *ret) {
  *ret = (lc_stored_source){.key = known->key, .name = known->name, .seen_ns = known->seen_ns};
  bool found = false;
  ret->drained = ret->idle = true;
  for (uint32_t e = 0; e < feed->pipeline->n_edges; e++) {
    if (feed->pipeline->edges[e] == NULL || feed->pipeline->edges[e]->graphs == 0) continue;
    uint32_t sink_id = feed->pipeline->edges[e]->sink->store_id;
    const lc_stored_cursor *cursor = lc_known_cursor_of((lc_known *)known, sink_id, false);
    if (cursor == NULL) continue;
    if (cursor->state != LC_CURSOR_DRAINED) ret->drained = false;
    if (cursor->state == LC_CURSOR_ACTIVE) ret->idle = false;
    if (!found || cursor->position < ret->lowest) {
      ret->lowest = cursor->position;
      ret->mark = cursor->mark;
    }
    found = true;
  }
  ret->drained = ret->drained && found;
  return found;
}

int lc_feed_each_stored(lc_feed *feed, int (*each)(void *arg, const lc_stored_source *stored), void *arg) {
  for (uint32_t i = 0; i < feed->known_buckets; i++) {
    for (lc_known *known = feed->known[i], *next; known != NULL; known = next) {
      next = known->next; /* `each` may forget it */
      lc_stored_source stored;
      if (!lc_known_lowest(feed, known, &stored)) continue;
      int rc = each(arg, &stored);
      if (rc != 0) return rc;
    }
  }
  return 0;
}

bool lc_feed_replayable(lc_feed *feed, uint32_t sink_id) {
  lc_monitor *monitor = feed->monitor;
  for (uint32_t i = 0; i < feed->known_buckets; i++) {
    for (lc_known *known = feed->known[i]; known != NULL; known = known->next) {
      const lc_stored_cursor *cursor = lc_known_cursor_of(known, sink_id, false);
      lc_stored_source stored;
      if (cursor == NULL || cursor->state != LC_CURSOR_ACTIVE || !lc_known_lowest(feed, known, &stored)) continue;
      if (monitor->ops->replayable == NULL || !monitor->ops->replayable(monitor, &stored)) return false;
    }
  }
  return true;
}

/* --- sources --- */

/* Sets the cursor of an edge: to what is stored, else to `position`. */
void lc_cursor_start(lc_stream *stream, uint32_t slot, uint64_t position, const lc_mark *mark) {
  lc_cursor *cursor = &stream->cursors[slot];
  uint32_t sink_id = stream->feed->pipeline->edges[slot]->sink->store_id;
  const lc_stored_cursor *stored = lc_known_cursor_of(stream->known, sink_id, false);
  *cursor = (lc_cursor){.position = position, .from = position, .mark = *mark};
  if (stored == NULL || stored->position < position) return;
  cursor->position = cursor->skip_until = stored->position;
  cursor->mark = stored->mark;
  cursor->drained = stored->state == LC_CURSOR_DRAINED;
  if (cursor->skip_until > stream->skip_most) atomic_store(&stream->skip_most, cursor->skip_until);
}

static int new_stream(lc_feed *feed, lc_source *source, lc_known *known, lc_error *error) {
  const lc_pipeline *pipeline = feed->pipeline;
  lc_stream *stream = calloc(1, sizeof *stream);
  if (stream != NULL) stream->cursors = calloc(pipeline->n_edges + 1u, sizeof(lc_cursor));
  if (stream == NULL || stream->cursors == NULL) {
    free(stream);
    return lc_error_set(error, LC_ENOMEM, "no memory to follow %s", source->name);
  }
  stream->source = source;
  stream->feed = feed;
  stream->known = known;
  known->uses++;
  for (uint32_t e = 0; e < pipeline->n_edges; e++) {
    if (pipeline->edges[e] != NULL) lc_cursor_start(stream, e, source->resume_at, &source->resume);
  }
  stream->delivered_to = source->resume_at;
  stream->delivered_mark = source->resume;
  stream->next = feed->streams;
  if (stream->next != NULL) stream->next->prev = stream;
  feed->streams = stream;
  feed->n_streams++;
  lc_source_retain(source);
  source->stream = stream;
  if (!source->known) lc_stream_note_new(stream);
  return 0;
}

void lc_known_update(lc_known *known, const lc_stream *stream) {
  const lc_pipeline *pipeline = stream->feed->pipeline;
  for (uint32_t e = 0; e < pipeline->n_edges; e++) {
    if (pipeline->edges[e] == NULL || pipeline->edges[e]->after != NULL || pipeline->edges[e]->over) continue;
    const lc_cursor *cursor = &stream->cursors[e];
    lc_stored_cursor *row = lc_known_cursor_of(known, pipeline->edges[e]->sink->store_id, true);
    if (row != NULL) *row = (lc_stored_cursor){cursor->position, cursor->mark, LC_CURSOR_ACTIVE};
  }
}

/* A source that comes back while ranges of its former self are still settling resumes at what is acked by now. */
static void update_from_former(const lc_feed *feed, lc_known *known) {
  const lc_stream *stream = feed->streams;
  while (stream != NULL && stream->known != known) stream = stream->next;
  if (stream != NULL) lc_known_update(known, stream);
}

/* What was forgotten under this key has nothing to do with what has it now. */
static void revive(lc_feed *feed, lc_known *known) {
  known->forgotten = false;
  known->n_cursors = 0;
  lc_forget **link = &feed->pipeline->engine->forgets;
  while (*link != NULL) {
    lc_forget *forget = *link;
    if (forget->source_id != known->id || forget->in_commit) { /* one under way deletes; the next commit writes anew */
      link = &forget->next;
      continue;
    }
    *link = forget->next;
    free(forget);
  }
}

int lc_feed_attach(lc_feed *feed, lc_source *source, lc_error *error) {
  lc_known *known = lc_feed_known(feed, source->key);
  if (known != NULL && known->forgotten) revive(feed, known);
  if (known != NULL && known->uses > 0) update_from_former(feed, known);
  if (known == NULL) {
    uint64_t id = lc_store_new_source_id(feed->pipeline->engine->runtime->store);
    known = add_known(feed, id, source->key, source->name, 0);
    if (known == NULL) return lc_error_set(error, LC_ENOMEM, "no memory to follow %s", source->name);
  }
  lc_stored_source stored;
  source->known = lc_known_lowest(feed, known, &stored);
  if (source->known) {
    source->resume_at = stored.lowest;
    source->resume = stored.mark;
  }
  return new_stream(feed, source, known, error);
}

void lc_stream_unlink(lc_stream *stream) {
  lc_feed *feed = stream->feed;
  if (stream->prev != NULL) {
    stream->prev->next = stream->next;
  } else {
    feed->streams = stream->next;
  }
  if (stream->next != NULL) stream->next->prev = stream->prev;
  feed->n_streams--;
  lc_known *known = stream->known;
  if (--known->uses == 0 && known->forgotten) forget_known(feed, known->key);
  lc_source *source = stream->source;
  source->stream = NULL;
  free(stream->cursors);
  free(stream);
  lc_source_release(source);
}

void lc_feed_detach(lc_feed *feed, lc_source *source) {
  (void)feed;
  if (source->stream == NULL) return;
  source->stream->detached = true;
  lc_stream_collect(source->stream);
}

void lc_stream_collect(lc_stream *stream) {
  if (stream->detached && !stream->active && stream->acks == 0 && stream->queued == 0) lc_stream_unlink(stream);
}

void lc_feed_abandon(lc_feed *feed, const char *key, const char *name, uint64_t lost_bytes) {
  lc_pipeline *pipeline = feed->pipeline;
  lc_known *known = lc_feed_known(feed, key);
  if (lost_bytes > 0) {
    for (uint32_t e = 0; e < pipeline->n_edges; e++) {
      if (pipeline->edges[e] == NULL) continue;
      pipeline->edges[e]->total.abandoned_bytes += lost_bytes;
      pipeline->edges[e]->saved.abandoned_bytes += lost_bytes;
      pipeline->edges[e]->changed = true;
    }
    lc_log(LC_LOG_ERROR, "pipeline", "source is gone before it was read to its end",
           LC_S("pipeline", pipeline->resource.name), LC_S("source", name), LC_I("lost_bytes", lost_bytes));
  }
  if (known != NULL) {
    lc_forget *forget = malloc(sizeof *forget);
    if (forget != NULL) { /* else the row stays, and is forgotten in a later run */
      *forget = (lc_forget){.source_id = known->id, .next = pipeline->engine->forgets};
      pipeline->engine->forgets = forget;
    }
    known->forgotten = true;
    if (known->uses == 0) forget_known(feed, key);
  }
  lc_engine_commit_soon(pipeline->engine, 1000);
}

/* --- batches --- */

uint32_t lc_feed_block_size(const lc_feed *feed) { return lc_batch_pool_block_size(feed->pipeline->pool); }

lc_batch *lc_feed_take(lc_feed *feed) {
  lc_pipeline *pipeline = feed->pipeline;
  lc_engine_phase phase = pipeline->engine->phase;
  if (pipeline->paused && !feed->stop_asked && !feed->leaving) return NULL; /* lc_engine_pause gives room again */
  if (pipeline->failed || feed->stopped || (phase != LC_ENGINE_RUNS && phase != LC_ENGINE_STOPS)) return NULL;
  lc_batch *batch = lc_batch_pool_take(pipeline->pool);
  if (batch == NULL) {
    for (uint32_t e = 0; e < pipeline->n_edges; e++) {
      if (pipeline->edges[e] == NULL) continue;
      lc_sink *sink = pipeline->edges[e]->sink;
      if (sink->ops->flush != NULL) sink->ops->flush(sink);
    }
    return NULL;
  }
  batch->read_ns = lc_clock_wall();
  return batch;
}

void lc_feed_give_back(lc_feed *feed, lc_batch *batch) { lc_batch_pool_put(feed->pipeline->pool, batch); }

/* Checks that ranges touch: a gap here is a reader's bug, and must show. */
void lc_feed_note_ranges(lc_feed *feed, lc_batch *batch) {
  for (uint32_t i = 0; i < batch->n_ranges; i++) {
    const lc_range *range = &batch->ranges[i];
    lc_stream *stream = range->source->stream;
    if (range->begin != stream->delivered_to && stream->delivered_once) {
      feed->pipeline->gaps++;
      lc_log(LC_LOG_ERROR, "pipeline", "ranges of a source do not touch", LC_S("source", range->source->name),
             LC_I("expected", stream->delivered_to), LC_I("begins", range->begin));
    }
    stream->delivered_once = true;
    stream->delivered_to = range->end;
    stream->delivered_mark = range->resume;
    stream->queued++;
    stream->told = false; /* of an end that may come after these */
  }
}
