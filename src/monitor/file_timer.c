#include "base/clock.h"
#include "monitor/file_inside.h"

static void unlink_timed(lc_file_monitor *monitor, lc_file *file) {
  if (!file->in_timed) return;
  if (file->prev_timed != NULL) file->prev_timed->next_timed = file->next_timed;
  else monitor->timed_first = file->next_timed;
  if (file->next_timed != NULL) file->next_timed->prev_timed = file->prev_timed;
  file->in_timed = false;
  file->wake_ns = 0;
}

static void link_timed(lc_file_monitor *monitor, lc_file *file) {
  file->prev_timed = NULL;
  file->next_timed = monitor->timed_first;
  if (file->next_timed != NULL) file->next_timed->prev_timed = file;
  monitor->timed_first = file;
  file->in_timed = true;
}

/* What the file waited for. */
static void due(lc_file_monitor *monitor, lc_file *file, int64_t now) {
  if (file->held) {
    lc_file_hold_over(monitor, file);
    return;
  }
  if (file->group_ns != 0 && now - file->group_ns >= lc_multiline_timeout(monitor->multiline)) file->flush = true;
  lc_file_wake(monitor, file);
}

static void on_timer(uv_timer_t *timer);

/* Sets the timer to the first deadline. Files with one are few: those that rotate, fail, or have an open group. */
static void arm(lc_file_monitor *monitor, int64_t now) {
  int64_t first = 0;
  for (const lc_file *file = monitor->timed_first; file != NULL; file = file->next_timed) {
    if (first == 0 || file->wake_ns < first) first = file->wake_ns;
  }
  if (monitor->sweep_ns != 0 && (first == 0 || monitor->sweep_ns < first)) first = monitor->sweep_ns;
  monitor->timer_ns = first;
  if (first == 0 || monitor->stopping) {
    uv_timer_stop(&monitor->timer);
    return;
  }
  int64_t wait = first > now ? (first - now + LC_MILLISECOND - 1) / LC_MILLISECOND : 0;
  /* Does not fail: the timer is initialised and not closing. */
  (void)uv_timer_start(&monitor->timer, on_timer, (uint64_t)wait, 0);
}

static void on_timer(uv_timer_t *timer) {
  lc_file_monitor *monitor = timer->data;
  int64_t now = lc_clock_mono();
  monitor->timer_ns = 0;
  lc_file_check_deleted(monitor);
  if (monitor->sweep_ns != 0 && monitor->sweep_ns <= now) lc_file_sweep(monitor);
  lc_file *file = monitor->timed_first;
  while (file != NULL) {
    lc_file *next = file->next_timed;
    if (file->wake_ns <= now) {
      unlink_timed(monitor, file);
      due(monitor, file, now);
    }
    file = next;
  }
  arm(monitor, lc_clock_mono());
}

int lc_file_timer_open(lc_file_monitor *monitor, lc_error *error) {
  uv_update_time(monitor->runtime->loop);
  int rc = uv_timer_init(monitor->runtime->loop, &monitor->timer);
  if (rc != 0) return lc_error_set(error, LC_ESYS, "cannot make a timer: %s", uv_strerror(rc));
  monitor->timer.data = monitor;
  monitor->timer_open = true;
  return 0;
}

void lc_file_timer_by(lc_file_monitor *monitor, int64_t at_ns) {
  if (monitor->timer_ns != 0 && monitor->timer_ns <= at_ns) return;
  int64_t now = lc_clock_mono();
  monitor->timer_ns = at_ns;
  int64_t wait = at_ns > now ? (at_ns - now + LC_MILLISECOND - 1) / LC_MILLISECOND : 0;
  uv_update_time(monitor->runtime->loop);
  if (!monitor->stopping) (void)uv_timer_start(&monitor->timer, on_timer, (uint64_t)wait, 0);
}

void lc_file_wake_at(lc_file_monitor *monitor, lc_file *file, int64_t at_ns) {
  unlink_timed(monitor, file);
  if (at_ns == 0) return;
  link_timed(monitor, file);
  file->wake_ns = at_ns;
  lc_file_timer_by(monitor, at_ns);
}

static uint64_t unread_of(const lc_file *file) {
  return file->size > file->mark.offset ? file->size - file->mark.offset : 0;
}

static bool counts(const lc_file *file) { return file->deleted && !file->ending && !file->ended && !file->busy; }

void lc_file_check_deleted(lc_file_monitor *monitor) {
  if (monitor->n_deleted == 0 || monitor->runtime->once) return;
  int64_t now = lc_clock_mono();
  for (;;) {
    uint64_t held = 0;
    lc_file *oldest = NULL;
    for (lc_file *file = monitor->timed_first; file != NULL; file = file->next_timed) {
      if (!counts(file) || unread_of(file) == 0) continue;
      held += unread_of(file);
      if (oldest == NULL || file->deleted_ns < oldest->deleted_ns) oldest = file;
    }
    if (oldest == NULL) return;
    bool aged = now - oldest->deleted_ns >= monitor->options.deleted_age_ns;
    if (!aged && held <= monitor->options.deleted_bytes) return;
    lc_log(LC_LOG_ERROR, LC_FILE_LOG, "a deleted file is given up before it was read to its end",
           LC_S("path", lc_file_path(oldest)), LC_S("because", aged ? "deleted_age" : "deleted_bytes"),
           LC_I("unread_bytes", unread_of(oldest)));
    lc_file_give_up(monitor, oldest, unread_of(oldest));
  }
}
