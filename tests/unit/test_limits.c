/* Interrupts Lua functions at random places, for time and for memory, and looks whether everything else is exact: a
 * record is either as its function leaves it, or a dead letter as it came.
 *
 * 300 trips; LOGCAP_TRIPS=10000 is the long form (scripts/limits-test), LOGCAP_SEED=N repeats a run. */
#include <stdlib.h>
#include <string.h>

#include "support/lua_bench.h"

#include "base/clock.h"
#include "record/fields.h"

#define RECORDS 24
#define TRIPS_A_BATCH 4 /* a fifth would put the stage into quarantine */
#define TIME_LIMIT (3 * LC_MILLISECOND)
#define MEMORY_LIMIT (12u << 20)

/* Functions of a number. Odd lines are fine and return a result that is known; the others never end, or take memory
 * without end. */
static const char kinds[] =
    "local fine = {\n"
    "  function(n) local s = 0 for i = 1, n do s = s + i % 7 end return s end,\n"
    "  function(n) local t = {} for i = 1, n % 100 do t[i] = n - i end table.sort(t) return t[1] or 0 end,\n"
    "  function(n) local t = {} for i = 1, 40 do t[i] = tostring(i * n) end return table.concat(t, ',') end,\n"
    "  function(n) return (('x'):rep(n % 50 + 1):gsub('x', 'yz')) end,\n"
    "  function(n) local co = coroutine.wrap(function(a) local b = coroutine.yield(a + 1) return b * 2 end)\n"
    "    return co(n) + co(n) end,\n"
    "  function(n) local ok, e = pcall(error, { n = n }) return e.n end,\n"
    "  function(n) local o = setmetatable({}, { __index = function(_, k) return k .. n end }) return o.a .. o.b end,\n"
    "  function(n) return string.format('%5d|%-8s|%.3f', n, 'v' .. n, n / 3) end,\n"
    "}\n"
    "local function forever(n) local x = n while true do x = x + 1 if x > 1e15 then x = 0 end end end\n"
    "local endless = {\n"
    "  forever,\n"
    "  function(n) while true do pcall(forever, n) end end,\n"
    "  function(n) pcall(function() pcall(function() pcall(forever, n) end) forever(n) end) forever(n) end,\n"
    "  function(n) local co = coroutine.wrap(function() forever(n) end) while true do pcall(co) end end,\n"
    "  function(n) local co = coroutine.create(function() while true do coroutine.yield(n) end end)\n"
    "    while true do coroutine.resume(co) end end,\n"
    "  function(n) while true do local t = {} for i = 1, 100 do t[i] = (i * n) % 101 end\n"
    "    table.sort(t, function(a, b) return a < b end) end end,\n"
    "  function(n) while true do local t = {} for i = 1, 50 do t[#t + 1] = { i, tostring(i) } end end end,\n"
    "  function(n) local s = '' while true do s = (s .. n):sub(-40) end end,\n"
    "  function(n) while true do string.gsub('abcdefgh', '%w', function(c) return c:upper() end) end end,\n"
    "  function(n) repeat local ok = pcall(string.rep) until ok end,\n"
    "  function(n, rec) while true do rec.x = rec.message rec.y = n end end,\n"
    "  function(n, rec) while true do for k, v in rec:pairs() do n = k end end end,\n"
    "  function(n, rec) while true do pcall(rec.set, rec, 'a', 'b', n) end end,\n"
    "  function(n) local function f(k) return f(k + 1) end f(1) end,\n"
    "  function(n) local function f(k) if k == 0 then return 0 end return 1 + f(k - 1) end\n"
    "    while true do f(n % 150) end end,\n"
    "  function(n) while true do setmetatable({}, { __tostring = function() return 'x' end }) end end,\n"
    "  function(n) while true do local m = setmetatable({}, { __add = function(a, b) return b end }) m = m + 1 end end,\n"
    "  function(n) for i in function() return true end do n = i end end,\n"
    "  function(n) local t = { 1, 2, 3 } while true do for k, v in pairs(t) do t[k] = v + 1 end end end,\n"
    "  function(n) error(setmetatable({}, { __tostring = function() forever(n) end })) end,\n"
    "  function(n) while true do load('return ' .. n % 1000)() n = n + 1 end end,\n"
    "  function(n) local t = {} while true do t[tostring(n % 500)] = n n = n + 1 end end,\n"
    "}\n"
    "local hungry = {\n"
    "  function(n) local t = {} while true do t[#t + 1] = n end end,\n"
    "  function(n) local t = {} while true do t[#t + 1] = { n } end end,\n"
    "  function(n) local t, i = {}, 0 while true do i = i + 1 t['k' .. i] = i end end,\n"
    "  function(n) local s = 'x' while true do s = s .. s end end,\n"
    "  function(n) local s = 'x' while true do s = s:gsub('.', '%0%0') end end,\n"
    "  function(n) local t = {} while true do t[#t + 1] = ('x'):rep(n % 9000 + #t) end end,\n"
    "  function(n) local t = {} while true do t[#t + 1] = tostring(#t + n) if #t % 5000 == 0 then\n"
    "    t[1] = table.concat(t) end end end,\n"
    "  function(n) local t = {} while true do pcall(function() while true do t = { t } end end) end end,\n"
    "  function(n) local t = {} while true do t[#t + 1] = coroutine.create(function() end) end end,\n"
    "  function(n) local t = {} while true do t[#t + 1] = function() return t end end end,\n"
    "  function(n) local s = 'x' while true do s = string.format('%s%s', s, s) end end,\n"
    "  function(n) local function f(t) return f({ t }) end f({}) end,\n"
    "  function(n) local t = {} while true do table.insert(t, 1 + #t, t) end end,\n"
    "  function(n) local co = coroutine.wrap(function() local t = {} while true do t[#t + 1] = 'v' .. #t end end)\n"
    "    while true do pcall(co) end end,\n"
    "  function(n) local s, u = ('x'):rep(5e6), 'y' for i = 1, 1e9 do if i > 200 then u = s end\n"
    "    local t = u..u..u..u..u..u..u..u..u..u..u..u..u..u..u..u..i end end,\n"
    "  function(n) local c = n for i = 1, 1e9 do if i > 200 then c = 1e8 end local t = ('x'):rep(c % 1e8 + 5e7) end end,\n"
    "  function(n) local s, u = ('x'):rep(5e6), 'y' for i = 1, 1e9 do if i > 200 then u = s end\n"
    "    local t = table.concat({ u, u, u, u, u, u, u, u, u, u, u, u, u, u, u, u, u, u }) end end,\n"
    "  function(n) local s, u = ('x'):rep(5e6), 'y' for i = 1, 1e9 do if i > 200 then u = s end\n"
    "    local t = ('%s%s%s%s%s%s%s%s%s%s%s%s%s%s'):format(u, u, u, u, u, u, u, u, u, u, u, u, u, u) end end,\n"
    "  function(n) local s = ('x'):rep(1e5) return s:gsub('x', s) end,\n"
    "}\n"
    "return function(rec)\n"
    "  local kind, n = rec.message:match('(%a+) (%d+)')\n"
    "  n = tonumber(n)\n"
    "  if kind == 'endless' then endless[n % #endless + 1](n, rec)\n"
    "  elseif kind == 'hungry' then hungry[n % #hungry + 1](n, rec) end\n"
    "  rec.result = fine[n % #fine + 1](n)\n"
    "end\n";

