/* What an earlier run left: finds the outputs of a sink again and makes each end where its cursors say.
 *
 * Each row's file is looked for by identity at its path, at the name that a rotation was giving it, and among all names
 * of its folder. Then, by its length:
 *
 *   as saved                                 nothing to do
 *   longer, and the sink is replayable, and  the rest is cut: it will be written again
 *     the saved tail's hash matches
 *   longer otherwise                         the rest stays, and its lines are counted as possible duplicates
 *   shorter                                  an error in the log and a count; it goes on at its real end
 *   gone                                     the row is forgotten, with a line in the log
 *   its folder is gone or cannot be read     the row stays; the file is mended when it is opened, or by the next start
 *
 * A compression that was not finished is undone, one that was is brought to its end.
 *
 *     rc = lc_outputs_recover(&set, sink->replayable, &error);
 *
 * Thread: any; before the first job. */
#ifndef LC_SINK_OUTPUT_RECOVER_H
#define LC_SINK_OUTPUT_RECOVER_H

#include "sink/output_set.h"

/* What stands between a file's name and its end while it is being compressed. */
#define LC_PACK_TEMPORARY ".logcap-tmp"

/* On failure nothing is entered into the set; files may have been cut, which another try finds done. */
int lc_outputs_recover(lc_output_set *set, bool replayable, lc_error *error) LC_CHECK;
/* The job that has the sink, while nothing is compressed: enters the finished files that only the store knows, since
 * nobody needed them before retention or compression was switched on. */
int lc_outputs_remember(lc_output_set *set, lc_error *error) LC_CHECK;

#endif
