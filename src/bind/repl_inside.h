/* What repl.c and repl_try.c share. Nobody else includes this. */
#ifndef LC_BIND_REPL_INSIDE_H
#define LC_BIND_REPL_INSIDE_H

#include "bind/repl.h"
#include "bind/state.h"

struct lc_trial;

struct lc_repl {
  const lc_generation *generation; /* borrowed */
  lc_state *state;        /* counted reference */
  lc_engine *engine;      /* borrowed */
  lc_repl **box;          /* a userdata of the state: what the Lua side holds of this; NULL in it: gone */
  int session, anchor;    /* in the Lua registry: the Lua side's session, and the box */
  bool json;
  bool running;           /* a chunk runs: what it offers may be used */
  struct lc_trial *trial; /* owned: of a try() that is under way */
};

/* For functions that Lua calls: the session whose chunk runs, from the function's first upvalue. */
lc_repl *lc_repl_of(lua_State *L);

/* try_begin(stage, n): puts clones of the newest samples in hand. True, or nil and why not. */
int lc_repl_try_begin(lua_State *L);
/* try_next(): puts the next of them in hand; false at the end. try_drop(): drops it. */
int lc_repl_try_next(lua_State *L);
int lc_repl_try_drop(lua_State *L);
/* try_end(): a list of what became of them. */
int lc_repl_try_end(lua_State *L);
void lc_repl_try_clean(lc_repl *repl); /* whatever was begun */
/* samples(stage, n): a list for people and one of texts; or nil and why not. */
int lc_repl_samples(lua_State *L);

#endif
