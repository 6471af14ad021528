/* Files that had a matching name for a moment only: made, written and renamed to a name that no pattern matches, before
 * anybody looked. inotify tells of such a rename; the file is looked at under its new name and told as if it had been
 * seen.
 *
 * Thread: the loop thread, except lc_escapes_look. */
#ifndef LC_MONITOR_DISCOVERY_ESCAPE_H
#define LC_MONITOR_DISCOVERY_ESCAPE_H

#include "io/inotify.h"
#include "monitor/discovery_tree.h"

struct lc_discovery;

typedef struct lc_escape {
  char *from, *to; /* owned; full paths */
  lc_stat known;   /* the file that was known under `from` then; inode 0: none */
  lc_stat stat;
  bool is_file; /* `stat` holds */
  struct lc_escape *next;
} lc_escape;

/* Half of a rename, of a name in `dir`; `wanted`: as a file. */
void lc_escape_from(struct lc_discovery *d, lc_dir *dir, const lc_inotify_event *event, bool wanted,
                    const lc_entry *entry);
void lc_escape_to(struct lc_discovery *d, lc_dir *dir, const lc_inotify_event *event, bool wanted);
/* Pool thread. */
void lc_escapes_look(lc_escape *escapes);
/* Tells them as found and renamed, before what is found now under the same names. */
void lc_escapes_tell(struct lc_discovery *d, const lc_escape *escapes);
void lc_escapes_free(lc_escape *escapes);

#endif
