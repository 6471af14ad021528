/* logcap.resource_monitor { interval = "10s", descriptors = 1000, memory = "1GiB", webhook = "http://..." } and
 * logcap.on_alert(function(alert) ... end) */
#include <string.h>

#include "base/log.h"
#include "bind/collect.h"
#include "bind/kinds.h"
#include "io/resource_monitor.h"

#define KIND "resource_monitor"

#define AT(member) offsetof(lc_resource_monitor_options, member)
#define BYTES(member) sizeof(((lc_resource_monitor_options *)NULL)->member)

static const lc_option growth[] = {
    {.name = "samples", .type = LC_OPT_INTEGER, .at = AT(growth_samples), .size = BYTES(growth_samples),
     .least = LC_TREND_LEAST, .most = LC_TREND_MOST},
    {.name = "descriptors", .type = LC_OPT_INTEGER, .at = AT(growth_descriptors), .size = BYTES(growth_descriptors),
     .least = 1},
    {.name = "memory", .type = LC_OPT_SIZE, .at = AT(growth_memory), .size = BYTES(growth_memory), .least = 1},
    LC_OPTION_END,
};

static const lc_option known[] = {
    {.name = "interval", .type = LC_OPT_DURATION, .at = AT(interval_ns), .least = 100000000,
     .example = "interval = \"10s\""},
    {.name = "descriptors", .type = LC_OPT_INTEGER, .at = AT(descriptors), .size = BYTES(descriptors), .least = 1},
    {.name = "memory", .type = LC_OPT_SIZE, .at = AT(memory), .size = BYTES(memory), .least = 1},
    {.name = "stall", .type = LC_OPT_DURATION, .at = AT(stall_ns), .least = 1000000, .example = "stall = \"60s\""},
    {.name = "growth", .type = LC_OPT_ANY},
    {.name = "webhook", .type = LC_OPT_STRING, .at = AT(webhook), .example = "webhook = \"https://example.org/hook\""},
    LC_OPTION_END,
};

/* true, false, or a table of what is different from the defaults. */
static void read_growth(lua_State *L, lc_resource_monitor_options *options) {
  lua_getfield(L, 1, "growth");
  if (lua_istable(L, -1)) {
    lc_options_read(L, lua_gettop(L), KIND ": growth", growth, options);
  } else if (!lua_isnil(L, -1) && !lua_isboolean(L, -1)) {
    lc_raise(L, KIND ": option \"growth\" must be true, false or a table, got a %s; write growth = { samples = 30, "
             "descriptors = 50, memory = \"32MiB\" }", luaL_typename(L, -1));
  }
  options->growth = lua_isnil(L, -1) || lua_toboolean(L, -1);
}

int lc_bind_resource_monitor(lua_State *L) {
  lc_resource_monitor_options options = {.growth = true};
  char made_at[LC_WHERE_MAX];
  lc_service *made = NULL;
  lc_error error = {0};
  lc_state *state = lc_state_of(L);
  lc_options_read(L, 1, KIND, known, &options);
  if (state->generation == NULL) return lc_raise(L, KIND ": it is made only while a pipeline file loads");
  int kept = lua_gettop(L); /* what the options are borrowed from */
  read_growth(L, &options);
  lua_settop(L, kept);
  lc_handle *handle = lc_handle_new(L, LC_ROLE_SERVICE);
  lc_state_where(L, made_at);
  int rc = lc_resource_monitor_create(&options, state->registry, made_at, &made, &error);
  lc_bind_finish(L, handle, KIND, rc, rc == 0 ? &made->resource : NULL, &error);
  if (lc_generation_add_service(state->generation, made, &error) != 0) return lc_raise(L, KIND ": %s", error.message);
  return 1;
}

int lc_bind_on_alert(lua_State *L) {
  lc_generation *generation = lc_state_of(L)->generation;
  if (generation == NULL) return lc_raise(L, "on_alert: functions are given only while a pipeline file loads");
  if (!lua_isfunction(L, 1)) {
    return lc_raise(L, "on_alert takes a function, got a %s; write logcap.on_alert(function(alert) ... end)",
                    luaL_typename(L, 1));
  }
  if (generation->n_on_alert == LC_ON_ALERT_MAX) {
    return lc_raise(L, "on_alert: more than %d functions", LC_ON_ALERT_MAX);
  }
  lua_settop(L, 1);
  generation->on_alert[generation->n_on_alert] = luaL_ref(L, LUA_REGISTRYINDEX);
  generation->n_on_alert++;
  return 0;
}

/* call(function, alert): makes the table inside of the protected call, for it may run out of memory. */
static int call_with_alert(lua_State *L) {
  const lc_alert *alert = lua_touserdata(L, 2);
  lua_settop(L, 1);
  lua_createtable(L, 0, 6);
  lua_pushstring(L, lc_cause_name(alert->cause));
  lua_setfield(L, -2, "name");
  lua_pushstring(L, alert->raised ? "raised" : "cleared");
  lua_setfield(L, -2, "state");
  lua_pushstring(L, alert->message);
  lua_setfield(L, -2, "message");
  lua_pushnumber(L, (double)alert->time_ns / 1e9);
  lua_setfield(L, -2, "time");
  if (alert->limit > 0) {
    lua_pushnumber(L, alert->value);
    lua_setfield(L, -2, "value");
    lua_pushnumber(L, alert->limit);
    lua_setfield(L, -2, "limit");
  }
  lua_call(L, 1, 0);
  return 0;
}

void lc_generation_alert(lc_generation *generation, const lc_alert *alert) {
  lua_State *L = generation->state->L;
  for (size_t i = 0; i < generation->n_on_alert; i++) {
    lc_error error = {0};
    lua_pushcfunction(L, call_with_alert);
    lua_rawgeti(L, LUA_REGISTRYINDEX, generation->on_alert[i]);
    lua_pushlightuserdata(L, (void *)(uintptr_t)alert);
    if (lc_state_call_within_budget(generation->state, 2, 0, &error) == 0) continue;
    lc_log(LC_LOG_ERROR, "alert", "a function given to on_alert failed", LC_S("error", error.message));
  }
}
