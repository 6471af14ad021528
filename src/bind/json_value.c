#include "bind/json_value.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bind/state.h"
#include "record/json_text.h"

#define NULL_VALUE "logcap.null"
#define LIMIT_MIB ((int)(LC_BATCH_EXTRA_MAX >> 20))

/* The longest plain integer that is certainly below 2^53. */
#define SAFE_DIGITS 15

bool lc_json_beyond_double(const char *text, size_t len) {
  size_t digits = len - (len > 0 && *text == '-');
  if (digits <= SAFE_DIGITS || memchr(text, '.', len) || memchr(text, 'e', len) || memchr(text, 'E', len)) return false;
  int64_t value = 0;
  if (!lc_json_int64(text, len, &value)) return true;
  return value > (INT64_C(1) << 53) || value < -(INT64_C(1) << 53);
}

static void push_decoded(lua_State *L, const char *inside, size_t len) {
  if (lc_json_plain(inside, len) == len) {
    lua_pushlstring(L, inside, len);
    return;
  }
  char small[512];
  char *to = len <= sizeof small ? small : lua_newuserdata(L, len);
  size_t n = lc_json_decode(inside, len, to);
  lua_pushlstring(L, to, n);
  if (to != small) lua_remove(L, -2);
}

static void push_value(lua_State *L, const char *text, size_t len, lc_json_type type, int depth);

static void push_members(lua_State *L, const char *text, size_t len, lc_json_type type, int depth) {
  if (depth > LC_LUA_DEPTH) lc_raise(L, "JSON is nested deeper than %d levels; read it by path", LC_LUA_DEPTH);
  luaL_checkstack(L, 6, "JSON is nested too deeply");
  lua_newtable(L);
  lc_json_members it = lc_json_open(text, len);
  int i = 1;
  while (lc_json_next(&it)) {
    if (type == LC_JSON_OBJECT) push_decoded(L, it.key, it.key_len);
    push_value(L, it.value, it.value_len, it.type, depth + 1);
    if (type == LC_JSON_OBJECT) lua_rawset(L, -3);
    else lua_rawseti(L, -2, i++);
  }
  if (type == LC_JSON_ARRAY) luaL_setmetatable(L, LC_LUA_ARRAY);
}

static void push_value(lua_State *L, const char *text, size_t len, lc_json_type type, int depth) {
  switch (type) {
    case LC_JSON_STRING: push_decoded(L, text + 1, len - 2); break;
    case LC_JSON_NUMBER:
      if (lc_json_beyond_double(text, len)) lua_pushlstring(L, text, len);
      else lua_pushnumber(L, lc_json_double(text, len));
      break;
    case LC_JSON_TRUE: lua_pushboolean(L, 1); break;
    case LC_JSON_FALSE: lua_pushboolean(L, 0); break;
    case LC_JSON_NULL: luaL_getmetatable(L, NULL_VALUE); lua_rawgeti(L, -1, 1); lua_remove(L, -2); break;
    case LC_JSON_OBJECT:
    case LC_JSON_ARRAY: push_members(L, text, len, type, depth); break;
    case LC_JSON_REMOVED: lua_pushnil(L); break;
  }
}

void lc_json_push(lua_State *L, const char *text, size_t len, lc_json_type type) {
  luaL_checkstack(L, 6, "too many values");
  push_value(L, text, len, type, 1);
}

static int push_copy(lua_State *L) {
  const lc_buf *text = lua_touserdata(L, 1);
  lc_json_push(L, text->data, text->len, lc_json_type_of(text->data, text->len));
  return 1;
}

void lc_json_push_buf(lua_State *L, lc_buf *text) {
  lua_pushcfunction(L, push_copy);
  lua_pushlightuserdata(L, text);
  int status = lua_pcall(L, 1, 1, 0);
  lc_buf_free(text);
  if (status != 0) lua_error(L);
}

/* Encoding works on a buffer in a userdata with a finalizer, so that an error anywhere frees it. */
#define BUFFER "logcap.buffer"

static int buffer_gc(lua_State *L) {
  lc_buf_free(lua_touserdata(L, 1));
  return 0;
}

static void add_value(lua_State *L, lc_buf *buf, int index, int depth);

static void add_number(lua_State *L, lc_buf *buf, double number) {
  char text[LC_JSON_NUMBER_TEXT];
  if (!isfinite(number)) luaL_error(L, "an infinite number or NaN cannot be JSON");
  lc_buf_add(buf, text, lc_json_number_text(number, text));
}

/* Whether the table at `index` is a list, and its length: all its keys are 1..n, or it is empty and marked as one. */
static bool is_list(lua_State *L, int index, size_t *ret_n) {
  size_t n = lua_objlen(L, index), seen = 0;
  bool marked = false;
  if (lua_getmetatable(L, index)) {
    luaL_getmetatable(L, LC_LUA_ARRAY);
    marked = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
  }
  *ret_n = n;
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TNUMBER) {
      if (seen > 0 || marked) luaL_error(L, "a table with both a list and named fields cannot be JSON");
      lua_pop(L, 2);
      return false;
    }
    double at = lua_tonumber(L, -2);
    if (at < 1 || at > (double)n || at != floor(at)) luaL_error(L, "a list with holes cannot be JSON");
    seen++;
  }
  if (seen != n) luaL_error(L, "a list with holes cannot be JSON");
  return n > 0 || marked;
}

static void add_list(lua_State *L, lc_buf *buf, int index, size_t n, int depth) {
  lc_buf_addc(buf, '[');
  for (size_t i = 1; i <= n; i++) {
    if (i > 1) lc_buf_addc(buf, ',');
    lua_rawgeti(L, index, (int)i);
    add_value(L, buf, lua_gettop(L), depth + 1);
    lua_pop(L, 1);
  }
  lc_buf_addc(buf, ']');
}

