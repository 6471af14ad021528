#include "bind/budget.h"

#include <errno.h>
#include <luajit.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "bind/state.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid /* as in timer_create(2); the C library lacks the name */
#endif

#define TICK_NS (10 * LC_MILLISECOND)
#define LOOK_EVERY 1000 /* instructions, in a state that is not the owner */
#define EACH_EVENT (LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT)
#define STUCK_AFTER_NS (2 * LC_SECOND)
#define NEVER_TICKS "li2000000000" /* the profiler's mode: exits at lines, and a period of 23 days of CPU time */

/* A signal handler has no argument, and LuaJIT's profiler is one for the process, too. The handler and what changes
 * this run on the same thread. */
static struct {
  lc_state *volatile owner;
  void (*luajit)(int); /* LuaJIT's own handler: sends machine code back to the interpreter at its next line */
  timer_t timer;
} profiler;

static bool is_owner(const lc_state *state) { return profiler.owner == state; }

static int64_t thread_cpu(void) {
  struct timespec ts = {0};
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts); /* cannot fail for one's own thread */
  return (int64_t)ts.tv_sec * LC_SECOND + ts.tv_nsec;
}

static int64_t now_of(const lc_budget_call *call) {
  return call->kind == LC_BUDGET_LOAD ? lc_clock_mono() : thread_cpu();
}

static uint64_t serial_of(const lc_state *state, const lc_budget_call *call) {
  return call->kind == LC_BUDGET_RECORDS ? *(const volatile uint64_t *)&state->view.serial : 0;
}

/* The innermost call from `call` on that is past its time; NULL: none. */
static lc_budget_call *find_late(const lc_state *state, lc_budget_call *call) {
  while (call != NULL && !(call->late && call->serial == serial_of(state, call))) call = call->outer;
  return call;
}

static void on_hook(lua_State *L, lua_Debug *ar);

/* --- asking for the hook: also in the signal handler and inside the allocator --- */

/* What the handler interrupts may be half-way through LuaJIT's own change of its dispatch table: asked again, the table
 * is made anew, because first it changes to something else. */
static void ask(lc_state *state) {
  lc_budget *budget = &state->budget;
  if (budget->busy) return; /* it will be asked again */
  budget->busy = true;
  if (budget->asked) (void)lua_sethook(state->L, NULL, 0, 0);
  budget->asked = true;
  (void)lua_sethook(state->L, on_hook, EACH_EVENT, 1);
  if (is_owner(state)) profiler.luajit(SIGPROF);
  budget->busy = false;
}

static void calm(lc_state *state) {
  lc_budget *budget = &state->budget;
  budget->busy = true;
  budget->asked = false;
  if (is_owner(state) || budget->off) (void)lua_sethook(state->L, NULL, 0, 0);
  else (void)lua_sethook(state->L, on_hook, LUA_MASKCOUNT, LOOK_EVERY);
  atomic_store_explicit(&budget->overdue_since_ns, 0, memory_order_relaxed);
  budget->busy = false;
}

static void complain(lc_state *state, lc_budget_call *call) {
  call->said = true;
  atomic_fetch_add_explicit(&state->budget.stuck, 1, memory_order_relaxed);
  const lc_stage *stage = state->view.stage;
  lc_log_in_signal(LC_LOG_ERROR, "lua", "a function cannot be interrupted, and all of logcap waits for it", "stage",
                   stage != NULL ? stage->resource.name : "");
}

static bool is_cancelled(const lc_state *state, const lc_budget_call *call) {
  return call->kind == LC_BUDGET_LOAD && state->budget.cancel != NULL && atomic_load(state->budget.cancel);
}

/* Looks at the clock for one of the calls in hand; true when it is past its limit. */
static bool look_at(lc_state *state, lc_budget_call *call) {
  if (is_cancelled(state, call)) return call->late = true;
  if (call->limit_ns == 0) return false;
  uint64_t serial = serial_of(state, call);
  int64_t now = now_of(call);
  if (call->since_ns == 0 || call->serial != serial) {
    call->late = false;
    call->serial = serial;
    call->since_ns = now;
    return false;
  }
  if (now - call->since_ns < call->limit_ns) return false;
  if (!call->late) {
    call->late = true;
    atomic_store_explicit(&state->budget.overdue_since_ns, lc_clock_mono(), memory_order_relaxed);
  } else if (!call->said && now - call->since_ns - call->limit_ns > STUCK_AFTER_NS) {
    complain(state, call);
  }
  return true;
}

