/* What the parts of the file monitor share. Only src/monitor/file_*.c include it.
 *
 *   file_monitor.c   options, creation, the resource and its end
 *   file_events.c    what discovery says, turned into files to look at
 *   file_resolve.c   the stored sources at the start: found, renamed, or lost
 *   file_schedule.c  queues, descriptors, and the making of jobs
 *   file_outcome.c   what a job found out, and when a file is at its end
 *   file_truncate.c  truncation, and the copies that it leaves
 *   file_rest.c      files that were renamed away and read: known until they are gone
 *   file_timer.c     the one timer
 *   file_adopt.c     other options in place, and the end before a successor
 *   file_reader.c, file_open.c, file_folder.c, file_identity.c, file_copies.c: the pool's half
 *
 * Thread: the loop thread. */
#ifndef LC_MONITOR_FILE_INSIDE_H
#define LC_MONITOR_FILE_INSIDE_H

#include <uv.h>

#include "base/log.h"
#include "monitor/discovery.h"
#include "monitor/file_monitor.h"
#include "monitor/file_reader.h"
#include "monitor/file_source.h"

#define LC_FILE_JOBS 4u             /* read jobs under way at a time */
#define LC_FILE_TRAIN 8u            /* batches of a job: a hand-over of 2 MiB is still cached when it is written */
#define LC_FILE_JOB_BYTES (16u << 20)
#define LC_FILE_WORTH_WAITING (1u << 20) /* with so much to read it pays to wait for the sink and write in the job */
#define LC_FILE_JOB_FILES 1024u     /* small files of a job */
#define LC_FILE_SMALL (64u << 10)   /* a file with at most so much to read shares its job with others */
#define LC_FILE_HOLD (INT64_C(1) * 1000000000) /* how long a file that looks like a copy waits */
#define LC_FILE_RETRY_FIRST (INT64_C(1) * 1000000000)
#define LC_FILE_RETRY_MOST (INT64_C(30) * 1000000000)
#define LC_FILE_RETRY_DESCRIPTORS (INT64_C(100) * 1000000)
#define LC_FILE_ONCE_TRIES 3u
#define LC_FILE_SHRUNK 64u

typedef struct lc_file_queue {
  lc_file *first, *last;
  uint32_t n;
} lc_file_queue;

typedef struct lc_file_stats {
  uint64_t found, rotated, truncated, deleted, drained, copies, abandoned_files, abandoned_bytes, own;
  uint64_t bytes, cut_lines, skipped_bytes, pattern_failures, failures, jobs, looks;
} lc_file_stats;

/* A cursor of an earlier run. */
typedef struct lc_file_stored {
  lc_file_id id;
  uint32_t generation;
  char *key, *name; /* owned */
  uint64_t lowest;
  lc_file_mark mark;
  bool marked, drained, idle, taken;
} lc_file_stored;

typedef struct lc_file_monitor {
  lc_monitor base; /* first */
  lc_file_monitor_options options; /* its strings owned */
  lc_runtime *runtime;
  lc_discovery *discovery;  /* owned from open to close */
  lc_multiline *multiline;  /* owned; NULL: none */
  lc_file_copies *copies;   /* owned */
  struct lc_file_monitor *described; /* counted: its patterns of groups are taken over between two jobs; NULL: none */
  lc_file_how how;
  lc_file_table files;      /* one reference each */
  lc_file_queue ready, urgent;
  lc_file *open_first, *open_last; /* descriptors that may be closed, the longest idle first */
  lc_file *timed_first;
  lc_file *resting_first;
  uv_timer_t timer;
  int64_t timer_ns; /* monotonic; 0: not set */
  bool timer_open, started, running, stopping, stop_asked, stopped, closing, closed_rest, finished, scheduling;
  bool retiring;   /* reads only deleted files to their end, for another monitor follows the rest */
  bool first_done; /* the first scan is complete */
  bool resting;    /* with once: discovery watches no more */
  uint32_t once_left, once_unread;
  uint32_t max_open;     /* options.max_open_files, or less when the system gives fewer */
  uint32_t permits_used; /* descriptors held or promised to jobs */
  uint32_t jobs;         /* under way */
  bool starved;          /* waits for room in the pool */
  lc_file_stored *stored; /* owned; sorted by id, the newest generation first; NULL after the start */
  uint32_t n_stored, cap_stored;
  struct lc_file_resolve *resolve; /* owned; under way */
  struct lc_file_sweep *sweep;     /* owned; under way */
  int64_t sweep_ns;      /* monotonic: when the next one is due; 0: none is */
  int64_t sweep_rest_ns; /* and none before this */
  bool sweep_again;      /* something happened since the one under way began */
  uint32_t n_resting;
  lc_file_folder *folder; /* owned; from open to start */
  struct lc_file_shrunk {
    lc_file_mark mark;
    lc_file_id id;
    uint32_t generation;
  } shrunk[LC_FILE_SHRUNK]; /* the files that shrank last, a ring */
  uint32_t n_shrunk;        /* ever */
  uint32_t n_held;
  uint32_t n_closing; /* handles and the closing job that are still to end */
  uint32_t n_deleted; /* files without a name that are not read to their end */
  lc_file_stats stats;
} lc_file_monitor;

static inline lc_file_monitor *lc_file_monitor_of(lc_monitor *monitor) { return (lc_file_monitor *)monitor; }
#define LC_FILE_LOG "file_monitor"

