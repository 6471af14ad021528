/* What a job saw is compared with what is known, and the differences are told: first what is gone, of all folders, then
 * what is there, so that a rename is seen as one. Thousands of files take several turns of the loop; what happens in
 * between is gathered for the next job, as it is while a job runs.
 *
 * Callbacks may ask for the close; then nothing more is told. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "monitor/discovery_inside.h"

#define RETRY_FIRST (100 * LC_MILLISECOND)
#define RETRY_DOUBLINGS 6u
#define TURN (2 * LC_MILLISECOND)
#define TURN_NAMES 32u /* are told between two looks at the clock */

static void tell_found(lc_discovery *d, const lc_entry *entry) {
  if (d->closing) return;
  const char *path = lc_discovery_path(d->path, entry->dir, entry->name);
  if (path == NULL) return;
  lc_found found = {.path = path,
                    .device = entry->stat.device,
                    .inode = entry->stat.inode,
                    .birth_ns = entry->stat.birth_ns,
                    .size = entry->stat.size,
                    .mtime_ns = entry->stat.mtime_ns};
  d->events->found(d->arg, &found);
}

static void tell_gone(lc_discovery *d, const lc_entry *entry) {
  if (d->closing) return;
  const char *path = lc_discovery_path(d->path, entry->dir, entry->name);
  if (path != NULL) d->events->gone(d->arg, path, entry->moved_to);
}

/* The name by which the reader knew this file leads elsewhere now: it has to know another one. */
static void promote_alias(lc_discovery *d, const lc_stat *stat) {
  lc_entry *other = lc_tree_same_file(&d->tree, stat, NULL);
  if (other == NULL || other->reported) return;
  other->reported = true;
  tell_found(d, other);
}

static void drop_entry(lc_discovery *d, lc_entry *entry) {
  lc_stat stat = entry->stat;
  bool reported = entry->reported;
  if (reported) tell_gone(d, entry);
  if (d->moved == entry) d->moved = NULL;
  lc_discovery_watch(d, &entry->watcher, -1);
  lc_tree_remove_entry(&d->tree, entry);
  if (reported) promote_alias(d, &stat);
}

/* As deep as folders are nested. */
// NOLINTNEXTLINE(misc-no-recursion)
static void drop_dir(lc_discovery *d, lc_dir *dir) {
  while (dir->first_child != NULL) drop_dir(d, dir->first_child);
  while (dir->entries != NULL) drop_entry(d, dir->entries);
  lc_discovery_unqueue(d, dir);
  lc_discovery_watch(d, &dir->watcher, -1);
  lc_tree_remove_dir(&d->tree, dir);
}

static void set_polled(lc_discovery *d, lc_dir *dir, bool polled) {
  if (dir->polled == polled) return;
  dir->polled = polled;
  d->tree.n_polled += polled ? 1 : UINT32_MAX;
}

/* An exhausted limit concerns all folders: it is said once. */
static void log_unwatched(lc_discovery *d, const lc_dir *dir, const lc_scan *scan) {
  if (scan->watch_error.code == LC_ELIMIT && !d->limit_logged) {
    d->limit_logged = true;
    lc_log(LC_LOG_WARN, LC_DISCOVERY_LOG, "folders that cannot be watched are polled", LC_S("path", dir->path),
           LC_S("error", scan->watch_error.message));
  } else if (scan->watch_error.code != 0 && scan->watch_error.code != LC_ELIMIT && scan->error == 0) {
    lc_log(LC_LOG_INFO, LC_DISCOVERY_LOG, "a folder that cannot be watched is polled", LC_S("path", dir->path),
           LC_S("error", scan->watch_error.message));
  } else if (scan->watch_error.code == 0 && scan->remote) {
    lc_log(LC_LOG_INFO, LC_DISCOVERY_LOG, "a folder on a remote file system is polled", LC_S("path", dir->path));
  }
}

