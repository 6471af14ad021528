/* Files that no pattern matches any more and that were read to their end: rotated ones. Their writers may still have
 * them open, so they stay known as long as they exist: without a descriptor, looked at by sweeps. A sweep follows what
 * happens in their folders, and comes every now and then where nobody tells. A file that has changed is read on; one
 * that is gone is forgotten. So what is known is bounded by the files that exist.
 *
 * What a sweep costs decides how long the next one has to wait. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "monitor/file_inside.h"

#define SWEEP_FIRST LC_SECOND /* after a file came to rest: its last bytes may have come just before */
#define SWEEP_SOON (250 * LC_MILLISECOND)
#define SWEEP_SOON_REST 1000 /* times its cost: 0.1 % of a core while something happens all the time */
#define SWEEP_IDLE (30 * LC_SECOND)
#define SWEEP_IDLE_REST 3000
#define MISSED_MOST 2u /* a folder that is read while names change may not show all of them */

typedef enum rest_state { REST_SAME, REST_DIFFERS, REST_MISSING, REST_UNKNOWN } rest_state;

typedef struct rest_item {
  lc_file *file; /* counted */
  uint64_t size; /* that it had */
  uint64_t size_now;
  char *found; /* owned: another name in its folder; NULL: it has the one that is known */
  rest_state state;
} rest_item;

struct lc_file_sweep {
  uv_work_t request;
  lc_file_monitor *monitor;
  int64_t cost_ns; /* CPU time */
  uint32_t n;
  rest_item items[];
};

void lc_file_rest(lc_file_monitor *monitor, lc_file *file) {
  lc_file_wake_at(monitor, file, 0);
  lc_file_close(monitor, file);
  lc_file_copies_remove(monitor->copies, &file->head_known); /* nobody copies and truncates it now */
  file->head_known = (lc_file_mark){0};
  file->resting = file->rested = true;
  file->renamed = false; /* its end is saved together with its name */
  file->missed = 0;
  file->prev_resting = NULL;
  file->next_resting = monitor->resting_first;
  if (file->next_resting != NULL) file->next_resting->prev_resting = file;
  monitor->resting_first = file;
  monitor->n_resting++;
  lc_file_sweep_within(monitor, SWEEP_FIRST);
  if (file->dirty) lc_file_wake(monitor, file);
}

void lc_file_unrest(lc_file_monitor *monitor, lc_file *file) {
  if (!file->resting) return;
  file->resting = false;
  if (file->prev_resting != NULL) file->prev_resting->next_resting = file->next_resting;
  else monitor->resting_first = file->next_resting;
  if (file->next_resting != NULL) file->next_resting->prev_resting = file->prev_resting;
  monitor->n_resting--;
}

/* --- in the pool --- */

static bool is_gone(int rc) { return rc == -ENOENT || rc == -ENOTDIR; }

static void look(rest_item *item) {
  lc_file_stat now;
  int rc = lc_file_stat_at(AT_FDCWD, lc_file_path(item->file), &now);
  if (rc == 0 && now.regular && lc_file_id_equal(now.id, item->file->id)) {
    item->size_now = now.size;
    item->state = now.size == item->size ? REST_SAME : REST_DIFFERS;
  } else {
    item->state = rc == 0 || is_gone(rc) ? REST_MISSING : REST_UNKNOWN;
  }
}

static int compare_paths(const void *a, const void *b) {
  const rest_item *left = a, *right = b;
  return strcmp(lc_file_path(left->file), lc_file_path(right->file));
}

/* Under another name of its folder? */
static void find(lc_file_folder **list, rest_item *item) {
  int sys = 0;
  lc_file_stat now;
  int rc = lc_file_folder_find(list, lc_file_path(item->file), item->file->id, &item->found, &sys);
  if (rc == LC_ENOENT) return;
  item->state = REST_UNKNOWN;
  if (rc != 0 || lc_file_stat_at(AT_FDCWD, item->found, &now) != 0 || !lc_file_id_equal(now.id, item->file->id)) return;
  item->size_now = now.size;
  item->state = now.size == item->size ? REST_SAME : REST_DIFFERS;
}

static int64_t cpu_now(void) {
  struct timespec ts;
  if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts) != 0) return 0;
  return ts.tv_sec * LC_SECOND + ts.tv_nsec;
}

