/* `logcap test`: runs specs of pipeline files. Thread: main. */
#ifndef LC_APP_TEST_H
#define LC_APP_TEST_H

#include "app/cli.h"

int lc_test_specs(const lc_cli *cli); /* returns the exit code */

#endif