typedef struct key {
  const char *bytes; /* borrowed from the table that is encoded */
  size_t len;
} key;

static int compare_keys(const void *a, const void *b) {
  const key *x = a, *y = b;
  int order = memcmp(x->bytes, y->bytes, x->len < y->len ? x->len : y->len);
  return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

/* Pushes a userdata with the table's keys, sorted: the same table always gives the same text. */
static const key *push_keys(lua_State *L, int index, size_t *ret_n) {
  size_t n = 0;
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING) {
      luaL_error(L, "a table with a %s for a key cannot be JSON; keys are strings", luaL_typename(L, -2));
    }
    n++;
  }
  key *keys = lua_newuserdata(L, (n + 1) * sizeof *keys);
  size_t at = 0;
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    keys[at].bytes = lua_tolstring(L, -2, &keys[at].len);
    at++;
  }
  if (n > 1) qsort(keys, n, sizeof *keys, compare_keys);
  *ret_n = n;
  return keys;
}

static void add_object(lua_State *L, lc_buf *buf, int index, int depth) {
  size_t n = 0;
  const key *keys = push_keys(L, index, &n);
  lc_buf_addc(buf, '{');
  for (size_t i = 0; i < n; i++) {
    if (i > 0) lc_buf_addc(buf, ',');
    lc_buf_add_json_string(buf, keys[i].bytes, keys[i].len);
    lc_buf_addc(buf, ':');
    lua_pushlstring(L, keys[i].bytes, keys[i].len);
    lua_rawget(L, index);
    add_value(L, buf, lua_gettop(L), depth + 1);
    lua_pop(L, 1);
  }
  lc_buf_addc(buf, '}');
  lua_pop(L, 1);
}

static void add_table(lua_State *L, lc_buf *buf, int index, int depth) {
  if (depth > LC_LUA_DEPTH) {
    luaL_error(L, "a table that contains itself, or nests deeper than %d levels, cannot be JSON", LC_LUA_DEPTH);
  }
  luaL_checkstack(L, 8, "a table is nested too deeply");
  size_t n = 0;
  if (is_list(L, index, &n)) add_list(L, buf, index, n, depth);
  else add_object(L, buf, index, depth);
}

static bool is_null(lua_State *L, int index) {
  luaL_getmetatable(L, NULL_VALUE);
  lua_rawgeti(L, -1, 1);
  bool same = lua_rawequal(L, -1, index);
  lua_pop(L, 2);
  return same;
}

static void add_value(lua_State *L, lc_buf *buf, int index, int depth) {
  /* A table that holds others many times over is small, but its text need not be. */
  if (buf->failed) luaL_error(L, "not enough memory");
  if (buf->len > LC_BATCH_EXTRA_MAX) luaL_error(L, "a value of more than %d MiB of JSON cannot be set", LIMIT_MIB);
  size_t len = 0;
  const char *bytes = NULL;
  switch (lua_type(L, index)) {
    case LUA_TSTRING:
      bytes = lua_tolstring(L, index, &len);
      lc_buf_add_json_string(buf, bytes, len);
      return;
    case LUA_TNUMBER: add_number(L, buf, lua_tonumber(L, index)); return;
    case LUA_TBOOLEAN: lc_buf_adds(buf, lua_toboolean(L, index) ? "true" : "false"); return;
    case LUA_TTABLE: add_table(L, buf, index, depth); return;
    default:
      if (lua_type(L, index) == LUA_TUSERDATA && is_null(L, index)) lc_buf_adds(buf, "null");
      else luaL_error(L, "a %s cannot be JSON", luaL_typename(L, index));
  }
}

int lc_json_encode_value(lua_State *L) {
  lua_settop(L, 1);
  lc_buf *buf = lua_newuserdata(L, sizeof *buf);
  *buf = (lc_buf){0};
  luaL_setmetatable(L, BUFFER);
  add_value(L, buf, 1, 1);
  if (buf->failed) return luaL_error(L, "not enough memory");
  lua_pushlstring(L, buf->data, buf->len);
  lc_buf_free(buf);
  return 1;
}

static int null_tostring(lua_State *L) {
  lua_pushliteral(L, "null");
  return 1;
}

/* array { ... }: marks a table as a list, for when it is empty. */
static int make_array(lua_State *L) {
  if (lua_isnoneornil(L, 1)) lua_newtable(L);
  else if (!lua_istable(L, 1)) return luaL_error(L, "logcap.array takes a table, got a %s", luaL_typename(L, 1));
  luaL_setmetatable(L, LC_LUA_ARRAY);
  return 1;
}

void lc_json_value_setup(lua_State *L) {
  luaL_newmetatable(L, BUFFER);
  lua_pushcfunction(L, buffer_gc);
  lua_setfield(L, -2, "__gc");
  luaL_newmetatable(L, LC_LUA_ARRAY);
  lua_pushliteral(L, LC_LUA_ARRAY);
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 2);
  lua_newuserdata(L, sizeof(char));
  luaL_newmetatable(L, NULL_VALUE);
  lua_pushcfunction(L, null_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushliteral(L, NULL_VALUE);
  lua_setfield(L, -2, "__metatable");
  lua_pushvalue(L, -2);
  lua_rawseti(L, -2, 1); /* the one value itself, for those who push or compare it */
  lua_setmetatable(L, -2);
  lua_setfield(L, -2, "null");
  lua_pushcfunction(L, make_array);
  lua_setfield(L, -2, "array");
}
