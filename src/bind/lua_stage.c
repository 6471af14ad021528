#include "bind/lua_stage_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "bind/module.h"

#define KIND "lua"
#define REASON_MAX 2048 /* bytes of an error that are kept */
#define TURN_NS (20 * LC_MILLISECOND)
#define LOG_EVERY_NS (10 * LC_SECOND)
#define NO_MEMORY "not enough memory" /* LuaJIT's words when the allocator refuses a large request: they lack a place */

static void destroy_stage(lc_resource *res) {
  lua_stage *lua = (lua_stage *)res;
  lc_lua_stage_unlink(lua);
  if (lua->loop != LUA_NOREF) lc_refs_drop(&lua->state->refs, lua->loop);
  lc_state_release(lua->state);
  free(lua);
}

static void close_stage(lc_resource *res) { lc_resource_closed(res); }

static int stage_stats(lc_resource *res, lc_buf *ret) {
  const lua_stage *lua = (const lua_stage *)res;
  return lc_buf_addf(ret,
                     "{\"dropped\":%llu,\"refused\":%llu,\"trips\":%llu,\"late\":%llu,\"starved\":%llu,"
                     "\"heap_growth\":%lld,\"quarantined\":%s}",
                     (unsigned long long)lua->dropped, (unsigned long long)atomic_load(&res->errors),
                     (unsigned long long)lua->trips.n, (unsigned long long)lua->late,
                     (unsigned long long)lua->starved, (long long)lua->growth, lua->quarantined ? "true" : "false");
}

/* Each refusal is counted; the log hears of the first, and then of one in ten seconds. */
static void log_refusal(lua_stage *lua, const char *reason) {
  uint64_t held = 0;
  if (!lc_log_limit_pass(&lua->limit, lc_clock_mono(), LOG_EVERY_NS, &held)) return;
  lc_log(LC_LOG_WARN, KIND, "a function failed on a record", LC_S("stage", lua->stage.resource.name),
         LC_S("error", reason), LC_I("not_logged", held));
}

void lc_lua_stage_give_up(lc_view *view, const char *reason) {
  if (view->rec == NULL) return;
  log_refusal((lua_stage *)view->stage, reason);
  lc_view_undo(view);
  view->refused++;
  view->stopped = lc_stage_refuse(view->stage, view->batch, view->rec, reason, &view->error);
  if (view->stopped == 0 && !lc_record_live(view->rec)) view->gone++;
  view->rec = NULL;
}

/* Called from Lua, and may itself not use the Lua state: what has to do with that is done when the loop has ended. */
void lc_lua_stage_refuse(lc_view *view, const char *reason, size_t len) {
  char text[REASON_MAX];
  lua_stage *lua = (lua_stage *)view->stage;
  if (view->rec == NULL) return;
  lc_budget_call *call = lua->state->budget.call;
  if (call->starved) {
    view->held = true; /* with the record: perhaps another stage is to blame */
    return;
  }
  if (len >= sizeof text) len = sizeof text - 1;
  memcpy(text, reason, len);
  text[len] = '\0';
  if (strcmp(text, NO_MEMORY) == 0) {
    snprintf(text, sizeof text, "not enough memory: a single value would go far beyond the limit of %.15g MiB",
             (double)lua->state->heap.limit / (1 << 20));
  }
  bool late = call->late && call->serial == view->serial && call->why[0] != '\0';
  if (late) {
    lua->late++;
    lc_lua_stage_trip(lua, call->why);
    view->held = lua->due;
  }
  lc_lua_stage_give_up(view, late ? call->why : text);
  lc_budget_forgive(lua->state, call);
}

static void take_counts(lua_stage *lua, const lc_view *view) {
  lc_resource *res = &lua->stage.resource;
  lua->dropped += view->dropped;
  atomic_fetch_add(&res->records_in, view->seen);
  atomic_fetch_add(&res->records_out, view->seen - view->dropped - view->gone);
}

/* One protected call of the loop. An error outside of the function's own protected call, such as a lack of memory, is
 * charged to the record in hand. */
