/* The native half of the Lua module `logcap.testing` (lua/logcap/testing.lua). Only states that run specs know it.
 * Thread: the one that runs the specs. */
#ifndef LC_BIND_BIND_TESTING_H
#define LC_BIND_BIND_TESTING_H

#include <lua.h>
#include <stddef.h>

/* Makes the module known to require. `allow`: what pipeline files under test see beyond the allow-list; borrowed. */
void lc_testing_setup(lua_State *L, const char *const *allow, size_t n_allow);

#endif
