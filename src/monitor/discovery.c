#include "monitor/discovery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "monitor/discovery_inside.h"

#define SWEEP_DEFAULT (30 * LC_SECOND)
#define SWEEP_REST 3000 /* a sweep is followed by so many times its cost: 0.03 % of a core at most */
#define POLL_INTERVAL LC_SECOND
#define POLL_REST 200       /* polling: 0.5 % at most */
#define JOB_SCANS 64u       /* folders in one job, and about */
#define JOB_NAMES 8192u     /* names: what is gone is told at once, and must not keep the loop long */
#define NAMES_MAX 4096u     /* to be looked at one by one; more: the whole folder */
#define FIRST_SCAN_TRIES 8u /* the first scan waits so long for folders that cannot be read */

static int64_t cpu_now(void) {
  struct timespec ts;
  if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts) != 0) return 0;
  return ts.tv_sec * LC_SECOND + ts.tv_nsec;
}

const char *lc_discovery_path(char to[LC_DISCOVERY_PATH], const lc_dir *dir, const char *name) {
  int len = snprintf(to, LC_DISCOVERY_PATH, "%s/%s", dir->parent != NULL ? dir->path : "", name);
  return lc_fails_assert(len > 0 && (size_t)len < LC_DISCOVERY_PATH) ? NULL : to;
}

void lc_discovery_watch(lc_discovery *d, lc_watcher *watcher, int wd) {
  int unused = lc_tree_watch(&d->tree, watcher, wd);
  if (unused >= 0 && d->inotify != NULL) lc_inotify_remove(d->inotify, unused);
}

/* ---- the queue ---- */

void lc_discovery_unqueue(lc_discovery *d, lc_dir *dir) {
  if (!dir->queued) return;
  if (dir->prev_queued != NULL) dir->prev_queued->next_queued = dir->next_queued;
  else d->first_queued = dir->next_queued;
  if (dir->next_queued != NULL) dir->next_queued->prev_queued = dir->prev_queued;
  else d->last_queued = dir->prev_queued;
  dir->prev_queued = dir->next_queued = NULL;
  dir->queued = false;
}

static void enqueue_first(lc_discovery *d, lc_dir *dir) {
  if (d->first_queued == dir) return;
  lc_discovery_unqueue(d, dir);
  dir->queued = true;
  dir->next_queued = d->first_queued;
  if (dir->next_queued != NULL) dir->next_queued->prev_queued = dir;
  else d->last_queued = dir;
  d->first_queued = dir;
}

static void enqueue_last(lc_discovery *d, lc_dir *dir) {
  if (dir->queued) return;
  dir->queued = true;
  dir->prev_queued = d->last_queued;
  if (dir->prev_queued != NULL) dir->prev_queued->next_queued = dir;
  else d->first_queued = dir;
  d->last_queued = dir;
}

static void forget_names(lc_dir *dir) {
  free(dir->names);
  dir->names = NULL;
  dir->names_len = dir->names_cap = dir->n_names = dir->last_name = 0;
}

void lc_discovery_want(lc_discovery *d, lc_dir *dir) {
  dir->want_list = true;
  forget_names(dir);
  enqueue_last(d, dir);
}

/* False: out of memory. */
static bool add_name(lc_dir *dir, const char *name) {
  uint32_t size = (uint32_t)strlen(name) + 1;
  if (dir->names_len + size > dir->names_cap) {
    uint32_t cap = (dir->names_len + size) * 2;
    char *grown = realloc(dir->names, cap);
    if (grown == NULL) return false;
    dir->names = grown;
    dir->names_cap = cap;
  }
  memcpy(dir->names + dir->names_len, name, size);
  dir->last_name = dir->names_len;
  dir->names_len += size;
  dir->n_names++;
  return true;
}

void lc_discovery_want_name(lc_discovery *d, lc_dir *dir, const char *name) {
  if (dir->want_list) return;
  if (dir->n_names > 0 && strcmp(dir->names + dir->last_name, name) == 0) return;
  if (!dir->scanned || dir->n_names >= NAMES_MAX || !add_name(dir, name)) {
    lc_discovery_want(d, dir);
    return;
  }
  enqueue_first(d, dir); /* something has just happened: before all folders that are only looked at to be sure */
}

void lc_discovery_want_all(lc_discovery *d) {
  for (lc_dir *dir = d->tree.dirs; dir != NULL; dir = dir->next) lc_discovery_want(d, dir);
}

/* ---- jobs ---- */

static void run_job(uv_work_t *request) {
  lc_discovery_job *job = request->data;
  int64_t start = cpu_now();
  for (uint32_t i = 0; i < job->n && !atomic_load(&job->stop); i++) lc_scan_run(&job->scans[i]);
  lc_escapes_look(job->escapes);
  job->cost_ns = cpu_now() - start;
}

