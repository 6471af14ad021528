#include "bind/handle.h"

#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/registry.h"
#include "bind/json_value.h"

#define HANDLE "logcap.handle"
#define GUARD "logcap.guard"

const char *lc_role_name(lc_role role) {
  static const char *const names[] = {"a monitor", "a stage", "a sink", "a service"};
  return names[role];
}

lc_handle *lc_handle_at(lua_State *L, int index) { return luaL_testudata(L, index, HANDLE); }

lc_handle *lc_handle_new(lua_State *L, lc_role role) {
  if (lc_state_of(L)->retired) {
    lc_raise(L, "nothing can be made any more: the pipeline files were replaced, or logcap stops");
  }
  lc_handle *handle = lua_newuserdata(L, sizeof *handle);
  *handle = (lc_handle){.role = role};
  luaL_setmetatable(L, HANDLE);
  handle->state = lc_state_of(L);
  return handle;
}

void lc_handle_open(lc_handle *handle, lc_resource *resource) {
  lc_state *state = handle->state;
  handle->resource = resource;
  handle->kind = resource->kind;
  handle->next = state->handles;
  if (state->handles != NULL) state->handles->prev = handle;
  state->handles = handle;
}

void lc_handle_claim(lua_State *L, int index, const char *claim) {
  lua_createtable(L, 1, 0);
  lua_pushstring(L, claim);
  lua_rawseti(L, -2, 1);
  lua_setfenv(L, index);
}

const char *lc_handle_claimed(lua_State *L, int index) {
  lua_getfenv(L, index);
  lua_rawgeti(L, -1, 1);
  const char *claim = lua_tostring(L, -1);
  lua_pop(L, 2);
  return claim;
}

/* The one way out, for close, __close, __gc and the end of the state. Does nothing when closed. Never raises, blocks or
 * calls Lua. */
static void handle_drop(lc_handle *handle, bool ask_to_close) {
  lc_resource *resource = handle->resource;
  if (resource == NULL) return;
  handle->resource = NULL;
  if (handle->prev != NULL) handle->prev->next = handle->next;
  else handle->state->handles = handle->next;
  if (handle->next != NULL) handle->next->prev = handle->prev;
  handle->prev = handle->next = NULL;
  if (ask_to_close) lc_resource_close(resource);
  lc_resource_release(resource);
}

void lc_handle_close(lc_handle *handle) { handle_drop(handle, true); }

void lc_handle_drop_all(lc_state *state) {
  while (state->handles != NULL) handle_drop(state->handles, false);
}

static lc_handle *check_handle(lua_State *L, const char *use) {
  lc_handle *handle = lc_handle_at(L, 1);
  if (handle == NULL) {
    lc_raise(L, "%s needs a resource such as a monitor or a sink, got a %s; is it called with a colon?", use,
             luaL_typename(L, 1));
  }
  return handle;
}

static lc_resource *check_open(lua_State *L, const char *use) {
  lc_handle *handle = check_handle(L, use);
  if (handle->resource == NULL) {
    lc_raise(L, "%s: this %s was closed before", use, handle->kind != NULL ? handle->kind : "resource");
  }
  return handle->resource;
}

static int handle_gc(lua_State *L) {
  lc_handle *handle = lc_handle_at(L, 1);
  if (handle != NULL) handle_drop(handle, false);
  return 0;
}

static int handle_close(lua_State *L) {
  handle_drop(check_handle(L, "close"), true);
  return 0;
}

static void set_count(lua_State *L, const char *key, double value) {
  lua_pushnumber(L, value);
  lua_setfield(L, -2, key);
}

/* What the kind counts, over what every resource counts. */
static int handle_stats(lua_State *L) {
  lc_resource *res = check_open(L, "stats");
  lua_newtable(L);
  lua_pushstring(L, lc_resource_state_name(lc_resource_state_of(res)));
  lua_setfield(L, -2, "life");
  set_count(L, "descriptors", (double)atomic_load(&res->descriptors));
  set_count(L, "bytes", (double)atomic_load(&res->bytes));
  set_count(L, "records_in", (double)atomic_load(&res->records_in));
  set_count(L, "records_out", (double)atomic_load(&res->records_out));
  set_count(L, "errors", (double)atomic_load(&res->errors));
  if (res->ops->stats == NULL) return 1;
  lc_buf text = {0};
  bool ok = res->ops->stats(res, &text) == 0 && !text.failed;
  if (ok) lc_json_push_buf(L, &text);
  else lc_buf_free(&text);
  if (!ok) return lc_raise(L, "stats: no memory for the figures of this %s", res->kind);
  for (lua_pushnil(L); lua_next(L, -2);) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_settable(L, -5);
  }
  lua_pop(L, 1);
  return 1;
}