static int run_loop(lua_stage *lua, lc_view *view, lc_budget_call *call, lc_error *error) {
  lc_error why = {0};
  lua_State *L = lua->state->L;
  lua_rawgeti(L, LUA_REGISTRYINDEX, lua->loop);
  call->base = lua_topointer(L, -1);
  if (lc_state_call(lua->state, 0, 0, &why) == 0) return 0;
  if (call->starved) view->held = true;
  else if (view->rec != NULL) lc_lua_stage_refuse(view, why.message, strlen(why.message));
  else return lc_error_set(error, why.code, "the loop over the records failed: %s", why.message);
  return 0;
}

/* Until the piece is done, or to breathe, or when the pipeline has to stop. */
static int run(lua_stage *lua, lc_view *view, lc_error *error) {
  lc_budget_call call;
  int rc = 0;
  lua->again = 0;
  lua->used = lc_heap_used(&lua->state->heap);
  lc_budget_begin(lua->state, &call, LC_BUDGET_RECORDS,
                  lua->time_ns == LC_TIME_OF_STATE ? lua->state->budget.time_ns : lua->time_ns);
  while (rc == 0 && view->at < view->to && !view->breathe && view->stopped == 0 && !lua->quarantined) {
    rc = run_loop(lua, view, &call, error);
    if (view->held) lc_lua_stage_settle(lua, view, &call);
  }
  lc_budget_end(lua->state, &call);
  lc_lua_stage_account(lua);
  atomic_store_explicit(&lua->state->resource.bytes, (int64_t)lua->used, memory_order_relaxed);
  if (rc == 0 && lua->quarantined) lc_lua_stage_pass_by(lua, view);
  return rc;
}

static int process(lc_stage *stage, lc_batch *batch, uint32_t *at, uint32_t to, int64_t now_ns, lc_error *error) {
  lua_stage *lua = (lua_stage *)stage;
  lc_view *view = &lua->state->view;
  (void)now_ns;
  lc_view_begin(view, stage, batch, *at, to, TURN_NS);
  int rc = run(lua, view, error);
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

/* Pushes the loop over this function's records. */
static void push_loop(lua_State *L, int function) {
  lc_module_push(L, "logcap.loop");
  lua_pushvalue(L, function);
  lua_call(L, 1, 1);
}

static int init_resource(lua_State *L, int index, lua_stage *lua, const lc_lua_stage_options *options,
                         lc_error *error) {
  lua_Debug ar;
  char place[300], identity[320];
  lua_pushvalue(L, index);
  lua_getinfo(L, ">S", &ar);
  const char *file = *ar.source == '@' ? ar.source + 1 : ar.short_src;
  snprintf(place, sizeof place, "function at %.240s:%d", file, ar.linedefined);
  const char *name = options->name != NULL ? options->name : place;
  snprintf(identity, sizeof identity, KIND ":%s", name);
  return lc_resource_init(&lua->stage.resource, lua->state->registry, &resource_ops, KIND, name, identity,
                          options->made_at, error);
}

int lc_lua_stage_create(lua_State *L, int index, const lc_lua_stage_options *options, lc_stage **ret, lc_error *error) {
  lc_state *state = lc_state_of(L);
  int loop = LUA_NOREF;
  lc_refs_drain(&state->refs, L); /* who makes them and drops them in one long call shall not pile them up */
  push_loop(L, index);
  int rc = lc_refs_take(&state->refs, L, &loop, error);
  if (rc != 0) return rc;
  lua_stage *lua = calloc(1, sizeof *lua);
  if (lua == NULL) {
    lc_refs_drop(&state->refs, loop);
    return lc_error_set(error, LC_ENOMEM, "out of memory for a stage");
  }
  *lua = (lua_stage){.state = state, .loop = loop, .time_ns = options->time_ns, .quarantine = options->quarantine};
  rc = init_resource(L, index, lua, options, error);
  if (rc != 0) {
    free(lua);
    lc_refs_drop(&state->refs, loop);
    return rc;
  }
  lua->stage.ops = &stage_ops;
  lua->stage.on_error = options->on_error;
  if (options->time_ns > 0) state->budget.bounded = true;
  lc_lua_stage_link(lua);
  lc_state_retain(state);
  *ret = &lua->stage;
  return 0;
}
