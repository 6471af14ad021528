/* One generation of a file as a source, and the table of those that a monitor follows.
 *
 * Thread: the loop thread; while a file is busy, its job alone touches `fd` and `mark`. */
#ifndef LC_MONITOR_FILE_SOURCE_H
#define LC_MONITOR_FILE_SOURCE_H

#include <stdatomic.h>

#include "logcap/source.h"
#include "monitor/file_identity.h"

typedef struct lc_file {
  lc_source source; /* first; its name is the path */
  lc_file_id id;
  uint64_t device;
  uint32_t generation; /* counts the truncations of this inode */
  int fd;              /* -1: closed */
  lc_file_mark mark;   /* where reading goes on */
  uint64_t size;       /* when last looked at */
  uint64_t former_size; /* before its last look */
  uint64_t limit;      /* with once: done when read so far */
  uint64_t quiet_size; /* its size at the first of the two looks */
  uint64_t group_size; /* its size when its open group was last seen to grow */
  uint64_t held_size;  /* its size when it was held */
  uint64_t lost;       /* bytes that can not be read any more */
  int64_t wake_ns;     /* monotonic; 0: no timer */
  int64_t quiet_ns;    /* since when it is renamed or deleted and at its end; 0: it is not */
  int64_t deleted_ns;  /* since when it is known to be deleted */
  int64_t group_ns;    /* since when its last group is open; 0: none is */
  int64_t retry_ns;    /* how long to wait after the next failure */
  struct lc_file *before, *after; /* the generation whose path it took, and the one that took its path */
  struct lc_file *next_by_id, *next_by_path, *next_by_former;
  uint64_t former; /* hash of the path that it lost, until the next file there waits for it; 0: none */
  struct lc_file *next_ready;              /* in a queue */
  struct lc_file *prev_timed, *next_timed; /* in the list of those with wake_ns */
  struct lc_file *prev_open, *next_open;   /* in the list of those with a descriptor that may be closed */
  struct lc_file *prev_resting, *next_resting; /* in the list of those at rest */
  lc_file_mark head_known; /* its head, as file_copies has it */
  lc_file_mark copy_of;    /* the mark at which it took over from its original */
  lc_file_mark *originals; /* owned: of files that shrank, of which this may be a copy */
  uint32_t n_originals;
  uint32_t originals_seen; /* how many had shrunk when it was compared last */
  char *alias;             /* owned: another name of it */
  int error;                               /* errno of the last failure, 0: none */
  uint8_t tries;                           /* failures in a row */
  uint8_t missed;                          /* sweeps in a row that did not find it; at rest only */
  bool queued, busy, dirty;   /* dirty: something happened since the job began */
  bool in_paths, in_timed, in_open;
  bool resting;   /* renamed away and read: nothing is done until it changes */
  bool rested;    /* did so before, and has no followed name since */
  bool displaced; /* its path is not its own any more */
  bool renamed;   /* its new name is not saved yet */
  bool deleted;   /* no name is left */
  bool fresh;     /* not read before, in this run or an earlier one */
  bool seek_end;  /* fresh, and to be read from `size` on */
  bool seek;      /* the stored position has no mark: go there unverified */
  bool flush;     /* its open group has timed out */
  bool ending;    /* nothing more can be read: deliver the end */
  bool ended;     /* its last range is delivered, and it has no name any more */
  bool settled;   /* all of it was saved, to an end */
  bool again;     /* found again after its end: follow it anew when it is settled */
  bool once_open; /* counted among those that `once` waits for */
  bool held;      /* looks like a copy: waits to see whether its original shrinks */
  bool cleared;   /* was held long enough, or is no copy */
} lc_file;

static inline lc_file *lc_file_of(lc_source *source) { return (lc_file *)source; }
static inline const char *lc_file_path(lc_file *file) { return atomic_load(&file->source.name); }

/* A file with one reference and no descriptor. NULL when out of memory. */
lc_file *lc_file_create(lc_file_id id, uint32_t generation, uint64_t device, const char *path,
                        lc_labels *labels);

typedef struct lc_file_table {
  lc_file **by_id, **by_path, **by_former; /* owned */
  uint32_t n_buckets, n_files;
} lc_file_table;

int lc_file_table_init(lc_file_table *table) LC_CHECK;
void lc_file_table_deinit(lc_file_table *table); /* the files stay */
/* By identity, and by its path unless it is displaced: then whoever has the path keeps it. */
void lc_file_table_add(lc_file_table *table, lc_file *file);
void lc_file_table_remove(lc_file_table *table, lc_file *file);
/* The newest generation of this file. NULL: not there. */
lc_file *lc_file_table_by_id(const lc_file_table *table, lc_file_id id);
lc_file *lc_file_table_find(const lc_file_table *table, lc_file_id id, uint32_t generation);
lc_file *lc_file_table_by_path(const lc_file_table *table, const char *path);
/* The last one that lost this path, is not at its final end, and nobody waits for. NULL: none. */
lc_file *lc_file_table_by_former(const lc_file_table *table, const char *path);
void lc_file_table_set_former(lc_file_table *table, lc_file *file, uint64_t former);
/* It loses its path, and is displaced. */
void lc_file_table_displace(lc_file_table *table, lc_file *file);
/* It has this path now, and whoever had it is displaced. Returns LC_ENOMEM and changes nothing when memory is short. */
int lc_file_table_rename(lc_file_table *table, lc_file *file, const char *path) LC_CHECK;
/* Goes through all; `each` may remove the file that it is given, and no other. */
void lc_file_table_each(lc_file_table *table, void (*each)(void *arg, lc_file *file), void *arg);

#endif
