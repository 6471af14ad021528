/* Commits: a snapshot of what moved, taken on the loop thread between two callbacks, saved by one pool job.
 *
 * A source's rows say ACTIVE before a sink may see its first byte behind the cursor, and IDLE again once all that was
 * read is acked and saved. So after a crash the rows tell which sources can have left something in an output's tail. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "pipeline/inside.h"

#define COMMIT_EVERY_MS 1000u
#define COMMIT_NEW_MS 20u /* a new source must be known before somebody can stop us */

typedef struct commit_job {
  uv_work_t work;
  lc_engine *engine;
  lc_changes changes;
  lc_sink **sinks; /* owned, each counted: those that the snapshot was taken of */
  uint32_t n_sinks;
  lc_store_safety safety;
  int rc;
  lc_error error;
} commit_job;

static void start_commit(lc_engine *engine);

static void on_timer(uv_timer_t *timer) { start_commit(timer->data); }

void lc_engine_commit_soon(lc_engine *engine, uint64_t within_ms) {
  if (engine->phase < LC_ENGINE_RUNS || engine->phase > LC_ENGINE_COMMITS) return;
  if (engine->last_failures > 0 && within_ms == 0) within_ms = COMMIT_EVERY_MS; /* whoever asks, and however often */
  if (engine->commit_running) {
    engine->commit_wanted = engine->commit_wanted || within_ms == 0;
    return;
  }
  if (uv_is_active((uv_handle_t *)&engine->commit_timer) &&
      uv_timer_get_due_in(&engine->commit_timer) <= within_ms) {
    return;
  }
  uv_timer_start(&engine->commit_timer, on_timer, within_ms, 0);
}

static void add_active(lc_stream *stream) {
  if (stream->active) return;
  lc_pipeline *pipeline = stream->feed->pipeline;
  stream->active = true;
  stream->next_active = pipeline->active;
  pipeline->active = stream;
}

void lc_stream_activate(lc_stream *stream) {
  stream->waits = true;
  add_active(stream);
  lc_engine_commit_soon(stream->feed->pipeline->engine, 0);
}

void lc_stream_moved(lc_stream *stream) {
  stream->moved = true;
  add_active(stream);
  lc_engine_commit_soon(stream->feed->pipeline->engine, COMMIT_EVERY_MS);
}

void lc_stream_note_new(lc_stream *stream) {
  stream->moved = true;
  add_active(stream);
  lc_engine_commit_soon(stream->feed->pipeline->engine, COMMIT_NEW_MS);
}

void lc_stream_rows_changed(lc_stream *stream) {
  stream->rows_stale = true;
  atomic_store_explicit(&stream->live, false, memory_order_release);
  lc_stream_moved(stream);
}

/* Nothing of it is anywhere between its reader and its sinks. */
static bool at_rest(const lc_stream *stream) {
  return stream->feed->pipeline->lent == NULL && stream->queued == 0 && stream->acks == 0 && !stream->waits;
}

bool lc_sink_commit(lc_sink *sink) {
  lc_engine *engine = sink->engine;
  if (engine == NULL || engine->phase < LC_ENGINE_RUNS || engine->phase > LC_ENGINE_COMMITS) return false;
  if (engine->phase == LC_ENGINE_COMMITS && engine->forced) return false;
  lc_engine_commit_soon(engine, 0);
  return true;
}

/* An edge is saved together with what its sink adds to the snapshot, or not at all. A sink that somebody closed in use
 * has waited for the commit that has the last of it, and its cursors stand still since then. */
static bool is_saved(const lc_edge *edge) {
  return !edge->over && lc_resource_state_of(&edge->sink->resource) != LC_RES_DESCRIBED;
}

/* An edge that no graph names has all of the source that it will ever have. */
static bool left(const lc_edge *edge, const lc_cursor *cursor) { return edge->graphs == 0 && cursor->first == NULL; }

