#include "bind/options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "bind/nearest.h"
#include "bind/state.h"
#include "logcap/source.h"

#define LIST_MAX 100000 /* entries of a list or map */

/* One reading. */
typedef struct reader {
  lua_State *L;
  const char *what;  /* "file_sink" */
  const char *under; /* "rotate." inside of a sub-table, else "" */
  int anchor;        /* a table that keeps what was made alive */
} reader;

static _Noreturn void fail(reader *in, const lc_option *option, const char *problem) {
  lc_raise(in->L, "%s: option \"%s%s\" %s%s%s", in->what, in->under, option->name, problem,
           option->example != NULL ? "; write " : "", option->example != NULL ? option->example : "");
  abort(); /* lc_raise does not return */
}

static _Noreturn void fail_type(reader *in, const lc_option *option, const char *wanted, int index) {
  char problem[200];
  snprintf(problem, sizeof problem, "must be %s, got a %s", wanted, luaL_typename(in->L, index));
  fail(in, option, problem);
}

static _Noreturn void fail_parse(reader *in, const lc_option *option, const lc_error *error) {
  char problem[480];
  snprintf(problem, sizeof problem, "is wrong: %.400s", error->message);
  lc_option bare = *option; /* the parser's message has the examples */
  bare.example = NULL;
  fail(in, &bare, problem);
}

static void anchor(reader *in) { lua_rawseti(in->L, in->anchor, (int)lua_objlen(in->L, in->anchor) + 1); }

static const char *read_cstring(reader *in, const lc_option *option, int index, const char *wanted) {
  size_t len = 0;
  if (lua_type(in->L, index) != LUA_TSTRING) fail_type(in, option, wanted, index);
  const char *string = lua_tolstring(in->L, index, &len);
  if (len == 0) fail(in, option, "must not be empty");
  if (strlen(string) != len) fail(in, option, "must not contain a NUL byte");
  return string;
}

/* "x.log" as "/folder of the pipeline file/x.log". Patterns stay as they are when they are meant for any folder. */
static const char *read_path(reader *in, const lc_option *option, int index, const char *wanted, bool pattern) {
  lua_State *L = in->L;
  const char *path = read_cstring(in, option, index, wanted);
  if (*path == '/' || (pattern && (strchr(path, '/') == NULL || strncmp(path, "**/", 3) == 0))) return path;
  while (strncmp(path, "./", 2) == 0) {
    path += 2;
    while (*path == '/') path++;
  }
  lc_state_push_folder(L);
  const char *folder = lua_tostring(L, -1);
  path = lua_pushfstring(L, "%s/%s", strcmp(folder, "/") == 0 ? "" : folder, path);
  lua_remove(L, -2);
  anchor(in);
  return path;
}

/* `value` is within what `size` bytes hold, or the option's table says more than its member can. */
static void store(void *at, size_t size, int64_t value) {
  switch (size) {
    case 1: *(uint8_t *)at = (uint8_t)value; break;
    case 2: *(uint16_t *)at = (uint16_t)value; break;
    case 4: *(uint32_t *)at = (uint32_t)value; break;
    default: *(int64_t *)at = value; break;
  }
}

static void check_bounds(reader *in, const lc_option *option, int64_t value, int64_t unit, const char *units) {
  char problem[160];
  int64_t most = option->most;
  if (most == 0) most = option->size == 4 ? UINT32_MAX : option->size == 2 ? UINT16_MAX : INT64_MAX;
  if (value >= option->least && value <= most) return;
  if (most / unit >= INT64_MAX / unit) {
    snprintf(problem, sizeof problem, "must be at least %.15g%s, got %.15g", (double)option->least / (double)unit,
             units, (double)value / (double)unit);
  } else {
    snprintf(problem, sizeof problem, "must be from %.15g to %.15g%s, got %.15g", (double)option->least / (double)unit,
             (double)most / (double)unit, units, (double)value / (double)unit);
  }
  fail(in, option, problem);
}

