#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "monitor/file_inside.h"

static void push(lc_file_queue *queue, lc_file *file) {
  file->next_ready = NULL;
  if (queue->last != NULL) {
    queue->last->next_ready = file;
  } else {
    queue->first = file;
  }
  queue->last = file;
  queue->n++;
  file->queued = true;
}

static lc_file *pop(lc_file_queue *queue) {
  lc_file *file = queue->first;
  if (file == NULL) return NULL;
  queue->first = file->next_ready;
  if (queue->first == NULL) queue->last = NULL;
  queue->n--;
  file->queued = false;
  return file;
}

static bool remove_from(lc_file_queue *queue, lc_file *file) {
  lc_file *before = NULL;
  for (lc_file **at = &queue->first; *at != NULL; before = *at, at = &(*at)->next_ready) {
    if (*at != file) continue;
    *at = file->next_ready;
    if (queue->last == file) queue->last = before;
    queue->n--;
    file->queued = false;
    return true;
  }
  return false;
}

void lc_file_unqueue(lc_file_monitor *monitor, lc_file *file) {
  if (file->queued && !remove_from(&monitor->urgent, file)) (void)remove_from(&monitor->ready, file);
}

void lc_file_set_closable(lc_file_monitor *monitor, lc_file *file, bool closable) {
  if (file->in_open) {
    if (file->prev_open != NULL) file->prev_open->next_open = file->next_open;
    else monitor->open_first = file->next_open;
    if (file->next_open != NULL) file->next_open->prev_open = file->prev_open;
    else monitor->open_last = file->prev_open;
    file->in_open = false;
  }
  if (!closable || file->fd < 0) return;
  file->prev_open = monitor->open_last;
  file->next_open = NULL;
  if (monitor->open_last != NULL) monitor->open_last->next_open = file;
  else monitor->open_first = file;
  monitor->open_last = file;
  file->in_open = true;
}

void lc_file_wake(lc_file_monitor *monitor, lc_file *file) {
  lc_file_unrest(monitor, file);
  file->dirty = true;
  if (file->busy || file->queued || file->ended || file->held || file->before != NULL) return;
  if (monitor->finished || (monitor->running && monitor->runtime->once && !file->once_open && !file->ending)) return;
  push(file->deleted || file->ending ? &monitor->urgent : &monitor->ready, file);
  lc_file_schedule(monitor);
}

/* Bytes that a look at this file may have to read; an estimate. */
static uint64_t to_read(const lc_file *file) {
  return file->ending || file->size <= file->mark.offset ? 0 : file->size - file->mark.offset;
}

static lc_file *take_ready(lc_file_monitor *monitor) {
  lc_file *file = pop(&monitor->urgent);
  return file != NULL ? file : pop(&monitor->ready);
}

/* The next one to be looked at. Who retires leaves all but deleted files to a successor. */
static const lc_file *peek_ready(const lc_file_monitor *monitor) {
  if (monitor->urgent.first != NULL) return monitor->urgent.first;
  return monitor->retiring ? NULL : monitor->ready.first;
}

/* Says what the job is to do with the file. */
static void add_work(lc_file_monitor *monitor, lc_file_job *job, lc_file *file) {
  bool once = monitor->runtime->once;
  int64_t now = lc_clock_mono();
  lc_file_set_closable(monitor, file, false);
  file->busy = true;
  file->dirty = false;
  lc_source_label(&file->source, monitor->base.labels);
  lc_file_work *work = &job->works[job->n_works++];
  *work = (lc_file_work){
      .file = file,
      .end = file->ending,
      .announce = file->renamed,
      .seek_end = file->seek_end,
      .seek = file->seek,
      .seek_to = file->source.resume_at, /* not `size`: that moves on with each look, in vain or not */
      /* A copy may have been met while it was still empty. */
      .suspicious = !file->cleared && (file->fresh || file->mark.offset == file->mark.base),
      .flush = once,
      .flush_group = file->flush,
      .final = file->quiet_ns != 0 && now - file->quiet_ns >= (once ? 0 : monitor->options.rotated_wait_ns),
      .quiet_size = file->quiet_size,
  };
  file->renamed = false;
  work->originals = file->originals;
  work->n_originals = file->n_originals;
  file->originals = NULL;
  file->n_originals = 0;
}

/* Gathers one big file, or many small ones. */
static void add_works(lc_file_monitor *monitor, lc_file_job *job) {
  uint64_t bytes = 0;
  while (job->n_works < LC_FILE_JOB_FILES) {
    const lc_file *next = peek_ready(monitor);
    if (next == NULL) return;
    uint64_t more = to_read(next);
    if (job->n_works > 0 && (more > LC_FILE_SMALL || bytes > LC_FILE_JOB_BYTES / 4)) return;
    add_work(monitor, job, take_ready(monitor));
    bytes += more;
    job->expected = bytes;
    if (more > LC_FILE_SMALL) return;
  }
}

