/* A monitor: where lines come from.
 *
 * Made from options (describes only), opened with a feed, then told when there is room. It may read ahead as far as the
 * feed gives it batches. Discovery never pauses, whatever the room.
 *
 * Thread: the loop thread. */
#ifndef LOGCAP_MONITOR_H
#define LOGCAP_MONITOR_H

#include "logcap/resource.h"
#include "logcap/runtime.h"
#include "logcap/source.h"

typedef struct lc_monitor lc_monitor;

typedef struct lc_monitor_ops {
  /* Prepares: opens what may fail. Nothing is read yet. */
  int (*open)(lc_monitor *monitor, lc_runtime *runtime, lc_feed *feed, lc_error *error);
  /* Starts to discover and read. */
  void (*start)(lc_monitor *monitor);
  /* There is room in the pool again. Level-triggered: may come when nobody waits. */
  void (*room)(lc_monitor *monitor);
  /* All of `source` is acked and committed, up to a range marked `last`. A source may go on behind such an end; then
   * this comes again at the next one. */
  void (*settled)(lc_monitor *monitor, lc_source *source);
  /* Stops reading. Ends, now or later, when no job is under way, with lc_monitor_stopped(). */
  void (*stop)(lc_monitor *monitor);
  /* Optional: no generation names it any more, and another monitor may follow it. Reads to the end only what nobody
   * else could read, then stops as if it were asked to; `stop` may come meanwhile. Without it: `stop`. */
  void (*retire)(lc_monitor *monitor);
  /* Optional, before start, may block: whether a stored source can be read again from its cursor. Without it: no. */
  bool (*replayable)(lc_monitor *monitor, const lc_stored_source *stored);
  /* Optional, and only while it is not open: how it joins lines, or NULL. For tests of pipelines. */
  const struct lc_multiline *(*multiline)(const lc_monitor *monitor);
} lc_monitor_ops;

struct lc_monitor {
  lc_resource resource; /* first: a monitor is a resource */
  const lc_monitor_ops *ops;
  lc_labels *labels; /* counted reference; NULL: none. Set by create */
  uint32_t line_max; /* the longest line it delivers, bytes; 0: no wish. Set by create: batches are at least so large */
  lc_feed *feed;    /* borrowed from its pipeline; NULL until opened */
};

/* Upcalls into the pipeline. */
void lc_monitor_stopped(lc_monitor *monitor);
/* With runtime->once: everything that was there at the start has been read and delivered. `unread` > 0: so many sources
 * could not be read to their end; each was logged by name. */
void lc_monitor_finished(lc_monitor *monitor, uint32_t unread);

#endif
