#include "bind/refs.h"

#include <lauxlib.h>
#include <stdlib.h>

void lc_refs_init(lc_refs *refs) {
  *refs = (lc_refs){0};
  (void)pthread_mutex_init(&refs->lock, NULL); /* a plain one cannot fail */
}

void lc_refs_deinit(lc_refs *refs) {
  free(refs->dropped);
  refs->dropped = NULL;
  (void)pthread_mutex_destroy(&refs->lock);
}

static bool make_room(lc_refs *refs) {
  bool ok = true;
  (void)pthread_mutex_lock(&refs->lock);
  if (refs->held == refs->cap) {
    uint32_t cap = refs->cap > 0 ? refs->cap * 2 : 16;
    int *grown = realloc(refs->dropped, cap * sizeof *grown);
    ok = grown != NULL;
    if (ok) refs->dropped = grown;
    if (ok) refs->cap = cap;
  }
  if (ok) refs->held++;
  (void)pthread_mutex_unlock(&refs->lock);
  return ok;
}

int lc_refs_take(lc_refs *refs, lua_State *L, int *ret, lc_error *error) {
  if (!make_room(refs)) {
    lua_pop(L, 1);
    return lc_error_set(error, LC_ENOMEM, "out of memory for a reference into Lua");
  }
  *ret = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

void lc_refs_drop(lc_refs *refs, int ref) {
  (void)pthread_mutex_lock(&refs->lock);
  refs->dropped[refs->n_dropped++] = ref;
  atomic_store(&refs->any, true);
  (void)pthread_mutex_unlock(&refs->lock);
}

void lc_refs_drain(lc_refs *refs, lua_State *L) {
  if (!atomic_load_explicit(&refs->any, memory_order_relaxed)) return;
  (void)pthread_mutex_lock(&refs->lock);
  refs->held -= refs->n_dropped;
  while (refs->n_dropped > 0) luaL_unref(L, LUA_REGISTRYINDEX, refs->dropped[--refs->n_dropped]);
  atomic_store(&refs->any, false);
  (void)pthread_mutex_unlock(&refs->lock);
}