static int handle_index(lua_State *L) {
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex(1)); /* a method? */
  if (!lua_isnil(L, -1)) return 1;
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  bool name = strcmp(key, "name") == 0;
  if (!name && strcmp(key, "kind") != 0) {
    return lc_raise(L, "a resource has no \"%.100s\"; it has name, kind, stats() and close()", key);
  }
  lc_resource *res = check_open(L, key);
  lua_pushstring(L, name ? res->name : res->kind);
  return 1;
}

static int handle_newindex(lua_State *L) {
  return lc_raise(L, "a resource's fields cannot be set; its options are given when it is made");
}

static int handle_tostring(lua_State *L) {
  lc_handle *handle = check_handle(L, "tostring");
  if (handle->resource == NULL) lua_pushfstring(L, "%s (closed)", handle->kind != NULL ? handle->kind : "resource");
  else lua_pushfstring(L, "%s \"%s\"", handle->kind, handle->resource->name);
  return 1;
}

void lc_handle_adopt(lc_state *state, const lc_reload *reload) {
  for (lc_handle *handle = state->handles; handle != NULL; handle = handle->next) {
    lc_resource *live = lc_reload_live(reload, handle->resource);
    if (live == handle->resource) continue;
    lc_resource_retain(live);
    lc_resource_release(handle->resource);
    handle->resource = live;
  }
}

void lc_handle_replace(lc_state *state, const lc_resource *described, lc_resource *live) {
  for (lc_handle *handle = state->handles; handle != NULL; handle = handle->next) {
    if (handle->resource != described || live == described) continue;
    lc_resource_retain(live);
    lc_resource_release(handle->resource);
    handle->resource = live;
  }
}

int lc_handle_resources(lua_State *L) {
  lc_buf text = {0};
  if (lc_state_of(L)->loading != NULL) {
    return lc_raise(L, "resources: not while a pipeline file loads: call it from a function that runs later");
  }
  if (lc_registry_json(lc_state_of(L)->registry, lc_clock_wall(), &text) != 0 || text.failed) {
    lc_buf_free(&text);
    return lc_raise(L, "resources: no memory for the list");
  }
  lc_json_push_buf(L, &text);
  return 1;
}

/* A guard keeps its handles in its environment, which lives as long as it does, also through its finalizer. */
int lc_handle_guard(lua_State *L) {
  int n = lua_gettop(L);
  lua_newuserdata(L, sizeof(char));
  lua_createtable(L, n, 0);
  for (int i = 1; i <= n; i++) {
    lua_pushvalue(L, i);
    lua_rawseti(L, -2, i);
  }
  lua_setfenv(L, -2);
  luaL_setmetatable(L, GUARD);
  return 1;
}

static int guard_gc(lua_State *L) {
  lua_getfenv(L, 1);
  for (int i = (int)lua_objlen(L, -1); i > 0; i--) {
    lua_rawgeti(L, -1, i);
    lc_handle *handle = lc_handle_at(L, -1);
    if (handle != NULL) handle_drop(handle, true);
    lua_pop(L, 1);
  }
  return 0;
}

static const luaL_Reg methods[] = {{"close", handle_close}, {"stats", handle_stats}, {NULL, NULL}};
static const luaL_Reg metamethods[] = {
    {"__gc", handle_gc},           {"__close", handle_close}, {"__newindex", handle_newindex},
    {"__tostring", handle_tostring}, {NULL, NULL},
};

void lc_handle_setup(lua_State *L) {
  luaL_newmetatable(L, HANDLE);
  luaL_setfuncs(L, metamethods, 0);
  lua_newtable(L);
  luaL_setfuncs(L, methods, 0);
  lua_pushcclosure(L, handle_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pushliteral(L, HANDLE);
  lua_setfield(L, -2, "__metatable"); /* scripts cannot reach, nor change, the metatable */
  luaL_newmetatable(L, GUARD);
  lua_pushcfunction(L, guard_gc);
  lua_setfield(L, -2, "__gc");
  lua_pushliteral(L, GUARD);
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 2);
}
