/* What inotify says. A write is told at once and costs no I/O; whatever concerns names is looked at by a job. */
#include <stdlib.h>
#include <string.h>

#include "monitor/discovery_inside.h"

#define WRITTEN (IN_MODIFY | IN_CLOSE_WRITE)
#define NAMES (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO)
#define LOST (IN_IGNORED | IN_UNMOUNT)
#define SELF (IN_DELETE_SELF | IN_MOVE_SELF)

void lc_discovery_changed(lc_discovery *d, lc_entry *entry) {
  if (!entry->reported) entry = lc_tree_same_file(&d->tree, &entry->stat, entry);
  if (entry == NULL || !entry->reported || entry->changed == d->round || d->closing) return;
  entry->changed = d->round;
  const char *path = lc_discovery_path(d->path, entry->dir, entry->name);
  if (path != NULL) d->events->changed(d->arg, path);
}

/* The watch may belong to a folder that a job has just read: then it is read again. Else nobody needs it. */
static void on_stray(lc_discovery *d, const lc_inotify_event *event) {
  if (d->job == NULL) {
    if ((event->mask & IN_IGNORED) == 0) lc_inotify_remove(d->inotify, event->wd);
    return;
  }
  for (uint32_t i = 0; i < d->n_strays && i < LC_DISCOVERY_STRAYS; i++) {
    if (d->strays[i] == event->wd) return;
  }
  if (d->n_strays < LC_DISCOVERY_STRAYS) d->strays[d->n_strays] = event->wd;
  if (d->n_strays <= LC_DISCOVERY_STRAYS) d->n_strays++;
}

static void on_overflow(lc_discovery *d) {
  d->stats.overflows++;
  lc_log(LC_LOG_INFO, LC_DISCOVERY_LOG,
         "more happened in the watched folders than the kernel queues: looking at all of them",
         LC_I("overflows", d->stats.overflows));
  lc_discovery_want_all(d);
}

/* The two halves of a rename follow each other. */
static void join_move(lc_discovery *d, lc_dir *dir, const lc_inotify_event *event, lc_entry *entry) {
  if ((event->mask & IN_MOVED_FROM) != 0) {
    d->moved = entry;
    d->moved_cookie = event->cookie;
    return;
  }
  if (d->moved == NULL || d->moved_cookie != event->cookie) return;
  const char *path = lc_discovery_path(d->other_path, dir, event->name);
  char *to = path != NULL ? strdup(path) : NULL; /* without it the reader looks for itself */
  free(d->moved->moved_to);
  d->moved->moved_to = to;
  d->moved = NULL;
}

static bool wanted(lc_discovery *d, const lc_dir *dir, const char *name) {
  return lc_patterns_step(&d->patterns, dir->states, name, false, d->states);
}

static bool matters(lc_discovery *d, const lc_dir *dir, const char *name) {
  return wanted(d, dir, name) || !lc_patterns_none(&d->patterns, d->states);
}

static void on_move(lc_discovery *d, lc_dir *dir, const lc_inotify_event *event, lc_entry *entry) {
  join_move(d, dir, event, entry);
  if ((event->mask & IN_ISDIR) != 0) return;
  bool is_wanted = wanted(d, dir, event->name);
  if ((event->mask & IN_MOVED_FROM) != 0) lc_escape_from(d, dir, event, is_wanted, entry);
  else lc_escape_to(d, dir, event, is_wanted);
}

static void on_name(lc_discovery *d, lc_dir *dir, const lc_inotify_event *event) {
  lc_entry *entry = lc_tree_entry(&d->tree, dir, event->name);
  bool is_file = entry != NULL && entry->kind == LC_NAME_FILE;
  if (entry == NULL && d->events->other != NULL) d->events->other(d->arg);
  if ((event->mask & (IN_MOVED_FROM | IN_MOVED_TO)) != 0) on_move(d, dir, event, is_file ? entry : NULL);
  if ((event->mask & NAMES) != 0) {
    if (entry != NULL || matters(d, dir, event->name)) lc_discovery_want_name(d, dir, event->name);
  } else if ((event->mask & IN_ISDIR) != 0) {
    lc_dir *child = lc_tree_child(&d->tree, dir, event->name);
    if (child != NULL && child->failed != 0) lc_discovery_want(d, child); /* perhaps it can be read now */
  } else if (is_file) {
    lc_discovery_changed(d, entry);
  } else if ((event->mask & IN_ATTRIB) != 0 && matters(d, dir, event->name)) {
    lc_discovery_want_name(d, dir, event->name);
  } /* else it was written to before it was looked at: who learns of it now reads it all */
}

static void on_dir_event(lc_discovery *d, lc_dir *dir, const lc_inotify_event *event) {
  if ((event->mask & LOST) != 0) lc_discovery_watch(d, &dir->watcher, -1);
  if ((event->mask & (LOST | SELF)) != 0) lc_discovery_want(d, dir);
  else if (event->name[0] != '\0') on_name(d, dir, event);
  else if (dir->failed != 0) lc_discovery_want(d, dir);
}

/* Of the target of a link. */
static void on_entry_event(lc_discovery *d, lc_entry *entry, const lc_inotify_event *event) {
  if ((event->mask & LOST) != 0) lc_discovery_watch(d, &entry->watcher, -1);
  if ((event->mask & (LOST | SELF | IN_ATTRIB)) != 0) lc_discovery_want_name(d, entry->dir, entry->name);
  if (entry->kind == LC_NAME_FILE) lc_discovery_changed(d, entry);
}

static void on_event(void *arg, const lc_inotify_event *event) {
  lc_discovery *d = arg;
  if (d->closing) return;
  if ((event->mask & IN_Q_OVERFLOW) != 0) {
    on_overflow(d);
    return;
  }
  lc_watcher *watcher = lc_tree_watcher(&d->tree, event->wd), *next;
  if (watcher == NULL) on_stray(d, event);
  for (; watcher != NULL && !d->closing; watcher = next) {
    next = lc_tree_next_watcher(watcher);
    if (watcher->dir != NULL) on_dir_event(d, watcher->dir, event);
    else on_entry_event(d, watcher->entry, event);
  }
}

static void on_done(void *arg) {
  lc_discovery *d = arg;
  d->round++;
  if (d->first_queued != NULL) lc_discovery_kick(d);
}

const lc_inotify_callbacks lc_discovery_inotify = {.event = on_event, .done = on_done};
