/* Budgets of Lua code: what is interrupted, when, what it is charged to, and what is quarantined. */
#include <stdlib.h>
#include <string.h>

#include "support/lua_bench.h"

#include "base/clock.h"
#include "record/fields.h"

#define MIB ((size_t)1 << 20)

static void numbered(int i, char text[64]) { snprintf(text, 64, "line %d", i); }

static const char *dead_of(const lc_lua_bench *b, uint32_t record, char ret[1024]) {
  return lc_lua_bench_dead(b->batch, record, ret);
}

static void expect_dead(const lc_lua_bench *b, uint32_t record, const char *reason) {
  char dead[1024];
  if (strstr(dead_of(b, record, dead), reason) == NULL) fail_msg("record %u: \"%s\"", record, dead);
}

/* --- time --- */

/* A body on "line 1" of three is interrupted, at its line; the others are not. Returns the time that it had. */
static int64_t interrupt(lc_test *test, const char *body, int64_t limit_ns) {
  lc_lua_bench b;
  char chunk[2000];
  lc_lua_bench_state(test, &b);
  snprintf(chunk, sizeof chunk, "return function(rec)\n if rec.message == 'line 1' then\n%s\nend\n rec.ok = true end", body);
  b.stage = lc_lua_bench_stage(&b, chunk, &(lc_lua_stage_options){.time_ns = limit_ns});
  lc_lua_bench_lines(&b, 3, numbered);
  int64_t began = lc_test_cpu();
  assert_int_equal(lc_lua_bench_run(&b, b.stage, NULL), 0);
  int64_t took = lc_test_cpu() - began;
  assert_int_equal(b.batch->n_dead, 1);
  expect_dead(&b, 1, "test.lua:");
  expect_dead(&b, 1, "this record has been in hand for ");
  assert_int_equal(b.batch->records[0].n_fields, 1);
  assert_int_equal(b.batch->records[1].n_fields, 0);
  assert_int_equal(b.batch->records[2].n_fields, 1);
  lc_lua_bench_end(&b);
  return took;
}

/* What the host of a virtual machine takes from it is in its processor time: so once in three is enough. */
static void expect_interrupted(lc_test *test, const char *body, int64_t limit_ns) {
  int64_t took = 0;
  for (int i = 0; i < 3; i++) {
    took = interrupt(test, body, limit_ns);
    if (took >= limit_ns && took <= limit_ns + 50 * LC_MILLISECOND) return;
    if (took < limit_ns) break;
  }
  fail_msg("interrupted after %lld us of %lld: %s", (long long)(took / 1000), (long long)(limit_ns / 1000), body);
}

static const char *const endless[] = {
    "while true do end",
    "local n = 0 while true do n = n + 1 end",
    "while true do pcall(function() while true do end end) end",
    "pcall(function() pcall(function() pcall(function() while true do end end) while true do end end) end)",
    "coroutine.wrap(function() while true do end end)()",
    "local co = coroutine.wrap(function() while true do coroutine.yield() end end) while true do co() end",
    "while true do pcall(coroutine.wrap(function() while true do end end)) end",
    "local t = {} for i = 1, 2000 do t[i] = i * 7 % 2003 end\n"
    "while true do table.sort(t, function(a, b) return (a * 31) % 97 < (b * 31) % 97 end) end",
    "while true do local t = {} for i = 1, 100 do t[i] = { i } end end",
    "local s = '' while true do s = (s .. 'x'):sub(-100) end",
    "while true do string.gsub('abc', '.', function() end) end",
    "while true do rec.x = 1 end",
    "for k in function() return 1 end do rec.x = k end",
    "local ffi = require 'ffi' local n = ffi.new('int[1]') while true do n[0] = n[0] + 1 end",
    "error(setmetatable({}, { __tostring = function() while true do end end }))",
};

static void test_endless_functions_are_interrupted(void **state) {
  if (LC_SIGNALS_WAIT) skip();
  for (size_t i = 0; i < sizeof endless / sizeof *endless; i++) {
    expect_interrupted(*state, endless[i], 60 * LC_MILLISECOND);
  }
}

/* The limit is on each record, not on the batch. */
static void test_many_records_take_their_time(void **state) {
  lc_lua_bench b;
  lc_lua_bench_state(*state, &b);
  b.stage = lc_lua_bench_stage(&b, "local clock = os.clock\n"
                                   "return function() local t = clock() + 0.004 while clock() < t do end end",
                               &(lc_lua_stage_options){.time_ns = 50 * LC_MILLISECOND});
  lc_lua_bench_lines(&b, 100, numbered);
  assert_int_equal(lc_lua_bench_run(&b, b.stage, NULL), 0);
  assert_int_equal(b.batch->n_dead, 0);
  lc_lua_bench_end(&b);
}

