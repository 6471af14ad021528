/* Stages that go past their budgets: whom to blame, and what becomes of them. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "bind/held.h"
#include "bind/lua_stage_inside.h"

void lc_lua_stage_link(lua_stage *lua) {
  lc_state *state = lua->state;
  (void)pthread_mutex_lock(&state->refs.lock);
  lua->next = state->stages;
  if (lua->next != NULL) lua->next->prev = lua;
  state->stages = lua;
  (void)pthread_mutex_unlock(&state->refs.lock);
}

void lc_lua_stage_unlink(lua_stage *lua) {
  lc_state *state = lua->state;
  (void)pthread_mutex_lock(&state->refs.lock);
  if (lua->prev != NULL) lua->prev->next = lua->next;
  else state->stages = lua->next;
  if (lua->next != NULL) lua->next->prev = lua->prev;
  (void)pthread_mutex_unlock(&state->refs.lock);
}

void lc_lua_stage_trip(lua_stage *lua, const char *why) {
  snprintf(lua->because, sizeof lua->because, "%s", why);
  if (lc_trips_add(&lua->trips, lc_clock_mono())) lua->due = true;
}

/* Its function goes, with all that only it refers to. */
static void quarantine(lua_stage *lua) {
  static const char *const fate[] = {"go to the dead-letter queue", "pass as they are", "are dropped",
                                     "stop the pipeline"};
  lua->due = false;
  lua->quarantined = true;
  lua->stage.on_error = lua->quarantine;
  lc_refs_drop(&lua->state->refs, lua->loop);
  lua->loop = LUA_NOREF;
  lc_log(LC_LOG_ERROR, "lua", "a stage is quarantined: its function is not called any more; mend the file and reload",
         LC_S("stage", lua->stage.resource.name), LC_S("because", lua->because),
         LC_S("records", fate[lua->quarantine]));
}

static int collect(lua_State *L) {
  lua_pushboolean(L, lc_heap_collect(&lc_state_of(L)->heap, L));
  return 1;
}

/* Whether a collection leaves too little; protected, because it runs finalizers. */
static bool still_starved(lc_state *state) {
  lc_error why;
  lua_pushcfunction(state->L, collect);
  if (lc_state_call(state, 0, 1, &why) != 0) {
    lc_log(LC_LOG_WARN, "lua", "a finalizer failed", LC_S("error", why.message));
    return lc_heap_used(&state->heap) > state->heap.limit;
  }
  bool starved = lua_toboolean(state->L, -1);
  lua_pop(state->L, 1);
  return starved;
}

/* Sets `held` of each stage that still has a function. Protected, because it may lack memory. */
static int weigh(lua_State *L) {
  const lc_state *state = lua_touserdata(L, 1);
  for (lua_stage *other = state->stages; other != NULL; other = other->next) {
    other->held = 0;
    if (other->loop == LUA_NOREF) continue;
    lua_rawgeti(L, LUA_REGISTRYINDEX, other->loop);
    other->held = lc_held_by(L);
  }
  return 0;
}

/* The stage whose function holds most; when none holds much, since it is in global variables, whose calls grew the heap
 * most. The state runs: stages come and go on this thread only. */
static lua_stage *find_guilty(lua_stage *lua) {
  lc_state *state = lua->state;
  lua_stage *heaviest = lua, *most_grown = lua;
  lc_error why;
  lua_pushcfunction(state->L, weigh);
  lua_pushlightuserdata(state->L, state);
  if (lc_state_call(state, 1, 0, &why) != 0) lc_log(LC_LOG_WARN, "lua", why.message);
  for (lua_stage *other = state->stages; other != NULL; other = other->next) {
    if (other->quarantined) continue;
    if (other->held > heaviest->held) heaviest = other;
    if (other->growth > most_grown->growth) most_grown = other;
  }
  return heaviest->held > state->heap.limit / 8 ? heaviest : most_grown;
}

/* The record in hand is put back as it came, to be the next one. */
static void try_again(lua_stage *lua, lc_view *view) {
  lc_view_undo(view);
  view->seen--;
  view->at = (uint32_t)(view->rec - view->batch->records);
  view->rec = NULL;
  lua->again = view->at + 1;
}

static void answer_starved(lua_stage *lua, lc_view *view, lc_budget_call *call) {
  char why[LC_BUDGET_WHY_MAX];
  lua_stage *guilty = lua;
  snprintf(why, sizeof why, "%s", call->why);
  lc_budget_forgive(lua->state, call);
  if (still_starved(lua->state)) {
    lc_lua_stage_account(lua);
    guilty = find_guilty(lua);
    lc_budget_forgive(lua->state, call); /* to weigh them takes memory, too */
    snprintf(guilty->because, sizeof guilty->because, "%s", why);
    quarantine(guilty);
    (void)still_starved(lua->state);
  }
  bool spared = guilty != lua && view->rec != NULL &&
                lua->again != (uint32_t)(view->rec - view->batch->records) + 1;
  if (spared) {
    try_again(lua, view);
    return;
  }
  lua->starved++;
  if (!lua->quarantined) lc_lua_stage_trip(lua, why);
  lc_lua_stage_give_up(view, why);
}

void lc_lua_stage_settle(lua_stage *lua, lc_view *view, lc_budget_call *call) {
  view->held = false;
  if (call->starved) answer_starved(lua, view, call);
  if (lua->due && !lua->quarantined) quarantine(lua);
}

void lc_lua_stage_pass_by(lua_stage *lua, lc_view *view) {
  char reason[LC_BUDGET_WHY_MAX + 40];
  snprintf(reason, sizeof reason, "the stage is quarantined: %s", lua->because);
  while (view->at < view->to && view->stopped == 0) {
    lc_record *rec = &view->batch->records[view->at++];
    if (!lc_record_live(rec)) continue;
    view->seen++;
    view->refused++;
    view->stopped = lc_stage_refuse(view->stage, view->batch, rec, reason, &view->error);
    if (view->stopped == 0 && !lc_record_live(rec)) view->gone++;
  }
}
