#include "bind/repl.h"

#include <stdlib.h>
#include <string.h>

#include "base/registry.h"
#include "bind/collect.h"
#include "bind/json_value.h"
#include "bind/module.h"
#include "bind/repl_inside.h"
#include "pipeline/inspect.h"

/* --- what the Lua side may ask --- */

lc_repl *lc_repl_of(lua_State *L) {
  lc_repl **box = lua_touserdata(L, lua_upvalueindex(1));
  /* A pipeline's function may have got hold of it: then a batch is in hand, and the session may be gone. */
  if (*box == NULL || !(*box)->running) luaL_error(L, "this is for the prompt, while a chunk of its runs");
  return *box;
}

static int push_json(lua_State *L, int rc, lc_buf *text, const char *what) {
  if (rc == 0 && !text->failed) {
    lc_json_push_buf(L, text);
    return 1;
  }
  lc_buf_free(text);
  return luaL_error(L, "%s: not enough memory", what);
}

static int status(lua_State *L) {
  lc_buf text = {0};
  int rc = lc_engine_status(lc_repl_of(L)->engine, &text);
  return push_json(L, rc, &text, "pipelines");
}

static int audit(lua_State *L) {
  lc_buf text = {0};
  bool balanced = false;
  int rc = lc_engine_audit(lc_repl_of(L)->engine, &text, &balanced);
  return push_json(L, rc, &text, "audit");
}

static void add_part(void *arg, const char *pipeline, uint32_t index, lc_resource *part) {
  lc_buf *buf = arg;
  lc_buf_adds(buf, buf->len > 1 ? ",{\"pipeline\":" : "{\"pipeline\":");
  lc_buf_add_json_string(buf, pipeline, strlen(pipeline));
  lc_buf_addf(buf, ",\"index\":%u,\"id\":%llu,\"kind\":", index, (unsigned long long)part->id);
  lc_buf_add_json_string(buf, part->kind, strlen(part->kind));
  lc_buf_adds(buf, ",\"name\":");
  lc_buf_add_json_string(buf, part->name, strlen(part->name));
  lc_buf_addc(buf, '}');
}

static int parts(lua_State *L) {
  lc_buf text = {0};
  lc_buf_addc(&text, '[');
  lc_engine_each_part(lc_repl_of(L)->engine, add_part, &text);
  lc_buf_addc(&text, ']');
  return push_json(L, 0, &text, "parts");
}

static void note_id(lua_State *L, const lc_resource *res) {
  lua_pushnumber(L, (double)res->id);
  lua_pushboolean(L, 1);
  lua_rawset(L, -3);
}

static void note_part(void *arg, const char *pipeline, uint32_t index, lc_resource *part) {
  (void)pipeline;
  (void)index;
  note_id(arg, part);
}

/* held(): the ids of what a pipeline, a handle or the generation, with its services, refers to. */
static int held(lua_State *L) {
  const lc_repl *repl = lc_repl_of(L);
  lua_newtable(L);
  note_id(L, &repl->state->resource);
  lc_engine_each_part(repl->engine, note_part, L);
  for (const lc_handle *handle = repl->state->handles; handle != NULL; handle = handle->next) {
    note_id(L, handle->resource);
  }
  for (size_t i = 0; i < repl->generation->n_parts; i++) note_id(L, repl->generation->parts[i].resource);
  for (size_t i = 0; i < repl->generation->n_services; i++) note_id(L, &repl->generation->services[i]->resource);
  for (size_t i = 0; i < repl->generation->n_pipelines; i++) {
    note_id(L, (const lc_resource *)repl->generation->pipelines[i]); /* a pipeline begins with its resource */
  }
  return 1;
}

static int refuse(lua_State *L, const char *why) {
  lua_pushnil(L);
  lua_pushstring(L, why);
  return 2;
}