static unsigned seed;
static unsigned below(unsigned n) { return (unsigned)(rand_r(&seed)) % n; }

static uint32_t plan[RECORDS]; /* 0: fine; else it trips */

/* All trips of a batch are of one kind, so that the time limit can be out of the way of those for memory. */
static uint32_t make_plan(void) {
  uint32_t kind = 1 + below(2);
  memset(plan, 0, sizeof plan);
  for (int i = 0; i < TRIPS_A_BATCH; i++) plan[below(RECORDS)] = kind;
  return kind;
}

static void line(int i, char text[64]) {
  static const char *const words[] = {"fine", "endless", "hungry"};
  snprintf(text, 64, "%s %u", words[plan[i]], below(100000));
}

/* What the function makes of this line, computed by it in a state without limits. */
static void expect(lc_lua_bench *plain, const char *text, size_t len, char ret[512]) {
  lua_State *L = plain->state->L;
  lua_getglobal(L, "expected");
  lua_pushlstring(L, text, len);
  lc_error error = {0};
  if (lc_state_call(plain->state, 1, 1, &error) != 0) fail_msg("%s", error.message);
  snprintf(ret, 512, "%s", lua_tostring(L, -1));
  lua_pop(L, 1);
}

static void begin_plain(lc_test *test, lc_lua_bench *plain) {
  static const char *const wrapper[] = {"local fn = (function(...) ", kinds, " end)()\n",
                                        "function expected(message) local rec = { message = message } fn(rec)\n"
                                        "return tostring(rec.result) end\n"};
  char text[8192] = "";
  lc_error error = {0};
  for (size_t i = 0; i < 4; i++) strncat(text, wrapper[i], sizeof text - strlen(text) - 1);
  *plain = (lc_lua_bench){0};
  assert_int_equal(lc_state_create(&(lc_state_options){.registry = test->registry}, &plain->state, &error), 0);
  if (luaL_loadbuffer(plain->state->L, text, strlen(text), "@plain.lua") != 0) {
    fail_msg("%s", lua_tostring(plain->state->L, -1));
  }
  if (lc_state_call(plain->state, 0, 0, &error) != 0) fail_msg("%s", error.message);
}

