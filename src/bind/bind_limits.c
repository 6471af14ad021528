/* logcap.limits { memory = "128MiB", time = "1s", load = "10s" }: what the Lua functions of all files may take. */
#include <string.h>

#include "bind/kinds.h"

#define KIND "limits"
#define UNSET (-1)

static const lc_option known[] = {
    {.name = "memory", .type = LC_OPT_SIZE, .at = offsetof(struct lc_limits, memory), .size = sizeof(int64_t)},
    {.name = "time", .type = LC_OPT_DURATION, .at = offsetof(struct lc_limits, time_ns)},
    {.name = "load", .type = LC_OPT_DURATION, .at = offsetof(struct lc_limits, load_ns)},
    LC_OPTION_END,
};

/* All files of a run share one state: they have to agree. */
static void take(lua_State *L, lc_state *state, const char *option, int64_t *ours, int64_t value) {
  if (value == UNSET) return;
  if (*ours != UNSET && *ours != value) {
    lc_raise(L, KIND ": option \"%s\" has another value at %s; the files of one run share it", option,
             state->limits.made_at);
  }
  *ours = value;
}

/* What loads is bound by it from here on. */
static void apply(lc_state *state, const lc_limits *limits) {
  lc_budget_call *call = state->budget.call;
  if (limits->memory >= 0) state->heap.limit = limits->memory > 0 ? (size_t)limits->memory : LC_HEAP_UNLIMITED;
  if (limits->time_ns >= 0) state->budget.time_ns = limits->time_ns;
  if (limits->load_ns < 0) return;
  state->budget.load_ns = limits->load_ns;
  if (call != NULL && call->kind == LC_BUDGET_LOAD) call->limit_ns = limits->load_ns;
}

int lc_bind_limits(lua_State *L) {
  lc_limits wanted = {.memory = UNSET, .time_ns = UNSET, .load_ns = UNSET};
  lc_state *state = lc_state_of(L);
  lc_options_read(L, 1, KIND, known, &wanted);
  if (state->generation == NULL) return lc_raise(L, KIND ": limits are set only while their file loads");
  lc_bind_check_time(L, KIND, "time", wanted.time_ns);
  lc_bind_check_time(L, KIND, "load", wanted.load_ns);
  if (wanted.memory > 0 && wanted.memory < LC_HEAP_LEAST) {
    return lc_raise(L, KIND ": option \"memory\" must be at least \"4MiB\", or 0 for no limit");
  }
  take(L, state, "memory", &state->limits.memory, wanted.memory);
  take(L, state, "time", &state->limits.time_ns, wanted.time_ns);
  take(L, state, "load", &state->limits.load_ns, wanted.load_ns);
  lc_state_where(L, state->limits.made_at);
  apply(state, &wanted);
  return 0;
}