/* Descriptors for the job: free ones, then those of idle files. */
static void add_permits(lc_file_monitor *monitor, lc_file_job *job) {
  uint32_t need = 0;
  for (uint32_t i = 0; i < job->n_works; i++) need += job->works[i].file->fd < 0 && !job->works[i].end;
  uint32_t most = monitor->max_open;
  uint32_t unused = most > monitor->permits_used ? most - monitor->permits_used : 0;
  job->permits = need < unused ? need : unused;
  monitor->permits_used += job->permits;
  if (need == 0 || job->permits > 0) return;
  lc_file *idle = monitor->open_first;
  if (idle == NULL || (job->close_fds = malloc(sizeof(int))) == NULL) return;
  lc_file_set_closable(monitor, idle, false);
  job->close_fds[job->n_close++] = idle->fd;
  idle->fd = -1;
}

/* Batches for the job: as many as it may fill, as far as there is room. */
static bool add_batches(lc_file_monitor *monitor, lc_file_job *job) {
  lc_feed *feed = monitor->base.feed;
  lc_batch *first = lc_feed_take(feed);
  if (first == NULL) return false;
  job->empty = first;
  first->next = NULL;
  lc_carrier_begin(feed, &job->carrier);
  if (job->carrier.sink != NULL) return true; /* it will be refilled */
  uint64_t wanted = job->expected / lc_feed_block_size(feed) + 1;
  if (wanted > LC_FILE_TRAIN) wanted = LC_FILE_TRAIN;
  lc_batch *last = first;
  for (uint64_t n = 1; n < wanted && (last->next = lc_feed_take(feed)) != NULL; n++) {
    last = last->next;
    last->next = NULL;
  }
  return true;
}

static void run_job(uv_work_t *request) { lc_file_job_run(request->data); }

/* Takes back what the job did not use. */
static void return_rest(lc_file_monitor *monitor, lc_file_job *job) {
  if (job->batch != NULL) {
    job->batch->next = job->empty;
    job->empty = job->batch;
    job->batch = NULL;
  }
  while (job->empty != NULL) {
    lc_batch *batch = job->empty;
    job->empty = batch->next;
    batch->next = NULL;
    lc_feed_give_back(monitor->base.feed, batch);
  }
  monitor->permits_used -= job->permits;
}

/* The system gives no more descriptors: keeps fewer from now on, and lets the longest idle go. */
static void keep_fewer(lc_file_monitor *monitor) {
  uint32_t most = monitor->permits_used / 2 > 0 ? monitor->permits_used / 2 : 1;
  if (most < monitor->max_open) {
    lc_log(LC_LOG_WARN, LC_FILE_LOG, "no more descriptors are to be had: keeping fewer files open; raise the limit "
           "(ulimit -n, LimitNOFILE=) or set max_open_files", LC_S("name", monitor->base.resource.name),
           LC_I("open_files_at_most", most));
    monitor->max_open = most;
  }
  lc_file_close_idle(monitor);
}

void lc_file_close_idle(lc_file_monitor *monitor) {
  while (monitor->permits_used > monitor->max_open && monitor->open_first != NULL) {
    lc_file *idle = monitor->open_first;
    int *fds = malloc(sizeof *fds);
    if (fds == NULL) return; /* the next job that needs one closes it */
    *fds = idle->fd;
    lc_file_set_closable(monitor, idle, false);
    idle->fd = -1;
    monitor->permits_used--;
    lc_file_close_fds(monitor, fds, 1);
  }
}

static void count_job(lc_file_monitor *monitor, const lc_file_job *job) {
  monitor->stats.jobs++;
  monitor->stats.looks += job->n_works;
  monitor->stats.bytes += job->consumed;
  monitor->stats.cut_lines += job->framing.truncated;
  monitor->stats.skipped_bytes += job->framing.skipped;
  monitor->stats.pattern_failures += job->match.failed;
  lc_file_count_descriptors(monitor);
}

void lc_file_count_descriptors(lc_file_monitor *monitor) {
  atomic_store(&monitor->base.resource.descriptors,
               (int64_t)monitor->permits_used + lc_discovery_descriptors(monitor->discovery));
}

static void job_done(uv_work_t *request, int status) {
  lc_file_job *job = request->data;
  lc_file_monitor *monitor = job->monitor;
  lc_require(status == 0); /* nobody cancels it */
  return_rest(monitor, job);
  lc_feed_deliver(monitor->base.feed, &job->carrier, job->filled);
  count_job(monitor, job);
  for (uint32_t i = 0; i < job->n_works; i++) {
    job->works[i].file->busy = false;
    lc_file_looked(monitor, &job->works[i], job->no_descriptors);
  }
  if (job->no_descriptors) keep_fewer(monitor);
  lc_file_job_destroy(job);
  monitor->jobs--;
  lc_file_check_deleted(monitor);
  lc_file_check_finished(monitor);
  lc_file_check_retired(monitor);
  lc_file_check_stopped(monitor);
  lc_file_take_over(monitor);
  lc_file_schedule(monitor);
}