static void test_no_limit(void **state) {
  lc_lua_bench b;
  lc_lua_bench_state(*state, &b);
  b.stage = lc_lua_bench_stage(&b, "local clock = os.clock\n"
                                   "return function() local t = clock() + 0.2 while clock() < t do end end",
                               &(lc_lua_stage_options){.time_ns = 0});
  b.state->budget.time_ns = LC_MILLISECOND;
  lc_lua_bench_lines(&b, 1, numbered);
  assert_int_equal(lc_lua_bench_run(&b, b.stage, NULL), 0);
  assert_int_equal(b.batch->n_dead, 0);
  lc_lua_bench_end(&b);
}

/* A state that is not the owner has no machine code, and looks every so many instructions. */
static void test_state_that_is_not_the_owner(void **state) {
  lc_lua_bench b, owner;
  lc_lua_bench_state(*state, &b);
  lc_lua_bench_state(*state, &owner);
  b.stage = lc_lua_bench_stage(&b, "return function(rec) if rec.message == 'line 1' then while true do end end end",
                               &(lc_lua_stage_options){.time_ns = 60 * LC_MILLISECOND});
  int64_t took = INT64_MAX;
  for (int i = 0; i < 3 && took > 110 * LC_MILLISECOND; i++) {
    lc_lua_bench_lines(&b, 3, numbered);
    int64_t began = lc_test_cpu();
    assert_int_equal(lc_lua_bench_run(&b, b.stage, NULL), 0);
    took = lc_test_cpu() - began;
    assert_int_equal(b.batch->n_dead, 1);
    expect_dead(&b, 1, "in hand for ");
  }
  assert_true(took >= 60 * LC_MILLISECOND && took <= 110 * LC_MILLISECOND);
  lc_lua_bench_end(&owner);
  lc_lua_bench_end(&b);
}

static int call(lc_state *state, const char *chunk, lc_budget_kind kind, int64_t limit_ns, lc_error *error) {
  lc_budget_call budget;
  assert_int_equal(luaL_loadbuffer(state->L, chunk, strlen(chunk), "@call.lua"), 0);
  lc_budget_begin(state, &budget, kind, limit_ns);
  int rc = lc_state_call(state, 0, 0, error);
  lc_budget_end(state, &budget);
  assert_int_equal(lua_gettop(state->L), 0);
  return rc;
}

static void test_any_call(void **state) {
  if (LC_SIGNALS_WAIT) skip();
  lc_lua_bench b;
  lc_error error = {0};
  lc_lua_bench_state(*state, &b);
  for (int i = 0; i < 3; i++) {
    assert_int_not_equal(call(b.state, "\nlocal n = 0 while true do n = n + 1 end", LC_BUDGET_CALL,
                              50 * LC_MILLISECOND, &error), 0);
    assert_non_null(strstr(error.message, "call.lua:2: this call has taken "));
    assert_int_equal(call(b.state, "for i = 1, 100 do tostring(i) end", LC_BUDGET_CALL, LC_SECOND, &error), 0);
  }
  lc_lua_bench_end(&b);
}

static lc_state *nested_state;
static int nested(lua_State *L) {
  lc_error error = {0};
  lc_budget_call budget;
  lua_pushvalue(L, 1);
  lc_budget_begin(nested_state, &budget, LC_BUDGET_CALL, 50 * LC_MILLISECOND);
  bool stopped = lc_state_call(nested_state, 0, 0, &error) != 0;
  lc_budget_end(nested_state, &budget);
  lua_pushboolean(L, stopped);
  return 1;
}

/* The inner one ends by its own limit, which the outer one survives; the outer's own still holds. */
static void test_nested_calls(void **state) {
  if (LC_SIGNALS_WAIT) skip();
  lc_lua_bench b;
  lc_error error = {0};
  lc_lua_bench_state(*state, &b);
  nested_state = b.state;
  lua_pushcfunction(b.state->L, nested);
  lua_setglobal(b.state->L, "nested");
  assert_int_equal(call(b.state, "assert(nested(function() while true do end end)) assert(not nested(function() end))",
                        LC_BUDGET_CALL, 500 * LC_MILLISECOND, &error), 0);
  assert_int_not_equal(call(b.state, "while true do nested(function() while true do end end) end", LC_BUDGET_CALL,
                            200 * LC_MILLISECOND, &error), 0);
  assert_non_null(strstr(error.message, "this call has taken "));
  lc_lua_bench_end(&b);
}

