/* Sources, and the feed through which monitors hand batches to their pipeline.
 *
 * A monitor makes a source for each stream that can be read in order, attaches it to its feed (which tells where to
 * resume), takes batches while there is room, fills them in a pool job, and delivers them:
 *
 *     lc_feed_attach(feed, &file->source, &error);           // source->resume_at, ->resume are filled
 *     lc_carrier_begin(feed, &job->carrier);                 // loop thread: before the pool job
 *     batch = lc_feed_take(feed);                            // NULL: no room; ops->room will be called
 *       ... in the pool: lc_batch_add_range, read, frame ...
 *       if (lc_carrier_process(&job->carrier, batch, &error) == LC_CARRIER_REFILL) read on into the same batch
 *       else take the job's next empty batch
 *     lc_feed_deliver(feed, &job->carrier, batches);         // loop thread: after the pool job, in order
 *
 * When all of a source up to a range marked `last` is acked by every sink and committed, ops->settled tells the monitor
 * that it may let go.
 *
 * Thread: the loop thread, except lc_carrier_process and what is said otherwise. */
#ifndef LOGCAP_SOURCE_H
#define LOGCAP_SOURCE_H

#include "logcap/record.h"

typedef struct lc_feed lc_feed;
struct lc_cursor;

struct lc_source {
  char *key;  /* owned; unique and stable within its monitor, over renames and restarts */
  _Atomic(char *) name; /* owned; for people and records: the path now; any thread reads it; changed only by
                           lc_source_rename, which keeps the earlier ones valid */
  struct lc_old_name *old_names; /* owned */
  struct lc_labels *labels; /* counted reference; NULL: none. Of the ranges to come; changed by lc_source_label */
  void (*destroy)(lc_source *source); /* calls lc_source_deinit and frees it; any thread */
  _Atomic uint32_t refs;
  lc_feed *feed; /* borrowed; set by lc_feed_attach */

  /* Where reading resumes. Set by the monitor before lc_feed_attach, for a source that is new; overwritten by it when a
   * cursor was stored. */
  bool known;           /* a cursor was stored */
  uint64_t resume_at;   /* the lowest position that some sink still wants */
  lc_mark resume;       /* what the monitor once wrote there; zeroes when unknown */

  struct lc_stream *stream; /* the pipeline's own side of it */
};

/* Fixed labels of a monitor, in order. They never change; a reload puts others in their place, while what was read
 * before keeps its own. */
typedef struct lc_label {
  const char *name, *value;
} lc_label;
typedef struct lc_labels {
  _Atomic uint32_t refs;
  uint32_t n;
  lc_label items[]; /* their strings are owned */
} lc_labels;

/* Copies `n` labels; NULL when n is 0. LC_ENOMEM. */
int lc_labels_create(const lc_label *labels, uint32_t n, lc_labels **ret) LC_CHECK;
void lc_labels_retain(lc_labels *labels);  /* any thread; NULL is allowed */
void lc_labels_release(lc_labels *labels); /* any thread; NULL is allowed */
bool lc_labels_same(const lc_labels *a, const lc_labels *b); /* the same names and values in the same order */

void lc_source_retain(lc_source *source);  /* any thread */
void lc_source_release(lc_source *source); /* any thread; the last one calls source->destroy; NULL is allowed */
/* Zeroes nothing, sets one reference. Copies the strings. */
int lc_source_init(lc_source *source, const char *key, const char *name, void (*destroy)(lc_source *source)) LC_CHECK;
void lc_source_deinit(lc_source *source);
int lc_source_rename(lc_source *source, const char *name) LC_CHECK;
/* Gives it these labels (NULL: none); takes a reference. Loop thread, while no job reads the source: a monitor does so
 * before each read job, which costs a comparison when nothing changed. */
void lc_source_label(lc_source *source, lc_labels *labels);

/* A cursor as it is stored, of a source that this monitor once had. */
typedef struct lc_stored_source {
  const char *key, *name;
  uint64_t lowest;  /* the lowest position over the sinks */
  lc_mark mark;     /* of the lowest */
  bool drained;     /* every sink has all of it, and its end was final */
  bool idle;        /* nothing of it beyond `lowest` was ever given to a sink */
  int64_t seen_ns;  /* wall clock of the last save */
} lc_stored_source;
/* Calls `each` for every stored source of the feed's monitor; a non-zero return stops and is returned. */
int lc_feed_each_stored(lc_feed *feed, int (*each)(void *arg, const lc_stored_source *stored), void *arg);
/* Forgets a stored source that cannot come back. `lost_bytes` > 0 is what was never read of it, and is counted as
 * abandoned: the audit names it and health goes red. */
void lc_feed_abandon(lc_feed *feed, const char *key, const char *name, uint64_t lost_bytes);

int lc_feed_attach(lc_feed *feed, lc_source *source, lc_error *error) LC_CHECK;
/* The source delivers nothing more in this run (it vanished, or its partition was revoked). Its ranges in flight still
 * settle; its cursors stay stored. */
void lc_feed_detach(lc_feed *feed, lc_source *source);

/* An empty batch, or NULL when the pool has no room: then ops->room is called once there is. While it is asked to
 * stop, a monitor may still take some for what it could not read again; ops->room is not called then. */
lc_batch *lc_feed_take(lc_feed *feed);
/* For a reader with much to read: whether it costs less to wait until the sink has written what it has, and then to
 * write in the read job itself (see lc_carrier.sink). If so, ops->room is called when something has moved: ask
 * again. */
bool lc_feed_better_wait(lc_feed *feed);
/* Hands an unused batch back. */
void lc_feed_give_back(lc_feed *feed, lc_batch *batch);
/* The bytes that a batch from this feed can hold. A line is never longer than this. */
uint32_t lc_feed_block_size(const lc_feed *feed);

/* What one read job carries along: the steps that may run in the pool. Opaque but for its size. */
typedef struct lc_carrier {
  lc_feed *feed;
  struct lc_graph *graph;       /* counted: the stages and sinks that its batches are for */
  struct lc_sink *sink;         /* lent to this job: its output is written on the spot; NULL: not */
  struct lc_delivery *delivery; /* owned; the lent sink's delivery of the batch in hand */
  lc_tally settled;             /* what was settled on the spot */
  uint64_t delivered;           /* records written on the spot */
  bool stuck;                   /* the lent sink failed: the batch in hand is half written */
  bool kept;                    /* a batch goes to the loop: those behind it must not overtake it */
  lc_error error;               /* why a stage stopped the pipeline; code 0: none did */
} lc_carrier;

typedef enum lc_carrier_verdict {
  LC_CARRIER_KEEP,  /* the batch goes to the loop: take another one, or end the job when there is none */
  LC_CARRIER_REFILL /* all its records are settled: the batch is empty again, its ranges stay open */
} lc_carrier_verdict;

void lc_carrier_begin(lc_feed *feed, lc_carrier *carrier);
/* Pool thread. Runs the stages that may run here on the batch's records, and the lent sink. */
lc_carrier_verdict lc_carrier_process(lc_carrier *carrier, lc_batch *batch);
/* Loop thread, once per begin, after the job: the filled batches in the order of their ranges, linked by ->next (NULL:
 * nothing was read). Takes them over. */
void lc_feed_deliver(lc_feed *feed, lc_carrier *carrier, lc_batch *batches);

#endif
