#include "monitor/discovery_escape.h"

#include <stdlib.h>
#include <string.h>

#include "monitor/discovery_inside.h"

#define MOST 1024u /* renames between two looks; more, and those files are told when they are met again */

void lc_escape_from(lc_discovery *d, lc_dir *dir, const lc_inotify_event *event, bool wanted, const lc_entry *entry) {
  lc_escapes_free(d->leaving);
  d->leaving = NULL;
  const char *path = wanted ? lc_discovery_path(d->other_path, dir, event->name) : NULL;
  if (path == NULL || lc_patterns_excluded(&d->patterns, path)) return;
  lc_escape *escape = calloc(1, sizeof *escape);
  if (escape == NULL) return; /* as if nobody had seen it */
  escape->from = strdup(path);
  if (entry != NULL && entry->kind == LC_NAME_FILE) escape->known = entry->stat;
  d->leaving = escape;
  d->leaving_cookie = event->cookie;
}

void lc_escape_to(lc_discovery *d, lc_dir *dir, const lc_inotify_event *event, bool wanted) {
  lc_escape *escape = d->leaving;
  if (escape == NULL || d->leaving_cookie != event->cookie) return;
  d->leaving = NULL;
  const char *path = lc_discovery_path(d->other_path, dir, event->name);
  bool leaves = path != NULL && (!wanted || lc_patterns_excluded(&d->patterns, path));
  if (leaves) escape->to = strdup(path);
  if (escape->from == NULL || escape->to == NULL || d->n_escapes >= MOST) {
    lc_escapes_free(escape);
    return;
  }
  lc_escape **end = &d->escapes;
  while (*end != NULL) end = &(*end)->next;
  *end = escape;
  d->n_escapes++;
}

void lc_escapes_look(lc_escape *escapes) {
  for (; escapes != NULL; escapes = escapes->next) escapes->is_file = lc_scan_file(escapes->to, &escapes->stat);
}

/* Whether nobody can have been told of it. */
static bool is_news(const lc_discovery *d, const lc_escape *escape) {
  if (d->closing || !escape->is_file) return false;
  return escape->known.inode == 0 || !lc_stat_same_file(&escape->known, &escape->stat);
}

static void tell_found(lc_discovery *d, const char *path, const lc_stat *stat) {
  lc_found found = {.path = path,
                    .device = stat->device,
                    .inode = stat->inode,
                    .birth_ns = stat->birth_ns,
                    .size = stat->size,
                    .mtime_ns = stat->mtime_ns};
  d->events->found(d->arg, &found);
}

void lc_escapes_tell(lc_discovery *d, const lc_escape *escapes) {
  for (; escapes != NULL; escapes = escapes->next) {
    if (is_news(d, escapes)) tell_found(d, escapes->from, &escapes->stat);
    if (is_news(d, escapes)) d->events->gone(d->arg, escapes->from, escapes->to); /* the first may close */
  }
}

void lc_escapes_free(lc_escape *escapes) {
  while (escapes != NULL) {
    lc_escape *next = escapes->next;
    free(escapes->from);
    free(escapes->to);
    free(escapes);
    escapes = next;
  }
}
