/* The pool's half of the file monitor: one job looks at one big file or at many small ones, and fills batches.
 *
 *     job = lc_file_job_create(&how, n_files);
 *     ... the loop thread sets works, batches and permits, and calls lc_carrier_begin ...
 *     lc_file_job_run(job);       // in the pool
 *     lc_feed_deliver(feed, &job->carrier, job->filled);
 *
 * A look at a file: open it if need be (under another name of its folder if it was renamed), stat it, check that the
 * bytes before the mark are still the same, read on from there, cut lines, join groups, and move the mark.
 *
 * Thread: run in the pool, the rest on the loop thread. */
#ifndef LC_MONITOR_FILE_READER_H
#define LC_MONITOR_FILE_READER_H

#include <uv.h>

#include "io/inodes.h"
#include "monitor/file_copies.h"
#include "monitor/file_folder.h"
#include "monitor/file_source.h"
#include "record/framing.h"
#include "record/multiline.h"

/* What a monitor's jobs have in common. Not changed while jobs run. */
typedef struct lc_file_how {
  lc_feed *feed;
  lc_inodes *own;                 /* may be NULL */
  const lc_multiline *multiline;  /* NULL: none */
  lc_file_copies *copies;         /* the heads of what is followed */
  uint32_t max_line;
  uint64_t job_bytes; /* read at most so much in one job */
} lc_file_how;

typedef enum lc_look {
  LC_LOOK_SKIPPED,  /* no room or no descriptor was left: look again */
  LC_LOOK_DONE,     /* see more, eof, stat */
  LC_LOOK_GONE,     /* no name of the folder leads to it */
  LC_LOOK_REPLACED, /* truncated: what was read is not there any more */
  LC_LOOK_OWN,      /* logcap's own output */
  LC_LOOK_SUSPECT,  /* begins like a file that is followed: perhaps its copy */
  LC_LOOK_FAILED    /* error */
} lc_look;

typedef struct lc_file_work {
  lc_file *file; /* busy: counted by the monitor's table */
  /* What to do. */
  bool flush;       /* at the end: close the open group, take an unfinished line as a line */
  bool flush_group; /* at the end: close the open group */
  bool final;       /* if the file is still at quiet_size: flush, and mark its end */
  bool announce;    /* deliver its mark even if there is nothing to read: its new name is to be saved */
  bool end;         /* do not read: deliver its final end */
  bool seek_end;    /* begin at `seek_to`, and say so */
  bool seek;        /* go on at `seek_to`, unverified */
  uint64_t seek_to;
  uint64_t quiet_size;
  bool suspicious;  /* compare it with what is followed before the first byte */
  lc_file_mark *originals; /* owned: of files that shrank: when this is a copy of one, read on from there */
  uint32_t n_originals;
  /* What came of it. */
  lc_look look;
  int error;         /* errno */
  lc_file_stat stat; /* when looked at; zeroes if not */
  bool eof;          /* read to its end */
  bool more;         /* not read to its end */
  bool ended;        /* its last range was written */
  bool group_open;   /* lines of an open group wait */
  bool copy;         /* its mark is now that of an original */
  uint64_t consumed; /* bytes */
  char *found_path;  /* owned: where it is now, when it is not under its name */
} lc_file_work;

typedef struct lc_file_job {
  uv_work_t request;
  void *monitor; /* the loop thread's */
  const lc_file_how *how;
  lc_carrier carrier;
  lc_batch *empty;   /* batches to fill, linked */
  lc_batch *batch;   /* in hand */
  lc_batch *filled;  /* done, linked in order */
  lc_batch **filled_end;
  uint32_t permits;  /* descriptors that may be opened beyond those that the files have */
  bool no_descriptors; /* the system gave none: no more files are opened */
  int *close_fds;    /* owned: closed first; each gives a permit */
  uint32_t n_close;
  lc_prefix prefix;
  lc_multiline_match match;
  lc_framing framing;
  uint64_t consumed;
  uint64_t expected; /* about so much is there to be read */
  lc_file_folder *folder; /* owned: the last folder searched */
  char *scratch;                 /* owned: LC_FILE_BLOCK bytes, made when needed */
  uint32_t n_works;
  lc_file_work works[];
} lc_file_job;

lc_file_job *lc_file_job_create(const lc_file_how *how, uint32_t cap_works);
void lc_file_job_destroy(lc_file_job *job);
void lc_file_job_run(lc_file_job *job);

#endif