static void check_fine(const lc_batch *batch, uint32_t i, const char *expected) {
  const lc_record *rec = &batch->records[i];
  uint32_t hint = 0;
  char dead[1024], got[512];
  if (!lc_record_live(rec)) {
    fail_msg("record %u, which is fine, failed: %s", i, lc_lua_bench_dead(batch, i, dead));
  }
  const lc_field *field = lc_record_find(batch, rec, "result", 6, &hint);
  assert_non_null(field);
  const char *value = lc_batch_at(batch, field->value);
  uint32_t len = field->value_len;
  bool quoted = *value == '"';
  snprintf(got, sizeof got, "%.*s", (int)(len - 2 * quoted), value + quoted);
  assert_string_equal(got, expected);
}

static void check_tripped(const lc_batch *batch, uint32_t i, const char *what) {
  const lc_record *rec = &batch->records[i];
  char dead[1024];
  assert_false(lc_record_live(rec));
  lc_lua_bench_dead(batch, i, dead);
  bool refused = plan[i] == 2 && strstr(dead, "not enough memory: a single value") != NULL;
  if (strstr(dead, what) == NULL && !refused) fail_msg("%.*s: %s", (int)rec->body_len, lc_batch_at(batch, rec->body), dead);
  assert_int_equal(rec->n_fields, 0); /* as it came */
}

static void test_random_trips(void **state) {
  if (LC_SIGNALS_WAIT) skip();
  const char *trips = getenv("LOGCAP_TRIPS"), *given = getenv("LOGCAP_SEED");
  unsigned wanted = trips != NULL ? (unsigned)atoi(trips) : 300, done = 0, late = 0, batches = 0;
  seed = given != NULL ? (unsigned)atoi(given) : (unsigned)lc_clock_wall();
  print_message("LOGCAP_SEED=%u\n", seed);
  lc_lua_bench b, plain;
  begin_plain(*state, &plain);
  lc_lua_bench_state(*state, &b);
  b.state->heap.limit = MEMORY_LIMIT;
  b.stage = lc_lua_bench_stage(&b, kinds, &(lc_lua_stage_options){.made_at = "test.lua:1", .time_ns = TIME_LIMIT});
  for (; done < wanted; batches++) {
    lua_stage *lua = (lua_stage *)b.stage;
    lua->trips = (lc_trips){0};
    lua->time_ns = make_plan() == 1 ? TIME_LIMIT : 30 * LC_SECOND;
    lc_lua_bench_lines(&b, RECORDS, line);
    lc_error error = {0};
    if (lc_lua_bench_run(&b, b.stage, &error) != 0) fail_msg("%s", error.message);
    assert_false(lua->quarantined);
    for (uint32_t i = 0; i < RECORDS; i++) {
      char expected[512];
      const lc_record *rec = &b.batch->records[i];
      if (plan[i] == 0) expect(&plain, lc_batch_at(b.batch, rec->body), rec->body_len, expected);
      if (plan[i] == 0) check_fine(b.batch, i, expected);
      else check_tripped(b.batch, i, plan[i] == 1 ? "longer than" : "at its limit");
      done += plan[i] != 0;
      late += plan[i] == 1;
    }
  }
  print_message("%u trips (%u for time, %u for memory) in %u batches\n", done, late, done - late, batches);
  lc_lua_bench_end(&b);
  lc_lua_bench_end(&plain);
}

int main(void) {
  const struct CMUnitTest tests[] = {lc_test_case(test_random_trips)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
