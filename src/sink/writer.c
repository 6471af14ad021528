#include "sink/writer.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"

#define RETRY_FIRST_MS UINT64_C(100)
#define RETRY_LAST_MS UINT64_C(5000)
#define LOG_EVERY (10 * LC_SECOND)

typedef struct list {
  lc_delivery *head, *tail;
  uint32_t n;
} list;

struct lc_writer_work {
  list queue;
  list taken;       /* by the job, whose own they are while it runs; what it could not finish stays, for the next one */
  uint32_t written; /* how many of these are written; not synced when they outlive a job */
  uv_work_t job;
  uv_timer_t timer;
  bool busy, lent, waiting, tend_due, closing_timer;
  lc_writer *described; /* counted reference: whose options are to be taken over; NULL: nobody's */
  _Atomic bool closing;
  /* Handed to the job and back. */
  bool job_tend, settles;
  int rc;
  lc_error error;
  uint32_t attempts; /* failures in a row */
  uint64_t retry_ms, retries;
  lc_log_limit limit;
};

static lc_writer *writer_of(lc_sink *sink) { return (lc_writer *)(void *)sink; }

static void enqueue(list *queue, lc_delivery *delivery) {
  delivery->next = NULL;
  *(queue->tail != NULL ? &queue->tail->next : &queue->head) = delivery;
  queue->tail = delivery;
  queue->n++;
}

static lc_delivery *dequeue(list *queue) {
  lc_delivery *delivery = queue->head;
  queue->head = delivery->next;
  if (queue->head == NULL) queue->tail = NULL;
  queue->n--;
  delivery->next = NULL;
  return delivery;
}

/* Pool thread. Writes what is not written yet. */
static int write_taken(lc_writer *writer) {
  struct lc_writer_work *work = writer->work;
  lc_delivery *delivery = work->taken.head;
  for (uint32_t i = 0; i < work->written; i++) delivery = delivery->next;
  for (; delivery != NULL; delivery = delivery->next) {
    int rc = writer->ops->write(writer, delivery, &work->error);
    if (rc != 0) return rc;
    work->written++;
  }
  return 0;
}

/* Pool thread. */
static void run_job(uv_work_t *req) {
  lc_writer *writer = req->data;
  struct lc_writer_work *work = writer->work;
  work->rc = write_taken(writer);
  work->settles = true;
  if (work->written > 0 && writer->ops->sync != NULL) {
    lc_error error = {0};
    int rc = writer->ops->sync(writer, &error);
    if (rc != 0) {
      work->error = error;
      work->rc = rc;
      work->settles = false;
    }
  }
  if (work->job_tend && writer->ops->tend != NULL) writer->ops->tend(writer);
}

static void finish_close(lc_writer *writer);
static void job_done(uv_work_t *req, int status);

/* Takes new options over between two jobs. What failed under the old ones is tried at once. */
static void adopt_described(lc_writer *writer) {
  struct lc_writer_work *work = writer->work;
  lc_writer *described = work->described;
  if (described == NULL) return;
  work->described = NULL;
  writer->ops->adopt(writer, described);
  work->tend_due = true;
  lc_resource_release(&described->sink.resource);
  if (!work->waiting) return;
  work->waiting = false;
  work->retry_ms = 0;
  (void)uv_timer_stop(&work->timer);
}

static void start_job(lc_writer *writer) {
  struct lc_writer_work *work = writer->work;
  if (work->busy || work->lent || lc_writer_closing(writer)) return;
  adopt_described(writer);
  if (work->waiting) return;
  if (work->queue.head == NULL && work->taken.head == NULL && !work->tend_due) return;
  work->busy = true;
  while (work->queue.head != NULL) enqueue(&work->taken, dequeue(&work->queue));
  work->job_tend = work->tend_due;
  work->tend_due = false;
  work->job.data = writer;
  int rc = uv_queue_work(writer->runtime->loop, &work->job, run_job, job_done);
  lc_require(rc == 0); /* it can only fail for want of a callback */
}

static void timer_fired(uv_timer_t *timer) {
  lc_writer *writer = timer->data;
  writer->work->waiting = false;
  start_job(writer);
}

/* Three quarters to five quarters, so that many sinks of one full disk do not march in step. */
static uint64_t jitter(uint64_t ms) { return ms * 3 / 4 + (uv_hrtime() >> 7) % (ms / 2 + 1); }

