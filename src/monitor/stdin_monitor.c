#include "monitor/stdin_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "monitor/file_options.h"

#define LOG "stdin_monitor"
#define MAX_LINE_DEFAULT (UINT64_C(256) << 10)

static void next_job(stdin_monitor *monitor);
static void give_out_rest(stdin_monitor *monitor);
static void check_stopped(stdin_monitor *monitor);
static void take_over(stdin_monitor *monitor);

/* --- reading --- */

static void finish(stdin_monitor *monitor, bool unread) {
  if (monitor->finished || monitor->stopping) return;
  monitor->finished = true;
  lc_monitor_finished(&monitor->base, unread);
}

static void on_readable(uv_poll_t *poll, int status, int events) {
  (void)status; /* an error shows in the read */
  (void)events;
  stdin_monitor *monitor = poll->data;
  uv_poll_stop(poll);
  monitor->polling = false;
  next_job(monitor);
}

/* Reads on when there is something to read. */
static void wait_readable(stdin_monitor *monitor) {
  if (!monitor->poll_open) {
    next_job(monitor);
    return;
  }
  if (monitor->polling || monitor->stopping) return;
  monitor->polling = uv_poll_start(&monitor->poll, UV_READABLE | UV_DISCONNECT, on_readable) == 0;
  if (!monitor->polling) next_job(monitor);
}

static void on_timer(uv_timer_t *timer) {
  stdin_monitor *monitor = timer->data;
  monitor->flush = true;
  next_job(monitor);
}

static void job_done(uv_work_t *request, int status) {
  stdin_job *job = request->data;
  stdin_monitor *monitor = job->monitor;
  lc_require(status == 0);
  bool deliver = job->filled || job->batch->n_ranges > 0;
  if (!deliver) lc_feed_give_back(monitor->base.feed, job->batch);
  lc_feed_deliver(monitor->base.feed, &job->carrier, deliver ? job->batch : NULL);
  monitor->busy = false;
  monitor->ended = job->eof;
  if (job->error != 0) lc_log(LC_LOG_ERROR, LOG, "cannot read standard input", LC_S("error", strerror(job->error)));
  bool again = job->again, failed = job->error != 0;
  if (job->group_open && !monitor->stopping) {
    int64_t wait = lc_multiline_timeout(monitor->multiline) / LC_MILLISECOND;
    (void)uv_timer_start(&monitor->timer, on_timer, (uint64_t)wait, 0);
  }
  if (monitor->multiline != NULL) lc_multiline_match_deinit(&job->match);
  free(job);
  take_over(monitor);
  give_out_rest(monitor);
  check_stopped(monitor);
  if (monitor->ended) finish(monitor, failed);
  else if (again || (monitor->flush && monitor->rest_len > 0)) next_job(monitor); /* the timer came meanwhile */
  else wait_readable(monitor);
}

/* A reload may have changed the size of batches. Without memory for a larger rest blocks stay as they are. */
static void fit_block(stdin_monitor *monitor, stdin_job *job) {
  uint32_t size = job->batch->data_cap;
  char *grown = size > monitor->rest_size ? realloc(monitor->rest, size) : NULL;
  if (grown != NULL) {
    monitor->rest = grown;
    monitor->rest_size = size;
  }
  job->limit = size < monitor->rest_size ? size : monitor->rest_size;
  uint64_t most = job->limit - 1, wanted = monitor->options.max_line;
  monitor->framing.max_line = (uint32_t)(wanted < most ? wanted : most);
}

/* False: not now. */
static bool start_job(stdin_monitor *monitor) {
  stdin_job *job = calloc(1, sizeof *job);
  if (job == NULL) return false;
  lc_source_label(monitor->source, monitor->base.labels);
  *job = (stdin_job){.monitor = monitor, .flush = monitor->flush, .rest = monitor->stopping};
  job->request.data = job;
  if (monitor->multiline != NULL && lc_multiline_match_init(monitor->multiline, &job->match) != 0) {
    free(job);
    return false;
  }
  job->batch = lc_feed_take(monitor->base.feed);
  if (job->batch != NULL) {
    fit_block(monitor, job);
    lc_carrier_begin(monitor->base.feed, &job->carrier);
    if (uv_queue_work(monitor->runtime->loop, &job->request, lc_stdin_job_run, job_done) == 0) return true;
    lc_feed_give_back(monitor->base.feed, job->batch);
    lc_feed_deliver(monitor->base.feed, &job->carrier, NULL);
  }
  if (monitor->multiline != NULL) lc_multiline_match_deinit(&job->match);
  free(job);
  return false;
}

