#include "feed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/registry.h"
#include "bind/generation.h"
#include "bind/handle.h"
#include "logcap/source.h"
#include "record/batch.h"
#include "record/encode.h"
#include "stage/json_stage.h"

#define LABELS_MAX 16

typedef struct fed {
  lc_source source;
  lc_batch *batch;
  lc_stage *json;
  char error[480];
} fed;

static void keep_source(lc_source *source) { (void)source; }

static int fed_gc(lua_State *L) {
  fed *f = lua_touserdata(L, 1);
  lc_batch_destroy(f->batch);
  lc_source_deinit(&f->source);
  if (f->json != NULL) lc_resource_release(&f->json->resource);
  memset(f, 0, sizeof *f);
  return 0;
}

static const char *option(lua_State *L, const char *name) {
  if (!lua_istable(L, 3)) return NULL;
  lua_getfield(L, 3, name);
  const char *value = lua_isboolean(L, -1) ? (lua_toboolean(L, -1) ? "true" : NULL) : lua_tostring(L, -1);
  lua_pop(L, 1); /* the options table keeps it */
  return value;
}

static void add_labels(lua_State *L, fed *f) {
  lc_label items[LABELS_MAX];
  uint32_t n = 0;
  if (!lua_istable(L, 3)) return;
  lua_getfield(L, 3, "labels");
  if (lua_istable(L, -1)) {
    for (lua_pushnil(L); lua_next(L, -2) && n < LABELS_MAX; lua_pop(L, 1)) {
      items[n++] = (lc_label){lua_tostring(L, -2), lua_tostring(L, -1)};
    }
  }
  int rc = lc_labels_create(items, n, &f->source.labels);
  lua_pop(L, 1);
  if (rc != 0) luaL_error(L, "no memory");
}

static void add_lines(lua_State *L, fed *f) {
  lc_range *range = lc_batch_add_range(f->batch, &f->source, 0);
  if (range == NULL) luaL_error(L, "no memory");
  for (int i = 1; i <= (int)lua_objlen(L, 2); i++) {
    size_t len = 0;
    lua_rawgeti(L, 2, i);
    const char *line = luaL_checklstring(L, -1, &len);
    lc_record *rec = lc_batch_add_record(f->batch);
    if (rec == NULL || len + 1 > f->batch->data_cap - f->batch->data_len) luaL_error(L, "too much for a batch");
    memcpy(f->batch->base[0] + f->batch->data_len, line, len);
    f->batch->base[0][f->batch->data_len + len] = '\n';
    rec->body = f->batch->data_len;
    rec->body_len = (uint32_t)len;
    f->batch->data_len += (uint32_t)len + 1;
    lua_pop(L, 1);
  }
}

static int run_stage(lc_stage *stage, lc_batch *batch, lc_error *error) {
  uint32_t at = 0;
  int rc = LC_EAGAIN;
  while (rc == LC_EAGAIN) rc = stage->ops->process(stage, batch, &at, batch->n_records, lc_clock_wall(), error);
  return rc;
}

static void push_encoded(lua_State *L, const fed *f, const lc_record *rec, const char *key) {
  lc_buf buf = {0};
  uint32_t hint = 0;
  int rc = *key == 'j' ? lc_encode_json(f->batch, rec, &buf) : lc_encode_raw(f->batch, rec, &hint, &buf);
  lua_pushlstring(L, rc == 0 && buf.data != NULL ? buf.data : "", rc == 0 ? buf.len : 0);
  lc_buf_free(&buf);
  lua_setfield(L, -2, key);
}

static void push_record(lua_State *L, const fed *f, uint32_t i) {
  const lc_record *rec = &f->batch->records[i];
  lua_newtable(L);
  push_encoded(L, f, rec, "json");
  push_encoded(L, f, rec, "raw");
  if (rec->flags & LC_REC_DROPPED) {
    lua_pushstring(L, lc_drop_name((lc_drop)(rec->flags >> LC_REC_REASON_SHIFT)));
    lua_setfield(L, -2, "dropped");
  }
  lua_pushboolean(L, (rec->flags & LC_REC_UNPARSED) != 0);
  lua_setfield(L, -2, "unparsed");
  for (uint32_t d = 0; d < f->batch->n_dead; d++) {
    const lc_dead *dead = &f->batch->dead[d];
    if (dead->record != i) continue;
    lua_pushlstring(L, lc_batch_at(f->batch, dead->reason), dead->reason_len);
    lua_setfield(L, -2, "dead");
  }
}