static void look(lc_state *state) {
  bool late = false;
  for (lc_budget_call *call = state->budget.call; call != NULL; call = call->outer) late |= look_at(state, call);
  if (late) ask(state);
}

static void on_tick(int number, siginfo_t *info, void *context) {
  int saved = errno;
  lc_state *state = profiler.owner;
  (void)number;
  (void)context;
  if (state != NULL && info->si_code == SI_TIMER) look(state);
  errno = saved;
}

/* The allocator's word that the heap is past its limit. */
static void over(void *arg) {
  lc_state *state = arg;
  lc_budget_call *call = state->budget.call;
  if (call == NULL || call->hungry || call->starved) return;
  call->hungry = true;
  ask(state);
}

/* --- the hook --- */

/* What was raised first names the line; what is raised while that unwinds says the same. */
static _Noreturn void raise_why(lua_State *L, const lc_budget_call *call) {
  lua_pushstring(L, call->why);
  (void)lua_error(L);
  __builtin_unreachable();
}

static _Noreturn void raise_late(lua_State *L, const lc_state *state, lc_budget_call *call) {
  static const char *const what[] = {"this record has been in hand for", "this call has taken",
                                     "it has been loading for"};
  char where[LC_WHERE_MAX];
  if (call->why[0] != '\0') raise_why(L, call);
  lc_state_where_at(L, 0, where);
  if (is_cancelled(state, call)) {
    snprintf(call->why, sizeof call->why, "%s: loading is given up: logcap stops", where);
    raise_why(L, call);
  }
  snprintf(call->why, sizeof call->why, "%s: %s %.2f s, longer than %.15g s, and is stopped here; is this a loop "
           "without an end?", where, what[call->kind], (double)(now_of(call) - call->since_ns) / 1e9,
           (double)call->limit_ns / 1e9);
  raise_why(L, call);
}

static _Noreturn void raise_starved(lua_State *L, const lc_state *state, lc_budget_call *call) {
  char where[LC_WHERE_MAX];
  if (call->why[0] != '\0') raise_why(L, call);
  lc_state_where_at(L, 0, where);
  bool known = strcmp(where, "?") != 0; /* unknown between two calls of a stage's function */
  snprintf(call->why, sizeof call->why, "%s%sthe memory of the Lua functions is at its limit of %.15g MiB, and this is "
           "stopped here; is this a table or a string that only grows?", known ? where : "", known ? ": " : "",
           (double)state->heap.limit / (1 << 20));
  raise_why(L, call);
}

/* Whether the function that runs is the call's base: what it called has ended. */
static bool at_base(lua_State *L, lua_Debug *ar, const lc_budget_call *call) {
  if (call->base == NULL || !lua_getinfo(L, "f", ar)) return false;
  const void *function = lua_topointer(L, -1);
  lua_pop(L, 1);
  return function == call->base;
}

static void on_hook(lua_State *L, lua_Debug *ar) {
  void *arg = NULL;
  if (ar->event != LUA_HOOKCOUNT) return; /* at the next instruction, not in a handler of errors that is being called */
  (void)lua_getallocf(L, &arg);
  lc_state *state = ((const lc_heap *)arg)->arg;
  lc_budget_call *call = state->budget.call;
  if (!is_owner(state)) look(state);
  lc_budget_call *late = find_late(state, call);
  if (call == NULL || (late == NULL && !call->hungry && !call->starved)) {
    if (state->budget.asked) calm(state);
    return;
  }
  if ((late == call || call->starved) && at_base(L, ar, call)) {
    calm(state); /* what was raised has arrived; the handler asks again should the record still not end */
    return;
  }
  if (call->hungry) {
    call->starved = lc_heap_collect(&state->heap, L);
    call->hungry = false;
  }
  if (late != NULL) raise_late(L, state, late);
  if (call->starved) raise_starved(L, state, call);
  calm(state);
}

void lc_budget_check(lua_State *L) {
  void *arg = NULL;
  (void)lua_getallocf(L, &arg);
  lc_state *state = ((const lc_heap *)arg)->arg;
  lc_budget_call *call = state->budget.call;
  if (!is_owner(state)) look(state);
  lc_budget_call *late = find_late(state, call);
  if (late != NULL) raise_late(L, state, late);
  if (call != NULL && call->starved) raise_starved(L, state, call);
}

/* --- calls --- */