/* Puts the files of a job that did not come about back to the front. */
static void undo_works(lc_file_monitor *monitor, lc_file_job *job) {
  for (uint32_t i = job->n_works; i-- > 0;) {
    lc_file *file = job->works[i].file;
    file->busy = false;
    file->dirty = true;
    file->originals = job->works[i].originals;
    file->n_originals = job->works[i].n_originals;
    lc_file_set_closable(monitor, file, !file->deleted);
    lc_file_queue *queue = file->deleted || file->ending ? &monitor->urgent : &monitor->ready;
    file->next_ready = queue->first;
    queue->first = file;
    if (queue->last == NULL) queue->last = file;
    queue->n++;
    file->queued = true;
  }
  job->n_works = 0;
}

/* Starts one job. False: not now. */
static bool start_job(lc_file_monitor *monitor) {
  uint32_t cap = monitor->urgent.n + monitor->ready.n;
  if (cap > LC_FILE_JOB_FILES) cap = LC_FILE_JOB_FILES;
  uint32_t block = lc_feed_block_size(monitor->base.feed);
  monitor->how.max_line = monitor->options.max_line < block ? (uint32_t)monitor->options.max_line : block;
  lc_file_job *job = lc_file_job_create(&monitor->how, cap);
  if (job == NULL) return false; /* the next event tries again */
  job->monitor = monitor;
  job->request.data = job;
  add_works(monitor, job);
  add_permits(monitor, job);
  bool can = job->permits + job->n_close > 0;
  for (uint32_t i = 0; i < job->n_works && !can; i++) can = job->works[i].file->fd >= 0 || job->works[i].end;
  bool room = can && add_batches(monitor, job);
  int rc = room ? uv_queue_work(monitor->runtime->loop, &job->request, run_job, job_done) : UV_EAGAIN;
  if (rc == 0) {
    monitor->jobs++;
    return true;
  }
  monitor->starved |= can && !room;
  if (room) lc_feed_deliver(monitor->base.feed, &job->carrier, NULL);
  undo_works(monitor, job);
  monitor->permits_used -= job->n_close; /* handed to the closing job instead */
  lc_file_close_fds(monitor, job->close_fds, job->n_close);
  job->close_fds = NULL;
  return_rest(monitor, job);
  lc_file_job_destroy(job);
  return false;
}

/* With one file and much to read in it: reading and writing in one job moves more for less than two that take turns. */
static bool better_wait(lc_file_monitor *monitor) {
  return monitor->ready.n + monitor->urgent.n == 1 && to_read(peek_ready(monitor)) > LC_FILE_WORTH_WAITING &&
         lc_feed_better_wait(monitor->base.feed);
}

void lc_file_schedule(lc_file_monitor *monitor) {
  if (!monitor->running || monitor->stopping || monitor->scheduling || monitor->described != NULL) return;
  monitor->scheduling = true; /* delivering may call back */
  while (monitor->jobs < LC_FILE_JOBS && peek_ready(monitor) != NULL && !monitor->starved && !better_wait(monitor)) {
    if (!start_job(monitor)) break;
  }
  monitor->scheduling = false;
}

void lc_file_run(lc_file_monitor *monitor) {
  monitor->running = true;
  lc_file_check_finished(monitor);
  lc_file_schedule(monitor);
}

typedef struct closing_job {
  uv_work_t request;
  lc_file_monitor *monitor;
  int *fds;
  uint32_t n;
} closing_job;

static void close_all(uv_work_t *request) {
  closing_job *job = request->data;
  /* Nothing was written through them: whatever close says, they are gone. */
  for (uint32_t i = 0; i < job->n; i++) (void)close(job->fds[i]);
}

static void all_closed(uv_work_t *request, int status) {
  closing_job *job = request->data;
  lc_file_monitor *monitor = job->monitor;
  lc_require(status == 0);
  free(job->fds);
  free(job);
  monitor->n_closing--;
  lc_file_check_stopped(monitor);
}

void lc_file_close_fds(lc_file_monitor *monitor, int *fds, uint32_t n) {
  if (n == 0) {
    free(fds);
    return;
  }
  closing_job *job = malloc(sizeof *job);
  if (job != NULL) {
    *job = (closing_job){.monitor = monitor, .fds = fds, .n = n};
    job->request.data = job;
    if (uv_queue_work(monitor->runtime->loop, &job->request, close_all, all_closed) == 0) {
      monitor->n_closing++;
      return;
    }
    free(job);
  }
  for (uint32_t i = 0; i < n; i++) (void)close(fds[i]); /* without memory it has to be here */
  free(fds);
}
