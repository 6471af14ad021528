/* The Lua stage: calls a function on each live record.
 *
 * One protected call a batch, in which the loop over the records is Lua (lua/logcap/loop.lua), compiled for each stage
 * by itself. The function returns false to drop the record; an error goes where on_error says, the batch goes on. After
 * 20 ms the stage lets the loop breathe (LC_EAGAIN).
 *
 * Thread: the loop thread. */
#ifndef LC_BIND_LUA_STAGE_H
#define LC_BIND_LUA_STAGE_H

#include "bind/state.h"
#include "logcap/stage.h"

/* Makes a stage of the function at `index`. `name` may be NULL: then it is called after the function's place. Called by
 * functions that Lua calls; raises only when Lua is out of memory, before anything is held. */
int lc_lua_stage_create(lua_State *L, int index, const char *name, const char *made_at, lc_on_error on_error,
                        lc_stage **ret, lc_error *error) LC_CHECK;

/* For the loop: what on_error says becomes of the record in hand. */
void lc_lua_stage_refuse(lc_view *view, const char *reason, size_t len);

#endif
