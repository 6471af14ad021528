#include "sink/writer.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"

#define RETRY_FIRST_MS UINT64_C(100)
#define RETRY_LAST_MS UINT64_C(5000)
#define LOG_EVERY (10 * LC_SECOND)

struct lc_writer_work {
  lc_delivery *head, *tail; /* queue; the job's deliveries stay in it until they settle */
  uint32_t queued;
  uint32_t written; /* how many at the head are written; not synced when they outlive a job */
  uv_work_t job;
  uv_timer_t timer;
  bool busy, lent, waiting, tend_due, closing_timer;
  _Atomic bool closing;
  /* Handed to the job and back. */
  uint32_t job_n;
  bool job_tend;
  int rc;
  lc_error error;
  uint32_t attempts; /* failures in a row */
  uint64_t retry_ms, retries;
  lc_log_limit limit;
};

static lc_writer *writer_of(lc_sink *sink) { return (lc_writer *)(void *)sink; }

/* Before all others: what is half written goes on first. */
static void enqueue_first(struct lc_writer_work *work, lc_delivery *delivery) {
  delivery->next = work->head;
  if (work->head == NULL) work->tail = delivery;
  work->head = delivery;
  work->queued++;
}

static void enqueue(struct lc_writer_work *work, lc_delivery *delivery) {
  delivery->next = NULL;
  if (work->tail != NULL) {
    work->tail->next = delivery;
  } else {
    work->head = delivery;
  }
  work->tail = delivery;
  work->queued++;
}

static lc_delivery *dequeue(struct lc_writer_work *work) {
  lc_delivery *delivery = work->head;
  work->head = delivery->next;
  if (work->head == NULL) work->tail = NULL;
  work->queued--;
  delivery->next = NULL;
  return delivery;
}

/* Pool thread. */
static void run_job(uv_work_t *req) {
  lc_writer *writer = req->data;
  struct lc_writer_work *work = writer->work;
  lc_delivery *delivery = work->head;
  int rc = 0;
  for (uint32_t i = 0; i < work->written; i++) delivery = delivery->next;
  while (rc == 0 && work->written < work->job_n) {
    lc_delivery *next = delivery->next;
    rc = writer->ops->write(writer, delivery, &work->error);
    if (rc == 0) work->written++;
    delivery = next;
  }
  if (work->written > 0 && writer->ops->sync != NULL) {
    lc_error error = {0};
    int sync_rc = writer->ops->sync(writer, &error);
    if (sync_rc != 0) {
      work->error = error;
      rc = sync_rc;
      work->job_n = 0; /* settle nothing */
    }
  }
  if (work->job_tend && writer->ops->tend != NULL) writer->ops->tend(writer);
  work->rc = rc;
}

static void finish_close(lc_writer *writer);
static void job_done(uv_work_t *req, int status);

static void start_job(lc_writer *writer) {
  struct lc_writer_work *work = writer->work;
  if (work->busy || work->lent || work->waiting || lc_writer_closing(writer)) return;
  if (work->head == NULL && !work->tend_due) return;
  work->busy = true;
  work->job_n = work->queued;
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
  bool settles = work->written > 0 && (work->rc == 0 || work->job_n > 0);
  lc_delivery *done = NULL, **end = &done;
  for (; settles && work->written > 0; work->written--) {
    *end = dequeue(work);
    end = &(*end)->next;
  }
  if (work->rc == 0) {
    worked(writer);
  } else {
    failed(writer);
  }
  if (writer->ops->publish != NULL) writer->ops->publish(writer);
  while (done != NULL) {
    lc_delivery *delivery = done;
    done = delivery->next;
    delivery->next = NULL;
    lc_delivery_settle_all(delivery, LC_DELIVERED, NULL);
  }
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
  enqueue(writer->work, delivery);
  start_job(writer);
}

/* Nothing is ever collected: what is queued is under way already. */
static void writer_flush(lc_sink *sink) { (void)sink; }

static bool writer_lend(lc_sink *sink) {
  lc_writer *writer = writer_of(sink);
  struct lc_writer_work *work = writer->work;
  if (writer->ops->sync != NULL || writer->runtime == NULL || lc_writer_closing(writer)) return false;
  start_job(writer); /* upkeep that is due comes first */
  if (work->busy || work->lent || work->waiting || work->head != NULL) return false;
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
    enqueue_first(work, stuck);
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
  while (work->head != NULL) lc_delivery_discard(dequeue(work));
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
  lc_require(writer->work->head == NULL);
  free(writer->work);
  writer->work = NULL;
  writer->ops->destroy(writer);
}

static int resource_stats(lc_resource *resource, struct lc_buf *ret) {
  lc_writer *writer = (lc_writer *)(void *)resource;
  const struct lc_writer_work *work = writer->work;
  lc_buf_addf(ret, "{\"records\":%llu,\"errors\":%llu,\"queued\":%u,\"retries\":%llu,\"state\":\"%s\"",
              (unsigned long long)atomic_load(&resource->records_out),
              (unsigned long long)atomic_load(&resource->errors), work->queued, (unsigned long long)work->retries,
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

static const lc_resource_ops resource_ops = {
    .close = resource_close, .destroy = resource_destroy, .stats = resource_stats};

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
                                   .committed = ops->committed};
  writer->sink.ops = &writer->sink_ops;
  int rc = lc_resource_init(&writer->sink.resource, registry, &resource_ops, kind, name, identity, made_at, error);
  if (rc != 0) {
    free(work);
    writer->work = NULL;
  }
  return rc;
}
