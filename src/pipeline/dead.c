/* Dead letters: written to the queue before the records they came from are acked. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "pipeline/inside.h"

#define RETRY_MS 1000u

typedef struct lc_dead_job {
  uv_work_t work;
  lc_engine *engine;
  lc_buf text;
  uint64_t entries;
  int rc;
  lc_error error;
  lc_pipeline *pipeline; /* whose first batch waits, or */
  lc_delivery *delivery; /* whose records wait: [first, first + count); or nobody waits any more */
  uint32_t first, count;
  struct lc_dead_job *next;
} lc_dead_job;

static void free_job(lc_dead_job *job) {
  lc_buf_free(&job->text);
  free(job);
}

static void done(lc_dead_job *job) {
  if (job->delivery != NULL) {
    lc_delivery_dead(job->delivery, -(int64_t)job->entries);
    lc_delivery_settle_counted(job->delivery, job->first, job->count, LC_REFUSED);
  } else if (job->pipeline != NULL) {
    job->pipeline->dead_under_way = false;
    job->pipeline->dead_written = true;
  }
  lc_engine_wake(job->engine);
  free_job(job);
}

void lc_dead_forget(lc_engine *engine, const lc_delivery *delivery) {
  for (lc_dead_job *job = engine->dead_first; job != NULL; job = job->next) {
    if (job->delivery != delivery) continue;
    job->delivery = NULL;
    job->pipeline = NULL; /* nobody waits for it any more */
  }
}

static void run_append(uv_work_t *work) {
  lc_dead_job *job = work->data;
  job->rc = lc_dlq_append(job->engine->dlq, &job->text, job->entries, &job->error);
}

static void on_retry(uv_timer_t *timer) { lc_dead_pump(timer->data); }

static void append_done(uv_work_t *work, int status) {
  (void)status;
  lc_dead_job *job = work->data;
  lc_engine *engine = job->engine;
  engine->dead_running = false;
  if (job->rc == 0) {
    engine->dead_first = job->next;
    if (engine->dead_first == NULL) engine->dead_last = NULL;
    engine->dead_failed = false;
    done(job);
    lc_dead_pump(engine);
    return;
  }
  if (!engine->dead_failed) {
    lc_log(LC_LOG_ERROR, "dlq", "cannot write dead letters; their pipeline waits", LC_S("error", job->error.message));
  }
  engine->dead_failed = true;
  if (engine->forced) {
    lc_dead_give_up(engine);
    lc_engine_wake(engine); /* a stop waited for this attempt */
  } else {
    uv_timer_start(&engine->dead_timer, on_retry, RETRY_MS, 0);
  }
}

void lc_dead_give_up(lc_engine *engine) {
  while (engine->dead_first != NULL && !engine->dead_running) {
    lc_dead_job *job = engine->dead_first;
    engine->dead_first = job->next;
    if (job->delivery != NULL) {
      if (lc_delivery_only_dead(job->delivery)) lc_delivery_discard(job->delivery);
      else lc_delivery_dead(job->delivery, -(int64_t)job->entries); /* its sink has the rest, and lets go of all */
    } else if (job->pipeline != NULL) {
      job->pipeline->dead_under_way = false;
    }
    free_job(job);
  }
  if (engine->dead_first == NULL) engine->dead_last = NULL;
}

void lc_dead_pump(lc_engine *engine) {
  if (engine->dead_running || engine->dead_first == NULL) return;
  lc_dead_job *job = engine->dead_first;
  job->work.data = job;
  engine->dead_running = true;
  if (uv_queue_work(engine->runtime->loop, &job->work, run_append, append_done) != 0) {
    engine->dead_running = false;
    uv_timer_start(&engine->dead_timer, on_retry, RETRY_MS, 0);
  }
}

static void queue(lc_engine *engine, lc_dead_job *job) {
  job->engine = engine;
  if (engine->dead_last != NULL) {
    engine->dead_last->next = job;
  } else {
    engine->dead_first = job;
  }
  engine->dead_last = job;
  lc_dead_pump(engine);
}

void lc_dead_batch(lc_pipeline *pipeline, lc_batch *batch) {
  lc_dead_job *job = calloc(1, sizeof *job);
  if (job != NULL) {
    job->pipeline = pipeline;
    job->entries = batch->n_dead;
    for (uint32_t i = 0; i < batch->n_dead && job->rc == 0; i++) {
      const lc_dead *dead = &batch->dead[i];
      job->rc = lc_dlq_encode(&job->text, batch, dead, pipeline->resource.name);
    }
  }
  if (job == NULL || job->rc != 0) {
    if (job != NULL) free_job(job);
    pipeline->dead_under_way = false;
    lc_pipeline_fail(pipeline, "out of memory for dead letters");
    return;
  }
  queue(pipeline->engine, job);
}

void lc_dead_refused(lc_delivery *delivery, uint32_t first, uint32_t count, const char *reason) {
  lc_edge *edge = delivery->edge;
  lc_batch *batch = delivery->batch;
  lc_dead_job *job = calloc(1, sizeof *job);
  if (job == NULL) {
    lc_pipeline_fail(edge->pipeline, "out of memory for dead letters");
    return;
  }
  job->pipeline = edge->pipeline;
  job->delivery = delivery;
  job->first = first;
  job->count = count;
  const char *text = reason != NULL ? reason : "refused";
  for (uint32_t i = first; i < first + count && job->rc == 0; i++) {
    if (!lc_delivery_wants(delivery, i)) continue;
    job->entries++;
    job->rc =
        lc_dlq_encode_refused(&job->text, batch, i, edge->pipeline->resource.name, edge->sink->resource.name, text);
  }
  if (job->rc != 0) {
    free_job(job);
    lc_pipeline_fail(edge->pipeline, "out of memory for dead letters");
    return;
  }
  lc_delivery_dead(delivery, (int64_t)job->entries);
  queue(edge->pipeline->engine, job);
}