static void failed(lc_writer *writer) {
  struct lc_writer_work *work = writer->work;
  work->attempts++;
  work->retries++;
  atomic_fetch_add(&writer->sink.resource.errors, 1);
  work->retry_ms = work->retry_ms == 0 ? RETRY_FIRST_MS : work->retry_ms * 2;
  if (work->retry_ms > RETRY_LAST_MS) work->retry_ms = RETRY_LAST_MS;
  uint64_t held = 0;
  if (lc_log_limit_pass(&work->limit, lc_clock_mono(), LOG_EVERY, &held)) {
    lc_log(LC_LOG_ERROR, writer->sink.resource.kind, "cannot write; what is queued waits, and is tried again",
           LC_S("name", writer->sink.resource.name), LC_S("error", work->error.message),
           LC_I("attempts", work->attempts), LC_I("not_logged", held));
  }
  if (lc_writer_closing(writer)) return;
  work->waiting = true;
  int rc = uv_timer_start(&work->timer, timer_fired, jitter(work->retry_ms), 0);
  lc_require(rc == 0);
}

static void worked(lc_writer *writer) {
  struct lc_writer_work *work = writer->work;
  if (work->attempts > 0) {
    lc_log(LC_LOG_INFO, writer->sink.resource.kind, "writes again", LC_S("name", writer->sink.resource.name),
           LC_I("attempts", work->attempts));
  }
  work->attempts = 0;
  work->retry_ms = 0;
  work->limit = (lc_log_limit){0};
}

static void job_done(uv_work_t *req, int status) {
  lc_writer *writer = req->data;
  struct lc_writer_work *work = writer->work;
  lc_require(status == 0); /* nobody cancels it */
  work->busy = false;
  list done = {0};
  for (; work->settles && work->written > 0; work->written--) enqueue(&done, dequeue(&work->taken));
  if (work->rc == 0) {
    worked(writer);
  } else {
    failed(writer);
  }
  if (writer->ops->publish != NULL) writer->ops->publish(writer);
  while (done.head != NULL) lc_delivery_settle_all(dequeue(&done), LC_DELIVERED, NULL);
  if (lc_writer_closing(writer)) {
    finish_close(writer);
  } else {
    start_job(writer);
  }
}

static int writer_open(lc_sink *sink, lc_runtime *runtime, lc_error *error) {
  lc_writer *writer = writer_of(sink);
  if (writer->runtime != NULL) return 0; /* shared by two pipelines */
  int rc = lc_resource_opened(&sink->resource, error); /* from here on it must be closed, also when it fails */
  if (rc != 0) return rc;
  rc = uv_timer_init(runtime->loop, &writer->work->timer);
  lc_require(rc == 0); /* it cannot fail */
  writer->work->timer.data = writer;
  writer->runtime = runtime;
  return writer->ops->open != NULL ? writer->ops->open(writer, runtime, error) : 0;
}

static void writer_submit(lc_sink *sink, lc_delivery *delivery) {
  lc_writer *writer = writer_of(sink);
  if (lc_writer_closing(writer)) {
    lc_delivery_discard(delivery);
    return;
  }
  enqueue(&writer->work->queue, delivery);
  start_job(writer);
}

/* Nothing is ever collected: what is queued is under way already. */
static void writer_flush(lc_sink *sink) { (void)sink; }

static bool writer_lend(lc_sink *sink) {
  lc_writer *writer = writer_of(sink);
  struct lc_writer_work *work = writer->work;
  if (writer->ops->sync != NULL || writer->runtime == NULL || lc_writer_closing(writer)) return false;
  start_job(writer); /* upkeep that is due comes first */
  if (work->busy || work->lent || work->waiting || work->queue.head != NULL || work->taken.head != NULL) {
    return false;
  }
  work->lent = true;
  work->error = (lc_error){0};
  return true;
}

/* Pool thread. */
static int writer_write(lc_sink *sink, lc_delivery *delivery, lc_error *error) {
  lc_writer *writer = writer_of(sink);
  int rc = writer->ops->write(writer, delivery, &writer->work->error);
  if (rc != 0 && error != NULL) *error = writer->work->error;
  return rc;
}

static void writer_unlend(lc_sink *sink, lc_delivery *stuck) {
  lc_writer *writer = writer_of(sink);
  struct lc_writer_work *work = writer->work;
  lc_require(work->lent); /* deliveries of other sources may have queued up meanwhile */
  work->lent = false;
  if (writer->ops->publish != NULL) writer->ops->publish(writer);
  if (stuck != NULL) {
    enqueue(&work->taken, stuck); /* before all others */
    failed(writer);
  }
  if (lc_writer_closing(writer)) {
    finish_close(writer);
  } else {
    start_job(writer);
  }
}

void lc_writer_tend(lc_writer *writer) {
  writer->work->tend_due = true;
  start_job(writer);
}

bool lc_writer_closing(const lc_writer *writer) { return atomic_load(&writer->work->closing); }

