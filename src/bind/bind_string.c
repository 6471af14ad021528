/* string.find, match, gmatch and gsub over pattern.h: as LuaJIT's own, but they can be interrupted, and what is wrong
 * with a pattern is said at once. */
#include <lauxlib.h>
#include <string.h>

#include "bind/budget.h"
#include "bind/kinds.h"
#include "bind/pattern.h"

#define LOOK_EVERY 20000 /* steps of the matcher: some 0.2 ms */
#define ITEMS_ON_STACK 65u

/* A pattern and one match after the other. */
typedef struct search {
  lc_pattern pattern;
  lc_pattern_match match;
  bool anchored;
  lc_pattern_item few[ITEMS_ON_STACK]; /* longer patterns have a userdata on the Lua stack */
} search;

static void look(lc_pattern_match *match) {
  match->steps = LOOK_EVERY;
  lc_budget_check(match->arg);
}

static void set_subject(lua_State *L, search *self, const char *subject, size_t len) {
  self->match.pattern = &self->pattern;
  self->match.begin = subject;
  self->match.end = subject + len;
  self->match.steps = LOOK_EVERY;
  self->match.look = look;
  self->match.arg = L;
}

static void compile(lua_State *L, search *self, int index, bool anchors) {
  size_t len = 0;
  const char *text = luaL_checklstring(L, index, &len);
  const char *nul = memchr(text, '\0', len); /* it ends a pattern, as in LuaJIT */
  if (nul != NULL) len = (size_t)(nul - text);
  self->anchored = anchors && len > 0 && *text == '^';
  text += self->anchored;
  len -= self->anchored;
  lc_pattern_item *items = self->few;
  if (LC_PATTERN_ITEMS(len) > ITEMS_ON_STACK) items = lua_newuserdata(L, LC_PATTERN_ITEMS(len) * sizeof *items);
  const char *wrong = lc_pattern_compile(&self->pattern, items, text, len);
  if (wrong != NULL) luaL_error(L, "%s", wrong);
}

static const char *next_match(search *self, const char *at, const char **ret_at) {
  *ret_at = at;
  return self->anchored ? lc_pattern_at(&self->match, at) : lc_pattern_from(&self->match, at, ret_at);
}

static void push_capture(lua_State *L, const search *self, uint32_t i) {
  const struct lc_pattern_capture *capture = &self->match.captures[i];
  if (capture->len == LC_PATTERN_POSITION) lua_pushinteger(L, capture->at - self->match.begin + 1);
  else lua_pushlstring(L, capture->at, capture->len);
}

/* All captures; when there is none, the whole match if it is wanted. Returns how many. */
static int push_captures(lua_State *L, const search *self, const char *begin, const char *end, bool whole) {
  uint32_t n = self->pattern.n_captures;
  luaL_checkstack(L, (int)n + 1, "too many captures");
  for (uint32_t i = 0; i < n; i++) push_capture(L, self, i);
  if (n > 0 || !whole) return (int)n;
  lua_pushlstring(L, begin, (size_t)(end - begin));
  return 1;
}

static int find_or_match(lua_State *L, bool find) {
  search self;
  size_t len = 0;
  const char *begin = NULL, *subject = luaL_checklstring(L, 1, &len);
  lua_Integer start = luaL_optinteger(L, 3, 1);
  compile(L, &self, 2, true);
  if (start < 0) start += (lua_Integer)len + 1;
  size_t at = start > 0 ? (size_t)start - 1 : 0;
  set_subject(L, &self, subject, len);
  const char *end = next_match(&self, subject + (at < len ? at : len), &begin);
  if (end == NULL) {
    lua_pushnil(L);
    return 1;
  }
  if (!find) return push_captures(L, &self, begin, end, true);
  lua_pushinteger(L, begin - subject + 1);
  lua_pushinteger(L, end - subject);
  return 2 + push_captures(L, &self, begin, end, false);
}

static int string_find(lua_State *L) { return find_or_match(L, true); }
static int string_match(lua_State *L) { return find_or_match(L, false); }

/* Upvalues: the subject, the search, and what holds its items. */
static int gmatch_next(lua_State *L) {
  size_t len = 0;
  const char *subject = lua_tolstring(L, lua_upvalueindex(1), &len), *begin = NULL;
  search *self = lua_touserdata(L, lua_upvalueindex(2));
  size_t at = (size_t)lua_tonumber(L, lua_upvalueindex(4));
  if (at > len) return 0;
  set_subject(L, self, subject, len);
  const char *end = next_match(self, subject + at, &begin);
  if (end == NULL) return 0;
  lua_pushnumber(L, (lua_Number)(end - subject) + (end == begin)); /* an empty match must not come twice */
  lua_replace(L, lua_upvalueindex(4));
  return push_captures(L, self, begin, end, true);
}

