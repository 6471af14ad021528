/* The inside of the Lua stage: for lua_stage.c and quarantine.c only. */
#ifndef LC_BIND_LUA_STAGE_INSIDE_H
#define LC_BIND_LUA_STAGE_INSIDE_H

#include "base/log.h"
#include "bind/lua_stage.h"
#include "bind/trips.h"

typedef struct lua_stage {
  lc_stage stage;     /* first: it is a stage */
  lc_state *state;    /* counted reference */
  int loop;           /* in the Lua registry: the loop over a batch, which holds the function; LUA_NOREF: quarantined */
  lc_log_limit limit; /* of logged errors */
  uint64_t dropped;   /* by returning false */
  int64_t time_ns;
  lc_on_error quarantine;
  lc_trips trips;
  uint64_t late, starved; /* records given up for time, for memory */
  int64_t growth;         /* bytes by which its calls grew the heap, up to when it was `used` */
  size_t used, held;      /* held: by its function, when it was last weighed */
  bool due;               /* for the quarantine, as soon as Lua has returned */
  bool quarantined;
  char because[LC_BUDGET_WHY_MAX]; /* the last trip */
  uint32_t again;                  /* 1 + index of the record that is tried once more; 0: none */
  struct lua_stage *prev, *next;   /* the state's list */
} lua_stage;

/* Enters and leaves the state's list. */
void lc_lua_stage_link(lua_stage *lua);
void lc_lua_stage_unlink(lua_stage *lua);

/* Takes what the heap has grown by since the last account, or since `used` was set. */
static inline void lc_lua_stage_account(lua_stage *lua) {
  size_t used = lc_heap_used(&lua->state->heap);
  lua->growth += (int64_t)used - (int64_t)lua->used;
  lua->used = used;
}
/* What on_error says becomes of the record in hand, if any. */
void lc_lua_stage_give_up(lc_view *view, const char *reason);
/* A record was given up, for time or memory. */
void lc_lua_stage_trip(lua_stage *lua, const char *why);
/* What is to be done when the loop stopped because the view was held. */
void lc_lua_stage_settle(lua_stage *lua, lc_view *view, lc_budget_call *call);
/* The records of a quarantined stage, without Lua. */
void lc_lua_stage_pass_by(lua_stage *lua, lc_view *view);

#endif
