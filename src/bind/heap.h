/* The memory of a Lua state: LuaJIT's own allocator, counted.
 *
 *     lc_heap_take(&state->heap, L, 128 << 20, over, state);
 *     ...                                                  // over(state) is called whenever more than that is in use
 *     lc_heap_give_back(&state->heap, L);                  // before lua_close
 *
 * An allocator that refuses memory crashes LuaJIT in many places, so it does not: whoever is told that the limit was
 * passed collects garbage and ends what allocates (budget.h). Only far beyond, at four times the limit and 16 MiB,
 * large requests are refused, before they take the memory of the whole machine. Machine code is not counted.
 *
 * Thread: the one that has the state; `used` and `peak` may be read by any. */
#ifndef LC_BIND_HEAP_H
#define LC_BIND_HEAP_H

#include <lua.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LC_HEAP_LEAST (4 << 20)             /* bytes: a state of its own takes more than one MiB */
#define LC_HEAP_UNLIMITED (SIZE_MAX / 8)

typedef struct lc_heap {
  lua_Alloc inner;     /* LuaJIT's */
  void *inner_arg;     /* borrowed */
  _Atomic size_t used; /* bytes */
  _Atomic size_t peak;
  size_t limit;            /* bytes */
  void (*over)(void *arg); /* may not allocate, raise or free: it is called from inside the allocator */
  void *arg;
} lc_heap;

void lc_heap_take(lc_heap *heap, lua_State *L, size_t limit, void (*over)(void *arg), void *arg);
void lc_heap_give_back(lc_heap *heap, lua_State *L);

/* Collects garbage; true when less than a sixteenth of the limit is free then. May raise what a finalizer raises. */
bool lc_heap_collect(lc_heap *heap, lua_State *L);

static inline size_t lc_heap_used(const lc_heap *heap) {
  return atomic_load_explicit(&heap->used, memory_order_relaxed);
}

#endif