static void timer_closed(uv_handle_t *handle) {
  lc_writer *writer = handle->data;
  if (writer->ops->close != NULL) {
    writer->ops->close(writer);
  } else {
    lc_writer_closed(writer);
  }
}

/* No job is under way and nobody has borrowed it. */
static void finish_close(lc_writer *writer) {
  struct lc_writer_work *work = writer->work;
  if (work->closing_timer) return;
  work->closing_timer = true;
  if (work->described != NULL) lc_resource_release(&work->described->sink.resource);
  work->described = NULL;
  while (work->taken.head != NULL) lc_delivery_discard(dequeue(&work->taken));
  while (work->queue.head != NULL) lc_delivery_discard(dequeue(&work->queue));
  uv_close((uv_handle_t *)&work->timer, timer_closed);
}

void lc_writer_closed(lc_writer *writer) { lc_resource_closed(&writer->sink.resource); }

static void resource_close(lc_resource *resource) {
  lc_writer *writer = (lc_writer *)(void *)resource;
  struct lc_writer_work *work = writer->work;
  atomic_store(&work->closing, true);
  if (!work->busy && !work->lent) finish_close(writer);
}

static void resource_destroy(lc_resource *resource) {
  lc_writer *writer = (lc_writer *)(void *)resource;
  lc_require(writer->work->queue.head == NULL && writer->work->taken.head == NULL);
  free(writer->work);
  writer->work = NULL;
  writer->ops->destroy(writer);
}

static int resource_stats(lc_resource *resource, struct lc_buf *ret) {
  lc_writer *writer = (lc_writer *)(void *)resource;
  const struct lc_writer_work *work = writer->work;
  lc_buf_addf(ret, "{\"records\":%llu,\"errors\":%llu,\"queued\":%u,\"retries\":%llu,\"state\":\"%s\"",
              (unsigned long long)atomic_load(&resource->records_out),
              (unsigned long long)atomic_load(&resource->errors), work->queue.n + work->taken.n,
              (unsigned long long)work->retries,
              work->attempts > 0 ? "failing" : "ok");
  if (work->attempts > 0) {
    lc_buf_addf(ret, ",\"attempts\":%u,\"error\":", work->attempts);
    if (work->busy) {
      lc_buf_adds(ret, "\"being tried again\""); /* the job owns the text now */
    } else {
      lc_buf_add_json_string(ret, work->error.message, strlen(work->error.message));
    }
  }
  if (writer->ops->stats != NULL) writer->ops->stats(writer, ret);
  return lc_buf_addc(ret, '}');
}

/* What is waiting to be taken over counts as taken over. */
static lc_fit resource_fit(const lc_resource *resource, const lc_resource *described) {
  const lc_writer *writer = (const lc_writer *)(const void *)resource;
  const lc_writer *now = writer->work->described != NULL ? writer->work->described : writer;
  if (writer->ops->fit == NULL) return LC_FIT_REPLACE;
  return writer->ops->fit(now, (const lc_writer *)(const void *)described);
}

static void resource_adopt(lc_resource *resource, lc_resource *described) {
  lc_writer *writer = (lc_writer *)(void *)resource;
  struct lc_writer_work *work = writer->work;
  if (work->closing_timer) return; /* it writes no more */
  lc_resource_retain(described);
  if (work->described != NULL) lc_resource_release(&work->described->sink.resource);
  work->described = (lc_writer *)(void *)described;
  start_job(writer);
}

static const lc_resource_ops resource_ops = {.close = resource_close,
                                             .destroy = resource_destroy,
                                             .stats = resource_stats,
                                             .fit = resource_fit,
                                             .adopt = resource_adopt};

int lc_writer_init(lc_writer *writer, const lc_writer_ops *ops, lc_registry *registry, const char *kind,
                   const char *name, const char *identity, const char *made_at, lc_error *error) {
  struct lc_writer_work *work = calloc(1, sizeof *work);
  if (work == NULL) return lc_error_set(error, LC_ENOMEM, "no memory for a %s", kind);
  writer->ops = ops;
  writer->work = work;
  writer->runtime = NULL;
  writer->sink_ops = (lc_sink_ops){.open = writer_open,
                                   .submit = writer_submit,
                                   .flush = writer_flush,
                                   .lend = writer_lend,
                                   .write = writer_write,
                                   .unlend = writer_unlend,
                                   .snapshot = ops->snapshot,
                                   .committed = ops->committed,
                                   .show = ops->show};
  writer->sink.ops = &writer->sink_ops;
  int rc = lc_resource_init(&writer->sink.resource, registry, &resource_ops, kind, name, identity, made_at, error);
  if (rc != 0) {
    free(work);
    writer->work = NULL;
  }
  return rc;
}
