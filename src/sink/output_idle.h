/* Keeps the memory of a set bounded: outputs that were idle for an hour may leave it. Their files, their rows and their
 * identities among our own files stay; should a record come for one of them again, its row is read back from the store.
 *
 * Thread: the job that has the sink; trim: the loop thread. */
#ifndef LC_SINK_OUTPUT_IDLE_H
#define LC_SINK_OUTPUT_IDLE_H

#include "sink/output_set.h"

/* When a file stands at a new output's path that the store knows: makes the output what its row says. */
int lc_output_set_recall(lc_output_set *set, lc_output *output, lc_error *error) LC_CHECK;
/* Loop thread, after a commit: forgets, in memory, finished files that nobody needs any more. */
void lc_output_set_trim(lc_output_set *set);
/* Whether a finished file has to be in memory. */
bool lc_output_set_needs(const lc_output_set *set, const lc_output *finished);

#endif
