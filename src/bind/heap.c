#include "bind/heap.h"

#define LARGE ((size_t)1 << 20)  /* smaller requests are always granted: the limit binds before many of them add up */
#define BEYOND ((size_t)16 << 20)

static void *allocate(void *arg, void *old, size_t old_size, size_t size) {
  lc_heap *heap = arg;
  size_t used = lc_heap_used(heap);
  size_t after = used - old_size + size;
  if (after > used && after - used >= LARGE && after > 4 * heap->limit + BEYOND) {
    heap->over(heap->arg);
    return NULL;
  }
  void *got = heap->inner(heap->inner_arg, old, old_size, size);
  if (got == NULL && size > 0) return NULL;
  atomic_store_explicit(&heap->used, after, memory_order_relaxed);
  if (after > atomic_load_explicit(&heap->peak, memory_order_relaxed)) {
    atomic_store_explicit(&heap->peak, after, memory_order_relaxed);
  }
  if (after > heap->limit && after > used) heap->over(heap->arg);
  return got;
}

void lc_heap_take(lc_heap *heap, lua_State *L, size_t limit, void (*over)(void *arg), void *arg) {
  heap->inner = lua_getallocf(L, &heap->inner_arg);
  heap->limit = limit;
  heap->over = over;
  heap->arg = arg;
  heap->used = ((size_t)lua_gc(L, LUA_GCCOUNT, 0) << 10) + (size_t)lua_gc(L, LUA_GCCOUNTB, 0);
  lua_setallocf(L, allocate, heap);
}

void lc_heap_give_back(lc_heap *heap, lua_State *L) { lua_setallocf(L, heap->inner, heap->inner_arg); }

/* LuaJIT's buffer for strings loses half of its room with each collection: one that helped is tried again. */
bool lc_heap_collect(lc_heap *heap, lua_State *L) {
  size_t before = 0, most = heap->limit - heap->limit / 16;
  do {
    before = lc_heap_used(heap);
    (void)lua_gc(L, LUA_GCCOLLECT, 0);
  } while (lc_heap_used(heap) > most && lc_heap_used(heap) < before - before / 8);
  return lc_heap_used(heap) > most;
}
