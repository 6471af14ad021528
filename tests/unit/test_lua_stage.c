/* The Lua stage against batches: turns, resumption, what on_error says, and lifetimes. What records look like to a
 * function is the business of spec/record_spec.lua. */
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

#include "base/clock.h"
#include "bind/lua_stage.h"
#include "bind/nearest.h"
#include "logcap/source.h"
#include "record/batch.h"

typedef struct bench {
  lc_state *state;
  lc_stage *stage;
  lc_batch *batch;
} bench;

/* Makes a stage of a function that the chunk returns, and a batch of `n` plain lines "line 0", "line 1", ... */
static void begin(lc_test *test, bench *b, const char *chunk, lc_on_error on_error, int n) {
  lc_error error = {0};
  *b = (bench){0};
  assert_int_equal(lc_state_create(&(lc_state_options){.registry = test->registry}, &b->state, &error), 0);
  lua_State *L = b->state->L;
  const lc_lua_stage_options options = {.made_at = "test.lua:1", .on_error = on_error, .time_ns = LC_TIME_OF_STATE};
  assert_int_equal(lc_budget_own(b->state, &error), 0);
  assert_int_equal(luaL_loadbuffer(L, chunk, strlen(chunk), "@test.lua"), 0);
  assert_int_equal(lc_state_call(b->state, 0, 1, &error), 0);
  assert_int_equal(lc_lua_stage_create(L, lua_gettop(L), &options, &b->stage, &error), 0);
  lua_pop(L, 1);
  b->batch = lc_batch_create(1u << 20);
  assert_non_null(b->batch);
  for (int i = 0; i < n; i++) {
    lc_record *rec = lc_batch_add_record(b->batch);
    assert_non_null(rec);
    rec->body = b->batch->data_len;
    rec->body_len = (uint32_t)sprintf(b->batch->base[0] + b->batch->data_len, "line %d", i);
    b->batch->data_len += rec->body_len;
  }
}

static void end(bench *b) {
  lc_batch_destroy(b->batch);
  lc_resource_release(&b->stage->resource);
  lc_state_destroy(b->state);
}

static int one_turn(bench *b, uint32_t *at, lc_error *error) {
  return b->stage->ops->process(b->stage, b->batch, at, b->batch->n_records, lc_clock_wall(), error);
}

/* As many turns as it takes. */
static int process(bench *b, uint32_t *at, lc_error *error) {
  int rc = LC_EAGAIN;
  while (rc == LC_EAGAIN) rc = one_turn(b, at, error);
  return rc;
}

static void test_all_in_one_turn(void **state) {
  bench b;
  begin(*state, &b, "return function(rec) if rec.message == 'line 3' then return false end end", LC_ON_ERROR_DLQ, 1000);
  uint32_t at = 0;
  assert_int_equal(process(&b, &at, NULL), 0);
  assert_int_equal(at, 1000);
  assert_int_equal(b.batch->tally.dropped[LC_DROP_FILTERED], 1);
  assert_false(lc_record_live(&b.batch->records[3]));
  assert_int_equal(atomic_load(&b.stage->resource.records_in), 1000);
  assert_int_equal(atomic_load(&b.stage->resource.records_out), 999);
  end(&b);
}

static void test_settled_records_are_left_alone(void **state) {
  bench b;
  begin(*state, &b, "local seen = 0\n return function(rec) seen = seen + 1; rec.seen = seen end", LC_ON_ERROR_DLQ, 4);
  lc_batch_drop(b.batch, &b.batch->records[0], LC_DROP_DUPLICATE);
  lc_batch_drop(b.batch, &b.batch->records[2], LC_DROP_DUPLICATE);
  uint32_t at = 0;
  assert_int_equal(process(&b, &at, NULL), 0);
  assert_int_equal(b.batch->records[0].n_fields, 0);
  assert_int_equal(b.batch->records[1].n_fields, 1);
  assert_int_equal(b.batch->records[3].n_fields, 1);
  assert_int_equal(atomic_load(&b.stage->resource.records_in), 2);
  end(&b);
}

