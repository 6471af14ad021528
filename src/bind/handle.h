/* Handles: the userdata through which Lua refers to resources. All kinds share one metatable.
 *
 *     lc_handle *handle = lc_handle_new(L, LC_ROLE_SINK);        // born closed; on the stack
 *     if (lc_null_sink_create(..., &sink, &error) != 0) return lc_raise(L, "null_sink: %s", error.message);
 *     lc_handle_open(handle, &sink->resource);                   // takes the reference over
 *     return 1;
 *
 * In Lua: `.name`, `.kind`, `:stats()`, `:close()`. Closing twice is fine; any other use after close raises.
 * `:close()` and `__close` ask the resource to close and drop the handle's reference; the garbage collector only drops
 * it, so that a running pipeline keeps what no variable names any more. The last reference closes.
 *
 * Thread: the loop thread. */
#ifndef LC_BIND_HANDLE_H
#define LC_BIND_HANDLE_H

#include "bind/state.h"
#include "pipeline/reload.h"

typedef enum lc_role { LC_ROLE_MONITOR, LC_ROLE_STAGE, LC_ROLE_SINK, LC_ROLE_SERVICE } lc_role;

typedef struct lc_handle {
  lc_resource *resource; /* counted reference; NULL: closed */
  lc_role role;
  const char *kind;      /* static; NULL until opened, kept after close */
  lc_state *state;       /* borrowed; outlives its userdata */
  struct lc_handle *prev, *next; /* the state's list of open handles */
} lc_handle;

void lc_handle_setup(lua_State *L); /* makes the metatable */
lc_handle *lc_handle_new(lua_State *L, lc_role role);
void lc_handle_open(lc_handle *handle, lc_resource *resource);
/* Notes, for the handle at `index` (from the bottom), what only one resource may have, such as an output's path. */
void lc_handle_claim(lua_State *L, int index, const char *claim);
/* That note of the handle at `index`, borrowed from it, or NULL. */
const char *lc_handle_claimed(lua_State *L, int index);
/* The handle at `index`, open or closed, or NULL when something else stands there. */
lc_handle *lc_handle_at(lua_State *L, int index);
const char *lc_role_name(lc_role role);
/* Points handles of adopted resources at the live ones. */
void lc_handle_adopt(lc_state *state, const lc_reload *reload);
/* What its :close() does. Twice is fine. */
void lc_handle_close(lc_handle *handle);
/* Handles of `described` refer to `live` from now on. */
void lc_handle_replace(lc_state *state, const lc_resource *described, lc_resource *live);
/* Drops the references of all open handles. */
void lc_handle_drop_all(lc_state *state);

/* logcap.resources(): what the registry holds, as a list of tables. */
int lc_handle_resources(lua_State *L);
/* Makes the guard of logcap.using from its arguments, handles: the garbage collector closes them in reverse order if a
 * coroutine that holds it dies. */
int lc_handle_guard(lua_State *L);

#endif
