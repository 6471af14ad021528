/* What a sink that becomes durable (a reload set fsync) has written before: syncs the file systems that its outputs are
 * on, files, names and folders alike.
 *
 *     set->sync_due = true;
 *     rc = lc_output_set_sync_before(set, &error);     // clears it; on failure it stays due
 *
 * Outputs that were let go are not looked for: they were idle for an hour, and the kernel waits for half a minute.
 *
 * Thread: the job that has the sink. */
#ifndef LC_SINK_OUTPUT_SYNC_H
#define LC_SINK_OUTPUT_SYNC_H

#include "sink/output_set.h"

int lc_output_set_sync_before(lc_output_set *set, lc_error *error) LC_CHECK;

#endif