static int64_t whole_number(reader *in, const lc_option *option, const char *wanted) {
  double number = lua_tonumber(in->L, -1);
  if (!(fabs(number) < 9007199254740993.0) || number != floor(number)) {
    char problem[160];
    snprintf(problem, sizeof problem, "must be %s, got %.10g", wanted, number);
    fail(in, option, problem);
  }
  return (int64_t)number;
}

static void read_integer(reader *in, const lc_option *option, void *at) {
  if (lua_type(in->L, -1) != LUA_TNUMBER) fail_type(in, option, "a whole number", -1);
  int64_t value = whole_number(in, option, "a whole number");
  check_bounds(in, option, value, 1, "");
  store(at, option->size, value);
}

static void read_duration(reader *in, const lc_option *option, void *at) {
  static const char wanted[] =
      "a duration, that is, seconds or a string such as \"250ms\", \"10s\", \"5m\", \"1h\", \"7d\"";
  int64_t ns = 0;
  lc_error error = {0};
  if (lua_type(in->L, -1) == LUA_TNUMBER) {
    double seconds = lua_tonumber(in->L, -1);
    if (!(seconds >= 0 && seconds < 9e9)) fail(in, option, "must be a number of seconds, not negative");
    ns = (int64_t)(seconds * 1e9 + 0.5);
  } else if (lua_type(in->L, -1) != LUA_TSTRING) {
    fail_type(in, option, wanted, -1);
  } else if (lc_parse_duration(lua_tostring(in->L, -1), &ns, &error) != 0) {
    fail_parse(in, option, &error);
  }
  check_bounds(in, option, ns, INT64_C(1000000000), " seconds");
  store(at, sizeof ns, ns);
}

static void read_size(reader *in, const lc_option *option, void *at) {
  static const char wanted[] = "a size, that is, bytes or a string such as \"64KiB\", \"10MiB\", \"5GiB\"";
  uint64_t bytes = 0;
  lc_error error = {0};
  if (lua_type(in->L, -1) == LUA_TNUMBER) {
    int64_t number = whole_number(in, option, wanted);
    if (number < 0) fail(in, option, "must not be negative");
    bytes = (uint64_t)number;
  } else if (lua_type(in->L, -1) != LUA_TSTRING) {
    fail_type(in, option, wanted, -1);
  } else if (lc_parse_size(lua_tostring(in->L, -1), &bytes, &error) != 0) {
    fail_parse(in, option, &error);
  }
  check_bounds(in, option, bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes, 1, " bytes");
  store(at, option->size, (int64_t)bytes);
}

static void read_word(reader *in, const lc_option *option, void *at) {
  char problem[300] = "must be one of";
  size_t len = strlen(problem);
  lc_nearest nearest = {.name = lua_type(in->L, -1) == LUA_TSTRING ? lua_tostring(in->L, -1) : ""};
  for (int i = 0; option->words[i] != NULL; i++) {
    if (strcmp(nearest.name, option->words[i]) == 0) {
      store(at, option->size, i);
      return;
    }
    lc_nearest_offer(&nearest, option->words[i]);
    len += (size_t)snprintf(problem + len, sizeof problem - len, "%s \"%s\"", i > 0 ? "," : "", option->words[i]);
  }
  if (lua_type(in->L, -1) != LUA_TSTRING) {
    snprintf(problem + len, sizeof problem - len, ", got a %s", luaL_typename(in->L, -1));
  } else if (nearest.best != NULL) {
    snprintf(problem + len, sizeof problem - len, ", got \"%.60s\"; did you mean \"%s\"?", nearest.name, nearest.best);
  } else {
    snprintf(problem + len, sizeof problem - len, ", got \"%.60s\"", nearest.name);
  }
  lc_option bare = *option;
  bare.example = NULL;
  fail(in, &bare, problem);
}

