#include "bind/bind_testing.h"

#include <lauxlib.h>

#include "base/clock.h"
#include "base/units.h"
#include "bind/json_value.h"
#include "bind/trial.h"
#include "sink/memory_sink.h"

#define TRIAL "logcap.trial"
#define NAMES_MAX 64

static lc_trial *check_trial(lua_State *L) {
  lc_trial **trial = luaL_checkudata(L, 1, TRIAL);
  if (*trial == NULL) luaL_error(L, "this pipeline was closed before");
  return *trial;
}

static int give_up(lua_State *L, const lc_error *error) {
  lua_pushstring(L, error->message);
  return lua_error(L);
}

/* Borrows the strings of the list at `index`, which stays where it is. */
static size_t take_names(lua_State *L, int index, const char *ret[NAMES_MAX]) {
  luaL_checktype(L, index, LUA_TTABLE);
  size_t n = lua_objlen(L, index);
  if (n > NAMES_MAX) luaL_error(L, "more than %d names", NAMES_MAX);
  for (size_t i = 0; i < n; i++) {
    lua_rawgeti(L, index, (int)i + 1);
    ret[i] = luaL_checkstring(L, -1);
    lua_pop(L, 1); /* the list keeps it */
  }
  return n;
}

/* open(files, allow, clock): clock in seconds since 1970. */
static int trial_open(lua_State *L) {
  const char *files[NAMES_MAX], *allow[NAMES_MAX];
  size_t n = take_names(L, 1, files);
  double clock = luaL_checknumber(L, 3);
  lc_error error = {0};
  luaL_argcheck(L, clock >= 0 && clock < 9e9, 3, "the clock is seconds since 1970, as os.time() gives them");
  const lc_trial_options options = {
      .allow = allow, .n_allow = take_names(L, 2, allow), .clock_ns = (int64_t)(clock * 1e9)};
  lc_trial **trial = lua_newuserdata(L, sizeof(lc_trial *));
  *trial = NULL;
  luaL_setmetatable(L, TRIAL);
  return lc_trial_open(files, n, &options, trial, &error) == 0 ? 1 : give_up(L, &error);
}

