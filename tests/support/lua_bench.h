/* One Lua stage over a batch of plain lines, for tests of what its function may take. */
#ifndef LC_TESTS_LUA_BENCH_H
#define LC_TESTS_LUA_BENCH_H

#include "bind/lua_stage_inside.h"
#include "record/batch.h"
#include "support/support.h"

/* Under this sanitizer signals wait until instrumented code runs, which a loop in Lua never does. */
#ifdef __SANITIZE_THREAD__
#define LC_SIGNALS_WAIT 1
#else
#define LC_SIGNALS_WAIT 0
#endif

typedef struct lc_lua_bench {
  lc_state *state;
  lc_stage *stage;
  lc_batch *batch;
} lc_lua_bench;

/* The state owns the budget; it has all of Lua. */
static inline void lc_lua_bench_state(lc_test *test, lc_lua_bench *b) {
  lc_error error = {0};
  const lc_state_options options = {.registry = test->registry, .unrestricted = true};
  *b = (lc_lua_bench){0};
  assert_int_equal(lc_state_create(&options, &b->state, &error), 0);
  if (lc_budget_own(b->state, &error) != 0) fail_msg("%s", error.message);
}

/* A stage of the function that the chunk returns. */
static inline lc_stage *lc_lua_bench_stage(lc_lua_bench *b, const char *chunk, const lc_lua_stage_options *options) {
  lua_State *L = b->state->L;
  lc_error error = {0};
  lc_stage *stage = NULL;
  if (luaL_loadbuffer(L, chunk, strlen(chunk), "@test.lua") != 0) fail_msg("%s", lua_tostring(L, -1));
  if (lc_state_call(b->state, 0, 1, &error) != 0) fail_msg("%s", error.message);
  assert_int_equal(lc_lua_stage_create(L, lua_gettop(L), options, &stage, &error), 0);
  lua_pop(L, 1);
  return stage;
}

static inline void lc_lua_bench_lines(lc_lua_bench *b, int n, void (*line)(int i, char text[64])) {
  lc_batch_destroy(b->batch);
  b->batch = lc_batch_create(1u << 20);
  assert_non_null(b->batch);
  for (int i = 0; i < n; i++) {
    char text[64];
    lc_record *rec = lc_batch_add_record(b->batch);
    assert_non_null(rec);
    line(i, text);
    rec->body = b->batch->data_len;
    rec->body_len = (uint32_t)strlen(text);
    memcpy(b->batch->base[0] + b->batch->data_len, text, rec->body_len);
    b->batch->data_len += rec->body_len;
  }
}

static inline int lc_lua_bench_run(lc_lua_bench *b, lc_stage *stage, lc_error *error) {
  uint32_t at = 0;
  int rc = LC_EAGAIN;
  while (rc == LC_EAGAIN) rc = stage->ops->process(stage, b->batch, &at, b->batch->n_records, 0, error);
  return rc;
}

static inline void lc_lua_bench_end(lc_lua_bench *b) {
  lc_batch_destroy(b->batch);
  if (b->stage != NULL) lc_resource_release(&b->stage->resource);
  lc_state_destroy(b->state);
}

/* The reason of a record's dead letter, terminated in `ret`; "" when it has none. */
static inline const char *lc_lua_bench_dead(const lc_batch *batch, uint32_t record, char ret[1024]) {
  ret[0] = '\0';
  for (uint32_t i = 0; i < batch->n_dead; i++) {
    const lc_dead *dead = &batch->dead[i];
    if (dead->record != record) continue;
    size_t len = dead->reason_len < 1023 ? dead->reason_len : 1023;
    memcpy(ret, lc_batch_at(batch, dead->reason), len);
    ret[len] = '\0';
  }
  return ret;
}

#endif
