/* Sessions of the prompt in a generation's state: outcomes, a chunk that waits, and lifetimes. What the prompt offers is
 * the business of tests/e2e/test_repl.py, how values look that of spec/printer_spec.lua. */
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

#include "bind/repl.h"

typedef struct bench {
  lc_runtime runtime;
  lc_generation *generation;
  lc_engine *engine; /* without a pipeline */
} bench;

static void begin(lc_test *test, bench *b) {
  static const char text[] =
      "local logcap = require 'logcap'\n"
      "limits = { large = 5, list = {} }\n"
      "app = logcap.stdin_monitor { name = 'lines' }\n"
      "logcap.pipeline { name = 'p', from = app, to = logcap.null_sink {} }\n";
  lc_error error = {0};
  lc_test_write(test, "p.lua", text, sizeof text - 1);
  const char *file = lc_test_path(test, "p.lua");
  *b = (bench){.runtime = {.loop = &test->loop, .registry = test->registry, .state_dir = test->dir}};
  if (lc_generation_load(&file, 1, test->registry, &(lc_generation_options){0}, &b->generation, &error) != 0) {
    fail_msg("%s", error.message);
  }
  assert_int_equal(lc_engine_create(&b->runtime, &b->engine, &error), 0);
}

static lc_repl *open_session(bench *b) {
  lc_error error = {0};
  lc_repl *repl = NULL;
  if (lc_repl_create(b->generation, b->engine, &repl, &error) != 0) fail_msg("%s", error.message);
  return repl;
}

static void end(bench *b) {
  lc_engine_destroy(b->engine);
  lc_generation_destroy(b->generation);
}

static void assert_outcome(lc_repl_outcome *outcome, lc_repl_kind kind, const char *part) {
  assert_int_equal(outcome->kind, kind);
  const char *text = lc_buf_cstr(&outcome->text);
  if (strstr(text, part) == NULL) fail_msg("\"%s\" is not in %.2000s", part, text);
  lc_repl_outcome_deinit(outcome);
}

static void assert_eval(lc_repl *repl, const char *code, lc_repl_kind kind, const char *part) {
  lc_repl_outcome outcome = {0};
  lc_repl_eval(repl, code, strlen(code), false, &outcome);
  assert_outcome(&outcome, kind, part);
}

static void test_outcomes(void **state) {
  bench b;
  begin(*state, &b);
  lc_repl *repl = open_session(&b);
  assert_eval(repl, "limits.large + 1", LC_REPL_DONE, "6");
  assert_eval(repl, "x = 5", LC_REPL_DONE, "");
  assert_eval(repl, "x", LC_REPL_DONE, "5");
  assert_eval(repl, "local y = x.z.z", LC_REPL_ERROR, "repl:1: attempt to index global 'x' (a number value)");
  assert_eval(repl, "error({ 1 })", LC_REPL_ERROR, "{ 1 }");
  assert_eval(repl, "a b", LC_REPL_ERROR, "repl:1:");
  assert_eval(repl, "if x then", LC_REPL_INCOMPLETE, "'end' expected");
  assert_eval(repl, "[[a", LC_REPL_INCOMPLETE, "unfinished long string");
  assert_eval(repl, "coroutine.yield()", LC_REPL_ERROR, "nobody would resume it");
  assert_eval(repl, "io", LC_REPL_DONE, "nil"); /* it sees what pipeline files see */
  assert_eval(repl, "getfenv or debug or package", LC_REPL_DONE, "nil");
  assert_eval(repl, "app", LC_REPL_DONE, "stdin_monitor \"lines\"");
  lc_repl_outcome outcome = {0};
  lc_repl_eval(repl, "print(1, 'a') print() return 2", 30, false, &outcome);
  assert_string_equal(lc_buf_cstr(&outcome.printed), "1\ta\n");
  assert_outcome(&outcome, LC_REPL_DONE, "2");
  lc_repl_destroy(repl);
  end(&b);
}

static void test_json(void **state) {
  bench b;
  begin(*state, &b);
  lc_repl *repl = open_session(&b);
  lc_repl_outcome outcome = {0};
  lc_repl_eval(repl, "return { a = 1 }, 'x'", 21, true, &outcome);
  assert_string_equal(lc_buf_cstr(&outcome.text), "{\"a\":1}\n\"x\"");
  assert_outcome(&outcome, LC_REPL_DONE, "");
  lc_repl_eval(repl, "return print", 12, true, &outcome);
  assert_outcome(&outcome, LC_REPL_ERROR, "a function cannot be JSON");
  lc_repl_eval(repl, "('x'):rep(2000000)", 18, true, &outcome);
  assert_outcome(&outcome, LC_REPL_ERROR, "more than 1 MiB");
  lc_repl_eval(repl, "('x'):rep(2000000)", 18, false, &outcome);
  assert_true(outcome.text.len < LC_REPL_TEXT_MAX);
  assert_outcome(&outcome, LC_REPL_DONE, "xxx...");
  const char many[] = "local s = ('x'):rep(250000) return s, s, s, s, s, s, s, s";
  lc_repl_eval(repl, many, sizeof many - 1, false, &outcome);
  assert_true(outcome.text.len < LC_REPL_TEXT_MAX + 100);
  assert_outcome(&outcome, LC_REPL_DONE, "cut at 1 MiB");
  lc_repl_destroy(repl);
  end(&b);
}

