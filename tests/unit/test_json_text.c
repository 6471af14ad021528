/* Strings, numbers and nested values of JSON text, with jansson as the oracle of changes by path. */
#include "record/json_text.h"

#include <float.h>
#include <math.h>
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

static void assert_double(const char *text) {
  double wanted = strtod(text, NULL), seen = lc_json_double(text, strlen(text));
  if (memcmp(&wanted, &seen, sizeof wanted) != 0) fail_msg("%s: %a instead of %a", text, seen, wanted);
}

static void test_double(void **state) {
  (void)state;
  static const char *const texts[] = {
      "0",
      "-0",
      "1",
      "-1",
      "0.1",
      "1e22",
      "1e23",
      "-1.5e-7",
      "9007199254740993",
      "9007199254740992.5",
      "123456789012345678901234567890",
      "1.7976931348623157e308",
      "1.7976931348623159e308",
      "1e309",
      "-1e400",
      "1e99999999999999999999",
      "5e-324",
      "2e-324",
      "2.4703282292062327208e-324",
      "1e-400",
      "0e999999999",
      "0.000000000000000000000000000001",
      "2.2250738585072011e-308",
      "2.2250738585072014e-308",
      "100000000000000000000000e-22",
      "1E5",
      "1e+5",
  };
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) assert_double(texts[i]);
  /* More digits than matter, but for one at the very end. */
  for (int tail = 0; tail < 2; tail++) {
    char text[1200] = "9007199254740993.";
    memset(text + 17, '0', 1000);
    text[1017] = tail == 0 ? '0' : '1';
    assert_double(text);
  }
  uint64_t seed = 3;
  for (int round = 0; round < 50000; round++) {
    char text[64];
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    double number;
    memcpy(&number, &seed, sizeof number);
    if (!isfinite(number)) continue;
    snprintf(text, sizeof text, "%.*g", 1 + (int)(seed >> 40) % 20, number);
    assert_double(text);
  }
}

static void test_int64(void **state) {
  (void)state;
  int64_t value = 0;
  assert_true(lc_json_int64("9223372036854775807", 19, &value) && value == INT64_MAX);
  assert_true(lc_json_int64("-9223372036854775808", 20, &value) && value == INT64_MIN);
  assert_true(lc_json_int64("0", 1, &value) && value == 0);
  assert_true(lc_json_int64("-0", 2, &value) && value == 0);
  value = 5;
  assert_false(lc_json_int64("9223372036854775808", 19, &value));
  assert_false(lc_json_int64("-9223372036854775809", 20, &value));
  assert_false(lc_json_int64("99999999999999999999", 20, &value));
  assert_false(lc_json_int64("1.0", 3, &value));
  assert_false(lc_json_int64("1e3", 3, &value));
  assert_false(lc_json_int64("", 0, &value));
  assert_false(lc_json_int64("-", 1, &value));
  assert_int_equal(value, 5);
}

static void assert_number(double number, const char *wanted) {
  char text[LC_JSON_NUMBER_TEXT];
  size_t len = lc_json_number_text(number, text);
  assert_int_equal(len, strlen(wanted));
  assert_memory_equal(text, wanted, len);
}

static void test_number_text(void **state) {
  (void)state;
  assert_number(0, "0");
  assert_number(-0.0, "-0");
  assert_number(42, "42");
  assert_number(-1234567, "-1234567");
  assert_number(9007199254740992.0, "9007199254740992");
  assert_number(-9007199254740991.0, "-9007199254740991");
  assert_number(1e20, "1e+20");
  assert_number(0.1, "0.1");
  assert_number(0.1 + 0.2, "0.30000000000000004");
  assert_number(1.5, "1.5");
  assert_number(5e-324, "5e-324");
  assert_number(DBL_MAX, "1.7976931348623157e+308");
  uint64_t seed = 9;
  for (int round = 0; round < 20000; round++) {
    char text[LC_JSON_NUMBER_TEXT];
    double number;
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    memcpy(&number, &seed, sizeof number);
    if (!isfinite(number)) continue;
    size_t len = lc_json_number_text(number, text);
    assert_true(lc_json_double(text, len) == number);
  }
}

