/* The stdout sink: lines to standard output, for a terminal or a pipe. At least once; a reader that went away
 * (EPIPE) is an error that is retried and shown, never a reason to drop.
 *
 *     rc = lc_stdout_sink_create(&(lc_stdout_sink_options){.format = LC_SINK_RAW}, registry, NULL, "p.lua:3", &sink,
 * &error);
 *
 * Thread: the loop thread. */
#ifndef LC_SINK_STDOUT_SINK_H
#define LC_SINK_STDOUT_SINK_H

#include "logcap/sink.h"
#include "sink/format.h"

typedef struct lc_stdout_sink_options {
  lc_sink_format format;
  bool metadata; /* JSON: timestamp, source and labels, too */
} lc_stdout_sink_options;

int lc_stdout_sink_create(const lc_stdout_sink_options *options, lc_registry *registry, const char *name,
                          const char *made_at, lc_sink **ret, lc_error *error) LC_CHECK;

#endif