/* file_events.c */
extern const lc_discovery_events lc_file_discovery_events;
/* Follows a file from now on. NULL: it could not be attached (logged). */
lc_file *lc_file_follow(lc_file_monitor *monitor, lc_file_id id, uint32_t generation, uint64_t device, const char *path,
                        uint64_t size, bool from_end);
/* A file that was not known stands under this path. */
void lc_file_appear(lc_file_monitor *monitor, const lc_found *found, uint32_t generation);
/* With once: it is one of those that must be read to the size they have now. */
void lc_file_once_add(lc_file_monitor *monitor, lc_file *file);
/* `next` has the path that `file` had: it waits until that one is at its end. */
void lc_file_wait_for(lc_file_monitor *monitor, lc_file *next, lc_file *file);
/* Releases whoever waits for this one. */
void lc_file_let_next(lc_file_monitor *monitor, lc_file *file);

/* file_resolve.c */
int lc_file_load_stored(lc_file_monitor *monitor, lc_error *error) LC_CHECK;
lc_file_stored *lc_file_find_stored(lc_file_monitor *monitor, lc_file_id id);
/* The first scan is over: deals with the stored sources that it did not find, then lc_file_run. */
void lc_file_resolve_start(lc_file_monitor *monitor);
void lc_file_free_stored(lc_file_monitor *monitor);
bool lc_file_replayable(lc_monitor *monitor, const lc_stored_source *stored);

/* file_schedule.c */
/* There may be something to do for this file. */
void lc_file_wake(lc_file_monitor *monitor, lc_file *file);
void lc_file_schedule(lc_file_monitor *monitor);
void lc_file_run(lc_file_monitor *monitor); /* the start is over: read */
/* The file's descriptor may be closed when another one needs it, or not. */
void lc_file_set_closable(lc_file_monitor *monitor, lc_file *file, bool closable);
/* Says in the registry how many descriptors it holds, the watching's too. */
void lc_file_count_descriptors(lc_file_monitor *monitor);
/* Closes files beyond max_open, the longest idle first. */
void lc_file_close_idle(lc_file_monitor *monitor);
/* Takes a file out of the queues. */
void lc_file_unqueue(lc_file_monitor *monitor, lc_file *file);
/* Closes descriptors in the pool. Takes `fds` over. */
void lc_file_close_fds(lc_file_monitor *monitor, int *fds, uint32_t n);

/* file_outcome.c */
/* It has lost its last name, or has one after all. */
void lc_file_note_deleted(lc_file_monitor *monitor, lc_file *file, bool deleted);
/* `later`: the system gave no more descriptors, so a file that was skipped is not tried again at once. */
void lc_file_looked(lc_file_monitor *monitor, lc_file_work *work, bool later);
/* Nothing more of it can be read, and `lost` bytes were not: delivers its end. */
void lc_file_give_up(lc_file_monitor *monitor, lc_file *file, uint64_t lost);
void lc_file_settled(lc_monitor *monitor, lc_source *source);
void lc_file_close(lc_file_monitor *monitor, lc_file *file); /* its descriptor */
/* With once: this file is done with, or stays unread. */
void lc_file_once_done(lc_file_monitor *monitor, lc_file *file, const char *unread);
void lc_file_check_finished(lc_file_monitor *monitor);
/* file_truncate.c */
/* What was read of the file is not there any more: a new generation begins. */
void lc_file_replaced(lc_file_monitor *monitor, lc_file *file);
/* It begins like a file that is followed: holds it for a while. */
void lc_file_hold(lc_file_monitor *monitor, lc_file *file);
/* Its time is up: go on waiting, or read it whole. */
void lc_file_hold_over(lc_file_monitor *monitor, lc_file *file);
/* It is the copy of a file that shrank, and goes on where that one was read to. */
void lc_file_is_copy(lc_file_monitor *monitor, lc_file *file);

/* Forgets a file: out of the table, its reference dropped. Its descriptor is closed. */
void lc_file_drop(lc_file_monitor *monitor, lc_file *file);

/* file_rest.c */
/* It has no followed name and was read to its end: it stays known, without a descriptor. */
void lc_file_rest(lc_file_monitor *monitor, lc_file *file);
void lc_file_unrest(lc_file_monitor *monitor, lc_file *file); /* does nothing when it is not at rest */
/* Looks at all that are at rest, within this time if the former sweep was cheap. */
void lc_file_sweep_within(lc_file_monitor *monitor, int64_t ns);
void lc_file_sweep(lc_file_monitor *monitor);

/* file_timer.c */
int lc_file_timer_open(lc_file_monitor *monitor, lc_error *error) LC_CHECK;
/* Sets the timer to this time, unless it is set to an earlier one. */
void lc_file_timer_by(lc_file_monitor *monitor, int64_t at_ns);
/* Wakes the file at this monotonic time; 0: never. */
void lc_file_wake_at(lc_file_monitor *monitor, lc_file *file, int64_t at_ns);
/* Gives up the oldest deleted files that are beyond the budget. */
void lc_file_check_deleted(lc_file_monitor *monitor);

/* file_adopt.c */
lc_fit lc_file_fit(const lc_resource *res, const lc_resource *described);
void lc_file_adopt(lc_resource *res, lc_resource *described);
/* No job is under way, perhaps: what waits for that is taken over. */
void lc_file_take_over(lc_file_monitor *monitor);
void lc_file_forget_described(lc_file_monitor *monitor);
void lc_file_retire(lc_monitor *base);
/* Stops when nothing is left that only this monitor can read. */
void lc_file_check_retired(lc_file_monitor *monitor);

/* file_monitor.c */
void lc_file_check_stopped(lc_file_monitor *monitor);

#endif