/* Takes over how the folder is watched. */
static void take_watch(lc_discovery *d, lc_dir *dir, const lc_scan *scan) {
  if (scan->asked != NULL) {
    if (scan->link_unwatched) set_polled(d, dir, true);
    return;
  }
  lc_discovery_watch(d, &dir->watcher, scan->wd);
  bool narrower = dir->names_watched && !scan->names_watched && scan->error == 0 && scan->wd >= 0;
  if (narrower) { /* a watch can only be widened: a new one tells less */
    lc_discovery_watch(d, &dir->watcher, -1);
    lc_discovery_want(d, dir);
  }
  dir->names_watched = scan->names_watched || (dir->names_watched && !narrower);
  bool polled = scan->wd < 0 || scan->remote || scan->link_unwatched;
  if (polled && !dir->polled) log_unwatched(d, dir, scan);
  set_polled(d, dir, polled);
}

static bool passes_soon(int error) {
  return error == EMFILE || error == ENFILE || error == ENOMEM || error == EINTR || error == EAGAIN || error == EIO ||
         error == ESTALE || error == ETIMEDOUT || error == EBUSY;
}

/* What could not be looked at: said once for each cause, and looked at again. */
static void note_failure(lc_discovery *d, lc_dir *dir, const char *name, int error) {
  d->stats.failed++;
  if (passes_soon(error) && dir->retry_ns == 0) { /* else that retry looks at everything */
    if (dir->tries < UINT8_MAX) dir->tries++;
    unsigned doublings = dir->tries < RETRY_DOUBLINGS ? dir->tries : RETRY_DOUBLINGS;
    dir->retry_ns = lc_clock_mono() + (RETRY_FIRST << doublings) / 2;
    if (d->next_retry_ns == 0 || dir->retry_ns < d->next_retry_ns) d->next_retry_ns = dir->retry_ns;
  }
  if (dir->failed == error) return;
  dir->failed = error;
  lc_error text = {0};
  const char *path = name != NULL ? lc_discovery_path(d->path, dir, name) : dir->path;
  if (path == NULL) return;
  (void)lc_error_sys(&text, error, "cannot read %s", name != NULL ? "file" : "folder");
  lc_log(LC_LOG_WARN, LC_DISCOVERY_LOG, text.message, LC_S("path", path));
}

static void note_success(lc_dir *dir) {
  if (dir->failed != 0) lc_log(LC_LOG_INFO, LC_DISCOVERY_LOG, "folder can be read again", LC_S("path", dir->path));
  dir->failed = 0;
  dir->tries = 0;
  dir->retry_ns = 0;
}

static bool is_gone(int error) {
  return error == ENOENT || error == ENOTDIR || error == ELOOP;
}

/* Changes nothing, unless the folder itself is gone: its parent then says what stands in its place. */
static void scan_failed(lc_discovery *d, const lc_scan *scan) {
  lc_dir *dir = scan->dir;
  take_watch(d, dir, scan);
  if (!is_gone(scan->error) || dir->parent == NULL) {
    note_failure(d, dir, NULL, scan->error);
    return;
  }
  if (dir->parent->names_watched) lc_discovery_want_name(d, dir->parent, dir->name);
  else lc_discovery_want(d, dir->parent); /* and watches for it to come back */
  drop_dir(d, dir);
}

/* Takes out what is not there any more. */
static void prune_name(lc_discovery *d, lc_dir *dir, const char *name, lc_name_kind kind) {
  lc_entry *entry = lc_tree_entry(&d->tree, dir, name);
  if (entry != NULL) {
    bool stays =
        kind == LC_NAME_UNKNOWN || kind == LC_NAME_FILE || (kind > LC_NAME_FILE && entry->kind != LC_NAME_FILE);
    if (stays) entry->seen = d->mark;
    else drop_entry(d, entry);
  }
  lc_dir *child = lc_tree_child(&d->tree, dir, name);
  if (child == NULL) return;
  if (kind == LC_NAME_DESCEND || kind == LC_NAME_UNKNOWN) child->seen = d->mark;
  else drop_dir(d, child);
}

static void prune(lc_discovery *d, const lc_scan *scan) {
  lc_dir *dir = scan->dir;
  d->mark++;
  for (uint32_t i = 0; i < scan->n_names; i++) {
    prune_name(d, dir, scan->text.data + scan->names[i].name, scan->names[i].kind);
  }
  if (!scan->whole) return;
  for (lc_entry *entry = dir->entries, *next; entry != NULL; entry = next) {
    next = entry->next;
    if (entry->seen != d->mark) drop_entry(d, entry);
  }
  for (lc_dir *child = dir->first_child, *next; child != NULL; child = next) {
    next = child->next_sibling;
    if (child->seen != d->mark) drop_dir(d, child);
  }
}