/* What was taken from a pipe and not given out, an open group or an unfinished line, is nowhere else. */
static void give_out_rest(stdin_monitor *monitor) {
  if (!monitor->stopping || monitor->busy || monitor->ended || monitor->rest_len == 0) return;
  monitor->busy = start_job(monitor);
  if (monitor->busy) return;
  lc_log(LC_LOG_ERROR, LOG, "stopped before all that was read could be delivered", LC_I("bytes", monitor->rest_len));
  lc_feed_abandon(monitor->base.feed, monitor->source->key, "stdin", monitor->rest_len);
  monitor->ended = true;
}

static void next_job(stdin_monitor *monitor) {
  if (!monitor->running || monitor->busy || monitor->ended || monitor->stopping) return;
  monitor->busy = start_job(monitor);
  monitor->starved = !monitor->busy;
  if (monitor->busy) monitor->flush = false;
}

/* --- the monitor --- */

/* A pipe or a terminal is opened once more, so that it can be made non-blocking without those noticing that share it. A
 * regular file never blocks, and keeps its place. */
static void choose_descriptor(stdin_monitor *monitor) {
  struct stat st;
  monitor->fd = monitor->options.fd;
  if (fstat(monitor->fd, &st) != 0 || !(S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode))) return;
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", monitor->fd);
  int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return; /* the descriptor itself serves as well */
  monitor->fd = fd;
  monitor->reopened = true;
}

static int forget_one(void *arg, const lc_stored_source *stored) {
  /* What was read and not acked when an earlier run died cannot be read again. */
  lc_feed_abandon(arg, stored->key, stored->name, stored->drained || stored->idle ? 0 : 1);
  return 0;
}

static void free_source(lc_source *source) {
  lc_source_deinit(source);
  free(source);
}

/* Each run is a source of its own: nothing of an earlier one can come again. */
static int attach(stdin_monitor *monitor, lc_error *error) {
  char key[64];
  snprintf(key, sizeof key, "stdin:%" PRId64, lc_clock_wall());
  lc_source *source = calloc(1, sizeof *source);
  if (source == NULL || lc_source_init(source, key, "stdin", free_source) != 0) {
    free(source);
    return lc_error_set(error, LC_ENOMEM, "stdin_monitor: out of memory");
  }
  int rc = lc_feed_attach(monitor->base.feed, source, error);
  if (rc != 0) {
    lc_source_release(source);
    return rc;
  }
  monitor->source = source;
  monitor->position = source->resume_at;
  return 0;
}

static int open_monitor(lc_monitor *base, lc_runtime *runtime, lc_feed *feed, lc_error *error) {
  stdin_monitor *monitor = (stdin_monitor *)base;
  base->feed = feed;
  monitor->runtime = runtime;
  if (fcntl(monitor->options.fd, F_GETFD) < 0) {
    return lc_error_sys(error, errno, "stdin_monitor: cannot read descriptor %d", monitor->options.fd);
  }
  int rc = lc_resource_opened(&base->resource, error); /* from now on, closing it closes what is there */
  if (rc != 0) return rc;
  monitor->rest_size = lc_feed_block_size(feed);
  monitor->rest = malloc(monitor->rest_size);
  if (monitor->rest == NULL) return lc_error_set(error, LC_ENOMEM, "stdin_monitor: out of memory");
  rc = uv_timer_init(runtime->loop, &monitor->timer);
  if (rc != 0) return lc_error_set(error, LC_ESYS, "stdin_monitor: cannot make a timer: %s", uv_strerror(rc));
  monitor->timer_open = true;
  monitor->timer.data = monitor;
  choose_descriptor(monitor);
  monitor->poll_open = uv_poll_init(runtime->loop, &monitor->poll, monitor->fd) == 0;
  monitor->poll.data = monitor;
  atomic_store(&base->resource.descriptors, monitor->reopened);
  return 0;
}

