#include "bind/held.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

/* Bytes of LuaJIT's objects, without what they hold. */
#define STRING 24u
#define TABLE 64u
#define ENTRY 24u /* of the hash part; those of the array part have 8 */
#define FUNCTION 40u
#define UPVALUE 48u
#define USERDATA 48u
#define THREAD 900u

/* One walk: objects that were seen, and a Lua table of those whose inside was not looked at yet. */
typedef struct walk {
  lua_State *L;
  int waiting; /* its index */
  int n_waiting;
  const void **seen; /* owned; open addressing, NULL is free */
  size_t n_seen, cap;
  size_t bytes;
} walk;

static size_t slot_of(const void *const *seen, size_t cap, const void *object) {
  size_t at = ((uintptr_t)object >> 3) * UINT64_C(0x9E3779B97F4A7C15) >> 20 & (cap - 1);
  while (seen[at] != NULL && seen[at] != object) at = (at + 1) & (cap - 1);
  return at;
}

static bool grow(walk *self) {
  size_t cap = self->cap > 0 ? self->cap * 2 : 1024;
  const void **grown = calloc(cap, sizeof *grown);
  if (grown == NULL) return false;
  for (size_t i = 0; i < self->cap; i++) {
    if (self->seen[i] != NULL) grown[slot_of(grown, cap, self->seen[i])] = self->seen[i];
  }
  free(self->seen);
  self->seen = grown;
  self->cap = cap;
  return true;
}

/* False: it was seen before, or there is no memory to note it, and the estimate falls short. */
static bool see(walk *self, const void *object) {
  if (object == NULL || (self->n_seen * 2 >= self->cap && !grow(self))) return false;
  size_t at = slot_of(self->seen, self->cap, object);
  if (self->seen[at] != NULL) return false;
  self->seen[at] = object;
  self->n_seen++;
  return true;
}

/* Pops a value, and counts what is its own. */
static void meet(walk *self) {
  lua_State *L = self->L;
  bool waits = false;
  switch (lua_type(L, -1)) {
    case LUA_TSTRING:
      if (see(self, lua_tostring(L, -1))) self->bytes += STRING + lua_objlen(L, -1);
      break;
    case LUA_TTABLE:
      waits = see(self, lua_topointer(L, -1));
      if (waits) self->bytes += TABLE + 8 * lua_objlen(L, -1);
      break;
    case LUA_TFUNCTION:
      waits = see(self, lua_topointer(L, -1));
      if (waits) self->bytes += FUNCTION;
      break;
    case LUA_TUSERDATA:
      waits = see(self, lua_topointer(L, -1));
      if (waits) self->bytes += USERDATA + lua_objlen(L, -1);
      break;
    case LUA_TTHREAD:
      waits = see(self, lua_topointer(L, -1));
      if (waits) self->bytes += THREAD;
      break;
    default: break;
  }
  if (waits) lua_rawseti(L, self->waiting, ++self->n_waiting);
  else lua_pop(L, 1);
}

/* The locals of a coroutine that is suspended. */
static void look_into_thread(walk *self, lua_State *co) {
  lua_Debug ar;
  if (co == self->L || !lua_checkstack(co, 2)) return;
  for (int level = 0; lua_getstack(co, level, &ar); level++) {
    for (int i = 1; lua_getlocal(co, &ar, i) != NULL; i++) {
      lua_xmove(co, self->L, 1);
      meet(self);
    }
  }
}

/* Pops an object that waited, and meets what it refers to. Metatables and environments are shared, or small. */
static void look_into(walk *self) {
  lua_State *L = self->L;
  int object = lua_gettop(L);
  if (lua_istable(L, object)) {
    size_t n = 0, in_array = lua_objlen(L, object);
    for (lua_pushnil(L); lua_next(L, object); n++) {
      meet(self);
      lua_pushvalue(L, -1);
      meet(self);
    }
    if (n > in_array) self->bytes += ENTRY * (n - in_array);
  } else if (lua_isfunction(L, object)) {
    for (int i = 1; lua_getupvalue(L, object, i) != NULL; i++) {
      self->bytes += UPVALUE;
      meet(self);
    }
  } else if (lua_isuserdata(L, object)) {
    lua_getfenv(L, object);
    meet(self);
  } else if (lua_isthread(L, object)) {
    look_into_thread(self, lua_tothread(L, object));
  }
  lua_settop(L, object - 1);
}

size_t lc_held_by(lua_State *L) {
  walk self = {.L = L};
  luaL_checkstack(L, 10, "no room to walk over the memory");
  lua_newtable(L);
  lua_insert(L, -2);
  self.waiting = lua_gettop(L) - 1;
  (void)see(&self, lua_topointer(L, LUA_GLOBALSINDEX));
  (void)see(&self, lua_topointer(L, LUA_REGISTRYINDEX));
  meet(&self);
  while (self.n_waiting > 0) {
    lua_rawgeti(L, self.waiting, self.n_waiting);
    lua_pushnil(L);
    lua_rawseti(L, self.waiting, self.n_waiting--);
    look_into(&self);
  }
  lua_pop(L, 1);
  free(self.seen);
  return self.bytes;
}
