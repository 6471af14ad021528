#include "bind/module.h"

#include <lauxlib.h>

#include "base/log.h"
#include "bind/json_value.h"
#include "bind/kinds.h"
#include "bind/lua_stage.h"
#include "bind/nearest.h"
#include "embedded_lua.h"

/* The functions and the struct that lua/logcap/record.lua and loop.lua call through the FFI, by address. */
static void push_view(lua_State *L, lc_view *view) {
#define ADDRESS(name) {#name, (void *)(uintptr_t)lc_##name}
  const struct {
    const char *name;
    void *address;
  } functions[] = {
      ADDRESS(view_next),       ADDRESS(view_drop),      ADDRESS(lua_stage_refuse), ADDRESS(view_get),
      ADDRESS(view_member),     ADDRESS(view_source),    ADDRESS(view_time),        ADDRESS(view_label),
      ADDRESS(view_set_string), ADDRESS(view_set_number), ADDRESS(view_set_bool),    ADDRESS(view_set_json),
      ADDRESS(view_remove),     ADDRESS(view_path),      ADDRESS(view_path_key),    ADDRESS(view_path_index),
      ADDRESS(view_path_get),   ADDRESS(view_path_set),
  };
#undef ADDRESS
  lua_newtable(L);
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    lua_pushlightuserdata(L, functions[i].address);
    lua_setfield(L, -2, functions[i].name);
  }
  lua_pushlightuserdata(L, view);
  lua_setfield(L, -2, "view");
}

/* view_decode(): the table of the nested value that the last read found. */
static int view_decode(lua_State *L) {
  const lc_view *view = &lc_state_of(L)->view;
  if (view->batch == NULL) return luaL_error(L, "no record is in hand");
  lc_json_push(L, view->text, view->len, lc_json_type_of(view->text, view->len));
  return 1;
}

static int view_error(lua_State *L) {
  lua_pushstring(L, lc_state_of(L)->view.error.message);
  return 1;
}

/* log(message): a line of logcap's own log, with the place that says so. */
static int log_line(lua_State *L) {
  char where[LC_WHERE_MAX];
  lc_state_where(L, where);
  lc_log(LC_LOG_INFO, "lua", luaL_checkstring(L, 1), LC_S("at", where));
  return 0;
}

static int folder(lua_State *L) {
  lc_state_push_folder(L);
  return 1;
}

/* nearest(name, list): the entry that was probably meant, or nil. */
static int nearest(lua_State *L) {
  lc_nearest near = {.name = luaL_checkstring(L, 1)};
  luaL_checktype(L, 2, LUA_TTABLE);
  size_t n = lua_objlen(L, 2);
  luaL_checkstack(L, (int)n, "too many names");
  for (size_t i = 1; i <= n; i++) {
    lua_rawgeti(L, 2, (int)i);
    lc_nearest_offer(&near, luaL_checkstring(L, -1));
  }
  lua_pushstring(L, near.best);
  return 1;
}

static const luaL_Reg constructors[] = {
    {"file_monitor", lc_bind_file_monitor}, {"stdin_monitor", lc_bind_stdin_monitor},
    {"json", lc_bind_json},                 {"dedup", lc_bind_dedup},
    {"stage", lc_bind_stage},               {"file_sink", lc_bind_file_sink},
    {"stdout_sink", lc_bind_stdout_sink},   {"null_sink", lc_bind_null_sink},
    {"pipeline", lc_bind_pipeline},         {"admin", lc_bind_admin},
    {"resource_monitor", lc_bind_resource_monitor},
    {"on_alert", lc_bind_on_alert},         {"limits", lc_bind_limits},
    {"resources", lc_handle_resources},
    {NULL, NULL},
};

static const luaL_Reg helpers[] = {
    {"guard", lc_handle_guard}, {"json_encode", lc_json_encode_value},
    {"view_decode", view_decode}, {"view_error", view_error},
    {"log", log_line},            {"folder", folder},
    {"nearest", nearest},         {NULL, NULL},
};

static int load_embedded(lua_State *L) {
  const lc_embedded *module = lua_touserdata(L, lua_upvalueindex(1));
  if (luaL_loadbuffer(L, (const char *)module->bytes, module->size, module->name) != 0) return lua_error(L);
  lua_pushstring(L, module->name);
  lua_call(L, 1, 1);
  return 1;
}

static void require(lua_State *L, const char *name) {
  lua_getglobal(L, "require");
  lua_pushstring(L, name);
  lua_call(L, 1, 1);
}

void lc_module_push(lua_State *L, const char *name) {
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_getfield(L, -1, name);
  lua_remove(L, -2);
}

void lc_module_setup(lua_State *L) {
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "preload");
  for (size_t i = 0; i < lc_embedded_module_count; i++) {
    lua_pushlightuserdata(L, (void *)(uintptr_t)&lc_embedded_modules[i]);
    lua_pushcclosure(L, load_embedded, 1);
    lua_setfield(L, -2, lc_embedded_modules[i].name);
  }
  lua_pop(L, 1);
  lua_getfield(L, -1, "loaded");
  lua_newtable(L);
  luaL_setfuncs(L, helpers, 0);
  lua_newtable(L);
  luaL_setfuncs(L, constructors, 0);
  lua_setfield(L, -2, "module");
  lc_bind_string(L);
  lua_setfield(L, -2, "string");
  push_view(L, &lc_state_of(L)->view);
  lua_setfield(L, -2, "view");
  lc_json_value_setup(L);
  lua_setfield(L, -2, "logcap.native");
  lua_pop(L, 2);
  require(L, "logcap");
  require(L, "logcap.loop");
  require(L, "logcap.repl");
  lua_pop(L, 3);
  require(L, "logcap.sandbox");
}