/* records(stage, lines, options): a list of what became of each line, and the error that stopped the pipeline. */
static int feed_records(lua_State *L) {
  lc_handle *handle = lc_handle_at(L, 1);
  lc_error error = {0};
  if (handle == NULL || handle->resource == NULL || handle->role != LC_ROLE_STAGE) return luaL_error(L, "not a stage");
  luaL_checktype(L, 2, LUA_TTABLE);
  fed *f = lua_newuserdata(L, sizeof *f);
  memset(f, 0, sizeof *f);
  luaL_setmetatable(L, "spec.fed");
  const char *source = option(L, "source");
  f->batch = lc_batch_create(8u << 20);
  if (f->batch == NULL || lc_source_init(&f->source, "key", source != NULL ? source : "spec.log", keep_source) != 0) {
    return luaL_error(L, "no memory");
  }
  f->batch->read_ns = INT64_C(1700000000250000000);
  add_labels(L, f);
  add_lines(L, f);
  int rc = 0;
  if (option(L, "json") != NULL) {
    const lc_json_stage_options json = {.on_error = LC_ON_ERROR_PASS};
    rc = lc_json_stage_create(&json, lc_state_of(L)->registry, "spec", &f->json, &error);
    if (rc == 0) rc = run_stage(f->json, f->batch, &error);
  }
  if (rc == 0) rc = run_stage((lc_stage *)handle->resource, f->batch, &error);
  lua_newtable(L);
  for (uint32_t i = 0; i < f->batch->n_records; i++) {
    push_record(L, f, i);
    lua_rawseti(L, -2, (int)i + 1);
  }
  if (rc == 0) return 1;
  lua_pushstring(L, error.message);
  return 2;
}

static int feed_check(lua_State *L) {
  const char *files[16] = {0};
  size_t n = 0;
  for (int i = 1; i <= lua_gettop(L) && n < 16 && lua_isstring(L, i); i++) files[n++] = lua_tostring(L, i);
  const char *allow[16] = {0};
  lc_generation_options options = {.allow = allow};
  if (lua_istable(L, -1)) {
    for (size_t i = 0; i < lua_objlen(L, -1) && i < 16; i++) {
      lua_rawgeti(L, -1, (int)i + 1);
      allow[options.n_allow++] = lua_tostring(L, -1);
      lua_pop(L, 1);
    }
  }
  lc_generation *generation = NULL;
  lc_error error = {0};
  lc_registry *registry = lc_state_of(L)->registry;
  int rc = lc_generation_load(files, n, registry, &options, &generation, &error);
  if (rc == 0) {
    size_t made = 0;
    (void)lc_generation_pipelines(generation, &made);
    lua_pushinteger(L, (lua_Integer)made);
    lc_generation_destroy(generation);
    (void)lc_registry_run(registry);
    return 1;
  }
  (void)lc_registry_run(registry);
  lua_pushnil(L);
  lua_pushstring(L, error.message);
  return 2;
}

static int feed_settle(lua_State *L) {
  lua_gc(L, LUA_GCCOLLECT, 0);
  lua_gc(L, LUA_GCCOLLECT, 0);
  (void)lc_registry_run(lc_state_of(L)->registry);
  return 0;
}

int lc_feed_open(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"records", feed_records}, {"check", feed_check}, {"settle", feed_settle}, {NULL, NULL}};
  luaL_newmetatable(L, "spec.fed");
  lua_pushcfunction(L, fed_gc);
  lua_setfield(L, -2, "__gc");
  lua_newtable(L);
  luaL_setfuncs(L, functions, 0);
  return 1;
}
