#include "bind/test_clock.h"

#include <lauxlib.h>

#include "base/clock.h"

/* Pushes the time in whole seconds. */
static void push_now(lua_State *L) {
  const int64_t *clock_ns = lua_touserdata(L, lua_upvalueindex(2));
  lua_pushnumber(L, (lua_Number)(*clock_ns / LC_SECOND));
}

/* Calls the function that was there before, with all that is on the stack. */
static int call_original(lua_State *L) {
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

static int test_time(lua_State *L) {
  if (!lua_isnoneornil(L, 1)) return call_original(L);
  push_now(L);
  return 1;
}

static int test_date(lua_State *L) {
  lua_settop(L, 2);
  if (lua_isnil(L, 1)) {
    lua_pushliteral(L, "%c");
    lua_replace(L, 1);
  }
  if (lua_isnil(L, 2)) {
    push_now(L);
    lua_replace(L, 2);
  }
  return call_original(L);
}

static void replace(lua_State *L, const char *name, lua_CFunction function, const int64_t *clock_ns) {
  lua_getfield(L, -1, name);
  lua_pushlightuserdata(L, (void *)(uintptr_t)clock_ns);
  lua_pushcclosure(L, function, 2);
  lua_setfield(L, -2, name);
}

void lc_test_clock_setup(lua_State *L, const int64_t *clock_ns) {
  lua_getglobal(L, "os");
  replace(L, "time", test_time, clock_ns);
  replace(L, "date", test_date, clock_ns);
  lua_pop(L, 1);
}
