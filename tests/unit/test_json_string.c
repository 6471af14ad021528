/* Strings of JSON text: decoded, compared, and encoded, with jansson as the oracle. */
#include "record/json_text.h"

#include <stdio.h>
#include <stdlib.h>

#include "support/oracle.h"
#include "support/support.h"

static void assert_decodes(const char *inside, const char *wanted, size_t wanted_len) {
  char to[64];
  size_t n = lc_json_decode(inside, strlen(inside), to);
  assert_int_equal(n, wanted_len);
  assert_memory_equal(to, wanted, n);
  assert_true(lc_json_key_equals(inside, strlen(inside), true, wanted, wanted_len));
  assert_false(lc_json_key_equals(inside, strlen(inside), true, "never this", 10));
}

static void test_decode(void **state) {
  (void)state;
  assert_decodes("", "", 0);
  assert_decodes("plain", "plain", 5);
  assert_decodes("a\\n\\t\\r\\b\\f\\\"\\\\\\/z", "a\n\t\r\b\f\"\\/z", 10);
  assert_decodes("\\u0041\\u00e4\\u20ac", "A\xc3\xa4\xe2\x82\xac", 6);
  assert_decodes("\\ud83d\\ude00!", "\xf0\x9f\x98\x80!", 5);
  assert_decodes("\\ud83d", "\xef\xbf\xbd", 3);
  assert_decodes("\\ude00\\ud83d", "\xef\xbf\xbd\xef\xbf\xbd", 6);
  assert_decodes("\\ud83dx\\u0041", "\xef\xbf\xbdxA", 5);
  assert_decodes("\\ud83d\\u0041",
                 "\xef\xbf\xbd"
                 "A",
                 4);
  assert_decodes("\\u07ff\\u07ff", "\xdf\xbf\xdf\xbf", 4);
  assert_decodes("a\\u0000b", "a\0b", 3);
  assert_decodes("\xff\xfe", "\xff\xfe", 2);
}

static void assert_encodes(const char *bytes, size_t len, const char *wanted) {
  char to[LC_JSON_ENCODED(64)];
  assert_true(len <= 64);
  size_t n = lc_json_encode(bytes, len, to);
  assert_int_equal(n, strlen(wanted));
  assert_memory_equal(to, wanted, n);
  assert_int_equal(lc_json_encoded_len(bytes, len), n);
}

static void test_encode(void **state) {
  (void)state;
  assert_encodes("", 0, "\"\"");
  assert_encodes("0123456789abcdef0123456789\"x", 28, "\"0123456789abcdef0123456789\\\"x\"");
  assert_encodes("a\n\t\r\b\f\"\\/\x01\x1f\x7f\0z", 14, "\"a\\n\\t\\r\\b\\f\\\"\\\\/\\u0001\\u001f\x7f\\u0000z\"");
  assert_encodes("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
  assert_encodes(
      "a\xff"
      "b",
      3,
      "\"a\xef\xbf\xbd"
      "b\"");
  assert_encodes("\xc3", 1, "\"\xef\xbf\xbd\"");                                 /* cut */
  assert_encodes("\xc0\x80", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"");                 /* overlong */
  assert_encodes("\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""); /* a surrogate */
  assert_encodes("\xf4\x90\x80\x80", 1, "\"\xef\xbf\xbd\"");
}

/* What is encoded is what the oracle decodes. */
static void test_encode_random(void **state) {
  (void)state;
  uint32_t seed = 7;
  for (int round = 0; round < 20000; round++) {
    char bytes[64], text[LC_JSON_ENCODED(64)];
    seed = seed * 1664525u + 1013904223u;
    size_t len = seed >> 26;
    for (size_t i = 0; i < len; i++) {
      seed = seed * 1664525u + 1013904223u;
      bytes[i] = (char)(seed >> (round % 2 == 0 ? 25 : 24));
    }
    size_t n = lc_json_encode(bytes, len, text);
    assert_int_equal(lc_json_encoded_len(bytes, len), n);
    json_t *value = json_loadb(text, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    assert_non_null(value);
    if (round % 2 == 0) { /* ASCII only: nothing was replaced */
      assert_int_equal(json_string_length(value), len);
      assert_memory_equal(json_string_value(value), bytes, len);
    }
    char back[LC_JSON_ENCODED(64)];
    size_t back_len = lc_json_decode(text + 1, n - 2, back);
    assert_int_equal(json_string_length(value), back_len);
    assert_memory_equal(json_string_value(value), back, back_len);
    json_decref(value);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_decode),
      lc_test_case(test_encode),
      lc_test_case(test_encode_random),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