/* The number of items of the list on the top of the stack; anything but a list of at least one fails. */
static uint32_t list_length(reader *in, const lc_option *option) {
  lua_State *L = in->L;
  if (!lua_istable(L, -1)) fail_type(in, option, "a list of strings", -1);
  size_t n = lua_objlen(L, -1), seen = 0;
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TNUMBER) fail(in, option, "must be a list of strings without named entries");
    seen++;
  }
  if (seen != n) fail(in, option, "must be a list without holes");
  if (n == 0) fail(in, option, "must not be an empty list");
  if (n > LIST_MAX) fail(in, option, "has too many entries");
  return (uint32_t)n;
}

static void read_strings(reader *in, const lc_option *option, char *base) {
  lua_State *L = in->L;
  uint32_t n = list_length(in, option);
  const char **list = lua_newuserdata(L, n * sizeof *list);
  anchor(in);
  for (uint32_t i = 0; i < n; i++) {
    lua_rawgeti(L, -1, (int)i + 1);
    if (option->type == LC_OPT_STRINGS) list[i] = read_cstring(in, option, lua_gettop(L), "a list of strings");
    else list[i] = read_path(in, option, lua_gettop(L), "a list of strings", option->type == LC_OPT_PATTERNS);
    lua_pop(L, 1);
  }
  *(const char *const **)(void *)(base + option->at) = list;
  *(uint32_t *)(void *)(base + option->count_at) = n;
}

static int compare_labels(const void *a, const void *b) {
  return strcmp(((const lc_label *)a)->name, ((const lc_label *)b)->name);
}

static void read_labels(reader *in, const lc_option *option, char *base) {
  static const char wanted[] = "a table of strings by name";
  lua_State *L = in->L;
  if (!lua_istable(L, -1)) fail_type(in, option, wanted, -1);
  uint32_t n = 0;
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING) fail_type(in, option, "a table of strings by name; a name", -2);
    if (++n > LIST_MAX) fail(in, option, "has too many entries");
  }
  lc_label *labels = lua_newuserdata(L, (n + 1u) * sizeof *labels);
  anchor(in);
  uint32_t at = 0;
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    labels[at].name = read_cstring(in, option, lua_gettop(L) - 1, wanted);
    labels[at++].value = read_cstring(in, option, lua_gettop(L), wanted);
  }
  if (n > 1) qsort(labels, n, sizeof *labels, compare_labels);
  *(const lc_label **)(void *)(base + option->at) = labels;
  *(uint32_t *)(void *)(base + option->count_at) = n;
}

static void read_table(reader *in, const lc_option *options, char *base);

static void read_sub_table(reader *in, const lc_option *option, char *base) {
  char under[100];
  if (!lua_istable(in->L, -1)) fail_type(in, option, "a table", -1);
  lua_pushnil(in->L);
  if (!lua_next(in->L, -2)) fail(in, option, "must not be an empty table");
  lua_pop(in->L, 2);
  snprintf(under, sizeof under, "%s%s.", in->under, option->name);
  reader sub = *in;
  sub.under = under;
  read_table(&sub, option->options, base + option->at);
}

/* The value is on the top of the stack. */
static void read_option(reader *in, const lc_option *option, char *base) {
  void *at = base + option->at;
  switch (option->type) {
    case LC_OPT_STRING: *(const char **)at = read_cstring(in, option, lua_gettop(in->L), "a string"); break;
    case LC_OPT_PATH: *(const char **)at = read_path(in, option, lua_gettop(in->L), "a string", false); break;
    case LC_OPT_BOOL:
      if (!lua_isboolean(in->L, -1)) fail_type(in, option, "true or false", -1);
      *(bool *)at = lua_toboolean(in->L, -1);
      break;
    case LC_OPT_INTEGER: read_integer(in, option, at); break;
    case LC_OPT_DURATION: read_duration(in, option, at); break;
    case LC_OPT_SIZE: read_size(in, option, at); break;
    case LC_OPT_WORD: read_word(in, option, at); break;
    case LC_OPT_STRINGS:
    case LC_OPT_PATHS:
    case LC_OPT_PATTERNS: read_strings(in, option, base); break;
    case LC_OPT_LABELS: read_labels(in, option, base); break;
    case LC_OPT_TABLE: read_sub_table(in, option, base); break;
    case LC_OPT_FUNCTION:
      if (!lua_isfunction(in->L, -1)) fail_type(in, option, "a function", -1);
      break;
    case LC_OPT_ANY: break;
  }
}