/* The entry of a name, a new one if need be. NULL: out of memory; the folder is looked at again. */
static lc_entry *need_entry(lc_discovery *d, lc_dir *dir, const char *name) {
  lc_entry *entry = lc_tree_entry(&d->tree, dir, name);
  if (entry == NULL) entry = lc_tree_add_entry(&d->tree, dir, name);
  if (entry == NULL) note_failure(d, dir, name, ENOMEM);
  return entry;
}

/* The file was not known under this name. */
static void take_new_file(lc_discovery *d, lc_entry *entry) {
  const lc_entry *other = lc_tree_same_file(&d->tree, &entry->stat, entry);
  entry->reported = other == NULL || !other->reported;
  if (entry->reported) {
    tell_found(d, entry);
    return;
  }
  d->stats.aliases++;
  lc_log(LC_LOG_DEBUG, LC_DISCOVERY_LOG, "another name of a file that is known", LC_S("path", entry->name),
         LC_S("folder", entry->dir->path), LC_S("known_as", other->name));
}

static void take_file(lc_discovery *d, lc_dir *dir, const char *name, const lc_scan_name *seen) {
  lc_entry *entry = need_entry(d, dir, name);
  if (entry == NULL) {
    if (seen->wd >= 0 && lc_tree_watcher(&d->tree, seen->wd) == NULL) lc_inotify_remove(d->inotify, seen->wd);
    return;
  }
  lc_stat former = entry->stat;
  bool is_new = entry->kind != LC_NAME_FILE || !lc_stat_same_file(&former, &seen->stat);
  bool differs = former.size != seen->stat.size || former.mtime_ns != seen->stat.mtime_ns;
  bool replaced = is_new && entry->reported;
  lc_tree_set_entry(&d->tree, entry, LC_NAME_FILE, &seen->stat);
  lc_discovery_watch(d, &entry->watcher, seen->wd);
  entry->is_link = seen->is_link;
  free(entry->moved_to); /* it was moved back, or something else stands there now */
  entry->moved_to = NULL;
  if (is_new) take_new_file(d, entry);
  else if (differs && entry->reported) tell_found(d, entry);
  else if (differs) lc_discovery_changed(d, entry);
  if (replaced) promote_alias(d, &former);
}

static const char *const skip_reasons[LC_NAME_KINDS] = {
    [LC_NAME_FOLDER] = "skipped: it is a folder; write /* behind it for its files",
    [LC_NAME_FIFO] = "skipped: it is a named pipe, not a file",
    [LC_NAME_SOCKET] = "skipped: it is a socket, not a file",
    [LC_NAME_DEVICE] = "skipped: it is a device, not a file",
    [LC_NAME_LINK] = "skipped: it is a symbolic link, and follow_symlinks is off",
    [LC_NAME_DANGLING] = "skipped: it is a symbolic link to nothing",
    [LC_NAME_LOOP] = "skipped: it is a symbolic link that leads to itself",
};

static void take_skipped(lc_discovery *d, lc_dir *dir, const char *name, const lc_scan_name *seen) {
  lc_entry *entry = need_entry(d, dir, name);
  if (entry == NULL || entry->kind == seen->kind) return;
  lc_tree_set_entry(&d->tree, entry, seen->kind, &(lc_stat){0});
  lc_discovery_watch(d, &entry->watcher, -1);
  d->stats.skipped[seen->kind]++;
  /* A wildcard that meets a folder is no mistake. */
  lc_log_level level = seen->kind == LC_NAME_FOLDER && !seen->spelled ? LC_LOG_DEBUG : LC_LOG_WARN;
  const char *path = lc_discovery_path(d->path, dir, name);
  if (path != NULL) lc_log(level, LC_DISCOVERY_LOG, skip_reasons[seen->kind], LC_S("path", path));
}