static void test_piece_of_a_batch(void **state) {
  bench b;
  begin(*state, &b, "return function() return false end", LC_ON_ERROR_DLQ, 10);
  uint32_t at = 2;
  assert_int_equal(b.stage->ops->process(b.stage, b.batch, &at, 5, 0, NULL), 0);
  assert_int_equal(at, 5);
  assert_int_equal(b.batch->tally.dropped[LC_DROP_FILTERED], 3);
  assert_true(lc_record_live(&b.batch->records[1]) && lc_record_live(&b.batch->records[5]));
  at = 10;
  assert_int_equal(process(&b, &at, NULL), 0);
  end(&b);
}

/* A function that takes 4 ms a record lets the loop breathe after about five records, and goes on where it was. */
static void test_long_work_breathes(void **state) {
  static const char slow[] =
      "local clock = os.clock\n"
      "return function(rec) local t = clock() + 0.004; while clock() < t do end; rec.done = true end";
  bench b;
  begin(*state, &b, slow, LC_ON_ERROR_DLQ, 30);
  uint32_t at = 0, turns = 0, late = 0;
  int rc = LC_EAGAIN;
  while (rc == LC_EAGAIN) {
    uint32_t before = at;
    int64_t start = lc_test_cpu();
    rc = one_turn(&b, &at, NULL);
    turns++;
    assert_true(at > before);
    late += lc_test_cpu() - start >= 100 * LC_MILLISECOND;
  }
  assert_true(late <= 1); /* what the host of a virtual machine takes from it is in its processor time */
  assert_int_equal(rc, 0);
  assert_true(turns >= 4 && turns <= 30);
  for (uint32_t i = 0; i < 30; i++) assert_int_equal(b.batch->records[i].n_fields, 1);
  assert_int_equal(atomic_load(&b.stage->resource.records_in), 30);
  end(&b);
}

static void test_errors_name_their_line(void **state) {
  bench b;
  begin(*state, &b, "return function(rec)\n  if rec.message == 'line 1' then rec.x.y = 1 end\nend", LC_ON_ERROR_DLQ,
        3);
  uint32_t at = 0;
  assert_int_equal(process(&b, &at, NULL), 0);
  assert_int_equal(b.batch->n_dead, 1);
  const lc_dead *dead = &b.batch->dead[0];
  assert_int_equal(dead->record, 1);
  assert_string_equal(dead->stage, b.stage->resource.name);
  const char expected[] = "test.lua:2: attempt to index field 'x' (a nil value)";
  assert_int_equal(dead->reason_len, strlen(expected));
  assert_memory_equal(lc_batch_at(b.batch, dead->reason), expected, strlen(expected));
  assert_int_equal(atomic_load(&b.stage->resource.errors), 1);
  end(&b);
}

static void test_stop_stops_at_its_record(void **state) {
  bench b;
  begin(*state, &b, "return function(rec) rec.n = 1; if rec.message == 'line 5' then error('enough') end end",
        LC_ON_ERROR_STOP, 10);
  uint32_t at = 0;
  lc_error error = {0};
  assert_int_equal(process(&b, &at, &error), LC_ECANCELED);
  assert_non_null(strstr(error.message, "test.lua:1: enough"));
  assert_true(lc_record_live(&b.batch->records[5]));
  assert_int_equal(b.batch->records[6].n_fields, 0);
  assert_int_equal(atomic_load(&b.stage->resource.records_in), 6);
  end(&b);
}

/* A message without end is kept as far as a dead letter holds it. */
static void test_errors_are_cut(void **state) {
  bench b;
  begin(*state, &b, "return function(rec) error(('x'):rep(100000)) end", LC_ON_ERROR_DLQ, 2);
  uint32_t at = 0;
  assert_int_equal(process(&b, &at, NULL), 0);
  assert_int_equal(b.batch->n_dead, 2);
  assert_true(b.batch->dead[1].reason_len < 4096);
  end(&b);
}