/* close(id): as the handle's :close() does. */
static int close_resource(lua_State *L) {
  lc_state *state = lc_repl_of(L)->state;
  double id = luaL_checknumber(L, 1);
  bool found = false;
  for (lc_handle *handle = state->handles, *next; handle != NULL; handle = next) {
    next = handle->next;
    if ((double)handle->resource->id != id) continue;
    lc_handle_close(handle);
    found = true;
  }
  if (!found) return refuse(L, "no variable of the pipeline files refers to it, so it cannot be closed from here");
  lua_pushboolean(L, 1);
  return 1;
}

static int pause_pipeline(lua_State *L) {
  lc_error error = {0};
  lc_engine *engine = lc_repl_of(L)->engine;
  if (lc_engine_pause(engine, luaL_checkstring(L, 1), lua_toboolean(L, 2), &error) != 0) {
    return refuse(L, error.message);
  }
  lua_pushboolean(L, 1);
  return 1;
}

static const luaL_Reg host[] = {
    {"status", status},          {"audit", audit},           {"parts", parts},
    {"held", held},              {"close", close_resource},  {"pause", pause_pipeline},
    {"samples", lc_repl_samples}, {"try_begin", lc_repl_try_begin}, {"try_next", lc_repl_try_next},
    {"try_drop", lc_repl_try_drop}, {"try_end", lc_repl_try_end}, {NULL, NULL},
};

/* --- the session --- */

static void push_function(lua_State *L, const char *name) {
  lc_module_push(L, "logcap.repl");
  lua_getfield(L, -1, name);
  lua_remove(L, -2);
}

