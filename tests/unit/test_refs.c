/* References into a Lua state that another thread lets go. */
#include "support/support.h"

#include "bind/refs.h"

#include <lauxlib.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#define MANY 5000

static int take(lc_refs *refs, lua_State *L) {
  lc_error error = {0};
  int ref = LUA_NOREF;
  lua_newtable(L);
  assert_int_equal(lc_refs_take(refs, L, &ref, &error), 0);
  return ref;
}

static bool is_held(lua_State *L, int ref) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
  bool held = lua_istable(L, -1);
  lua_pop(L, 1);
  return held;
}

static void test_dropped_ones_go_when_drained(void **state) {
  (void)state;
  lc_refs refs;
  lua_State *L = luaL_newstate();
  lc_refs_init(&refs);
  int a = take(&refs, L), b = take(&refs, L);
  lc_refs_drop(&refs, a);
  assert_true(is_held(L, a));
  lc_refs_drain(&refs, L);
  assert_false(is_held(L, a));
  assert_true(is_held(L, b));
  lc_refs_drop(&refs, b);
  lua_close(L);
  lc_refs_deinit(&refs);
}

static void test_no_memory(void **state) {
  (void)state;
  lc_refs refs;
  lc_error error = {0};
  int ref = LUA_NOREF;
  lua_State *L = luaL_newstate();
  lc_refs_init(&refs);
  lua_newtable(L);
  lc_fault_after(1);
  assert_int_equal(lc_refs_take(&refs, L, &ref, &error), LC_ENOMEM);
  assert_true(lc_fault_off());
  assert_int_equal(lua_gettop(L), 0);
  lua_close(L);
  lc_refs_deinit(&refs);
}

/* The ring between the thread that takes and the one that drops. */
typedef struct shared {
  lc_refs refs;
  _Atomic int ring[64];
} shared;

static void *drop_all(void *arg) {
  shared *self = arg;
  for (int i = 0; i < MANY; i++) {
    int ref;
    while ((ref = atomic_exchange(&self->ring[i % 64], 0)) == 0) sched_yield();
    lc_refs_drop(&self->refs, ref);
  }
  return NULL;
}

static void test_another_thread_drops(void **state) {
  (void)state;
  pthread_t thread;
  shared *self = calloc(1, sizeof *self);
  lua_State *L = luaL_newstate();
  assert_non_null(self);
  lc_refs_init(&self->refs);
  assert_int_equal(pthread_create(&thread, NULL, drop_all, self), 0);
  for (int i = 0; i < MANY; i++) {
    while (atomic_load(&self->ring[i % 64]) != 0) sched_yield();
    int ref = take(&self->refs, L);
    assert_true(is_held(L, ref));
    atomic_store(&self->ring[i % 64], ref);
    lc_refs_drain(&self->refs, L);
  }
  assert_int_equal(pthread_join(thread, NULL), 0);
  lc_refs_drain(&self->refs, L);
  assert_int_equal(self->refs.held, 0);
  lua_close(L);
  lc_refs_deinit(&self->refs);
  free(self);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_dropped_ones_go_when_drained),
      lc_test_case(test_no_memory),
      lc_test_case(test_another_thread_drops),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
