/* The inside of discovery, shared by its files:
 *   discovery.c         create, start, close, timer, the queue of folders to look at, jobs
 *   discovery_apply.c   what a job saw, compared with what is known, and told
 *   discovery_events.c  what inotify says: a file was written to, or names to look at
 *
 * Thread: the loop thread. */
#ifndef LC_MONITOR_DISCOVERY_INSIDE_H
#define LC_MONITOR_DISCOVERY_INSIDE_H

#include <limits.h>
#include <stdatomic.h>

#include "base/log.h"
#include "monitor/discovery.h"
#include "monitor/discovery_escape.h"
#include "monitor/discovery_scan.h"

#define LC_DISCOVERY_LOG "discovery"
#define LC_DISCOVERY_STRAYS 64u
#define LC_DISCOVERY_PATH (PATH_MAX + NAME_MAX + 2) /* a folder that could be opened, and a name in it */

typedef struct lc_discovery_job {
  uv_work_t request;
  struct lc_discovery *discovery;
  int64_t cost_ns;   /* CPU time */
  bool seen;         /* it has run: what it saw is being told, in turns */
  bool told_gone;    /* what is gone was told */
  bool all_known;    /* of the scan in hand: each name could be looked at */
  uint32_t at, at_name; /* which scan and name is told next */
  _Atomic bool stop; /* closing: what is not begun is left undone */
  lc_escape *escapes; /* owned */
  uint32_t n;
  lc_scan scans[];
} lc_discovery_job;

struct lc_discovery {
  lc_patterns patterns;
  bool once;
  int64_t sweep_ns;
  const lc_discovery_events *events;
  void *arg;
  uv_loop_t *loop;
  lc_inotify *inotify; /* NULL: none could be had; all folders are polled */
  uv_timer_t timer;
  uv_idle_t turns; /* active while more is to be told of what a job saw */
  lc_tree tree;
  uint64_t *states;                                            /* owned; scratch */
  char path[LC_DISCOVERY_PATH], other_path[LC_DISCOVERY_PATH]; /* scratch */
  lc_dir *first_queued, *last_queued;
  lc_discovery_job *job; /* under way; NULL: none */
  bool started, closing, scanned, sweeping, polling;
  bool limit_logged;                                  /* that folders are polled because a limit is reached */
  int64_t next_sweep_ns, next_poll_ns, next_retry_ns; /* monotonic; 0: not set */
  int64_t cost_ns;                                    /* of what was done since the queue was empty last */
  uint32_t mark;                                      /* of the scan in hand: what it saw carries it */
  uint32_t round;                                     /* of events in hand: a file is reported once in it */
  lc_entry *moved;                                    /* the first half of a rename whose second half may follow */
  uint32_t moved_cookie;
  lc_escape *leaving; /* owned; the same for a file that nobody may have seen */
  uint32_t leaving_cookie;
  lc_escape *escapes; /* owned; to be looked at by the next job */
  uint32_t n_escapes;
  int strays[LC_DISCOVERY_STRAYS]; /* watches that had events before their job was back */
  uint32_t n_strays;               /* one more than fit: any watch may be one */
  void (*closed)(void *arg);
  unsigned n_open; /* not closed yet: the timer, the turns, inotify */
  struct {
    uint64_t scans, sweeps, failed, overflows, aliases, skipped[LC_NAME_KINDS];
  } stats;
};

/* "folder/name" in `to`; no memory is needed, so that nothing can be left untold. NULL: a bug. */
const char *lc_discovery_path(char to[LC_DISCOVERY_PATH], const lc_dir *dir, const char *name);

/* Asks for a folder to be looked at again: all of it, or one name. lc_discovery_kick starts the work. */
void lc_discovery_want(lc_discovery *d, lc_dir *dir);
void lc_discovery_want_name(lc_discovery *d, lc_dir *dir, const char *name);
void lc_discovery_want_all(lc_discovery *d);
void lc_discovery_unqueue(lc_discovery *d, lc_dir *dir);
void lc_discovery_kick(lc_discovery *d);

/* Sets the watch of a folder or file; ends the former one when nobody else needs it. */
void lc_discovery_watch(lc_discovery *d, lc_watcher *watcher, int wd);
/* Compares and tells, for a turn. True: nothing is left to tell. */
bool lc_discovery_apply(lc_discovery *d, lc_discovery_job *job);
/* Tells that a file was written to, under the name by which it is known; once in a round. */
void lc_discovery_changed(lc_discovery *d, lc_entry *entry);

extern const lc_inotify_callbacks lc_discovery_inotify;

#endif
