/* The Lua stage: calls a function on each live record.
 *
 * One protected call a batch, in which the loop over the records is Lua (lua/logcap/loop.lua), compiled for each stage
 * by itself. The function returns false to drop the record; an error goes where on_error says, the batch goes on. After
 * 20 ms the stage lets the loop breathe (LC_EAGAIN).
 *
 * A record that the function has in hand for too long, or that takes the memory of the state, is given up as if by an
 * error (budget.h). After five such trips in 60 s the stage is quarantined: its function is not called any more, and
 * all records go where `quarantine` says. When the memory is still short after a collection, the stage that holds most
 * of it is quarantined, and the record that another one had in hand is tried again.
 *
 * Thread: the loop thread; creation: the one that has the state. */
#ifndef LC_BIND_LUA_STAGE_H
#define LC_BIND_LUA_STAGE_H

#include "bind/state.h"
#include "logcap/stage.h"

#define LC_TIME_OF_STATE (-1)

typedef struct lc_lua_stage_options {
  const char *name;    /* NULL: it is called after the function's place */
  const char *made_at; /* "pipeline.lua:12" */
  lc_on_error on_error;
  lc_on_error quarantine; /* what becomes of the records of a quarantined stage */
  int64_t time_ns;        /* how long it may have a record in hand; 0: for ever; or LC_TIME_OF_STATE */
} lc_lua_stage_options;

/* Makes a stage of the function at `index`. Called by functions that Lua calls; raises only when Lua is out of memory,
 * before anything is held. */
int lc_lua_stage_create(lua_State *L, int index, const lc_lua_stage_options *options, lc_stage **ret, lc_error *error)
    LC_CHECK;

/* For the loop: what on_error says becomes of the record in hand. */
void lc_lua_stage_refuse(lc_view *view, const char *reason, size_t len);

#endif
