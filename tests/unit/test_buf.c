/* The growing buffer, its stickiness, and JSON strings against jansson. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "support/support.h"

static void test_grows(void **state) {
  (void)state;
  lc_buf buf = {0};
  for (int i = 0; i < 10000; i++) assert_int_equal(lc_buf_addf(&buf, "%d,", i % 10), 0);
  assert_int_equal(buf.len, 20000);
  assert_memory_equal(buf.data + 19990, "5,6,7,8,9,", 10);
  lc_buf_clear(&buf);
  assert_string_equal(lc_buf_cstr(&buf), "");
  assert_int_equal(lc_buf_adds(&buf, "ab"), 0);
  assert_int_equal(lc_buf_addc(&buf, 'c'), 0);
  assert_int_equal(lc_buf_add(&buf, NULL, 0), 0);
  assert_string_equal(lc_buf_cstr(&buf), "abc");
  assert_int_equal(buf.len, 3);
  lc_buf_free(&buf);
  assert_null(buf.data);
}

static void test_failure_sticks(void **state) {
  (void)state;
  lc_buf buf = {0};
  lc_fault_after(1);
  assert_int_equal(lc_buf_adds(&buf, "x"), LC_ENOMEM);
  assert_true(lc_fault_off());
  assert_int_equal(lc_buf_adds(&buf, "x"), LC_ENOMEM);
  assert_int_equal(lc_buf_addf(&buf, "%d", 1), LC_ENOMEM);
  assert_true(buf.failed);
  assert_string_equal(lc_buf_cstr(&buf), "");
  lc_buf_free(&buf);
  assert_int_equal(lc_buf_adds(&buf, "x"), 0);
  assert_int_equal(lc_buf_reserve(&buf, SIZE_MAX - 4), LC_ENOMEM);
  lc_buf_free(&buf);
}

static void expect_json(const char *bytes, size_t len, const char *expected) {
  lc_buf buf = {0};
  assert_int_equal(lc_buf_add_json_string(&buf, bytes, len), 0);
  assert_string_equal(lc_buf_cstr(&buf), expected);
  lc_buf_free(&buf);
}

static void test_json_string(void **state) {
  (void)state;
  expect_json("", 0, "\"\"");
  expect_json("plain \x7f", 7, "\"plain \x7f\"");
  expect_json("a\"b\\c\n\t\r\b\f\x01\0z", 13, "\"a\\\"b\\\\c\\n\\t\\r\\b\\f\\u0001\\u0000z\"");
  expect_json("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
#define BAD "\xef\xbf\xbd"
  expect_json("\xff", 1, "\"" BAD "\"");
  expect_json("\xc0\xaf", 2, "\"" BAD BAD "\"");         /* overlong */
  expect_json("\xe0\x80\xaf", 3, "\"" BAD BAD BAD "\""); /* overlong */
  expect_json("\xed\xa0\x80", 3, "\"" BAD BAD BAD "\""); /* surrogate */
  expect_json("\xf0\x80\x80\x80", 4, "\"" BAD BAD BAD BAD "\"");
  expect_json("\xf4\x90\x80\x80", 4, "\"" BAD BAD BAD BAD "\""); /* above U+10FFFF */
  expect_json("\xe2\x82", 2, "\"" BAD BAD "\"");                 /* cut */
}

/* Whatever the bytes, jansson reads the string back; what was valid comes back unchanged. */
static void test_json_string_is_always_valid(void **state) {
  (void)state;
  uint64_t seed = 42;
  for (int round = 0; round < 20000; round++) {
    char bytes[16];
    size_t len = (size_t)round % sizeof bytes;
    for (size_t i = 0; i < len; i++) {
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      bytes[i] = (char)(seed >> 56);
    }
    lc_buf buf = {0};
    assert_int_equal(lc_buf_add_json_string(&buf, bytes, len), 0);
    json_t *value = json_loadb(buf.data, buf.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    assert_non_null(value);
    json_t *same = json_stringn(bytes, len); /* NULL when it is not UTF-8 */
    if (same) assert_true(json_equal(value, same));
    json_decref(same);
    json_decref(value);
    lc_buf_free(&buf);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_grows),
      lc_test_case(test_failure_sticks),
      lc_test_case(test_json_string),
      lc_test_case(test_json_string_is_always_valid),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
