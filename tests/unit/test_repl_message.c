/* Messages of the prompt's sessions: what is one, and that whatever else comes is refused. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "app/repl_message.h"

static void assert_message(const char *text, lc_repl_verb verb, const char *expected, bool json) {
  lc_repl_message message;
  lc_error error = {0};
  if (lc_repl_message_parse(text, strlen(text), &message, &error) != 0) fail_msg("%s: %s", text, error.message);
  assert_int_equal(message.verb, verb);
  assert_int_equal(message.json, json);
  assert_int_equal(message.text.len, strlen(expected));
  assert_memory_equal(message.text.data, expected, message.text.len);
  lc_repl_message_deinit(&message);
}

static void test_messages(void **state) {
  (void)state;
  assert_message("{\"eval\":\"1 + 1\"}", LC_REPL_EVAL, "1 + 1", false);
  assert_message("{\"eval\":\"\"}", LC_REPL_EVAL, "", false);
  assert_message("{\"json\":true,\"eval\":\"a\\nb\\u00e4\"}", LC_REPL_EVAL, "a\nb\xc3\xa4", true);
  assert_message(" \t{ \"eval\" : \"x\" , \"json\" : false } \r", LC_REPL_EVAL, "x", false);
  assert_message("{\"complete\":\"res\"}", LC_REPL_COMPLETE, "res", false);
  assert_message("{\"ev\\u0061l\":\"x\"}", LC_REPL_EVAL, "x", false);
}

static void test_anything_else(void **state) {
  (void)state;
  static const char *const texts[] = {
      "", " ", "{", "}", "{}", "[]", "1", "\"eval\"", "{\"eval\"}", "{\"eval\":}", "{\"eval\":1}", "{\"eval\":\"x\"",
      "{\"eval\":\"x\"}}", "{\"eval\":\"x\"},", "{\"eval\":\"x\",}", "{\"eval\":\"x\",\"eval\":\"y\"}",
      "{\"eval\":\"x\",\"complete\":\"y\"}", "{\"eval\":\"x\",\"json\":1}", "{\"json\":true}", "{\"run\":\"x\"}",
      "{\"eval\":[\"x\"]}", "{\"eval\":\"\xff\"}", "{\"eval\":\"x\n\"}", "{\"eval\":\"\\q\"}", "\xef\xbb\xbf{\"eval\":\"x\"}",
  };
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    lc_repl_message message;
    lc_error error = {0};
    if (lc_repl_message_parse(texts[i], strlen(texts[i]), &message, &error) != LC_EINVAL) fail_msg("%s", texts[i]);
    assert_non_null(strstr(error.message, "no message of a session"));
  }
}

static void test_without_memory(void **state) {
  (void)state;
  static const char text[] = "{\"eval\":\"1\"}";
  for (unsigned n = 1;; n++) {
    lc_repl_message message;
    lc_error error = {0};
    lc_fault_after(n);
    int rc = lc_repl_message_parse(text, sizeof text - 1, &message, &error);
    if (!lc_fault_off()) {
      assert_int_equal(rc, 0);
      lc_repl_message_deinit(&message);
      break;
    }
    assert_int_equal(rc, LC_ENOMEM);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_messages),
      cmocka_unit_test(test_anything_else),
      cmocka_unit_test(test_without_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
