/* The null sink: counts records and lets them go. For measuring, and for pipelines that only look.
 *
 * Thread: the loop thread. */
#ifndef LC_SINK_NULL_SINK_H
#define LC_SINK_NULL_SINK_H

#include "logcap/sink.h"

int lc_null_sink_create(lc_registry *registry, const char *name, const char *made_at, lc_sink **ret, lc_error *error)
    LC_CHECK;

#endif
