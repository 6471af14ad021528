/* What the two halves of the stdin monitor share: stdin_monitor.c, the loop's, and stdin_read.c, the pool's.
 *
 * Thread: a job has the monitor's position, framing and rest while it runs, and reads fd, source, multiline. All else
 * is the loop thread's. */
#ifndef LC_MONITOR_STDIN_INSIDE_H
#define LC_MONITOR_STDIN_INSIDE_H

#include <uv.h>

#include "monitor/stdin_monitor.h"
#include "record/framing.h"

typedef struct stdin_monitor {
  lc_monitor base; /* first */
  lc_stdin_monitor_options options;
  lc_multiline *multiline; /* owned; NULL: none */
  struct stdin_monitor *described; /* counted: whose options wait for the end of the job; NULL: nobody's */
  lc_runtime *runtime;
  lc_source *source; /* one reference */
  int fd;            /* what is read: options.fd, or the same pipe or terminal opened once more */
  bool reopened;
  uv_poll_t poll;
  uv_timer_t timer; /* closes an open group */
  bool poll_open, timer_open, polling;
  bool running, starved, ended, stopping, stop_asked, stopped, closing, finished, closed_rest;
  bool busy;       /* a job is under way */
  bool flush;      /* the open group has timed out */
  uint32_t n_closing;
  uint64_t position;
  lc_framing framing;
  char *rest; /* owned: bytes that are read and not used yet: an unfinished line, an open group */
  uint32_t rest_len, rest_size;
} stdin_monitor;

typedef struct stdin_job {
  uv_work_t request;
  stdin_monitor *monitor; /* the job has position, framing and rest */
  lc_carrier carrier;
  lc_multiline_match match;
  lc_batch *batch;
  uint32_t limit; /* bytes that a block may have */
  bool filled; /* the batch goes to the loop */
  bool rest; /* a stop: read no more, give out the rest */
  bool flush, eof, again, group_open;
  int error;
} stdin_job;

/* Reads, frames and joins until the batch goes to the loop or nothing is to be had. */
void lc_stdin_job_run(uv_work_t *request);

#endif