static _Noreturn void fail_unknown(reader *in, const lc_option *options, const char *key) {
  char known[600] = "";
  size_t len = 0;
  lc_nearest nearest = {.name = key};
  for (const lc_option *option = options; option->name != NULL; option++) {
    lc_nearest_offer(&nearest, option->name);
    if (len < sizeof known) {
      len += (size_t)snprintf(known + len, sizeof known - len, "%s%s", len > 0 ? ", " : "", option->name);
    }
  }
  lc_raise(in->L, "%s: unknown option \"%s%.100s\"; %s%s%sits options are: %s", in->what, in->under, key,
           nearest.best != NULL ? "did you mean \"" : "", nearest.best != NULL ? nearest.best : "",
           nearest.best != NULL ? "\"? " : "", known);
  abort(); /* lc_raise does not return */
}

static const lc_option *find_option(reader *in, const lc_option *options) {
  char number[40];
  const char *key = number;
  if (lua_type(in->L, -1) == LUA_TSTRING) key = lua_tostring(in->L, -1);
  else if (lua_type(in->L, -1) == LUA_TNUMBER) snprintf(number, sizeof number, "[%.14g]", lua_tonumber(in->L, -1));
  else snprintf(number, sizeof number, "[a %s]", luaL_typename(in->L, -1));
  for (const lc_option *option = options; option->name != NULL; option++) {
    bool first = strcmp(option->name, LC_OPT_FIRST) == 0;
    if (strcmp(option->name, key) == 0 && first == (key == number)) return option;
  }
  fail_unknown(in, options, key);
}

/* The table is on the top of the stack. */
static void read_table(reader *in, const lc_option *options, char *base) {
  lua_State *L = in->L;
  int table = lua_gettop(L);
  luaL_checkstack(L, 20, "option tables are nested too deeply");
  for (lua_pushnil(L); lua_next(L, table); lua_settop(L, table + 1)) {
    lua_pushvalue(L, -2);
    const lc_option *option = find_option(in, options);
    lua_pop(L, 1);
    read_option(in, option, base);
  }
  for (const lc_option *option = options; option->name != NULL; option++) {
    if (!option->required) continue;
    if (strcmp(option->name, LC_OPT_FIRST) == 0) lua_rawgeti(L, table, 1);
    else lua_pushstring(L, option->name), lua_rawget(L, table);
    bool missing = lua_isnil(L, -1);
    lua_pop(L, 1);
    if (missing) fail(in, option, "is missing");
  }
}

void lc_options_read(lua_State *L, int index, const char *what, const lc_option *options, void *ret) {
  if (lua_gettop(L) > index) lc_raise(L, "%s takes one table of options, and got more", what);
  lua_settop(L, index);
  if (lua_isnil(L, index)) {
    lua_newtable(L);
    lua_replace(L, index);
  }
  if (!lua_istable(L, index)) {
    lc_raise(L, "%s takes a table of options, got a %s; write logcap.%s { ... }", what, luaL_typename(L, index), what);
  }
  lua_newtable(L);
  reader in = {.L = L, .what = what, .under = "", .anchor = lua_gettop(L)};
  lua_pushvalue(L, index);
  read_table(&in, options, ret);
  lua_pop(L, 1);
}
