/* The end of a process whose loop thread does not come back, say from a Lua function that never returns: signals reach
 * the loop only when it turns.
 *
 *     uv_signal_start(&term, on_signal, SIGTERM);
 *     lc_last_resort_arm(SIGTERM, 30);
 *
 * At the first signal a timer of the kernel starts, some seconds behind the deadline of the clean stop; at the second
 * one it is set to two seconds. When it runs out the process says so and ends with status 1, as if by kill -9, which is
 * safe at any moment.
 *
 * Thread: the main thread, once for each signal, after libuv has taken it. */
#ifndef LC_APP_LAST_RESORT_H
#define LC_APP_LAST_RESORT_H

#include "logcap/error.h"

/* `within_s`: what a clean stop may take. */
int lc_last_resort_arm(int number, unsigned within_s, lc_error *error) LC_CHECK;

#endif
