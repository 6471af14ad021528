/* `logcap run`: loads the pipeline files, opens the state directory, and runs the engine until it is done or stopped.
 *
 * Thread: main, which becomes the loop thread. */
#ifndef LC_APP_RUN_H
#define LC_APP_RUN_H

#include "app/cli.h"

int lc_run(const lc_cli *cli); /* returns the exit code */

#endif
