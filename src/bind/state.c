#include "bind/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <luajit.h>
#include <lualib.h>

#include "base/buf.h"
#include "bind/handle.h"
#include "bind/module.h"
#include "bind/test_clock.h"

#define FILE_MAX (UINT64_C(16) << 20) /* bytes of a pipeline file */
#define TRACE_FRAMES 3

static const char state_key = 's'; /* its address: registry[&state_key] is the lc_state */
static const char roots_key = 'r'; /* registry[&roots_key]: chunk name -> folder of its pipeline file */

lc_state *lc_state_of(lua_State *L) {
  lua_pushlightuserdata(L, (void *)(uintptr_t)&state_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  lc_state *state = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return state;
}

static void push_roots(lua_State *L) {
  lua_pushlightuserdata(L, (void *)(uintptr_t)&roots_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
}

/* Whether it is code of logcap's own Lua modules, which is no place for an operator to look. */
static bool is_embedded(lua_State *L, const lua_Debug *ar) {
  if (strcmp(ar->source, "=logcap loop") == 0) return true;
  if (strncmp(ar->source, "@logcap/", 8) != 0) return false;
  push_roots(L);
  lua_getfield(L, -1, ar->source); /* a pipeline file below a folder of this name */
  bool embedded = lua_isnil(L, -1);
  lua_pop(L, 2);
  return embedded;
}

static const char *shown_source(const lua_Debug *ar) { return *ar->source == '@' ? ar->source + 1 : ar->short_src; }

void lc_state_where(lua_State *L, char ret[LC_WHERE_MAX]) { lc_state_where_at(L, 1, ret); }

void lc_state_where_at(lua_State *L, int level, char ret[LC_WHERE_MAX]) {
  lua_Debug ar;
  for (; lua_getstack(L, level, &ar); level++) {
    if (!lua_getinfo(L, "Sl", &ar) || ar.currentline <= 0 || is_embedded(L, &ar)) continue;
    snprintf(ret, LC_WHERE_MAX, "%.480s:%d", shown_source(&ar), ar.currentline);
    return;
  }
  const char *loading = lc_state_of(L)->loading;
  snprintf(ret, LC_WHERE_MAX, "%.480s", loading != NULL ? loading : "?");
}

void lc_state_push_folder(lua_State *L) {
  lua_Debug ar;
  push_roots(L);
  for (int level = 1; lua_getstack(L, level, &ar); level++) {
    if (!lua_getinfo(L, "S", &ar)) continue;
    lua_getfield(L, -1, ar.source);
    if (lua_isstring(L, -1)) {
      lua_remove(L, -2);
      return;
    }
    lua_pop(L, 1);
  }
  const char *loading = lc_state_of(L)->loading;
  lua_pushfstring(L, "@%s", loading != NULL ? loading : "");
  lua_rawget(L, -2);
  lua_remove(L, -2);
  if (lua_isstring(L, -1)) return;
  lua_pop(L, 1);
  char *folder = getcwd(NULL, 0); /* code that no file brought: the specs, a prompt */
  lua_pushstring(L, folder != NULL ? folder : ".");
  free(folder);
}

int lc_raise(lua_State *L, const char *format, ...) {
  char where[LC_WHERE_MAX];
  char message[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  lc_state_where(L, where);
  lua_pushfstring(L, "%s: %s", where, message);
  return lua_error(L);
}

/* Replaces an error that is not a string by one that says what it is. */
static void describe_error(lua_State *L) {
  if (lua_isstring(L, 1)) return;
  if (luaL_callmeta(L, 1, "__tostring") && lua_isstring(L, -1)) {
    lua_replace(L, 1);
    return;
  }
  lua_pushfstring(L, "the error is a %s, not a message", luaL_typename(L, 1));
  lua_replace(L, 1);
}

/* The handler of all protected calls: message, then "; called from a.lua:3, b.lua:7". */
static int add_trace(lua_State *L) {
  lua_settop(L, 1);
  describe_error(L);
  int frames = 0;
  lua_Debug ar;
  for (int level = 1; frames < TRACE_FRAMES && lua_getstack(L, level, &ar); level++) {
    if (!lua_getinfo(L, "Sl", &ar) || ar.currentline <= 0 || is_embedded(L, &ar)) continue;
    const char *message = lua_tostring(L, 1);
    const char *at = lua_pushfstring(L, "%s:%d", shown_source(&ar), ar.currentline);
    const char *short_at = lua_pushfstring(L, "%s:%d:", ar.short_src, ar.currentline);
    bool said = strncmp(message, at, strlen(at)) == 0 || strncmp(message, short_at, strlen(short_at)) == 0;
    if (!said) lua_pushfstring(L, "%s%s%s", message, frames++ > 0 ? ", " : "; called from ", at);
    if (!said) lua_replace(L, 1);
    lua_settop(L, 1);
  }
  return 1;
}

static lc_err err_of(int status) { return status == LUA_ERRMEM ? LC_ENOMEM : LC_EINVAL; }

int lc_state_call(lc_state *state, int nargs, int nresults, lc_error *error) {
  lua_State *L = state->L;
  int handler = lua_gettop(L) - nargs;
  lc_refs_drain(&state->refs, L);
  lua_rawgeti(L, LUA_REGISTRYINDEX, state->on_error);
  lua_insert(L, handler);
  int status = lua_pcall(L, nargs, nresults, handler);
  lua_remove(L, handler);
  if (status == 0) return 0;
  const char *message = lua_tostring(L, -1);
  lc_error_set(error, err_of(status), "%s", message != NULL ? message : "an error without a message");
  lua_pop(L, 1);
  return err_of(status);
}

int lc_state_call_within_budget(lc_state *state, int nargs, int nresults, lc_error *error) {
  lc_budget_call call;
  lc_budget_begin(state, &call, LC_BUDGET_CALL, state->budget.time_ns);
  int rc = lc_state_call(state, nargs, nresults, error);
  lc_budget_end(state, &call);
  return rc;
}

static int setup(lua_State *L) {
  const lc_state_options *options = lua_touserdata(L, 1);
  luaL_openlibs(L);
  if (options->clock_ns != NULL) lc_test_clock_setup(L, options->clock_ns);
  (void)luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF); /* the libraries have switched the compiler on */
  lua_pushlightuserdata(L, (void *)(uintptr_t)&roots_key);
  lua_newtable(L);
  lua_rawset(L, LUA_REGISTRYINDEX);
  lc_handle_setup(L);
  lc_module_setup(L); /* pushes the curated environment's maker */
  if (options->unrestricted) return 0;
  lua_createtable(L, (int)options->n_allow, 0);
  for (size_t i = 0; i < options->n_allow; i++) {
    lua_pushstring(L, options->allow[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
  push_roots(L);
  lua_call(L, 2, 1);
  lua_replace(L, LUA_GLOBALSINDEX); /* so that no function, nor text loaded later, can reach the real globals */
  return 0;
}

/* --- its end --- */

static void close_lua(uv_work_t *work) {
  lc_state *state = work->data;
  (void)lua_sethook(state->L, NULL, 0, 0); /* finalizers may run code of the files */
  lc_heap_give_back(&state->heap, state->L);
  lua_close(state->L); /* of a large state this takes a while */
  state->L = NULL;
}

static void lua_closed(uv_work_t *work, int status) {
  lc_state *state = work->data;
  (void)status;
  lc_resource_closed(&state->resource);
}

/* No reference is left: no handle is open, no stage has a function of it. */
static void close_state(lc_resource *res) {
  lc_state *state = (lc_state *)res;
  lc_budget_disown(state);
  state->closing.data = state;
  if (state->loop != NULL && uv_queue_work(state->loop, &state->closing, close_lua, lua_closed) == 0) return;
  close_lua(&state->closing);
  lc_resource_closed(res);
}

static void destroy_state(lc_resource *res) {
  lc_state *state = (lc_state *)res;
  lc_view_deinit(&state->view);
  lc_refs_deinit(&state->refs);
  free(state);
}

static int state_stats(lc_resource *res, lc_buf *ret) {
  const lc_state *state = (const lc_state *)res;
  return lc_buf_addf(ret, "{\"retired\":%s,\"memory\":%zu,\"memory_peak\":%zu,\"memory_limit\":%zu,\"stuck\":%llu}",
                     state->retired ? "true" : "false", lc_heap_used(&state->heap),
                     atomic_load_explicit(&state->heap.peak, memory_order_relaxed), state->heap.limit,
                     (unsigned long long)atomic_load(&state->budget.stuck));
}

static const lc_resource_ops resource_ops = {.close = close_state, .destroy = destroy_state, .stats = state_stats};

/* --- its start --- */

int lc_state_create(const lc_state_options *options, lc_state **ret, lc_error *error) {
  lc_state *state = calloc(1, sizeof *state);
  lua_State *L = state != NULL ? luaL_newstate() : NULL;
  if (L == NULL) {
    free(state);
    return lc_error_set(error, LC_ENOMEM, "out of memory for a Lua state");
  }
  int named = lc_resource_init(&state->resource, options->registry, &resource_ops, "lua_state", NULL, "lua_state",
                               options->made_at, error);
  if (named != 0) {
    lua_close(L);
    free(state);
    return named;
  }
  state->L = L;
  state->registry = options->registry;
  state->loop = options->loop;
  state->limits = (lc_limits){.memory = -1, .time_ns = -1, .load_ns = -1};
  lc_refs_init(&state->refs);
  lua_pushcfunction(L, add_trace);
  state->on_error = luaL_ref(L, LUA_REGISTRYINDEX);
  lc_budget_init(state);
  lua_pushlightuserdata(L, (void *)(uintptr_t)&state_key);
  lua_pushlightuserdata(L, state);
  lua_rawset(L, LUA_REGISTRYINDEX);
  lua_pushcfunction(L, setup);
  lua_pushlightuserdata(L, (void *)(uintptr_t)options);
  int rc = lc_resource_opened(&state->resource, error);
  if (rc == 0) rc = lc_state_call(state, 1, 0, error);
  if (rc != 0) {
    lc_state_destroy(state);
    return rc;
  }
  *ret = state;
  return 0;
}

void lc_state_retain(lc_state *state) { lc_resource_retain(&state->resource); }

void lc_state_release(lc_state *state) { lc_resource_release(&state->resource); }

void lc_state_destroy(lc_state *state) {
  if (state == NULL) return;
  state->generation = NULL;
  state->retired = true;
  lc_handle_drop_all(state);
  lc_state_release(state);
}

static int read_file(const char *path, lc_buf *text, lc_error *error) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return lc_error_sys(error, errno, "cannot read pipeline file %s", path);
  struct stat st;
  int rc = 0;
  if (fstat(fd, &st) != 0) {
    rc = lc_error_sys(error, errno, "cannot read pipeline file %s", path);
  } else if (!S_ISREG(st.st_mode)) {
    rc = lc_error_set(error, LC_EINVAL, "pipeline file %s is %s; name a file of Lua text", path,
                      S_ISDIR(st.st_mode) ? "a folder" : "not a regular file");
  }
  while (rc == 0) {
    if (lc_buf_reserve(text, 65536) != 0) {
      rc = lc_error_set(error, LC_ENOMEM, "out of memory reading %s", path);
      break;
    }
    ssize_t n = read(fd, text->data + text->len, 65536);
    if (n == 0) break;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) rc = lc_error_sys(error, errno, "cannot read pipeline file %s", path);
    if (n > 0) text->len += (size_t)n;
    if (text->len > FILE_MAX) rc = lc_error_set(error, LC_ELIMIT, "pipeline file %s is larger than 16 MiB", path);
  }
  close(fd);
  return rc;
}

static bool has_dots(const char *folder) {
  for (const char *part = folder; part != NULL; part = strchr(part, '/')) {
    while (*part == '/') part++;
    size_t len = strcspn(part, "/");
    if ((len == 1 && part[0] == '.') || (len == 2 && part[0] == '.' && part[1] == '.')) return true;
  }
  return false;
}

/* The folder on the top of the stack without `.` and `..`: paths of outputs and identities are made of it. */
static void resolve_dots(lua_State *L) {
  if (!has_dots(lua_tostring(L, -1))) return;
  char *real = realpath(lua_tostring(L, -1), NULL);
  if (real == NULL) luaL_error(L, "cannot tell the folder %s: %s", lua_tostring(L, -1), strerror(errno));
  lua_pop(L, 1);
  lua_pushstring(L, real);
  free(real);
}

/* roots["@" .. path] = the absolute folder that holds it. */
static int note_root(lua_State *L) {
  const char *path = lua_tostring(L, 1);
  const char *slash = strrchr(path, '/');
  char *here = *path == '/' ? NULL : getcwd(NULL, 0);
  if (*path != '/' && here == NULL) return luaL_error(L, "cannot tell the current folder: %s", strerror(errno));
  lua_pushstring(L, here != NULL ? here : "");
  free(here);
  if (slash != NULL) {
    if (*path != '/') lua_pushliteral(L, "/");
    else lua_pushliteral(L, "");
    lua_pushlstring(L, path, (size_t)(slash - path));
    lua_concat(L, 3);
  }
  resolve_dots(L);
  push_roots(L);
  lua_pushfstring(L, "@%s", path);
  lua_pushvalue(L, -3);
  if (lua_objlen(L, -1) == 0) {
    lua_pop(L, 1);
    lua_pushliteral(L, "/");
  }
  lua_rawset(L, -3);
  return 0;
}

/* Lua shortens long names to "...tail": gives the whole name back. */
static void whole_path(const char *path, lc_error *error) {
  if (strncmp(error->message, "...", 3) != 0) return;
  const char *tail = error->message + 3;
  const char *colon = strchr(tail, ':');
  size_t len = colon != NULL ? (size_t)(colon - tail) : 0, path_len = strlen(path);
  if (len == 0 || len > path_len || memcmp(path + path_len - len, tail, len) != 0) return;
  lc_error whole = *error;
  lc_error_set(&whole, error->code, "%s%s", path, colon);
  *error = whole;
}

/* The line of the first byte that is not UTF-8: 0 when there is none. Lua itself would take such bytes for letters. */
static int wrong_line(const lc_buf *text) {
  int number = 1;
  if (lc_utf8_valid(text->data, text->len)) return 0;
  for (const char *line = text->data, *end = text->data + text->len; line < end; number++) {
    const char *next = memchr(line, '\n', (size_t)(end - line));
    if (!lc_utf8_valid(line, (size_t)((next != NULL ? next : end) - line))) return number;
    line = next != NULL ? next + 1 : end;
  }
  return number;
}

static int load_text(lc_state *state, const char *path, lc_buf *text, lc_error *error) {
  lua_State *L = state->L;
  if (text->len > 0 && text->data[0] == LUA_SIGNATURE[0]) {
    return lc_error_set(error, LC_EINVAL, "%s: this is compiled Lua; a pipeline file is Lua text", path);
  }
  int wrong = wrong_line(text);
  if (wrong > 0) {
    return lc_error_set(error, LC_EINVAL, "%s:%d: this is not UTF-8 text; save the file as UTF-8, and write other "
                        "bytes in strings as escapes, such as \"\\xff\"", path, wrong);
  }
  lua_pushcfunction(L, note_root);
  lua_pushstring(L, path);
  int rc = lc_state_call(state, 1, 0, error);
  if (rc != 0) return rc;
  lua_pushfstring(L, "@%s", path);
  int status = luaL_loadbufferx(L, text->data != NULL ? text->data : "", text->len, lua_tostring(L, -1), "t");
  lua_remove(L, -2);
  if (status == 0) return 0;
  const char *message = lua_tostring(L, -1);
  lc_error_set(error, err_of(status), "%s", message != NULL ? message : "it does not compile");
  lua_pop(L, 1);
  return err_of(status);
}

/* A name that the allow-list hides shows as a nil global: says how to grant it. */
static void hint_at_allow(lc_error *error) {
  static const char *const hidden[] = {"io",      "ffi",     "debug",     "package", "jit",
                                       "getfenv", "setfenv", "newproxy", "dofile",  "loadfile"};
  const char *name = strstr(error->message, "global '");
  if (name == NULL || strstr(error->message, "(a nil value)") == NULL) return;
  name += strlen("global '");
  for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++) {
    size_t len = strlen(hidden[i]);
    if (strncmp(name, hidden[i], len) != 0 || name[len] != '\'') continue;
    lc_error hinted = *error;
    lc_error_set(&hinted, error->code, "%s; pipeline files see no %s unless logcap is started with --allow %s",
                 error->message, hidden[i], hidden[i]);
    *error = hinted;
    return;
  }
}

int lc_state_run_file(lc_state *state, const char *path, lc_error *error) {
  lc_buf text = {0};
  lc_error why = {0};
  int rc = read_file(path, &text, &why);
  if (rc == 0) {
    state->loading = path;
    rc = load_text(state, path, &text, &why);
    if (rc == 0) rc = lc_state_call(state, 0, 0, &why);
    state->loading = NULL;
    if (rc != 0) whole_path(path, &why);
    if (rc != 0) hint_at_allow(&why);
  }
  lc_buf_free(&text);
  if (rc != 0 && error != NULL) *error = why;
  return rc;
}

void lc_state_each_file(lc_state *state, void (*each)(void *arg, const char *path), void *arg) {
  lua_State *L = state->L;
  push_roots(L);
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    const char *chunk = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
    if (chunk[0] == '@') each(arg, chunk + 1);
  }
  lua_pop(L, 1);
}