/* parts(trial): a list of { label, pipeline = "..." } for each monitor and { label, sink = true } for each sink. */
static int trial_parts(lua_State *L) {
  const lc_trial *trial = check_trial(L);
  lua_createtable(L, (int)trial->n_parts, 0);
  for (size_t i = 0; i < trial->n_parts; i++) {
    const lc_trial_part *part = &trial->parts[i];
    lua_newtable(L);
    lua_pushstring(L, part->label);
    lua_rawseti(L, -2, 1);
    lua_pushstring(L, part->pipeline);
    lua_setfield(L, -2, "pipeline");
    lua_pushboolean(L, part->sink != NULL);
    lua_setfield(L, -2, "sink");
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

static lc_trial_part *check_part(lua_State *L, lc_trial *trial, bool sink) {
  int index = (int)luaL_checkinteger(L, 2) - 1;
  luaL_argcheck(L, index >= 0 && (size_t)index < trial->n_parts, 2, "no such part");
  luaL_argcheck(L, (trial->parts[index].sink != NULL) == sink, 2, "of the other kind");
  return &trial->parts[index];
}

/* feed(trial, part, source, text) */
static int trial_feed(lua_State *L) {
  lc_trial *trial = check_trial(L);
  const lc_trial_part *part = check_part(L, trial, false);
  const char *source = luaL_checkstring(L, 3);
  size_t len = 0;
  const char *text = luaL_checklstring(L, 4, &len);
  lc_error error = {0};
  return lc_trial_feed(trial, part, source, text, len, &error) == 0 ? 0 : give_up(L, &error);
}

static int64_t check_duration(lua_State *L, int index) {
  int64_t ns = 0;
  lc_error error = {0};
  if (lua_type(L, index) == LUA_TNUMBER) {
    double seconds = lua_tonumber(L, index);
    luaL_argcheck(L, seconds >= 0 && seconds < 9e9, index, "a duration is not negative");
    return (int64_t)(seconds * 1e9);
  }
  if (lc_parse_duration(luaL_checkstring(L, index), &ns, &error) != 0) give_up(L, &error);
  return ns;
}

/* advance(trial, "10s") */
static int trial_advance(lua_State *L) {
  lc_trial *trial = check_trial(L);
  lc_error error = {0};
  return lc_trial_advance(trial, check_duration(L, 2), &error) == 0 ? 0 : give_up(L, &error);
}

static int trial_flush(lua_State *L) {
  lc_error error = {0};
  return lc_trial_flush(check_trial(L), &error) == 0 ? 0 : give_up(L, &error);
}

static int trial_clock(lua_State *L) {
  lua_pushnumber(L, (double)check_trial(L)->clock_ns / 1e9);
  return 1;
}

/* take(trial, part): what the sink got since the last time: records, lines, places. */
static int trial_take(lua_State *L) {
  lc_trial *trial = check_trial(L);
  lc_sink *sink = check_part(L, trial, true)->sink;
  size_t n = lc_memory_sink_count(sink);
  if (lc_memory_sink_failed(sink)) return luaL_error(L, "not enough memory for what the sinks got");
  for (int i = 0; i < 3; i++) lua_createtable(L, (int)n, 0);
  int records = lua_gettop(L) - 2;
  for (size_t i = 0; i < n; i++) {
    const lc_memory_entry entry = lc_memory_sink_entry(sink, i);
    lc_json_push(L, entry.object, entry.object_len, LC_JSON_OBJECT);
    lua_rawseti(L, records, (int)i + 1);
    lua_pushlstring(L, entry.line, entry.line_len);
    lua_rawseti(L, records + 1, (int)i + 1);
    lua_pushlstring(L, entry.place, entry.place_len);
    lua_rawseti(L, records + 2, (int)i + 1);
  }
  lc_memory_sink_clear(sink);
  return 3;
}

static int push_lines(lua_State *L) {
  const lc_buf *text = lua_touserdata(L, 1);
  lua_newtable(L);
  int n = 0;
  for (size_t at = 0; at < text->len;) {
    const char *line = text->data + at, *end = memchr(line, '\n', text->len - at);
    size_t len = end != NULL ? (size_t)(end - line) : text->len - at;
    lc_json_push(L, line, len, LC_JSON_OBJECT);
    lua_rawseti(L, -2, ++n);
    at += len + 1;
  }
  return 1;
}

/* dead_letters(trial): those written since the last time, a list of tables. */
static int trial_dead_letters(lua_State *L) {
  lc_trial *trial = check_trial(L);
  lc_buf text = {0};
  lc_error error = {0};
  int rc = lc_trial_dead_letters(trial, &text, &error);
  lua_pushcfunction(L, push_lines);
  lua_pushlightuserdata(L, &text);
  int status = rc == 0 ? lua_pcall(L, 1, 1, 0) : 0;
  lc_buf_free(&text);
  if (rc != 0) return give_up(L, &error);
  return status == 0 ? 1 : lua_error(L);
}

/* audit(trial): the ledgers, and why the first pipeline that stopped did so. */
static int trial_audit(lua_State *L) {
  lc_trial *trial = check_trial(L);
  lc_buf text = {0};
  bool balanced = false;
  if (lc_engine_audit(trial->engine, &text, &balanced) != 0) {
    lc_buf_free(&text);
    return luaL_error(L, "not enough memory for the audit");
  }
  lc_json_push_buf(L, &text);
  lua_pushstring(L, lc_engine_failure(trial->engine));
  return 2;
}

static int trial_close(lua_State *L) {
  lc_trial **at = luaL_checkudata(L, 1, TRIAL), *trial = *at;
  lc_error error = {0};
  *at = NULL;
  return lc_trial_close(trial, &error) == 0 ? 0 : give_up(L, &error);
}

static int trial_gc(lua_State *L) {
  lc_trial **at = luaL_testudata(L, 1, TRIAL), *trial = at != NULL ? *at : NULL;
  if (at != NULL) *at = NULL;
  (void)lc_trial_close(trial, NULL);
  return 0;
}

static const luaL_Reg functions[] = {
    {"open", trial_open},       {"parts", trial_parts}, {"feed", trial_feed}, {"advance", trial_advance},
    {"flush", trial_flush},     {"clock", trial_clock}, {"take", trial_take}, {"dead_letters", trial_dead_letters},
    {"audit", trial_audit},     {"close", trial_close}, {NULL, NULL},
};

void lc_testing_setup(lua_State *L, const char *const *allow, size_t n_allow) {
  luaL_newmetatable(L, TRIAL);
  lua_pushcfunction(L, trial_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_newtable(L);
  luaL_setfuncs(L, functions, 0);
  lua_createtable(L, (int)n_allow, 0);
  for (size_t i = 0; i < n_allow; i++) {
    lua_pushstring(L, allow[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
  lua_setfield(L, -2, "allow");
  lua_setfield(L, -2, "logcap.testing.native");
  lua_pop(L, 1);
}