static void start_monitor(lc_monitor *base) {
  stdin_monitor *monitor = (stdin_monitor *)base;
  lc_error error = {0};
  (void)lc_feed_each_stored(base->feed, forget_one, base->feed);
  if (attach(monitor, &error) != 0) {
    lc_log(LC_LOG_ERROR, LOG, "cannot read standard input", LC_S("error", error.message));
    monitor->ended = true;
    lc_monitor_finished(base, 1);
    return;
  }
  monitor->running = true;
  wait_readable(monitor);
}

static void room_again(lc_monitor *base) {
  stdin_monitor *monitor = (stdin_monitor *)base;
  if (monitor->starved) next_job(monitor);
}

static void settled(lc_monitor *base, lc_source *source) {
  lc_feed_detach(base->feed, source);
  lc_feed_abandon(base->feed, source->key, "stdin", 0);
}

static void stop_monitor(lc_monitor *base) {
  stdin_monitor *monitor = (stdin_monitor *)base;
  monitor->stopping = monitor->stop_asked = true;
  if (monitor->polling) uv_poll_stop(&monitor->poll);
  if (monitor->timer_open) uv_timer_stop(&monitor->timer);
  give_out_rest(monitor);
  check_stopped(monitor);
}

static const struct lc_multiline *get_multiline(const lc_monitor *base) {
  return ((const stdin_monitor *)(const void *)base)->multiline;
}

static const lc_monitor_ops monitor_ops = {.open = open_monitor,
                                           .start = start_monitor,
                                           .room = room_again,
                                           .settled = settled,
                                           .stop = stop_monitor,
                                           .multiline = get_multiline};

/* --- a reload --- */

static bool same_options(const stdin_monitor *a, const stdin_monitor *b) {
  return strcmp(a->base.resource.name, b->base.resource.name) == 0 && a->options.max_line == b->options.max_line &&
         lc_multiline_same(a->multiline, b->multiline) &&
         lc_labels_same(a->base.labels, b->base.labels);
}

/* Never replaced: what was read of the input and not given out is nowhere else. */
static lc_fit fit(const lc_resource *res, const lc_resource *described) {
  const stdin_monitor *monitor = (const stdin_monitor *)res, *other = (const stdin_monitor *)described;
  if (monitor->options.fd != other->options.fd) return LC_FIT_REPLACE; /* not from a pipeline file */
  return same_options(monitor->described != NULL ? monitor->described : monitor, other) ? LC_FIT_SAME : LC_FIT_CHANGED;
}

/* An open group goes on under the new rules; without any its lines are given out. */
static void swap_multiline(stdin_monitor *monitor, stdin_monitor *other) {
  lc_multiline *before = monitor->multiline;
  if (lc_multiline_same(before, other->multiline)) return;
  monitor->multiline = other->multiline;
  other->multiline = before;
  if (monitor->rest_len == 0 || !monitor->running || monitor->stopping) return;
  int64_t wait = monitor->multiline != NULL ? lc_multiline_timeout(monitor->multiline) / LC_MILLISECOND : 0;
  (void)uv_timer_start(&monitor->timer, on_timer, (uint64_t)wait, 0);
}

/* Between two jobs. What was read keeps its labels. */
static void take_over(stdin_monitor *monitor) {
  stdin_monitor *other = monitor->described;
  if (other == NULL || monitor->busy) return;
  monitor->described = NULL;
  char *name = monitor->base.resource.name;
  monitor->base.resource.name = other->base.resource.name;
  other->base.resource.name = name;
  lc_labels *labels = monitor->base.labels;
  monitor->base.labels = other->base.labels;
  other->base.labels = labels;
  swap_multiline(monitor, other);
  monitor->options.max_line = other->options.max_line;
  lc_resource_release(&other->base.resource);
}

static void forget_described(stdin_monitor *monitor) {
  if (monitor->described != NULL) lc_resource_release(&monitor->described->base.resource);
  monitor->described = NULL;
}

static void adopt(lc_resource *res, lc_resource *described) {
  stdin_monitor *monitor = (stdin_monitor *)res;
  forget_described(monitor); /* the last one counts */
  if (monitor->stopping) return;
  lc_resource_retain(described);
  monitor->described = (stdin_monitor *)described;
  monitor->base.line_max = monitor->described->base.line_max; /* the size of batches goes by it */
  take_over(monitor);
}