static void assert_path(const char *text, const lc_json_step *steps, size_t n, const char *wanted) {
  const char *value = NULL;
  size_t len = 0;
  lc_json_type type;
  int rc = lc_json_path(text, strlen(text), steps, n, &value, &len, &type);
  if (wanted == NULL) {
    assert_int_equal(rc, LC_ENOENT);
    return;
  }
  assert_int_equal(rc, 0);
  assert_int_equal(len, strlen(wanted));
  assert_memory_equal(value, wanted, len);
  assert_int_equal(type, lc_json_type_of(wanted, strlen(wanted)));
}

#define KEY(text) \
  { .key = (text), .key_len = sizeof(text) - 1 }
#define INDEX(i) \
  { .index = (i) }
#define PATH(...) \
  (const lc_json_step[]){__VA_ARGS__}, sizeof((const lc_json_step[]){__VA_ARGS__}) / sizeof(lc_json_step)

static void test_path(void **state) {
  (void)state;
  const char *text = "{ \"a\" : {\"b\":[1, \"x,]}\" ,{\"c\":null}] }, \"a\\n\":true, \"d\":1,\"d\":2, \"e\":[]}";
  assert_path(text, NULL, 0, text);
  assert_path(text, PATH(KEY("a"), KEY("b"), INDEX(1)), "1");
  assert_path(text, PATH(KEY("a"), KEY("b"), INDEX(2)), "\"x,]}\"");
  assert_path(text, PATH(KEY("a"), KEY("b"), INDEX(3), KEY("c")), "null");
  assert_path(text, PATH(KEY("a"), KEY("b"), INDEX(4)), NULL);
  assert_path(text, PATH(KEY("a"), KEY("b"), INDEX(0)), NULL);
  assert_path(text, PATH(KEY("a"), INDEX(1)), NULL);
  assert_path(text, PATH(KEY("a\n")), "true");
  assert_path(text, PATH(KEY("d")), "2");
  assert_path(text, PATH(KEY("d"), KEY("x")), NULL);
  assert_path(text, PATH(KEY("e"), INDEX(1)), NULL);
  assert_path(text, PATH(KEY("nope")), NULL);
}

static void assert_splice(const char *text, const lc_json_step *steps, size_t n, const char *value,
                          const char *wanted) {
  lc_buf buf = {0};
  lc_buf_adds(&buf, ">");
  int rc = lc_json_splice(text, strlen(text), steps, n, value, value != NULL ? strlen(value) : 0, &buf);
  if (wanted == NULL) {
    assert_int_equal(rc, LC_EINVAL);
    assert_string_equal(lc_buf_cstr(&buf), ">");
  } else {
    assert_int_equal(rc, 0);
    assert_string_equal(lc_buf_cstr(&buf) + 1, wanted);
  }
  lc_buf_free(&buf);
}

static void test_splice_set(void **state) {
  (void)state;
  assert_splice("{\"a\":1,\"b\":2}", PATH(KEY("a")), "[3]", "{\"a\":[3],\"b\":2}");
  assert_splice("{\"a\":1,\"a\":2}", PATH(KEY("a")), "3", "{\"a\":1,\"a\":3}");
  assert_splice("{ }", PATH(KEY("a")), "3", "{\"a\":3 }");
  assert_splice("{\"x\": 1 }", PATH(KEY("a\"")), "3", "{\"x\": 1,\"a\\\"\":3 }");
  assert_splice("{\"x\":{}}", PATH(KEY("x"), KEY("y"), KEY("z")), "3", "{\"x\":{\"y\":{\"z\":3}}}");
  assert_splice("[1,2]", PATH(INDEX(3)), "3", "[1,2,3]");
  assert_splice("[]", PATH(INDEX(1)), "3", "[3]");
  assert_splice("[[1],2]", PATH(INDEX(1), INDEX(1)), "null", "[[null],2]");
  assert_splice("[]", PATH(INDEX(1), KEY("a")), "3", "[{\"a\":3}]");
  assert_splice("[1,2]", PATH(INDEX(4)), "3", NULL);
  assert_splice("[1,2]", PATH(INDEX(0)), "3", NULL);
  assert_splice("[1,2]", PATH(KEY("a")), "3", NULL);
  assert_splice("{\"a\":1}", PATH(INDEX(1)), "3", NULL);
  assert_splice("{\"a\":1}", PATH(KEY("a"), KEY("b")), "3", NULL);
  assert_splice("{\"a\":1}", PATH(KEY("b"), INDEX(1)), "3", NULL);
  assert_splice("12", PATH(KEY("b")), "3", NULL);
  assert_splice("{}", NULL, 0, "3", NULL);
}

