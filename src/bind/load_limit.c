#include "bind/load_limit.h"

#include <luajit.h>

#include "base/clock.h"

#define LOOK_EVERY 1000 /* instructions, each of which may make a long string */

static void on_count(lua_State *L, lua_Debug *ar) {
  const lc_state *state = lc_state_of(L);
  bool late = lc_clock_mono() > state->load_until_ns;
  if (!late && lua_gc(L, LUA_GCCOUNT, 0) < LC_LOAD_MEMORY_MAX_MIB * 1024) return;
  if (!lua_getinfo(L, "Sl", ar)) ar->currentline = 0;
  const char *file = ar->source[0] == '@' ? ar->source + 1 : ar->short_src;
  lua_pushfstring(L, "%s:%d: ", file, ar->currentline);
  if (late) {
    lua_pushfstring(L, "it has been loading for %d s and is stopped here; is this a loop without an end?",
                    (int)(state->load_limit_ns / LC_SECOND));
  } else {
    lua_pushfstring(L, "it has taken %d MiB while loading and is stopped here; is this a loop without an end?",
                    LC_LOAD_MEMORY_MAX_MIB);
  }
  lua_concat(L, 2);
  (void)lua_error(L);
}

void lc_load_limit_begin(lc_state *state, int64_t limit_ns) {
  state->load_limit_ns = limit_ns;
  state->load_until_ns = lc_clock_mono() + limit_ns;
  (void)luaJIT_setmode(state->L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
  (void)lua_sethook(state->L, on_count, LUA_MASKCOUNT, LOOK_EVERY);
}

void lc_load_limit_end(lc_state *state) {
  (void)lua_sethook(state->L, NULL, 0, 0);
  (void)luaJIT_setmode(state->L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_ON);
}
