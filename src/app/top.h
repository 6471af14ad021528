/* `logcap top`: what the running logcap does, live. Thread: main. */
#ifndef LC_APP_TOP_H
#define LC_APP_TOP_H

#include "app/cli.h"

int lc_top(const lc_cli *cli); /* returns the exit code */

#endif