void lc_budget_init(lc_state *state) {
  state->budget.time_ns = LC_BUDGET_TIME_DEFAULT;
  state->budget.load_ns = LC_BUDGET_LOAD_DEFAULT;
  lc_heap_take(&state->heap, state->L, LC_BUDGET_MEMORY_DEFAULT, over, state);
  calm(state);
}

void lc_budget_begin(lc_state *state, lc_budget_call *call, lc_budget_kind kind, int64_t limit_ns) {
  call->outer = state->budget.call;
  call->kind = kind;
  call->limit_ns = limit_ns;
  call->base = NULL;
  call->serial = 0;
  call->since_ns = kind == LC_BUDGET_RECORDS ? 0 : now_of(call);
  call->late = call->hungry = call->starved = call->said = false;
  call->why[0] = '\0';
  atomic_signal_fence(memory_order_seq_cst);
  state->budget.call = call;
}

void lc_budget_end(lc_state *state, lc_budget_call *call) {
  lc_budget_call *outer = call->outer;
  state->budget.call = outer;
  atomic_signal_fence(memory_order_seq_cst);
  bool goes_on = outer != NULL && (find_late(state, outer) != NULL || outer->hungry || outer->starved);
  if (state->budget.asked && !goes_on) calm(state);
}

void lc_budget_forgive(lc_state *state, lc_budget_call *call) {
  call->since_ns = 0;
  call->late = call->hungry = call->starved = call->said = false;
  call->why[0] = '\0';
  if (state->budget.asked) calm(state);
}

/* --- the owner --- */

static void on_sample(void *arg, lua_State *L, int samples, int vmstate) {
  (void)arg;
  (void)L;
  (void)samples;
  (void)vmstate;
}

static int start_ticking(lc_error *error) {
  struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGPROF};
  event.sigev_notify_thread_id = gettid();
  const struct itimerspec period = {.it_interval.tv_nsec = TICK_NS, .it_value.tv_nsec = TICK_NS};
  (void)signal(SIGPROF, SIG_IGN); /* what LuaJIT puts back at its end: a late tick shall not kill */
  if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &profiler.timer) != 0) {
    return lc_error_sys(error, errno, "cannot make the timer of the time budget");
  }
  if (timer_settime(profiler.timer, 0, &period, NULL) == 0) return 0;
  int rc = lc_error_sys(error, errno, "cannot start the timer of the time budget");
  (void)timer_delete(profiler.timer); /* cannot fail: it is there */
  return rc;
}

/* Puts our handler over LuaJIT's, which it has just installed. */
static void take_signal(void) {
  struct sigaction luajit, ours = {.sa_sigaction = on_tick, .sa_flags = SA_RESTART | SA_SIGINFO};
  sigfillset(&ours.sa_mask);
  (void)sigaction(SIGPROF, NULL, &luajit); /* these cannot fail: the signal exists and may be caught */
  profiler.luajit = luajit.sa_handler;
  (void)sigaction(SIGPROF, &ours, NULL);
}

/* Throws the machine code away, too. */
static void leave(lc_state *state) {
  profiler.owner = NULL;
  luaJIT_profile_stop(state->L);
  (void)luaJIT_setmode(state->L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
  calm(state);
}

void lc_budget_disown(lc_state *state) {
  if (!is_owner(state)) return;
  (void)timer_delete(profiler.timer); /* cannot fail: it is there */
  leave(state);
}

static bool has_limits(const lc_state *state) {
  return state->budget.time_ns > 0 || state->budget.bounded || state->heap.limit != LC_HEAP_UNLIMITED;
}

/* Compiled, and never looked at. */
static void go_without(lc_state *state) {
  if (profiler.owner != NULL) lc_budget_disown(profiler.owner);
  state->budget.off = true;
  (void)luaJIT_setmode(state->L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_ON);
  calm(state);
}

int lc_budget_own(lc_state *state, lc_error *error) {
  if (is_owner(state)) return 0;
  if (!has_limits(state)) {
    go_without(state);
    return 0;
  }
  if (profiler.owner != NULL) {
    leave(profiler.owner);
  } else {
    int rc = start_ticking(error);
    if (rc != 0) return rc;
  }
  luaJIT_profile_start(state->L, NEVER_TICKS, on_sample, NULL);
  take_signal();
  profiler.owner = state;
  (void)luaJIT_setmode(state->L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_ON);
  calm(state);
  return 0;
}