static void run_sweep(uv_work_t *request) {
  struct lc_file_sweep *sweep = request->data;
  int64_t start = cpu_now();
  uint32_t missing = 0;
  for (uint32_t i = 0; i < sweep->n; i++) {
    look(&sweep->items[i]);
    missing += sweep->items[i].state == REST_MISSING;
  }
  if (missing > 0) {
    lc_file_folder *list = NULL;
    qsort(sweep->items, sweep->n, sizeof *sweep->items, compare_paths); /* each folder is read once */
    for (uint32_t i = 0; i < sweep->n; i++) {
      if (sweep->items[i].state == REST_MISSING) find(&list, &sweep->items[i]);
    }
    lc_file_folder_free(list);
  }
  sweep->cost_ns = cpu_now() - start;
}

/* --- on the loop --- */

static void take(lc_file_monitor *monitor, const rest_item *item) {
  lc_file *file = item->file;
  if (!file->resting || file->size != item->size) return; /* it was woken meanwhile */
  /* The name is not saved: a start looks through the folder. Without memory for it, the next sweep does. */
  if (item->found != NULL && lc_source_rename(&file->source, item->found) != 0) return;
  if (item->state == REST_MISSING) {
    if (++file->missed < MISSED_MOST) monitor->sweep_again = true;
    else lc_file_wake(monitor, file); /* the look that follows says that it is gone */
    return;
  }
  file->missed = 0;
  if (item->state != REST_DIFFERS) return;
  if (item->size_now > file->size) file->size = item->size_now; /* should it be gone now, it is known what was lost */
  lc_file_wake(monitor, file);
}

static int64_t longer(int64_t a, int64_t b) { return a > b ? a : b; }

static void swept(uv_work_t *request, int status) {
  struct lc_file_sweep *sweep = request->data;
  lc_file_monitor *monitor = sweep->monitor;
  lc_require(status == 0); /* nobody cancels it */
  monitor->sweep = NULL;
  for (uint32_t i = 0; i < sweep->n; i++) {
    if (!monitor->stopping) take(monitor, &sweep->items[i]);
    free(sweep->items[i].found);
    lc_source_release(&sweep->items[i].file->source);
  }
  monitor->sweep_rest_ns = lc_clock_mono() + longer(SWEEP_SOON, sweep->cost_ns * SWEEP_SOON_REST);
  bool again = monitor->sweep_again;
  monitor->sweep_again = false;
  lc_file_sweep_within(monitor, again ? 0 : longer(SWEEP_IDLE, sweep->cost_ns * SWEEP_IDLE_REST));
  free(sweep);
  lc_file_check_stopped(monitor);
}

void lc_file_sweep_within(lc_file_monitor *monitor, int64_t ns) {
  if (monitor->n_resting == 0 || monitor->stopping || monitor->runtime->once) return;
  if (monitor->sweep != NULL) {
    monitor->sweep_again = true;
    return;
  }
  int64_t at = longer(lc_clock_mono() + ns, monitor->sweep_rest_ns);
  if (monitor->sweep_ns != 0 && monitor->sweep_ns <= at) return;
  monitor->sweep_ns = at;
  lc_file_timer_by(monitor, at);
}

void lc_file_sweep(lc_file_monitor *monitor) {
  monitor->sweep_ns = 0;
  if (monitor->n_resting == 0 || monitor->stopping || monitor->sweep != NULL) return;
  struct lc_file_sweep *sweep = calloc(1, sizeof *sweep + monitor->n_resting * sizeof(rest_item));
  if (sweep != NULL) {
    sweep->monitor = monitor;
    sweep->request.data = sweep;
    for (lc_file *file = monitor->resting_first; file != NULL; file = file->next_resting) {
      sweep->items[sweep->n++] = (rest_item){.file = file, .size = file->size};
      lc_source_retain(&file->source);
    }
    if (uv_queue_work(monitor->runtime->loop, &sweep->request, run_sweep, swept) == 0) {
      monitor->sweep = sweep;
      return;
    }
    for (uint32_t i = 0; i < sweep->n; i++) lc_source_release(&sweep->items[i].file->source);
    free(sweep);
  }
  lc_file_sweep_within(monitor, SWEEP_IDLE); /* there was no memory */
}
