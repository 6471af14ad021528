/* The stdin monitor: lines from a descriptor that cannot be read again.
 *
 *     lc_stdin_monitor_create(&(lc_stdin_monitor_options){.fd = 0}, registry, NULL, "pipeline.lua:3", &monitor,
 * &error);
 *
 * A reload gives it other options in place, at the end of a read job; what was read keeps its labels, and an open group
 * goes on under the new rules. It is never replaced: what was read and not given out is nowhere else.
 *
 * Positions count on from the stored one; what was in flight when the process died is lost. The end of the input ends
 * the monitor (lc_monitor_finished).
 *
 * Thread: the loop thread; reads run in the pool. */
#ifndef LC_MONITOR_STDIN_MONITOR_H
#define LC_MONITOR_STDIN_MONITOR_H

#include "logcap/monitor.h"
#include "record/multiline.h"

typedef struct lc_stdin_monitor_options {
  int fd;            /* borrowed; usually 0 */
  uint64_t max_line; /* bytes; 0: 256 KiB, also the most */
  lc_multiline_options multiline; /* zeroes: each line is a record */
  const lc_label *labels;
  uint32_t n_labels;
} lc_stdin_monitor_options;

int lc_stdin_monitor_create(const lc_stdin_monitor_options *options, lc_registry *registry, const char *name,
                            const char *made_at, lc_monitor **ret, lc_error *error) LC_CHECK;

#endif
