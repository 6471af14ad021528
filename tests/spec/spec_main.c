/* Runs busted inside the runtime: specs see the module as pipeline files do, on the same LuaJIT, with all of Lua around
 * it. Takes busted's arguments; exits 1 when a spec failed or a resource was left.
 *
 *     build/specs spec */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/registry.h"
#include "bind/state.h"
#include "feed.h"

/* busted ends with os.exit: here that is an error which carries the code, so that this program can look for leaks. */
static const char run_busted[] =
    "local code\n"
    "os.exit = function(c) code = c; error('exit') end\n"
    "local ok, why = pcall(require 'busted.runner', { standalone = false })\n"
    "if code == nil and not ok then error(why, 0) end\n"
    "if code == true or code == nil then code = 0 end\n"
    "return code == false and 1 or code\n";

static int run(lc_state *state, int argc, char **argv, lc_error *error) {
  lua_State *L = state->L;
  lua_createtable(L, argc, 1);
  for (int i = 0; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i);
  }
  lua_setglobal(L, "arg");
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "preload");
  lua_pushcfunction(L, lc_feed_open);
  lua_setfield(L, -2, "spec.feed");
  lua_pop(L, 2);
  if (luaL_loadbuffer(L, run_busted, sizeof run_busted - 1, "=specs") != 0) {
    return lc_error_set(error, LC_EINVAL, "%s", lua_tostring(L, -1));
  }
  int rc = lc_state_call(state, 0, 1, error);
  if (rc != 0) return rc;
  rc = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return rc;
}

int main(int argc, char **argv) {
  lc_registry *registry;
  lc_state *state;
  lc_error error;
  lc_log_setup(2, LC_LOG_ERROR, LC_LOG_TEXT); /* what functions fail on is expected here */
  if (lc_registry_create(&registry, &error) != 0 ||
      lc_state_create(&(lc_state_options){.registry = registry, .unrestricted = true}, &state, &error) != 0) {
    return (void)fprintf(stderr, "specs: %s\n", error.message), 1;
  }
  error.message[0] = '\0';
  int rc = run(state, argc, argv, &error);
  if (rc != 0 && error.message[0]) (void)fprintf(stderr, "specs: %s\n", error.message);
  lc_state_destroy(state);
  if (lc_registry_destroy(registry) != 0) {
    (void)fprintf(stderr, "specs: resources were left, see above\n");
    rc = 1;
  }
  return rc == 0 ? 0 : 1;
}