static void take_dir(lc_discovery *d, const lc_scan *scan, const char *name, const lc_scan_name *seen) {
  const uint64_t *states = scan->states + (size_t)seen->states * d->patterns.n_words;
  lc_dir *child = lc_tree_child(&d->tree, scan->dir, name);
  if (child != NULL && memcmp(child->states, states, d->patterns.n_words * sizeof *states) != 0) {
    drop_dir(d, child); /* it became a link, or is none any more: other patterns lead into it */
    child = NULL;
  }
  bool is_new = child == NULL;
  if (is_new) child = lc_tree_add_dir(&d->tree, scan->dir, name, states, d->patterns.n_words);
  if (child == NULL) {
    note_failure(d, scan->dir, name, ENOMEM);
    return;
  }
  if (is_new) {
    child->wild = lc_patterns_wild(&d->patterns, states);
    child->files = lc_patterns_files(&d->patterns, states);
  }
  /* Asked for by its name: something happened to it, perhaps it is another folder now. */
  if (is_new || scan->asked != NULL) lc_discovery_want(d, child);
}

static void take_name(lc_discovery *d, const lc_scan *scan, const lc_scan_name *seen) {
  lc_dir *dir = scan->dir;
  const char *name = scan->text.data + seen->name;
  if (seen->kind == LC_NAME_UNKNOWN) note_failure(d, dir, name, seen->error);
  else if (seen->kind == LC_NAME_DESCEND) take_dir(d, scan, name, seen);
  else if (seen->kind == LC_NAME_FILE) take_file(d, dir, name, seen);
  else if (seen->kind != LC_NAME_ABSENT) take_skipped(d, dir, name, seen);
}

/* The scan at job->at, from the name at job->at_name on. False: the turn is over before its last name. */
static bool take(lc_discovery *d, lc_discovery_job *job, int64_t turn_ends_ns) {
  const lc_scan *scan = &job->scans[job->at];
  if (job->at_name == 0) {
    take_watch(d, scan->dir, scan);
    scan->dir->scanned = true;
    job->all_known = true;
  }
  while (job->at_name < scan->n_names && !d->closing) {
    const lc_scan_name *seen = &scan->names[job->at_name++];
    take_name(d, scan, seen);
    job->all_known = job->all_known && seen->kind != LC_NAME_UNKNOWN;
    if (job->at_name % TURN_NAMES == 0 && lc_clock_mono() >= turn_ends_ns) return false;
  }
  if (job->all_known && scan->whole) note_success(scan->dir);
  return true;
}

/* Whether there were events before the watch could be told whose it is. */
static bool was_stray(const lc_discovery *d, int wd) {
  if (wd < 0) return false;
  if (d->n_strays > LC_DISCOVERY_STRAYS) return true;
  for (uint32_t i = 0; i < d->n_strays; i++) {
    if (d->strays[i] == wd) return true;
  }
  return false;
}

/* Folders with stray events are read again; a link's target is looked at again. */
static void take_strays(lc_discovery *d, const lc_scan *scan) {
  if (d->n_strays == 0) return;
  if (was_stray(d, scan->wd)) lc_discovery_want(d, scan->dir);
  for (uint32_t i = 0; i < scan->n_names; i++) {
    if (!was_stray(d, scan->names[i].wd)) continue;
    lc_discovery_want_name(d, scan->dir, scan->text.data + scan->names[i].name);
    lc_entry *entry = lc_tree_entry(&d->tree, scan->dir, scan->text.data + scan->names[i].name);
    if (entry != NULL && entry->kind == LC_NAME_FILE) lc_discovery_changed(d, entry);
  }
}

static void take_out_gone(lc_discovery *d, const lc_discovery_job *job) {
  for (uint32_t i = 0; i < job->n; i++) {
    const lc_scan *scan = &job->scans[i];
    if (scan->dir->dead) continue;
    if (scan->error != 0) scan_failed(d, scan);
    else prune(d, scan);
  }
  lc_escapes_tell(d, job->escapes);
}

bool lc_discovery_apply(lc_discovery *d, lc_discovery_job *job) {
  int64_t turn_ends_ns = lc_clock_mono() + TURN;
  d->round++;
  if (!job->told_gone) take_out_gone(d, job);
  job->told_gone = true;
  for (; job->at < job->n; job->at++, job->at_name = 0) {
    const lc_scan *scan = &job->scans[job->at];
    if (scan->dir->dead || scan->error != 0) continue;
    if (!take(d, job, turn_ends_ns)) return false;
    if (!scan->dir->dead) take_strays(d, scan);
  }
  d->n_strays = 0;
  d->stats.scans += job->n;
  lc_tree_bury(&d->tree);
  return true;
}
