/* The common part of sinks that write with blocking calls in the thread pool: files, standard output, dead letters.
 *
 * A queue of deliveries, and one job at a time, which takes all that is queued. What fails stays at the head and is
 * tried again, 0.1 s to 5 s later, for ever: visible in the figures, logged at most every ten seconds, never dropped.
 * The whole sink may be lent to a read job instead, which then writes on the spot. Options that a reload brings wait
 * for the end of a job; the last ones count.
 *
 *     struct my_sink { lc_writer writer; int fd; };
 *     static const lc_writer_ops my_ops = {.write = my_write};
 *     lc_writer_init(&my->writer, &my_ops, registry, "my_sink", name, identity, made_at, &error);
 *
 * The writer is an lc_sink, with submit, flush, lend, write, unlend and the resource's close and destroy implemented;
 * the kind fills lc_writer_ops.
 *
 * Thread: the loop thread, but for lc_writer_ops.write and .tend, which run in the pool, one at a time, with nothing
 * else touching what they write. */
#ifndef LC_SINK_WRITER_H
#define LC_SINK_WRITER_H

#include "base/buf.h"
#include "logcap/sink.h"

typedef struct lc_writer lc_writer;

typedef struct lc_writer_ops {
  /* Loop thread. Optional. */
  int (*open)(lc_writer *writer, lc_runtime *runtime, lc_error *error);
  /* Pool thread. Writes all wanted records of the delivery from delivery->at on. When it fails it is called again,
   * later, for the same batch (the delivery may be another): what was written must not be written again. */
  int (*write)(lc_writer *writer, lc_delivery *delivery, lc_error *error);
  /* Pool thread. Optional. After the last write of a job, before anything is settled: makes it as durable as the
   * options ask. When it fails nothing of the job settles, and it is called again later. Without it a write settles as
   * soon as it is done; with it the writer is never lent. */
  int (*sync)(lc_writer *writer, lc_error *error);
  /* Pool thread. Optional. Upkeep, when it was asked for with lc_writer_tend. */
  void (*tend)(lc_writer *writer);
  /* Loop thread. Optional. A job, or a borrower, is done: what it wrote becomes what the sink shows. The settling of it
   * follows in the same turn of the loop. */
  void (*publish)(lc_writer *writer);
  /* Loop thread. Optional. Once, when closing and no job is under way: starts to let go of what it holds; ends, now or
   * later, with lc_writer_closed. */
  void (*close)(lc_writer *writer);
  /* Frees the kind's own memory, and the object. */
  void (*destroy)(lc_writer *writer);
  /* Loop thread. Optional: as in lc_resource_ops, but `adopt` is called between two jobs, when nobody has borrowed the
   * writer: what jobs read may be swapped, but a delivery may be half written. Upkeep follows. */
  lc_fit (*fit)(const lc_writer *writer, const lc_writer *described);
  void (*adopt)(lc_writer *writer, lc_writer *described);
  /* Optional: adds members to the JSON object of figures, each behind a comma. */
  int (*stats)(lc_writer *writer, lc_buf *ret);
  /* Optional: as in lc_sink_ops. */
  int (*snapshot)(lc_sink *sink, struct lc_changes *changes, lc_error *error);
  void (*committed)(lc_sink *sink, bool ok);
  int (*show)(lc_sink *sink, const lc_batch *batch, const lc_record *rec, lc_buf *line, lc_buf *place);
} lc_writer_ops;

struct lc_writer {
  lc_sink sink; /* first: a writer is a sink */
  const lc_writer_ops *ops;
  lc_sink_ops sink_ops; /* what `sink.ops` points to: the writer's, with the kind's snapshot, committed and show */
  lc_runtime *runtime;  /* borrowed; NULL until open */
  struct lc_writer_work *work; /* owned: queue, job, timer */
};

/* `ops` is static. On failure nothing is held. */
int lc_writer_init(lc_writer *writer, const lc_writer_ops *ops, lc_registry *registry, const char *kind,
                   const char *name, const char *identity, const char *made_at, lc_error *error) LC_CHECK;
/* Asks for upkeep: now when idle, else with the next job. */
void lc_writer_tend(lc_writer *writer);
/* Whether it was asked to close: long upkeep had better end. Any thread. */
bool lc_writer_closing(const lc_writer *writer);
/* The kind holds nothing any more. */
void lc_writer_closed(lc_writer *writer);

#endif
