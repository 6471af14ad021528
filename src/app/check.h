/* `logcap check`: loads and validates pipeline files; opens and makes nothing. Thread: main. */
#ifndef LC_APP_CHECK_H
#define LC_APP_CHECK_H

#include "app/cli.h"

int lc_check_files(const lc_cli *cli); /* returns the exit code */

#endif