/* --- the resource --- */

static void on_closed(uv_handle_t *handle) {
  stdin_monitor *monitor = handle->data;
  monitor->n_closing--;
  check_stopped(monitor);
}

static void close_rest(stdin_monitor *monitor) {
  monitor->closing = false;
  monitor->closed_rest = true;
  if (monitor->poll_open) {
    monitor->n_closing++;
    uv_close((uv_handle_t *)&monitor->poll, on_closed);
  }
  if (monitor->timer_open) {
    monitor->n_closing++;
    uv_close((uv_handle_t *)&monitor->timer, on_closed);
  }
  monitor->poll_open = monitor->timer_open = monitor->polling = false;
}

static void check_stopped(stdin_monitor *monitor) {
  if (!monitor->stopping || monitor->busy) return;
  if (monitor->stop_asked && !monitor->stopped) {
    monitor->stopped = true;
    lc_monitor_stopped(&monitor->base);
  }
  if (monitor->closing) close_rest(monitor);
  if (!monitor->closed_rest || monitor->n_closing > 0) return;
  monitor->closed_rest = false;
  if (monitor->reopened) (void)close(monitor->fd); /* nothing was written through it */
  monitor->reopened = false;
  atomic_store(&monitor->base.resource.descriptors, 0);
  lc_source_release(monitor->source);
  monitor->source = NULL;
  lc_resource_closed(&monitor->base.resource);
}

static void close_monitor(lc_resource *res) {
  stdin_monitor *monitor = (stdin_monitor *)res;
  monitor->stopping = monitor->closing = true;
  forget_described(monitor);
  give_out_rest(monitor); /* when somebody closed it in use */
  check_stopped(monitor);
}

static void destroy_monitor(lc_resource *res) {
  stdin_monitor *monitor = (stdin_monitor *)res;
  lc_multiline_destroy(monitor->multiline);
  lc_labels_release(monitor->base.labels);
  free(monitor->rest);
  free(monitor);
}

static int write_stats(lc_resource *res, lc_buf *ret) {
  stdin_monitor *monitor = (stdin_monitor *)res;
  return lc_buf_addf(ret, "{\"ended\":%s,\"waits_for_room\":%s}", monitor->ended ? "true" : "false",
                     monitor->starved ? "true" : "false");
}

static const lc_resource_ops resource_ops = {
    .close = close_monitor, .destroy = destroy_monitor, .stats = write_stats, .fit = fit, .adopt = adopt};

int lc_stdin_monitor_create(const lc_stdin_monitor_options *options, lc_registry *registry, const char *name,
                            const char *made_at, lc_monitor **ret, lc_error *error) {
  if (options->max_line > LC_FILE_MAX_LINE_MOST) {
    return lc_error_set(error, LC_EINVAL, "stdin_monitor: `max_line` must be at most 16MiB");
  }
  stdin_monitor *monitor = calloc(1, sizeof *monitor);
  if (monitor == NULL) return lc_error_set(error, LC_ENOMEM, "stdin_monitor: out of memory");
  monitor->options = *options;
  monitor->options.labels = NULL;
  monitor->options.n_labels = 0;
  if (monitor->options.max_line == 0) monitor->options.max_line = MAX_LINE_DEFAULT;
  int rc = 0;
  if (options->multiline.start != NULL || options->multiline.continuation != NULL) {
    rc = lc_multiline_create(&options->multiline, &monitor->multiline, error);
  }
  if (rc == 0 && lc_labels_create(options->labels, options->n_labels, &monitor->base.labels) != 0) {
    rc = lc_error_set(error, LC_ENOMEM, "stdin_monitor: out of memory");
  }
  if (rc == 0) {
    rc = lc_resource_init(&monitor->base.resource, registry, &resource_ops, "stdin_monitor", name,
                          "stdin_monitor:stdin", made_at, error); /* whatever its name: there is one input */
  }
  if (rc != 0) {
    lc_multiline_destroy(monitor->multiline);
    lc_labels_release(monitor->base.labels);
    free(monitor);
    return rc;
  }
  monitor->base.ops = &monitor_ops;
  monitor->base.line_max = (uint32_t)monitor->options.max_line + 1; /* a line and its end fit a block */
  *ret = &monitor->base;
  return 0;
}
