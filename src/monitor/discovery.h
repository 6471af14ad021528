/* Discovery: which files match the patterns, and what happens to them.
 *
 *     lc_discovery_create(&options, loop, &events, monitor, &discovery, &error);   // checks the patterns
 *     lc_discovery_start(discovery);            // first scan; then inotify, and slow sweeps for what it cannot see
 *     ...
 *     lc_discovery_close(discovery, closed);    // frees itself after its last callback
 *
 * Events say what stands under a path now; they may come twice, and a reader that compares is always right. A failed
 * scan changes nothing. A queue overflow leads to a new scan. A file that matches under several names is told under one
 * of them, and under another one when that is gone.
 *
 * Folders are watched, also those on the way to a pattern, so that one that does not exist yet is noticed; and the
 * targets of symbolic links. What cannot be watched is polled every second. Each line of `skipped` in the log is
 * written once.
 *
 * Thread: the loop thread; scans and stats run in the pool. */
#ifndef LC_MONITOR_DISCOVERY_H
#define LC_MONITOR_DISCOVERY_H

#include <uv.h>

#include "base/buf.h"
#include "logcap/error.h"

/* A regular file under a path that matches. */
typedef struct lc_found {
  const char *path;
  uint64_t device, inode;
  int64_t birth_ns; /* 0: the file system does not say */
  uint64_t size;
  int64_t mtime_ns;
} lc_found;

typedef struct lc_discovery_events {
  /* There is a file under this path: a new path, or another file under a known one, or (from a sweep) its size or time
   * changed. All files of the first scan come before `scanned`. */
  void (*found)(void *arg, const lc_found *found);
  /* It was written to, or its attributes or links changed. */
  void (*changed)(void *arg, const char *path);
  /* The path is gone. `to`: it was renamed to this, which may match no pattern; NULL: deleted, or not known. Comes
   * before `found` for the new path. */
  void (*gone)(void *arg, const char *path, const char *to);
  /* The first complete scan has ended. */
  void (*scanned)(void *arg);
  /* Something happened in a watched folder to a name that was not found to match: it was written to, renamed or
   * deleted. Optional; it may come often. */
  void (*other)(void *arg);
} lc_discovery_events;

typedef struct lc_discovery_options {
  const char *const *paths; /* absolute patterns */
  uint32_t n_paths;
  const char *const *exclude;
  uint32_t n_exclude;
  bool hidden, follow_symlinks;
  bool once;        /* scan once, watch renames while it lasts, no sweeps */
  int64_t sweep_ns; /* between slow sweeps, at least; 0: the default, 30 s */
} lc_discovery_options;

typedef struct lc_discovery lc_discovery;

/* Copies the options; touches no file. LC_EINVAL names the pattern that is wrong. */
int lc_discovery_create(const lc_discovery_options *options, uv_loop_t *loop, const lc_discovery_events *events,
                        void *arg, lc_discovery **ret, lc_error *error) LC_CHECK;
void lc_discovery_start(lc_discovery *discovery);
/* Nothing needs to be watched any more: lets go of what the watching holds. False: not now, ask again later. */
bool lc_discovery_rest(lc_discovery *discovery);
/* No more events. `closed` is called on the loop, later, when nothing is held any more and it has been freed; also when
 * it was never started. */
void lc_discovery_close(lc_discovery *discovery, void (*closed)(void *arg));
/* Members of a JSON object, without braces: "watches":3,"polled":0,"skipped":{...}. */
int lc_discovery_stats(const lc_discovery *discovery, lc_buf *ret);
/* Descriptors that it holds. */
uint32_t lc_discovery_descriptors(const lc_discovery *discovery);

#endif