static void free_job(lc_discovery_job *job) {
  for (uint32_t i = 0; i < job->n; i++) lc_scan_deinit(&job->scans[i]);
  lc_escapes_free(job->escapes);
  free(job);
}

static void close_handles(lc_discovery *d);
static void on_quiet(lc_discovery *d);
static void set_timer(lc_discovery *d);

/* Tells what the job saw, a turn of the loop at a time. */
static void on_turn(uv_idle_t *turns) {
  lc_discovery *d = turns->data;
  lc_discovery_job *job = d->job;
  if (!d->closing && !lc_discovery_apply(d, job)) {
    (void)uv_idle_start(&d->turns, on_turn); /* cannot fail: there is a callback */
    return;
  }
  (void)uv_idle_stop(&d->turns);
  d->cost_ns += job->cost_ns;
  d->job = NULL; /* only now: a close that comes from a callback waits for the job to be done with */
  free_job(job);
  if (d->closing) close_handles(d);
  else lc_discovery_kick(d);
}

static void after_job(uv_work_t *request, int status) {
  lc_discovery_job *job = request->data;
  (void)status; /* cancelled only by the close */
  job->seen = true;
  on_turn(&job->discovery->turns);
}

static void give_to_job(lc_discovery *d, lc_discovery_job *job, lc_dir *dir) {
  lc_discovery_unqueue(d, dir);
  lc_scan *scan = &job->scans[job->n++];
  *scan = (lc_scan){.patterns = &d->patterns, .inotify = d->inotify, .dir = dir, .wd = -1};
  if (!dir->want_list) {
    scan->asked = dir->names;
    scan->asked_len = dir->names_len;
    dir->names = NULL;
  }
  forget_names(dir);
  if (dir->want_list) dir->retry_ns = 0; /* a look at some names does not make up for one that failed at others */
  dir->want_list = false;
}

/* One job at a time: what happens while it runs is gathered for the next one. */
static bool start_job(lc_discovery *d) {
  lc_discovery_job *job = calloc(1, sizeof *job + JOB_SCANS * sizeof *job->scans);
  if (job == NULL) return false;
  job->discovery = d;
  job->request.data = job;
  uint32_t names = 0;
  while (d->first_queued != NULL && job->n < JOB_SCANS && names < JOB_NAMES) {
    lc_dir *dir = d->first_queued;
    names += dir->want_list ? dir->n_entries : dir->n_names;
    give_to_job(d, job, dir);
  }
  job->escapes = d->escapes;
  d->escapes = NULL;
  d->n_escapes = 0;
  d->job = job;
  d->moved = NULL; /* the job may find that its entry is gone */
  if (uv_queue_work(d->loop, &job->request, run_job, after_job) == 0) return true;
  d->job = NULL;
  for (uint32_t i = 0; i < job->n; i++) lc_discovery_want(d, job->scans[i].dir);
  free_job(job);
  return false;
}

void lc_discovery_kick(lc_discovery *d) {
  if (d->closing || d->job != NULL) return;
  if (d->first_queued == NULL) {
    on_quiet(d);
  } else if (!start_job(d)) {
    lc_log(LC_LOG_ERROR, LC_DISCOVERY_LOG, "cannot look for files: out of memory; trying again");
  } else {
    return;
  }
  if (!d->closing) set_timer(d);
}

/* ---- time ---- */

/* The first scan waits a while for folders whose failure may pass. */
static bool first_scan_done(const lc_discovery *d) {
  for (const lc_dir *dir = d->tree.dirs; dir != NULL; dir = dir->next) {
    if (dir->retry_ns != 0 && dir->tries < FIRST_SCAN_TRIES) return false;
  }
  return true;
}

/* Nothing is left to look at. */
static void on_quiet(lc_discovery *d) {
  int64_t now = lc_clock_mono();
  if (!d->scanned && first_scan_done(d)) {
    d->scanned = true;
    d->next_sweep_ns = now + d->sweep_ns;
    lc_log(LC_LOG_DEBUG, LC_DISCOVERY_LOG, "first scan is done", LC_I("folders", d->tree.n_dirs),
           LC_I("names", d->tree.entries.n), LC_I("cpu_ns", d->cost_ns));
    d->events->scanned(d->arg);
  }
  if (d->sweeping) {
    int64_t rest = d->cost_ns * SWEEP_REST;
    d->next_sweep_ns = now + (rest > d->sweep_ns ? rest : d->sweep_ns);
  }
  if (d->polling || d->next_poll_ns == 0) {
    int64_t rest = d->polling ? d->cost_ns * POLL_REST : 0;
    d->next_poll_ns = now + (rest > POLL_INTERVAL ? rest : POLL_INTERVAL);
  }
  d->sweeping = d->polling = false;
  d->cost_ns = 0;
}

