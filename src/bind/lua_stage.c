#include "bind/lua_stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "bind/module.h"

#define KIND "lua"
#define REASON_MAX 2048 /* bytes of an error that are kept */
#define TURN_NS (20 * LC_MILLISECOND)
#define LOG_EVERY_NS (10 * LC_SECOND)

typedef struct lua_stage {
  lc_stage stage;      /* first: it is a stage */
  lc_state *state;     /* counted reference */
  int loop;            /* in the Lua registry: the loop over a batch, which holds the function */
  lc_log_limit limit;  /* of logged errors */
  uint64_t dropped;    /* by returning false */
} lua_stage;

static void destroy_stage(lc_resource *res) {
  lua_stage *lua = (lua_stage *)res;
  luaL_unref(lua->state->L, LUA_REGISTRYINDEX, lua->loop);
  lc_state_release(lua->state);
  free(lua);
}

static void close_stage(lc_resource *res) { lc_resource_closed(res); }

static int stage_stats(lc_resource *res, lc_buf *ret) {
  const lua_stage *lua = (const lua_stage *)res;
  return lc_buf_addf(ret, "{\"dropped\":%llu,\"refused\":%llu}", (unsigned long long)lua->dropped,
                     (unsigned long long)atomic_load(&res->errors));
}

/* Each refusal is counted; the log hears of the first, and then of one in ten seconds. */
static void log_refusal(lua_stage *lua, const char *reason) {
  uint64_t held = 0;
  if (!lc_log_limit_pass(&lua->limit, lc_clock_mono(), LOG_EVERY_NS, &held)) return;
  lc_log(LC_LOG_WARN, KIND, "a function failed on a record", LC_S("stage", lua->stage.resource.name),
         LC_S("error", reason), LC_I("not_logged", held));
}

void lc_lua_stage_refuse(lc_view *view, const char *reason, size_t len) {
  char text[REASON_MAX];
  if (view->rec == NULL) return;
  if (len >= sizeof text) len = sizeof text - 1;
  memcpy(text, reason, len);
  text[len] = '\0';
  lua_stage *lua = (lua_stage *)view->stage;
  log_refusal(lua, text);
  lc_view_undo(view);
  view->refused++;
  view->stopped = lc_stage_refuse(view->stage, view->batch, view->rec, text, &view->error);
  if (view->stopped == 0 && !lc_record_live(view->rec)) view->gone++;
  view->rec = NULL;
}

static void take_counts(lua_stage *lua, const lc_view *view) {
  lc_resource *res = &lua->stage.resource;
  lua->dropped += view->dropped;
  atomic_fetch_add(&res->records_in, view->seen);
  atomic_fetch_add(&res->records_out, view->seen - view->dropped - view->gone);
}

/* An error outside of the function's own protected call, such as a lack of memory: charged to the record in hand. */
static int loop_failed(lc_view *view, const lc_error *why, lc_error *error) {
  if (view->rec == NULL) return lc_error_set(error, why->code, "the loop over the records failed: %s", why->message);
  lc_lua_stage_refuse(view, why->message, strlen(why->message));
  return 0;
}

static int process(lc_stage *stage, lc_batch *batch, uint32_t *at, uint32_t to, int64_t now_ns, lc_error *error) {
  lua_stage *lua = (lua_stage *)stage;
  lc_view *view = &lua->state->view;
  int rc = 0;
  (void)now_ns;
  lc_view_begin(view, stage, batch, *at, to, TURN_NS);
  while (rc == 0 && view->at < to && !view->breathe && view->stopped == 0) {
    lc_error why = {0};
    lua_rawgeti(lua->state->L, LUA_REGISTRYINDEX, lua->loop);
    if (lc_state_call(lua->state, 0, 0, &why) != 0) rc = loop_failed(view, &why, error);
  }
  *at = view->at;
  if (rc == 0 && view->stopped != 0) {
    rc = view->stopped;
    if (error != NULL) *error = view->error;
  } else if (rc == 0 && view->at < to) {
    rc = LC_EAGAIN;
  }
  take_counts(lua, view);
  lc_view_end(view);
  return rc;
}

static const lc_resource_ops resource_ops = {.close = close_stage, .destroy = destroy_stage, .stats = stage_stats};
static const lc_stage_ops stage_ops = {.process = process};

/* Pushes the loop over this function's records; leaves it in the Lua registry. */
static int make_loop(lua_State *L, int function) {
  lc_module_push(L, "logcap.loop");
  lua_pushvalue(L, function);
  lua_call(L, 1, 1);
  return luaL_ref(L, LUA_REGISTRYINDEX);
}

int lc_lua_stage_create(lua_State *L, int index, const char *name, const char *made_at, lc_on_error on_error,
                        lc_stage **ret, lc_error *error) {
  lua_Debug ar;
  char place[300];
  lua_pushvalue(L, index);
  lua_getinfo(L, ">S", &ar);
  const char *file = *ar.source == '@' ? ar.source + 1 : ar.short_src;
  snprintf(place, sizeof place, "function at %.240s:%d", file, ar.linedefined);
  lc_state *state = lc_state_of(L);
  int loop = make_loop(L, index);
  lua_stage *lua = calloc(1, sizeof *lua);
  if (lua == NULL) {
    luaL_unref(L, LUA_REGISTRYINDEX, loop);
    return lc_error_set(error, LC_ENOMEM, "out of memory for a stage");
  }
  char identity[320];
  snprintf(identity, sizeof identity, KIND ":%s", name != NULL ? name : place);
  int rc = lc_resource_init(&lua->stage.resource, state->registry, &resource_ops, KIND, name != NULL ? name : place,
                            identity, made_at, error);
  if (rc != 0) {
    free(lua);
    luaL_unref(L, LUA_REGISTRYINDEX, loop);
    return rc;
  }
  lua->stage.ops = &stage_ops;
  lua->stage.on_error = on_error;
  lua->state = state;
  lua->loop = loop;
  lc_state_retain(state);
  *ret = &lua->stage;
  return 0;
}
