/* Budgets of Lua code: each call into a state may take so much time, and the state so much memory. Past them the code
 * is interrupted by an error, be it in a compiled loop, a coroutine or a pcall.
 *
 *     lc_budget_call call;
 *     lc_budget_begin(state, &call, LC_BUDGET_CALL, LC_SECOND);
 *     rc = lc_state_call(state, 1, 0, &error);   // "shop.lua:7: this call has taken 1.00 s, ..." if it took too long
 *     lc_budget_end(state, &call);
 *
 * How: one state at a time, the one whose pipelines run, is the *owner*. LuaJIT's profiler runs in it, with a period
 * that never ends, for the sake of the exit checks that it puts into machine code. A timer on the CPU time of the loop
 * thread ticks every 10 ms; its signal handler looks at what is in hand, and past the budget asks for a hook on every
 * instruction and makes LuaJIT's own handler turn machine code back to the interpreter. The hook raises, again and
 * again, until the call has ended: a pcall may have caught the first error. Any other state runs without machine code
 * and with a hook that looks every 1000 instructions.
 *
 * Memory is counted by heap.h, which asks for the same hook. The hook collects garbage, and raises when that did not
 * free a sixteenth of the limit.
 *
 * A single call of a C function is not interrupted; what takes 2 s longer than it may is logged and counted (`stuck`).
 *
 * Thread: the one that has the state; lc_budget_own and lc_budget_disown: the loop thread. */
#ifndef LC_BIND_BUDGET_H
#define LC_BIND_BUDGET_H

#include <lua.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "logcap/error.h"

#define LC_BUDGET_TIME_DEFAULT INT64_C(1000000000)  /* ns, of a record */
#define LC_BUDGET_LOAD_DEFAULT INT64_C(10000000000) /* ns, of a file */
#define LC_BUDGET_MEMORY_DEFAULT (UINT64_C(128) << 20)
#define LC_BUDGET_WHY_MAX 800

struct lc_state;

typedef enum lc_budget_kind {
  LC_BUDGET_RECORDS, /* the limit is on each record that the state's view has in hand, in CPU time of the thread */
  LC_BUDGET_CALL,    /* on the whole call, in CPU time of the thread */
  LC_BUDGET_LOAD     /* on the whole call, by the clock */
} lc_budget_kind;

/* A call in hand; lives on the C stack of who makes it. */
typedef struct lc_budget_call {
  struct lc_budget_call *outer; /* the one around it, or NULL */
  lc_budget_kind kind;
  int64_t limit_ns;  /* 0: none */
  const void *base;  /* lua_topointer of the Lua function that catches the errors, and is not interrupted; or NULL */
  uint64_t serial;   /* of the record in hand since `since_ns` */
  int64_t since_ns;  /* 0: not looked at yet */
  volatile bool late;   /* past the limit, with that record */
  volatile bool hungry; /* the heap is past its limit, and nobody has collected yet */
  bool starved;         /* collected, and there is still too little: errors are raised until the call ends */
  bool said;            /* that it cannot be interrupted */
  char why[LC_BUDGET_WHY_MAX]; /* what was raised last; "" */
} lc_budget_call;

/* A state's part of it. */
typedef struct lc_budget {
  lc_budget_call *volatile call; /* innermost; NULL: nothing is in hand */
  volatile bool asked;           /* for the hook on every instruction */
  volatile bool busy;            /* hooks are being changed */
  bool bounded;                  /* a stage has a limit of its own */
  bool off;                      /* nothing has a limit: there is no hook, and machine code has no exit checks */
  const _Atomic bool *cancel;    /* borrowed: set by another thread, a load ends at once; NULL: none does */
  int64_t time_ns, load_ns;      /* limits where a stage or a caller says nothing else */
  _Atomic int64_t overdue_since_ns; /* monotonic: since when the call in hand is past its time; 0: it is not */
  _Atomic uint64_t stuck;           /* calls that could not be interrupted for 2 s */
} lc_budget;

/* Sets the limits' defaults and the look every 1000 instructions; the state's compiler has to be off. */
void lc_budget_init(struct lc_state *state);

/* Calls may be nested: the limit of each holds, and what the inner ones take counts for the outer ones. */
void lc_budget_begin(struct lc_state *state, lc_budget_call *call, lc_budget_kind kind, int64_t limit_ns);
void lc_budget_end(struct lc_state *state, lc_budget_call *call);
/* The record in hand, or what its function did to the heap, has been dealt with: the call goes on. */
void lc_budget_forgive(struct lc_state *state, lc_budget_call *call);

/* For C functions that take long: raises what the hook would raise, had it a chance. */
void lc_budget_check(lua_State *L);

/* Makes this state the owner, in place of the one before, if any; its machine code is thrown away. Fails only when
 * there was no owner. Between two calls into either. */
int lc_budget_own(struct lc_state *state, lc_error *error) LC_CHECK;
/* It is the owner no more; does nothing when it is not. Before its lua_close. */
void lc_budget_disown(struct lc_state *state);

#endif