static bool has_polled(const lc_discovery *d) {
  return d->tree.n_polled > 0 || d->tree.n_dangling > 0;
}

static int64_t sooner(int64_t a, int64_t b) {
  return a < b ? a : b;
}

static void on_timer(uv_timer_t *timer);

static void set_timer(lc_discovery *d) {
  int64_t due = INT64_MAX, now = lc_clock_mono();
  if (d->first_queued != NULL) due = now + 100 * LC_MILLISECOND; /* there was no memory */
  if (d->scanned && !d->once) due = sooner(due, d->next_sweep_ns);
  if (has_polled(d) && d->next_poll_ns != 0) due = sooner(due, d->next_poll_ns);
  if (d->next_retry_ns != 0) due = sooner(due, d->next_retry_ns);
  if (due == INT64_MAX) {
    (void)uv_timer_stop(&d->timer);
    return;
  }
  uv_update_time(d->loop);
  uint64_t ms = due > now ? (uint64_t)((due - now) / LC_MILLISECOND) + 1 : 0;
  (void)uv_timer_start(&d->timer, on_timer, ms, 0); /* cannot fail: there is a callback */
}

static void open_inotify(lc_discovery *d, lc_log_level level) {
  lc_error error = {0};
  if (lc_inotify_open(d->loop, &lc_discovery_inotify, d, &d->inotify, &error) == 0) {
    d->n_open++;
    return;
  }
  d->inotify = NULL;
  lc_log(level, LC_DISCOVERY_LOG, "all folders are polled", LC_S("error", error.message));
}

static void sweep(lc_discovery *d) {
  d->sweeping = true;
  d->stats.sweeps++;
  if (d->inotify == NULL) open_inotify(d, LC_LOG_DEBUG);
  lc_discovery_want_all(d);
}

static void poll_folders(lc_discovery *d) {
  d->polling = true;
  for (lc_dir *dir = d->tree.dirs; dir != NULL; dir = dir->next) {
    if (dir->polled) lc_discovery_want(d, dir);
    if (dir->n_dangling == 0) continue;
    for (const lc_entry *entry = dir->entries; entry != NULL; entry = entry->next) {
      if (entry->kind == LC_NAME_DANGLING) lc_discovery_want_name(d, dir, entry->name);
    }
  }
}

static void retry(lc_discovery *d, int64_t now) {
  if (d->next_retry_ns == 0 || now < d->next_retry_ns) return;
  d->next_retry_ns = 0;
  for (lc_dir *dir = d->tree.dirs; dir != NULL; dir = dir->next) {
    if (dir->retry_ns == 0) continue;
    if (dir->retry_ns <= now) lc_discovery_want(d, dir);
    else if (d->next_retry_ns == 0 || dir->retry_ns < d->next_retry_ns) d->next_retry_ns = dir->retry_ns;
  }
}

static void on_timer(uv_timer_t *timer) {
  lc_discovery *d = timer->data;
  int64_t now = lc_clock_mono();
  if (d->scanned && !d->once && now >= d->next_sweep_ns && !d->sweeping) sweep(d);
  else if (has_polled(d) && d->next_poll_ns != 0 && now >= d->next_poll_ns && !d->polling) poll_folders(d);
  retry(d, now);
  if (d->job != NULL) return; /* the timer is set when it is back */
  lc_discovery_kick(d);
}

/* ---- life ---- */

static lc_dir *add_root(lc_discovery *d) {
  lc_patterns_root(&d->patterns, d->states);
  lc_dir *root = lc_tree_add_dir(&d->tree, NULL, "", d->states, d->patterns.n_words);
  if (root == NULL) return NULL;
  root->wild = lc_patterns_wild(&d->patterns, d->states);
  root->files = lc_patterns_files(&d->patterns, d->states);
  return root;
}

static void destroy(lc_discovery *d) {
  lc_tree_deinit(&d->tree);
  lc_patterns_deinit(&d->patterns);
  free(d->states);
  free(d);
}

