/* What the process asks of the system for itself.
 *
 * Thread: main, before the loop runs. */
#ifndef LC_APP_PROCESS_H
#define LC_APP_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "io/inodes.h"
#include "logcap/error.h"

/* Few heaps, no dead pipes' signal, and as many descriptors as a few pipelines need, where the hard limit allows. */
void lc_process_setup(void);

/* Enters standard output and standard error among logcap's own files where they are regular files, so that they are
 * never collected. */
int lc_process_register_output(lc_inodes *own, lc_error *error) LC_CHECK;

/* Whether standard input, output or error is a terminal that is still there. */
bool lc_process_on_terminal(void);

#endif