static void test_record_kept_for_the_next_batch_raises(void **state) {
  bench b;
  begin(*state, &b,
        "local kept\n"
        "return function(rec)\n"
        "  if kept then\n"
        "    local ok, why = pcall(function() return kept.message end)\n"
        "    assert(not ok and why:find('not in hand'))\n"
        "  end\n"
        "  kept = kept or rec\n"
        "end",
        LC_ON_ERROR_DLQ, 3);
  for (int i = 0; i < 100; i++) {
    uint32_t at = 0;
    assert_int_equal(process(&b, &at, NULL), 0);
  }
  assert_int_equal(b.batch->n_dead, 0);
  end(&b);
}

/* No memory for a change: the record is refused and unchanged, the batch goes on. */
static void test_full_extra_arena(void **state) {
  bench b;
  begin(*state, &b,
        "local big = ('x'):rep(5000000)\n"
        "local n = 0\n"
        "return function(rec) n = n + 1; rec.big = big .. n end",
        LC_ON_ERROR_DLQ, 6);
  uint32_t at = 0;
  assert_int_equal(process(&b, &at, NULL), 0);
  assert_int_equal(at, 6);
  assert_int_equal(b.batch->n_dead, 3);
  assert_int_equal(b.batch->dead[0].record, 3);
  assert_non_null(strstr(lc_batch_at(b.batch, b.batch->dead[0].reason), "no room for the change"));
  end(&b);
}

/* A stage in a pipeline that drains keeps the state that its function lives in. */
static void test_stage_outlives_its_generation(void **state) {
  bench b;
  begin(*state, &b, "return function(rec) rec.x = 1 end", LC_ON_ERROR_DLQ, 3);
  lc_state_destroy(b.state);
  uint32_t at = 0;
  assert_int_equal(process(&b, &at, NULL), 0);
  assert_int_equal(b.batch->records[2].n_fields, 1);
  lc_batch_destroy(b.batch);
  lc_resource_release(&b.stage->resource);
}

/* What such a function makes would keep the state, and the state it: it is refused. */
static void test_nothing_is_made_after_the_generation(void **state) {
  bench b;
  begin(*state, &b,
        "local new = require('logcap').stage\n"
        "return function(rec) rec.made = tostring(new { function() end }) end",
        LC_ON_ERROR_DLQ, 1);
  uint32_t at = 0;
  assert_int_equal(process(&b, &at, NULL), 0);
  assert_int_equal(b.batch->n_dead, 0);
  lc_state_destroy(b.state);
  at = 0;
  assert_int_equal(process(&b, &at, NULL), 0);
  assert_int_equal(b.batch->n_dead, 1);
  assert_non_null(strstr(lc_batch_at(b.batch, b.batch->dead[0].reason), "nothing can be made any more"));
  lc_batch_destroy(b.batch);
  lc_resource_release(&b.stage->resource);
}

static void test_nearest_name(void **state) {
  (void)state;
  assert_int_equal(lc_edit_distance("", ""), 0);
  assert_int_equal(lc_edit_distance("abc", ""), 3);
  assert_int_equal(lc_edit_distance("paths", "pathes"), 1);
  assert_int_equal(lc_edit_distance("form", "from"), 1);
  assert_int_equal(lc_edit_distance("kitten", "sitting"), 3);
  char longer[500];
  memset(longer, 'a', sizeof longer);
  longer[sizeof longer - 1] = '\0';
  assert_int_equal(lc_edit_distance(longer, longer + 100), 0); /* only the first 63 bytes count */
  lc_nearest nearest = {.name = "excldue"};
  lc_nearest_offer(&nearest, "paths");
  assert_null(nearest.best);
  lc_nearest_offer(&nearest, "exclude");
  lc_nearest_offer(&nearest, "include");
  assert_string_equal(nearest.best, "exclude");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_all_in_one_turn),
      lc_test_case(test_settled_records_are_left_alone),
      lc_test_case(test_piece_of_a_batch),
      lc_test_case(test_long_work_breathes),
      lc_test_case(test_errors_name_their_line),
      lc_test_case(test_stop_stops_at_its_record),
      lc_test_case(test_errors_are_cut),
      lc_test_case(test_record_kept_for_the_next_batch_raises),
      lc_test_case(test_full_extra_arena),
      lc_test_case(test_stage_outlives_its_generation),
      lc_test_case(test_nothing_is_made_after_the_generation),
      cmocka_unit_test(test_nearest_name),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