int lc_discovery_create(const lc_discovery_options *options, uv_loop_t *loop, const lc_discovery_events *events,
                        void *arg, lc_discovery **ret, lc_error *error) {
  lc_discovery *d = calloc(1, sizeof *d);
  if (d == NULL) return lc_error_set(error, LC_ENOMEM, "out of memory");
  d->loop = loop;
  d->events = events;
  d->arg = arg;
  d->once = options->once;
  d->sweep_ns = options->sweep_ns > 0 ? options->sweep_ns : SWEEP_DEFAULT;
  int rc = lc_patterns_init(&d->patterns, options->paths, options->n_paths, options->exclude, options->n_exclude,
                            options->hidden, options->follow_symlinks, error);
  if (rc != 0) goto failed;
  d->states = calloc(d->patterns.n_words, sizeof *d->states);
  rc = d->states == NULL ? LC_ENOMEM : lc_tree_init(&d->tree);
  if (rc == 0 && add_root(d) == NULL) rc = LC_ENOMEM;
  if (rc == 0) rc = uv_timer_init(loop, &d->timer); /* returns 0, as does the next one */
  if (rc == 0) rc = uv_idle_init(loop, &d->turns);
  if (rc != 0) {
    (void)lc_error_set(error, LC_ENOMEM, "out of memory");
    goto failed;
  }
  d->timer.data = d->turns.data = d;
  d->n_open = 2;
  *ret = d;
  return 0;
failed:
  destroy(d);
  return rc;
}

void lc_discovery_start(lc_discovery *d) {
  if (d->started || d->closing) return;
  d->started = true;
  open_inotify(d, LC_LOG_WARN);
  lc_discovery_want(d, d->tree.root);
  lc_discovery_kick(d);
}

static void one_closed(lc_discovery *d) {
  if (--d->n_open > 0) return;
  void (*closed)(void *arg) = d->closed;
  void *arg = d->arg;
  destroy(d);
  if (closed != NULL) closed(arg);
}

static void on_handle_closed(uv_handle_t *handle) {
  one_closed(handle->data);
}
static void on_inotify_closed(void *arg) {
  one_closed(arg);
}

bool lc_discovery_rest(lc_discovery *d) {
  if (d->job != NULL || d->closing) return false; /* a job may be setting watches */
  if (d->inotify != NULL) lc_inotify_close(d->inotify, on_inotify_closed, d);
  d->inotify = NULL;
  return true;
}

static void close_handles(lc_discovery *d) {
  lc_escapes_free(d->leaving);
  lc_escapes_free(d->escapes);
  d->leaving = d->escapes = NULL;
  if (d->inotify != NULL) lc_inotify_close(d->inotify, on_inotify_closed, d);
  uv_close((uv_handle_t *)&d->timer, on_handle_closed);
  uv_close((uv_handle_t *)&d->turns, on_handle_closed);
}

void lc_discovery_close(lc_discovery *d, void (*closed)(void *arg)) {
  if (d->closing) return;
  d->closing = true;
  d->closed = closed;
  (void)uv_timer_stop(&d->timer);
  if (d->job == NULL) {
    close_handles(d);
    return;
  }
  if (d->job->seen) return; /* called back by what is told, or before the next turn */
  atomic_store(&d->job->stop, true);
  (void)uv_cancel((uv_req_t *)&d->job->request); /* when it runs already, it ends after the folder in hand */
}

uint32_t lc_discovery_descriptors(const lc_discovery *d) {
  return (d->inotify != NULL ? 1u : 0u) + (d->job != NULL ? 1u : 0u);
}

static const char *const kind_names[LC_NAME_KINDS] = {
    [LC_NAME_FOLDER] = "folder", [LC_NAME_FIFO] = "fifo",    [LC_NAME_SOCKET] = "socket",
    [LC_NAME_DEVICE] = "device", [LC_NAME_LINK] = "symlink", [LC_NAME_DANGLING] = "dangling",
    [LC_NAME_LOOP] = "loop",
};

int lc_discovery_stats(const lc_discovery *d, lc_buf *ret) {
  int rc = lc_buf_addf(ret,
                       "\"folders\":%u,\"names\":%u,\"watches\":%u,\"polled\":%u,\"scans\":%llu,\"sweeps\":%llu,"
                       "\"failed\":%llu,\"overflows\":%llu,\"aliases\":%llu,\"skipped\":{",
                       d->tree.n_dirs, d->tree.entries.n, d->tree.watchers.n, d->tree.n_polled,
                       (unsigned long long)d->stats.scans, (unsigned long long)d->stats.sweeps,
                       (unsigned long long)d->stats.failed, (unsigned long long)d->stats.overflows,
                       (unsigned long long)d->stats.aliases);
  for (int kind = LC_NAME_FOLDER; kind < LC_NAME_KINDS && rc == 0; kind++) {
    rc = lc_buf_addf(ret, "%s\"%s\":%llu", kind > LC_NAME_FOLDER ? "," : "", kind_names[kind],
                     (unsigned long long)d->stats.skipped[kind]);
  }
  return rc == 0 ? lc_buf_addc(ret, '}') : rc;
}
