/* The verbs that ask: status, audit, positions, reload, stop. Each prints what it found and returns the exit code.
 *
 * Thread: main; blocks. */
#ifndef LC_APP_QUERY_H
#define LC_APP_QUERY_H

#include "app/cli.h"
#include "logcap/error.h"

int lc_query_status(const lc_cli *cli);
int lc_query_audit(const lc_cli *cli);
int lc_query_positions(const lc_cli *cli);
int lc_query_reload(const lc_cli *cli);
int lc_query_stop(const lc_cli *cli);

/* Why nobody listens at the control socket of this state directory: LC_ENOENT, none runs; LC_EBUSY, one that takes no
 * commands. */
int lc_query_nobody(const char *folder, lc_error *error);

#endif