/* Makes the box, and open(host, globals) in the Lua side. */
static int open_session(lua_State *L) {
  lc_repl *repl = lua_touserdata(L, 1);
  push_function(L, "open");
  lua_newtable(L);
  repl->box = lua_newuserdata(L, sizeof(lc_repl *));
  *repl->box = repl;
  lua_pushvalue(L, -1);
  repl->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
  luaL_setfuncs(L, host, 1);
  lua_pushvalue(L, LUA_GLOBALSINDEX);
  lua_call(L, 2, 1);
  repl->session = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

int lc_repl_create(const lc_generation *generation, lc_engine *engine, lc_repl **ret, lc_error *error) {
  lc_repl *repl = calloc(1, sizeof *repl);
  if (repl == NULL) return lc_error_set(error, LC_ENOMEM, "out of memory for a session");
  repl->generation = generation;
  repl->state = generation->state;
  repl->engine = engine;
  repl->session = repl->anchor = LUA_NOREF;
  lc_state_retain(repl->state);
  lua_State *L = repl->state->L;
  lua_pushcfunction(L, open_session);
  lua_pushlightuserdata(L, repl);
  int rc = lc_state_call(repl->state, 1, 0, error);
  if (rc == 0) *ret = repl;
  else lc_repl_destroy(repl);
  return rc;
}

void lc_repl_destroy(lc_repl *repl) {
  if (repl == NULL) return;
  lua_State *L = repl->state->L;
  if (repl->anchor != LUA_NOREF) *repl->box = NULL;
  luaL_unref(L, LUA_REGISTRYINDEX, repl->session);
  luaL_unref(L, LUA_REGISTRYINDEX, repl->anchor);
  lc_state_release(repl->state);
  free(repl);
}

/* --- running chunks --- */

typedef struct call {
  lc_repl *repl;
  const char *text; /* the code; or why a reload failed */
  size_t len;
  bool resumes;
  lc_repl_outcome *ret;
} call;

static void take_text(lua_State *L, int index, lc_buf *ret) {
  size_t len = 0;
  const char *text = lua_tolstring(L, index, &len);
  if (text != NULL) lc_buf_add(ret, text, len);
}

static int run_chunk(lua_State *L) {
  static const char *const kinds[] = {"done", "error", "incomplete", "reload", NULL};
  const call *self = lua_touserdata(L, 1);
  push_function(L, self->resumes ? "resume" : "eval");
  lua_rawgeti(L, LUA_REGISTRYINDEX, self->repl->session);
  lua_pushlstring(L, self->text, self->len);
  lua_pushboolean(L, self->repl->json);
  lua_call(L, 3, 3);
  self->ret->kind = (lc_repl_kind)luaL_checkoption(L, -3, NULL, kinds);
  take_text(L, -2, &self->ret->text);
  take_text(L, -1, &self->ret->printed);
  return 0;
}

static void fail(lc_repl_outcome *ret, const char *message) {
  lc_buf_free(&ret->text);
  ret->kind = LC_REPL_ERROR;
  lc_buf_adds(&ret->text, message);
}

static void bound(lc_repl_outcome *ret, bool json) {
  if (ret->text.len <= LC_REPL_TEXT_MAX) return;
  if (json) {
    fail(ret, "the result is more than 1 MiB of JSON");
    return;
  }
  ret->text.len = LC_REPL_TEXT_MAX;
  lc_buf_adds(&ret->text, "\n... (the answer is cut at 1 MiB)");
}

static void run(call *self) {
  lc_repl *repl = self->repl;
  lc_state *state = repl->state;
  lc_error error = {0};
  repl->running = true;
  lua_pushcfunction(state->L, run_chunk);
  lua_pushlightuserdata(state->L, self);
  int rc = lc_state_call_within_budget(state, 1, 0, &error);
  repl->running = false;
  lc_repl_try_clean(repl);
  if (rc != 0) fail(self->ret, error.message);
  else if (self->ret->text.failed || self->ret->printed.failed) fail(self->ret, "not enough memory for the answer");
  else bound(self->ret, repl->json);
}

void lc_repl_eval(lc_repl *repl, const char *code, size_t len, bool json, lc_repl_outcome *ret) {
  repl->json = json;
  run(&(call){.repl = repl, .text = code, .len = len, .ret = ret});
}

void lc_repl_resume(lc_repl *repl, const char *message, lc_repl_outcome *ret) {
  run(&(call){.repl = repl, .text = message, .len = strlen(message), .resumes = true, .ret = ret});
}

void lc_repl_outcome_deinit(lc_repl_outcome *outcome) {
  lc_buf_free(&outcome->text);
  lc_buf_free(&outcome->printed);
}

/* --- completion --- */

typedef struct completion {
  lc_repl *repl;
  const char *line;
  size_t len;
  lc_buf *ret;
} completion;

static int complete(lua_State *L) {
  const completion *self = lua_touserdata(L, 1);
  push_function(L, "complete");
  lua_rawgeti(L, LUA_REGISTRYINDEX, self->repl->session);
  lua_pushlstring(L, self->line, self->len);
  lua_call(L, 2, 2);
  lc_buf_addf(self->ret, "{\"from\":%d,\"words\":[", (int)lua_tointeger(L, -2));
  size_t n = lua_objlen(L, -1);
  for (size_t i = 1; i <= n; i++) {
    size_t len = 0;
    lua_rawgeti(L, -1, (int)i);
    const char *word = lua_tolstring(L, -1, &len);
    if (i > 1) lc_buf_addc(self->ret, ',');
    lc_buf_add_json_string(self->ret, word, len);
    lua_pop(L, 1);
  }
  lc_buf_adds(self->ret, "]}");
  return 0;
}

int lc_repl_complete(lc_repl *repl, const char *line, size_t len, lc_buf *ret, lc_error *error) {
  completion self = {repl, line, len, ret};
  lua_State *L = repl->state->L;
  repl->running = true;
  lua_pushcfunction(L, complete);
  lua_pushlightuserdata(L, &self);
  int rc = lc_state_call_within_budget(repl->state, 1, 0, error);
  repl->running = false;
  if (rc == 0 && ret->failed) rc = lc_error_set(error, LC_ENOMEM, "not enough memory for the words");
  return rc;
}