static int add_stream(lc_stream *stream, lc_changes *changes, int64_t now_ns) {
  lc_feed *feed = stream->feed;
  bool rest = at_rest(stream);
  const char *name = stream->source->name;
  if (!stream->moved && !stream->waits && !rest && name == stream->saved_name) return 0;
  uint64_t id = stream->known->id;
  int rc = lc_changes_source(changes, id, feed->monitor_id, stream->source->key, name, now_ns);
  for (uint32_t e = 0; rc == 0 && e < feed->pipeline->n_edges; e++) {
    const lc_edge *edge = feed->pipeline->edges[e];
    if (edge == NULL || edge->after != NULL || !is_saved(edge)) continue; /* of those that follow one another one */
    const lc_cursor *cursor = &stream->cursors[e];
    lc_stored_cursor row = {cursor->position, cursor->mark, LC_CURSOR_ACTIVE};
    bool again = feed->pipeline->failed && cursor->position < stream->delivered_to; /* it was discarded */
    if ((left(edge, cursor) || rest) && !again && !edge->forced) {
      row.state = cursor->drained ? LC_CURSOR_DRAINED : LC_CURSOR_IDLE;
    }
    rc = lc_changes_cursor(changes, id, edge->sink->store_id, &row);
  }
  if (rc != 0) return rc;
  stream->in_commit = true;
  stream->going_idle = rest;
  if (rest) atomic_store_explicit(&stream->live, false, memory_order_release);
  stream->moved = false;
  stream->rows_stale = false;
  stream->saved_name = name;
  return 0;
}

static int add_pipeline(lc_pipeline *pipeline, lc_changes *changes, int64_t now_ns) {
  lc_pipeline_check_sinks(pipeline); /* before its rows say that nothing is to be read again, also while logcap stops */
  for (uint32_t e = 0; e < pipeline->n_edges; e++) { /* what is never acked holds no stream */
    if (pipeline->edges[e] != NULL) lc_edge_forget_closed(pipeline->edges[e]);
  }
  for (lc_stream *stream = pipeline->active; stream != NULL; stream = stream->next_active) {
    int rc = add_stream(stream, changes, now_ns);
    if (rc != 0) return rc;
  }
  for (uint32_t e = 0; e < pipeline->n_edges; e++) {
    lc_edge *edge = pipeline->edges[e];
    if (edge == NULL || !edge->changed || !is_saved(edge)) continue;
    int rc = lc_ledger_save(&edge->saved, edge->key, changes);
    if (rc != 0) return rc;
    edge->changed = false;
  }
  return 0;
}

static int take_snapshot(commit_job *job) {
  lc_engine *engine = job->engine;
  int64_t now_ns = lc_clock_wall();
  for (const lc_forget *forget = engine->forgets; forget != NULL; forget = forget->next) {
    int rc = lc_changes_forget_source(&job->changes, forget->source_id);
    if (rc != 0) return rc;
  }
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    int rc = add_pipeline(engine->pipelines[p], &job->changes, now_ns);
    if (rc != 0) return rc;
  }
  job->sinks = calloc(engine->n_sinks + 1u, sizeof(lc_sink *));
  if (job->sinks == NULL) return LC_ENOMEM;
  for (uint32_t i = 0; i < engine->n_sinks; i++) {
    lc_sink *sink = engine->sinks[i];
    lc_resource_state state = lc_resource_state_of(&sink->resource);
    if (state != LC_RES_OPEN && state != LC_RES_CLOSING) continue; /* closed, or a reload could not open it */
    lc_resource_retain(&sink->resource);
    job->sinks[job->n_sinks++] = sink;
    if (sink->durable) job->safety = LC_STORE_DURABLE;
    if (sink->ops->snapshot == NULL) continue;
    int rc = sink->ops->snapshot(sink, &job->changes, &job->error);
    if (rc != 0) return rc;
  }
  return 0;
}

/* The rows stand: remember them, and let those be told that wait for it. */
static void stream_saved(lc_stream *stream) {
  bool drained = true;
  const lc_pipeline *pipeline = stream->feed->pipeline;
  for (uint32_t e = 0; e < pipeline->n_edges; e++) {
    const lc_edge *edge = pipeline->edges[e];
    if (edge == NULL || left(edge, &stream->cursors[e])) continue; /* what leaves does not hear of the end */
    drained = drained && stream->cursors[e].drained;
  }
  lc_known_update(stream->known, stream);
  if (!stream->going_idle) {
    if (stream->rows_stale) return; /* the next commit has all of them */
    atomic_store_explicit(&stream->live, true, memory_order_release);
    stream->waits = false;
  } else if (drained && !stream->told) {
    stream->told = true;
    lc_monitor *monitor = stream->feed->monitor;
    if (monitor->ops->settled != NULL) monitor->ops->settled(monitor, stream->source);
  }
}

static void pipeline_saved(lc_pipeline *pipeline, bool ok) {
  lc_stream **link = &pipeline->active;
  while (*link != NULL) {
    lc_stream *stream = *link;
    bool in_commit = stream->in_commit;
    stream->in_commit = false;
    if (in_commit && !ok) {
      stream->moved = true;
      stream->saved_name = NULL;
    }
    if (in_commit && ok && stream->going_idle && !stream->moved && !stream->waits) {
      *link = stream->next_active;
      stream_saved(stream); /* still active: whoever is told may detach it, and it stays until the next line but one */
      stream->active = false;
      lc_stream_collect(stream);
      continue;
    }
    if (in_commit && ok) stream_saved(stream);
    link = &stream->next_active;
  }
  if (!ok) {
    for (uint32_t e = 0; e < pipeline->n_edges; e++) {
      lc_edge *edge = pipeline->edges[e];
      if (edge != NULL && is_saved(edge)) edge->changed = true;
    }
  }
}

