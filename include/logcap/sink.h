/* A sink: a destination of records.
 *
 * A sink gets deliveries: one batch each, of which it wants the records that lc_delivery_wants() says. It keeps as many
 * as it likes, packs, encodes and sends them, and settles record ranges in any order. Each wanted record is settled
 * exactly once.
 *
 * Thread: the loop thread, except `write`, which one pool thread at a time runs. */
#ifndef LOGCAP_SINK_H
#define LOGCAP_SINK_H

#include "logcap/resource.h"
#include "logcap/runtime.h"
#include "logcap/source.h"

typedef struct lc_sink lc_sink;
struct lc_edge;
struct lc_changes;

/* A batch on its way to a sink. */
typedef struct lc_delivery {
  lc_batch *batch;       /* counted reference */
  struct lc_edge *edge;  /* the pipeline's: which (pipeline, sink) this is; borrowed */
  uint32_t at;           /* the sink's own: records before it are written */
  void *progress;        /* the sink's own */
  struct lc_delivery *next; /* the sink's queue link */
  bool skips;            /* some range begins with records that the sink already has */
  uint32_t n_ranges;
  struct lc_delivery_range {
    uint32_t from;    /* records of the range before this index are not wanted */
    uint32_t pending; /* records not yet settled */
  } *ranges;
} lc_delivery;

/* Whether record `i` of the batch is for this sink. */
static inline bool lc_delivery_wants(const lc_delivery *delivery, uint32_t i) {
  const lc_record *rec = &delivery->batch->records[i];
  return lc_record_live(rec) && (!delivery->skips || i >= delivery->ranges[rec->range].from);
}

typedef struct lc_sink_ops {
  /* Prepares: opens, binds, recovers what an earlier run left. May fail, may block. */
  int (*open)(lc_sink *sink, lc_runtime *runtime, lc_error *error);
  /* Takes a delivery over. */
  void (*submit)(lc_sink *sink, lc_delivery *delivery);
  /* Sends what it is still collecting: a reader waits for room, or logcap stops. */
  void (*flush)(lc_sink *sink);
  /* Optional: lends itself to a read job. True: nothing is queued or under way, and until lc_sink_ops.unlend only that
   * job's `write` calls touch its output. */
  bool (*lend)(lc_sink *sink);
  /* Pool thread, while lent: writes all wanted records from delivery->at on, moving it. 0: all are written. */
  int (*write)(lc_sink *sink, lc_delivery *delivery, lc_error *error);
  /* Loop thread, after the job. `stuck` is the delivery whose write failed, taken over to be tried again, or NULL. */
  void (*unlend)(lc_sink *sink, lc_delivery *stuck);
  /* Optional. Adds to a commit what must be saved together with the cursors as they are now. From here to `committed`
   * the sink may be asked to close, but does not end. */
  int (*snapshot)(lc_sink *sink, struct lc_changes *changes, lc_error *error);
  /* Optional. Pool thread, between snapshot and the commit: makes what was in the snapshot as durable as the sink's
   * options ask. A failure fails the commit, which is tried again. */
  int (*sync)(lc_sink *sink, lc_error *error);
  /* Optional. The commit that the last snapshot went into is done (ok) or failed; or none is made any more (not ok). */
  void (*committed)(lc_sink *sink, bool ok);
  /* Optional, and only while it is not open: how it would spell a record, with its newline, and where it would put it
   * (left empty when there is but one place). For tests of pipelines, whose sinks write nothing. 0 or LC_ENOMEM. */
  int (*show)(lc_sink *sink, const lc_batch *batch, const lc_record *rec, struct lc_buf *line, struct lc_buf *place);
} lc_sink_ops;

struct lc_sink {
  lc_resource resource; /* first: a sink is a resource */
  const lc_sink_ops *ops;
  uint32_t store_id; /* of its identity in the cursor store; set before open */
  bool replayable;   /* set before open: all that this sink may have had beyond its cursors can be read again */
  bool durable;      /* set by the sink: commits must survive power loss */
  struct lc_engine *engine; /* the pipeline's, set before open; borrowed */
};

typedef enum lc_outcome {
  LC_DELIVERED, /* the destination has it, as safely as the sink's options ask */
  LC_REFUSED,   /* the destination refuses it for good: it goes to the dead-letter queue, then settles */
  LC_DROPPED    /* given up by the sink's policy (when_full = "drop") */
} lc_outcome;

/* Settles the wanted records among [first, first + count). `reason` says why for LC_REFUSED, may be NULL otherwise.
 * When all records of a range are settled its (source, sink) cursor moves. The delivery is freed, and its batch
 * released, when its last record settles: do not touch it afterwards. */
void lc_delivery_settle(lc_delivery *delivery, uint32_t first, uint32_t count, lc_outcome outcome, const char *reason);
void lc_delivery_settle_all(lc_delivery *delivery, lc_outcome outcome, const char *reason);
/* Lets a delivery go unsettled, when a sink closes before it could send: its records will be read again. */
void lc_delivery_discard(lc_delivery *delivery);
/* For a sink that somebody closed in use: asks for a commit now, so that what it has settled is saved before it ends.
 * It hears of it by `committed`. False: no commit is made any more, do not wait. */
bool lc_sink_commit(lc_sink *sink);

#endif
