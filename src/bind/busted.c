#include "bind/busted.h"

#include <stdio.h>

#include "bind/bind_testing.h"
#include "bind/budget.h"
#include "bind/state.h"

/* busted ends with os.exit: here that is an error which carries the code, so that the caller can look for leaks. It is
 * given its arguments as the global `arg`. Returns whether all is well; nil: there is no busted. */
static const char run_busted[] =
    "local testing = require 'logcap.testing'\n" /* loaded before the first file: busted unloads what a file requires */
    "local found, runner = pcall(require, 'busted.runner')\n"
    "if not found then\n"
    "  if runner:find(\"module 'busted.runner' not found\", 1, true) then return nil end\n"
    "  error(runner, 0)\n"
    "end\n"
    "local code = 0\n"
    "os.exit = function(c) code = c; error('exit') end\n"
    "local ok, why = pcall(runner, { standalone = false })\n"
    "if not ok and code == 0 then error(why, 0) end\n"
    "return (code == 0 or code == true) and not testing.report_unclosed()\n";

static void set_arguments(lua_State *L, const lc_busted_options *options) {
  lua_createtable(L, (int)options->n_args, 1);
  lua_pushstring(L, options->name);
  lua_rawseti(L, -2, 0);
  for (size_t i = 0; i < options->n_args; i++) {
    lua_pushstring(L, options->args[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
  lua_setglobal(L, "arg");
}

static int setup(lua_State *L) {
  const lc_busted_options *options = lua_touserdata(L, 1);
  set_arguments(L, options);
  lc_testing_setup(L, options->allow, options->n_allow);
  if (options->module == NULL) return 0;
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "preload");
  lua_pushcfunction(L, options->load_module);
  lua_setfield(L, -2, options->module);
  return 0;
}

static int run(lc_state *state, const lc_busted_options *options, bool *ret_passed, lc_error *error) {
  lua_State *L = state->L;
  lua_pushcfunction(L, setup);
  lua_pushlightuserdata(L, (void *)(uintptr_t)options);
  int rc = lc_state_call(state, 1, 0, error);
  if (rc != 0) return rc;
  if (luaL_loadbuffer(L, run_busted, sizeof run_busted - 1, "=logcap test") != 0) {
    return lc_error_set(error, LC_EINVAL, "%s", lua_tostring(L, -1));
  }
  rc = lc_state_call(state, 0, 1, error);
  if (rc != 0) return rc;
  if (lua_isnil(L, -1)) {
    rc = lc_error_set(error, LC_ENOENT, "busted, which runs specs, is not there: install the package lua-busted");
  }
  if (rc == 0) *ret_passed = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return rc;
}

int lc_busted_run(const lc_busted_options *options, lc_registry *registry, bool *ret_passed, lc_error *error) {
  lc_state *state = NULL;
  int rc = lc_state_create(&(lc_state_options){.registry = registry, .unrestricted = true}, &state, error);
  if (rc != 0) return rc;
  rc = lc_budget_own(state, error); /* specs run compiled, and their stages within their limits */
  if (rc == 0) rc = run(state, options, ret_passed, error);
  lc_state_destroy(state);
  return rc;
}
