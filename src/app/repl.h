/* `logcap repl`: a prompt inside the running logcap, or one chunk, or chunks from standard input.
 *
 * Thread: main; blocks. Returns the exit code. */
#ifndef LC_APP_REPL_H
#define LC_APP_REPL_H

#include "app/cli.h"

int lc_repl_command(const lc_cli *cli);

#endif
