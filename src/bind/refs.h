/* References to Lua values that C holds, and that may be let go by another thread than the one that has the state: a
 * stage ends on the loop thread while the files of its state still load on their own.
 *
 *     if (lc_refs_take(&state->refs, L, &ref, &error) != 0) ...   // takes the value from the top of the stack
 *     lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
 *     lc_refs_drop(&state->refs, ref);                             // any thread
 *     lc_refs_drain(&state->refs, L);                              // now the value can be collected
 *
 * Thread: the one that has the state, except lc_refs_drop. */
#ifndef LC_BIND_REFS_H
#define LC_BIND_REFS_H

#include <lua.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "logcap/error.h"

typedef struct lc_refs {
  pthread_mutex_t lock;
  int *dropped; /* owned; has room for all that are held, so that to drop one cannot fail */
  uint32_t n_dropped, held, cap;
  _Atomic bool any; /* dropped ones wait */
} lc_refs;

void lc_refs_init(lc_refs *refs);
void lc_refs_deinit(lc_refs *refs);
/* Pops the value, also on failure (LC_ENOMEM). May raise when Lua has no memory. */
int lc_refs_take(lc_refs *refs, lua_State *L, int *ret, lc_error *error) LC_CHECK;
void lc_refs_drop(lc_refs *refs, int ref);
void lc_refs_drain(lc_refs *refs, lua_State *L);

#endif
