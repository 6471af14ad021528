/* Looks at folders: all their names, or some. The only part of discovery that touches the disk.
 *
 *     lc_scan_run(scan);                                  // in the pool
 *     for (uint32_t i = 0; i < scan->n_names; i++) ...    // on the loop thread
 *
 * A folder is watched before it is read, so that nothing which happens after the reading goes unnoticed. One descriptor
 * is open at a time. A scan that fails says why and has no names: it proves nothing about any file.
 *
 * Thread: run in the pool; one job at a time. */
#ifndef LC_MONITOR_DISCOVERY_SCAN_H
#define LC_MONITOR_DISCOVERY_SCAN_H

#include "base/buf.h"
#include "io/inotify.h"
#include "monitor/discovery_tree.h"
#include "monitor/patterns.h"

/* What was found under a name. */
typedef struct lc_scan_name {
  uint32_t name;   /* where it begins in `text` */
  uint32_t states; /* of a folder to descend into: which n_words of `states` */
  lc_name_kind kind;
  int error; /* errno: why it is LC_NAME_UNKNOWN */
  int wd;    /* of a link's target; -1: none */
  bool is_link;
  bool spelled; /* a pattern names it */
  lc_stat stat;
} lc_scan_name;

typedef struct lc_scan {
  /* What to do. */
  const lc_patterns *patterns;
  lc_inotify *inotify; /* NULL: do not watch */
  lc_dir *dir;         /* only path, states, wild and files are read */
  char *asked;         /* owned; names to look at, each terminated; NULL: list them all */
  uint32_t asked_len;
  /* What came of it. */
  int error;            /* errno; 0: the names are true */
  bool whole;           /* all names were listed: what is missing is gone */
  bool remote;          /* others write to it unseen by inotify */
  int wd;               /* -1: not watched */
  lc_error watch_error; /* why not; code 0: it was not tried */
  bool names_watched;   /* its watch tells of names, not only of the folder itself */
  bool link_unwatched;  /* so it is with a link's target */
  lc_scan_name *names;  /* owned */
  uint32_t n_names, cap_names;
  uint64_t *states; /* owned */
  uint32_t n_states, cap_states;
  lc_buf text; /* owned */
} lc_scan;

void lc_scan_run(lc_scan *scan);
void lc_scan_deinit(lc_scan *scan);
/* Looks at one path. False: there is no regular file. */
bool lc_scan_file(const char *path, lc_stat *ret);

#endif