static void test_splice_remove(void **state) {
  (void)state;
  assert_splice("{\"a\":1,\"b\":2,\"c\":3}", PATH(KEY("a")), NULL, "{\"b\":2,\"c\":3}");
  assert_splice("{\"a\":1,\"b\":2,\"c\":3}", PATH(KEY("b")), NULL, "{\"a\":1,\"c\":3}");
  assert_splice("{\"a\":1,\"b\":2,\"c\":3}", PATH(KEY("c")), NULL, "{\"a\":1,\"b\":2}");
  assert_splice("{\"a\":1,\"a\":2,\"c\":3,\"a\":4}", PATH(KEY("a")), NULL, "{\"c\":3}");
  assert_splice("{\"a\":1}", PATH(KEY("a")), NULL, "{}");
  assert_splice("{\"a\":1}", PATH(KEY("b")), NULL, "{\"a\":1}");
  assert_splice("{\"a\":1}", PATH(KEY("a"), KEY("b")), NULL, "{\"a\":1}");
  assert_splice("[1,2,3]", PATH(INDEX(1)), NULL, "[2,3]");
  assert_splice("[1,2,3]", PATH(INDEX(2)), NULL, "[1,3]");
  assert_splice("[1,2,3]", PATH(INDEX(3)), NULL, "[1,2]");
  assert_splice("{\"x\":[{\"y\":1}]}", PATH(KEY("x"), INDEX(1), KEY("y")), NULL, "{\"x\":[{}]}");
}

/* Text that is cut or broken leads nowhere, but never out of its bounds: ASan watches. */
static void test_broken_text(void **state) {
  (void)state;
  static const char *const texts[] = {"{\"a\":{\"b\":[1,\"x\\\"\"]},\"c\":2}",
                                      "[{\"a\":1},[2,3],\"\\u0041\"]",
                                      "{\"",
                                      "{\"a\\",
                                      "{{}}",
                                      "[}",
                                      "{\"a\" 1}",
                                      "\\u00",
                                      "{,}",
                                      "[,,]"};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    for (size_t len = 0; len <= strlen(texts[i]); len++) {
      char *copy = malloc(len + 1), *exact, *to = malloc(len + 1);
      assert_non_null(copy);
      assert_non_null(to);
      memcpy(copy, texts[i], len);
      exact = len > 0 ? realloc(copy, len) : copy;
      assert_non_null(exact);
      const char *value;
      size_t value_len;
      lc_json_type type;
      const lc_json_step steps[] = {KEY("a"), KEY("b"), INDEX(2)};
      lc_buf buf = {0};
      for (size_t n = 0; n <= 3; n++) {
        if (lc_json_path(exact, len, steps, n, &value, &value_len, &type) == 0)
          assert_true(value + value_len <= exact + len);
        if (n > 0) assert_true(lc_json_splice(exact, len, steps, n, n % 2 == 0 ? NULL : "1", 1, &buf) <= 0);
      }
      assert_true(lc_json_decode(exact, len, to) <= len);
      lc_buf_free(&buf);
      free(exact);
      free(to);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_decode),      lc_test_case(test_encode),     lc_test_case(test_encode_random),
      lc_test_case(test_double),      lc_test_case(test_int64),      lc_test_case(test_number_text),
      lc_test_case(test_path),        lc_test_case(test_splice_set), lc_test_case(test_splice_remove),
      lc_test_case(test_broken_text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
