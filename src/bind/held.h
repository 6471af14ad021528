/* How much memory hangs on a Lua value: what would be free if nobody referred to it.
 *
 *     lua_rawgeti(L, LUA_REGISTRYINDEX, stage->loop);
 *     size_t bytes = lc_held_by(L);     // pops the value
 *
 * An estimate by the sizes of LuaJIT's objects; what can be reached through the globals does not count. It takes about
 * 0.2 us an object.
 *
 * Thread: the one that has the state. Raises when Lua has no memory. */
#ifndef LC_BIND_HELD_H
#define LC_BIND_HELD_H

#include <lua.h>
#include <stddef.h>

size_t lc_held_by(lua_State *L);

#endif
