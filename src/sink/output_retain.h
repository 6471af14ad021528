/* Retention: removes the oldest finished files of a sink when there are too many, when they take too much, or when they
 * are too old. Only files with a row are ever removed, and only while they are still the same file.
 *
 * Finished is a file that was rotated, and one that was not written for an hour (as yesterday's of a dated path).
 *
 * Thread: the job that has the sink. */
#ifndef LC_SINK_OUTPUT_RETAIN_H
#define LC_SINK_OUTPUT_RETAIN_H

#include "base/clock.h"
#include "sink/output_set.h"

#define LC_RETAIN_IDLE (3600 * LC_SECOND)

typedef struct lc_retention {
  uint32_t files; /* 0 each: no limit */
  uint64_t size;
  int64_t age_ns;
} lc_retention;

static inline bool lc_retention_wanted(const lc_retention *retention) {
  return retention->files > 0 || retention->size > 0 || retention->age_ns > 0;
}
/* Failures are counted and logged, and tried again with the next call. `only_rotated`: a delivery is half written, so
 * the others must stay. */
void lc_retention_apply(const lc_retention *retention, lc_output_set *set, bool only_rotated, int64_t now_ns);

#endif