static void log_outcome(lc_engine *engine, const commit_job *job) {
  if (job->rc != 0) {
    engine->commit_failures++;
    engine->last_failures++;
    if (!engine->commit_failed) {
      lc_log(LC_LOG_ERROR, "commit", "cannot save cursors; reading goes on, and what is not saved will be read again",
             LC_S("error", job->error.message));
    }
  } else {
    engine->commits++;
    engine->last_failures = 0;
    if (engine->commit_failed) lc_log(LC_LOG_INFO, "commit", "cursors are saved again");
  }
  engine->commit_failed = job->rc != 0;
}

static bool anything_active(const lc_engine *engine) {
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    const lc_pipeline *pipeline = engine->pipelines[p];
    if (pipeline->active != NULL) return true;
    for (uint32_t e = 0; e < pipeline->n_edges; e++) {
      const lc_edge *edge = pipeline->edges[e];
      if (edge != NULL && edge->changed && is_saved(edge)) return true;
    }
  }
  return false;
}

bool lc_engine_uncommitted(const lc_engine *engine) {
  return engine->commit_running || engine->forgets != NULL || anything_active(engine);
}

static void settle_forgets(lc_engine *engine, bool ok) {
  lc_forget **link = &engine->forgets;
  while (*link != NULL) {
    lc_forget *forget = *link;
    if (ok && forget->in_commit) {
      *link = forget->next;
      free(forget);
    } else {
      forget->in_commit = false;
      link = &forget->next;
    }
  }
}

static void finish(commit_job *job) {
  lc_engine *engine = job->engine;
  bool ok = job->rc == 0;
  engine->commit_running = false;
  log_outcome(engine, job);
  settle_forgets(engine, ok);
  for (uint32_t i = 0; i < job->n_sinks; i++) {
    lc_sink *sink = job->sinks[i];
    if (sink->ops->committed != NULL) sink->ops->committed(sink, ok);
    lc_resource_release(&sink->resource);
  }
  free(job->sinks);
  for (uint32_t p = 0; p < engine->n_pipelines; p++) pipeline_saved(engine->pipelines[p], ok);
  lc_changes_free(&job->changes);
  free(job);
  bool at_once = engine->commit_wanted && ok;
  engine->commit_wanted = false;
  if (lc_engine_uncommitted(engine)) lc_engine_commit_soon(engine, at_once ? 0 : COMMIT_EVERY_MS);
  lc_engine_wake(engine);
}

static void run_commit(uv_work_t *work) {
  commit_job *job = work->data;
  lc_engine *engine = job->engine;
  for (uint32_t i = 0; i < job->n_sinks && job->rc == 0; i++) {
    lc_sink *sink = job->sinks[i];
    if (sink->ops->sync != NULL) job->rc = sink->ops->sync(sink, &job->error);
  }
  if (job->rc == 0 && job->safety == LC_STORE_DURABLE) job->rc = lc_dlq_sync(engine->dlq, &job->error);
  if (job->rc == 0) job->rc = lc_store_apply(engine->runtime->store, &job->changes, job->safety, &job->error);
}

static void commit_done(uv_work_t *work, int status) {
  (void)status;
  finish(work->data);
}

static void start_commit(lc_engine *engine) {
  if (engine->commit_running) {
    engine->commit_wanted = true;
    return;
  }
  uv_timer_stop(&engine->commit_timer);
  commit_job *job = calloc(1, sizeof *job);
  if (job == NULL) {
    lc_engine_commit_soon(engine, COMMIT_EVERY_MS);
    return;
  }
  job->work.data = job;
  job->engine = engine;
  engine->commit_running = true;
  for (lc_forget *forget = engine->forgets; forget != NULL; forget = forget->next) forget->in_commit = true;
  job->rc = take_snapshot(job);
  if (job->rc != 0 && job->error.code == 0) lc_error_set(&job->error, job->rc, "out of memory");
  if (job->rc != 0 || uv_queue_work(engine->runtime->loop, &job->work, run_commit, commit_done) != 0) {
    if (job->rc == 0) job->rc = lc_error_set(&job->error, LC_EAGAIN, "cannot start a pool job");
    finish(job);
  }
}