static int string_gmatch(lua_State *L) {
  luaL_checkstring(L, 1);
  luaL_checkstring(L, 2);
  lua_settop(L, 2);
  lua_tostring(L, 1); /* a number becomes the string that is kept */
  search *self = lua_newuserdata(L, sizeof *self);
  compile(L, self, 2, false);
  if (lua_gettop(L) == 3) lua_pushnil(L);
  lua_pushvalue(L, 1);
  lua_insert(L, 3); /* subject, search, items */
  lua_pushinteger(L, 0);
  lua_pushcclosure(L, gmatch_next, 4);
  return 1;
}

/* Adds a replacement in which %0 to %9 stand for the match and its captures. */
static void add_template(lua_State *L, const search *self, luaL_Buffer *out, const char *begin, const char *end) {
  size_t len = 0;
  const char *text = lua_tolstring(L, 3, &len);
  for (size_t i = 0; i < len; i++) {
    if (text[i] != '%') {
      luaL_addchar(out, text[i]);
      continue;
    }
    char what = ++i < len ? text[i] : '\0';
    uint32_t n = (uint32_t)(what - '1');
    if (what < '0' || what > '9') {
      luaL_addchar(out, what);
    } else if (what == '0' || (n == 0 && self->pattern.n_captures == 0)) {
      luaL_addlstring(out, begin, (size_t)(end - begin));
    } else {
      if (n >= self->pattern.n_captures) luaL_error(L, "invalid capture index");
      push_capture(L, self, n);
      luaL_addvalue(out);
    }
  }
}

/* Adds what the function or table makes of a match. */
static void add_answer(lua_State *L, const search *self, luaL_Buffer *out, const char *begin, const char *end) {
  if (lua_isfunction(L, 3)) {
    lua_pushvalue(L, 3);
    lua_call(L, push_captures(L, self, begin, end, true), 1);
  } else {
    if (self->pattern.n_captures > 0) push_capture(L, self, 0);
    else lua_pushlstring(L, begin, (size_t)(end - begin));
    lua_gettable(L, 3);
  }
  if (!lua_toboolean(L, -1)) {
    lua_pop(L, 1);
    lua_pushlstring(L, begin, (size_t)(end - begin)); /* it stays as it is */
  } else if (!lua_isstring(L, -1)) {
    luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
  }
  luaL_addvalue(out);
}

static int string_gsub(lua_State *L) {
  search self;
  size_t len = 0;
  const char *at = luaL_checklstring(L, 1, &len), *subject_end = at + len;
  int type = lua_type(L, 3);
  bool template = type == LUA_TSTRING || type == LUA_TNUMBER;
  luaL_checkstring(L, 2);
  if (!template && type != LUA_TFUNCTION && type != LUA_TTABLE) {
    return luaL_argerror(L, 3, lua_pushfstring(L, "string/function/table expected, got %s",
                                               type == LUA_TNONE ? "no value" : lua_typename(L, type)));
  }
  lua_Integer most = luaL_optinteger(L, 4, (lua_Integer)len + 1), n = 0;
  luaL_Buffer out;
  compile(L, &self, 2, true);
  set_subject(L, &self, at, len);
  luaL_buffinit(L, &out);
  while (n < most) {
    const char *begin = NULL, *end = next_match(&self, at, &begin);
    if (end == NULL) break;
    n++;
    luaL_addlstring(&out, at, (size_t)(begin - at));
    if (template) add_template(L, &self, &out, begin, end);
    else add_answer(L, &self, &out, begin, end);
    at = end;
    if (end == begin && at < subject_end) luaL_addchar(&out, *at);
    if (end == begin) at++;
    if (at > subject_end || self.anchored) break;
  }
  if (at < subject_end) luaL_addlstring(&out, at, (size_t)(subject_end - at));
  luaL_pushresult(&out);
  lua_pushinteger(L, n);
  return 2;
}

void lc_bind_string(lua_State *L) {
  static const luaL_Reg functions[] = {{"find", string_find},
                                       {"match", string_match},
                                       {"gmatch", string_gmatch},
                                       {"gsub", string_gsub},
                                       {NULL, NULL}};
  lua_newtable(L);
  luaL_setfuncs(L, functions, 0);
}
