/* The Lua module `logcap`: gathers the native functions and the embedded Lua modules. Thread: the loop thread. */
#ifndef LC_BIND_MODULE_H
#define LC_BIND_MODULE_H

#include <lua.h>

/* Makes "logcap" and its parts known to the state, and pushes the maker of curated environments: a function of the list
 * of allowed names and the table of roots (see lua/logcap/sandbox.lua). */
void lc_module_setup(lua_State *L);
/* Pushes an embedded module that was loaded by the setup. */
void lc_module_push(lua_State *L, const char *name);

#endif
