/* Bounds what a pipeline file may take while it loads: a loop without an end, or tables without one, become an error
 * that names the line.
 *
 *     lc_load_limit_begin(state, 10 * LC_SECOND);
 *     rc = lc_state_run_file(state, "pipeline.lua", &error);   // "pipeline.lua:3: it has been loading for 10 s ..."
 *     lc_load_limit_end(state);
 *
 * In between nothing is compiled to machine code, which would not look at the limit. A single call of a C function,
 * such as a search in a long string, is not interrupted.
 *
 * Thread: the loop thread. */
#ifndef LC_BIND_LOAD_LIMIT_H
#define LC_BIND_LOAD_LIMIT_H

#include "bind/state.h"

#define LC_LOAD_MEMORY_MAX_MIB 512 /* of the whole Lua state */

void lc_load_limit_begin(lc_state *state, int64_t limit_ns);
void lc_load_limit_end(lc_state *state);

#endif