static void test_a_chunk_waits_for_a_reload(void **state) {
  bench b;
  begin(*state, &b);
  lc_repl *repl = open_session(&b);
  lc_repl_outcome outcome = {0};
  assert_eval(repl, "local ok, why = pcall(reload) return 'goes on', why", LC_REPL_RELOAD, "");
  lc_repl_resume(repl, "p.lua:3: no", &outcome);
  assert_outcome(&outcome, LC_REPL_DONE, "goes on\np.lua:3: no");
  assert_eval(repl, "reload()", LC_REPL_RELOAD, "");
  lc_repl_resume(repl, "p.lua:4: no", &outcome);
  assert_outcome(&outcome, LC_REPL_ERROR, "p.lua:4: no");
  assert_eval(repl, "pcall(reload) reload()", LC_REPL_RELOAD, "");
  lc_repl_resume(repl, "once", &outcome);
  assert_outcome(&outcome, LC_REPL_RELOAD, "");
  lc_repl_destroy(repl); /* it waits for ever: nothing is left of it */
  end(&b);
}

/* What a session offers ends with it, whoever has kept it; and the state lives no longer than its generation. */
static void test_offers_end_with_the_session(void **state) {
  bench b;
  begin(*state, &b);
  lc_repl *one = open_session(&b), *two = open_session(&b);
  assert_eval(one, "x = 1 _G.kept = pipelines _G.co = coroutine.wrap(function() coroutine.yield(audit()) end)",
              LC_REPL_DONE, "");
  assert_eval(two, "x", LC_REPL_DONE, "nil");
  assert_eval(two, "kept()", LC_REPL_ERROR, "this is for the prompt, while a chunk of its runs"); /* it is one's */
  assert_eval(one, "kept()", LC_REPL_DONE, "");
  lc_repl_destroy(one);
  assert_eval(two, "kept()", LC_REPL_ERROR, "this is for the prompt");
  assert_eval(two, "co()", LC_REPL_ERROR, "this is for the prompt");
  lc_repl_destroy(two);
  end(&b);
}

static void assert_words(lc_repl *repl, const char *line, const char *expected) {
  lc_buf words = {0};
  lc_error error = {0};
  if (lc_repl_complete(repl, line, strlen(line), &words, &error) != 0) fail_msg("%s", error.message);
  if (strcmp(lc_buf_cstr(&words), expected) != 0) fail_msg("%s: %s", line, lc_buf_cstr(&words));
  lc_buf_free(&words);
}

static void test_completion(void **state) {
  bench b;
  begin(*state, &b);
  lc_repl *repl = open_session(&b);
  assert_eval(repl, "mine = setmetatable({ one = 1 }, { __index = { two = 2 } })", LC_REPL_DONE, "");
  assert_eval(repl, "wild = setmetatable({}, { __index = error, __pairs = error })", LC_REPL_DONE, "");
  assert_words(repl, "limi", "{\"from\":0,\"words\":[\"limits\"]}");
  assert_words(repl, "x = limits.l", "{\"from\":11,\"words\":[\"large\",\"list\"]}");
  assert_words(repl, "mine.", "{\"from\":5,\"words\":[\"one\",\"two\"]}");
  assert_words(repl, "mine.t", "{\"from\":5,\"words\":[\"two\"]}");
  assert_words(repl, "wild.", "{\"from\":5,\"words\":[]}");
  assert_words(repl, "wild.a.b", "{\"from\":7,\"words\":[]}");
  assert_words(repl, "nothing.a", "{\"from\":8,\"words\":[]}");
  assert_words(repl, "app:c", "{\"from\":4,\"words\":[\"close\"]}");
  assert_words(repl, "logcap.file_", "{\"from\":7,\"words\":[\"file_monitor\",\"file_sink\"]}");
  assert_words(repl, "resource('li", "{\"from\":10,\"words\":[\"lines\"]}");
  assert_words(repl, "resource(\"lines\"):st", "{\"from\":18,\"words\":[\"state\",\"stats\"]}");
  assert_words(repl, "whil", "{\"from\":0,\"words\":[\"while\"]}");
  char line[300]; /* only its end is looked at */
  memset(line, 'x', sizeof line);
  strcpy(line + 280, " limits.la");
  assert_words(repl, line, "{\"from\":288,\"words\":[\"large\"]}");
  assert_words(repl, "5 ", "{\"from\":2,\"words\":[]}");
  lc_repl_destroy(repl);
  end(&b);
}

static void test_without_memory(void **state) {
  bench b;
  begin(*state, &b);
  lc_error error = {0};
  lc_repl *repl = NULL;
  lc_fault_after(1);
  assert_int_equal(lc_repl_create(b.generation, b.engine, &repl, &error), LC_ENOMEM);
  assert_true(lc_fault_off());
  assert_null(repl);
  repl = open_session(&b);
  for (unsigned n = 1;; n++) { /* the buffers; Lua has its own memory */
    lc_repl_outcome outcome = {0};
    lc_fault_after(n);
    lc_repl_eval(repl, "print('x') return 1, audit()", 28, false, &outcome);
    bool failed = lc_fault_off();
    if (failed) assert_int_equal(outcome.kind, LC_REPL_ERROR);
    else assert_int_equal(outcome.kind, LC_REPL_DONE);
    lc_repl_outcome_deinit(&outcome);
    if (!failed) break;
  }
  lc_repl_destroy(repl);
  end(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_outcomes),
      lc_test_case(test_json),
      lc_test_case(test_a_chunk_waits_for_a_reload),
      lc_test_case(test_offers_end_with_the_session),
      lc_test_case(test_completion),
      lc_test_case(test_without_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