/* What no hook reaches is told and counted. */
static void test_what_cannot_be_interrupted_shows(void **state) {
  if (LC_SIGNALS_WAIT) skip();
  lc_lua_bench b;
  lc_error error = {0};
  lc_lua_bench_state(*state, &b);
  assert_int_equal(atomic_load(&b.state->budget.stuck), 0);
  assert_int_not_equal(call(b.state, "xpcall(function() while true do end end, function() local t = os.clock() + 2.3 while os.clock() < t do end end)\n"
                                     "while true do end", LC_BUDGET_CALL, 50 * LC_MILLISECOND, &error), 0);
  assert_int_equal(atomic_load(&b.state->budget.stuck), 1);
  assert_int_equal(atomic_load(&b.state->budget.overdue_since_ns), 0);
  lc_lua_bench_end(&b);
}

/* --- quarantine --- */

static void trip_often(lc_test *test, lc_on_error quarantine, lc_lua_bench *b, int *ret_rc) {
  lc_lua_bench_state(test, b);
  b->stage = lc_lua_bench_stage(b, "return function(rec) if rec.message ~= 'line 0' then while true do end end\n"
                                   "rec.ok = true end",
                                &(lc_lua_stage_options){.name = "bad", .quarantine = quarantine,
                                                        .time_ns = 10 * LC_MILLISECOND});
  lc_lua_bench_lines(b, 20, numbered);
  *ret_rc = lc_lua_bench_run(b, b->stage, &(lc_error){0});
  assert_int_equal(b->batch->records[0].n_fields, 1);
  const lua_stage *lua = (const lua_stage *)b->stage;
  assert_true(lua->quarantined);
  assert_int_equal(lua->trips.n, 5);
  for (uint32_t i = 1; i <= 5; i++) expect_dead(b, i, "test.lua:1: this record has been in hand");
}

static void test_five_trips_are_too_many(void **state) {
  if (LC_SIGNALS_WAIT) skip();
  lc_lua_bench b;
  int rc = 0;
  trip_often(*state, LC_ON_ERROR_DLQ, &b, &rc);
  assert_int_equal(rc, 0);
  assert_int_equal(b.batch->n_dead, 19);
  expect_dead(&b, 6, "the stage is quarantined: test.lua:1: this record");
  lc_lua_bench_lines(&b, 3, numbered); /* the next batch, too, even what would have been fine */
  assert_int_equal(lc_lua_bench_run(&b, b.stage, NULL), 0);
  assert_int_equal(b.batch->n_dead, 3);
  lc_lua_bench_end(&b);
}

static void test_quarantine_passes(void **state) {
  if (LC_SIGNALS_WAIT) skip();
  lc_lua_bench b;
  int rc = 0;
  trip_often(*state, LC_ON_ERROR_PASS, &b, &rc);
  assert_int_equal(rc, 0);
  assert_int_equal(b.batch->n_dead, 5);
  assert_true(lc_record_live(&b.batch->records[6]));
  assert_int_equal(b.batch->records[6].n_fields, 0);
  assert_int_equal(atomic_load(&b.stage->resource.records_out), 15);
  lc_lua_bench_end(&b);
}

static void test_quarantine_drops(void **state) {
  if (LC_SIGNALS_WAIT) skip();
  lc_lua_bench b;
  int rc = 0;
  trip_often(*state, LC_ON_ERROR_DROP, &b, &rc);
  assert_int_equal(rc, 0);
  assert_int_equal(b.batch->n_dead, 5);
  assert_int_equal(b.batch->tally.dropped[LC_DROP_ERROR], 14);
  lc_lua_bench_end(&b);
}

static void test_quarantine_stops(void **state) {
  if (LC_SIGNALS_WAIT) skip();
  lc_lua_bench b;
  int rc = 0;
  trip_often(*state, LC_ON_ERROR_STOP, &b, &rc);
  assert_int_equal(rc, LC_ECANCELED);
  assert_int_equal(b.batch->n_dead, 5);
  lc_lua_bench_end(&b);
}

static void test_trips_are_forgotten(void **state) {
  (void)state;
  lc_trips trips = {0};
  for (int i = 0; i < 100; i++) assert_false(lc_trips_add(&trips, (1000 + i * 16) * LC_SECOND));
  for (int i = 0; i < 4; i++) assert_false(lc_trips_add(&trips, (10000 + i) * LC_SECOND));
  assert_true(lc_trips_add(&trips, 10060 * LC_SECOND));
}

/* --- memory --- */

/* What dies with the call is charged to its record, and nothing else happens. */
static void test_memory_of_one_call(void **state) {
  lc_lua_bench b;
  lc_lua_bench_state(*state, &b);
  b.state->heap.limit = 16 * MIB;
  b.stage = lc_lua_bench_stage(&b, "return function(rec) if rec.message == 'line 1' then local t = {}\n"
                                   "while true do t[#t + 1] = {} end end rec.ok = true end",
                               &(lc_lua_stage_options){.time_ns = 10 * LC_SECOND});
  lc_lua_bench_lines(&b, 3, numbered);
  assert_int_equal(lc_lua_bench_run(&b, b.stage, NULL), 0);
  assert_int_equal(b.batch->n_dead, 1);
  expect_dead(&b, 1, "test.lua:2: the memory of the Lua functions is at its limit of 16 MiB");
  assert_int_equal(b.batch->records[2].n_fields, 1);
  const lua_stage *lua = (const lua_stage *)b.stage;
  assert_false(lua->quarantined);
  assert_int_equal(lua->starved, 1);
  assert_true(atomic_load(&b.state->heap.peak) < 24 * MIB);
  lc_lua_bench_end(&b);
}

/* Two stages share a state, and one keeps all it sees: it is quarantined, whichever of them meets the limit; the other
 * one's record is tried again. */
static void test_who_grew_the_heap_is_quarantined(void **state) {
  lc_lua_bench b;
  lc_lua_bench_state(*state, &b);
  b.state->heap.limit = 16 * MIB;
  b.stage = lc_lua_bench_stage(&b, "return function(rec) local t = {} for i = 1, 3000 do t[i] = i end\n"
                                   "rec.ok = #t end",
                               &(lc_lua_stage_options){.name = "innocent", .time_ns = 10 * LC_SECOND});
  lc_stage *leaks = lc_lua_bench_stage(&b, "local kept = {}\n"
                                           "return function(rec) kept[#kept + 1] = ('x'):rep(1000) .. #kept end",
                                       &(lc_lua_stage_options){.name = "leaks", .time_ns = 10 * LC_SECOND});
  const lua_stage *innocent = (const lua_stage *)b.stage, *guilty = (const lua_stage *)leaks;
  uint32_t dead = 0;
  for (int batch = 0; batch < 100; batch++) {
    lc_lua_bench_lines(&b, 500, numbered);
    assert_int_equal(lc_lua_bench_run(&b, b.stage, NULL), 0);
    for (uint32_t i = 0; i < 500; i++) assert_int_equal(b.batch->records[i].n_fields, 1);
    assert_int_equal(b.batch->n_dead, 0);
    assert_int_equal(lc_lua_bench_run(&b, leaks, NULL), 0);
    dead += b.batch->n_dead;
  }
  assert_true(guilty->quarantined);
  assert_false(innocent->quarantined);
  assert_int_equal(innocent->starved, 0);
  assert_true(dead > 500);
  (void)lua_gc(b.state->L, LUA_GCCOLLECT, 0);
  assert_true(lc_heap_used(&b.state->heap) < 8 * MIB); /* what it kept has gone with it */
  lc_resource_release(&leaks->resource);
  lc_lua_bench_end(&b);
}

static void test_memory_without_limit(void **state) {
  lc_lua_bench b;
  lc_error error = {0};
  lc_lua_bench_state(*state, &b);
  b.state->heap.limit = LC_HEAP_UNLIMITED;
  assert_int_equal(call(b.state, "local t = {} for i = 1, 3e6 do t[i] = { } end", LC_BUDGET_CALL, 0, &error), 0);
  lc_lua_bench_end(&b);
}

static void test_any_call_and_memory(void **state) {
  lc_lua_bench b;
  lc_error error = {0};
  lc_lua_bench_state(*state, &b);
  b.state->heap.limit = 16 * MIB;
  for (int i = 0; i < 3; i++) {
    assert_int_not_equal(call(b.state, "local t = {} while true do pcall(function() t[#t + 1] = {} end) end",
                              LC_BUDGET_CALL, 0, &error), 0);
    assert_non_null(strstr(error.message, "call.lua:1: the memory"));
    assert_int_equal(call(b.state, "local t = {} for i = 1, 1000 do t[i] = {} end", LC_BUDGET_CALL, 0, &error), 0);
  }
  lc_lua_bench_end(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_endless_functions_are_interrupted),
      lc_test_case(test_many_records_take_their_time),
      lc_test_case(test_no_limit),
      lc_test_case(test_state_that_is_not_the_owner),
      lc_test_case(test_any_call),
      lc_test_case(test_nested_calls),
      lc_test_case(test_what_cannot_be_interrupted_shows),
      lc_test_case(test_five_trips_are_too_many),
      lc_test_case(test_quarantine_passes),
      lc_test_case(test_quarantine_drops),
      lc_test_case(test_quarantine_stops),
      cmocka_unit_test(test_trips_are_forgotten),
      lc_test_case(test_memory_of_one_call),
      lc_test_case(test_who_grew_the_heap_is_quarantined),
      lc_test_case(test_memory_without_limit),
      lc_test_case(test_any_call_and_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
