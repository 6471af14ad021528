/* What is JSON and what is not, and that nothing behind it is looked at. */
#include "record/json.h"

#include <stdio.h>

#include "base/buf.h"
#include "support/records.h"
#include "support/slice.h"
#include "support/support.h"

static void assert_accepts(const char *text) {
  if (records_slice(text, strlen(text)) != 0) fail_msg("refused: %s", text);
}

static void assert_refuses(const char *text) {
  if (records_slice(text, strlen(text)) != LC_EINVAL) fail_msg("accepted: %s", text);
}

static void test_accepts(void **state) {
  (void)state;
  static const char *const texts[] = {
      "{}",
      " { } ",
      "{\"a\":1}",
      "\t{ \"a\" : 1 , \"b\" : [ ] }\r\n",
      "{\"a\":-0}",
      "{\"a\":0.5e-7}",
      "{\"a\":1E+300}",
      "{\"a\":123456789012345678901234567890}",
      "{\"a\":0.12345678901234567890}",
      "{\"a\":123456789012345.5}",
      "{\"a\":1234567890123.123}",
      "{\"a\":true,\"b\":false,\"c\":null}",
      "{\"\":\"\"}",
      "{\"a\":\"\\u00e4\\n\\\"\\\\\\/\\b\\f\\r\\t\"}",
      "{\"\\u0061\":1}",
      "{\"a\":\"\\ud800\"}",
      "{\"a\":\"\xff\xfe\"}",
      "{\"a\":\"\x7f\"}",
      "{\"a\":[1,[2,[3,{}]],{\"b\":[]}]}",
      "{\"a\":{\"b\":{\"c\":{}}}}",
      "{\"a\":1,\"a\":2}",
      "{\"a\":\"0123456789abcdef0123456789abcdef0123456789abcdef\"}",
      "{\"0123456789abcdef0123456789abcdef0123456789abcdef\":1}",
  };
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) assert_accepts(texts[i]);
}

static void test_refuses(void **state) {
  (void)state;
  static const char *const texts[] = {
      "",
      " ",
      "{",
      "}",
      "[]",
      "\"a\"",
      "1",
      "null",
      "{}{}",
      "{} x",
      "{\"a\"}",
      "{\"a\":}",
      "{\"a\":1,}",
      "{,}",
      "{\"a\":1 \"b\":2}",
      "{\"a\":01}",
      "{\"a\":1.}",
      "{\"a\":.5}",
      "{\"a\":-}",
      "{\"a\":+1}",
      "{\"a\":1e}",
      "{\"a\":1e+}",
      "{\"a\":1.5.5}",
      "{\"a\":--1}",
      "{\"a\":0x1}",
      "{\"a\":tru}",
      "{\"a\":truex}",
      "{\"a\":nul}",
      "{\"a\":falsy}",
      "{\"a\":NaN}",
      "{\"a\":\"\\x\"}",
      "{\"a\":\"\\u12g4\"}",
      "{\"a\":\"\\u12\"}",
      "{\"a\":\"\\",
      "{\"a\":\"",
      "{\"a\":\"b",
      "{\"a\":\"\n\"}",
      "{\"a\":\"\t\"}",
      "{\"a\":\"\x1f\"}",
      "{a:1}",
      "{'a':1}",
      "{\"a\":[}",
      "{\"a\":[1,]}",
      "{\"a\":[,1]}",
      "{\"a\":[1 2]}",
      "{\"a\":{]}",
      "{\"a\":[}]}",
      "{\"a\":{\"b\"}}",
      "{\"a\":{\"b\":1,}}",
      "{\"a\":{1:2}}",
      "{\"a\":[1",
      "{\"a\":{\"b\":1",
      "{\"a\":1]",
      "{\"a\":\"b\"",
      "{\"a\":1",
      "{\"a\":00000000000000001}",
      "{\"a\":1234567890123456.}",
      "{\"a\":1\f}",
      "\xef\xbb\xbf{}",
      "{\"a\":1}\v",
  };
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) assert_refuses(texts[i]);
  assert_int_equal(records_slice("{\"a\":1\0}", 8), LC_EINVAL);
  assert_int_equal(records_slice("{\"a\0b\":1}", 9), LC_EINVAL);
}

/* The end of the body counts, not what stands behind it. */
static void test_end_of_body(void **state) {
  (void)state;
  const char *text = "{\"a\":{\"b\":[1,\"x\"]},\"c\":12.5e3,\"d\":true}";
  for (size_t len = 0; len <= strlen(text); len++) {
    lc_batch *batch = records_one(text, strlen(text));
    lc_record *rec = &batch->records[0];
    rec->body_len = (uint32_t)len;
    assert_int_equal(lc_json_slice(batch, rec), len == strlen(text) ? 0 : LC_EINVAL);
    assert_memory_equal(batch->base[0], text, strlen(text));
    lc_batch_destroy(batch);
  }
}

/* The scans stop at the end even where nothing else would stop them: ASan watches. */
static void test_nothing_behind_stops(void **state) {
  (void)state;
  static const char *const texts[] = {"{\"a", "{\"a\":\"b", "{\"a\":1", "{\"a\":[1", "{\"a\":\"\\", "{\"a\":tru"};
  static const char behind[] = {'x', '1', ' ', '"', '\\'};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    for (size_t k = 0; k < sizeof behind; k++) {
      lc_batch *batch = records_one(texts[i], strlen(texts[i]));
      memset(batch->base[0] + batch->data_cap, behind[k], LC_BATCH_PADDING);
      assert_int_equal(lc_json_slice(batch, &batch->records[0]), LC_EINVAL);
      assert_int_equal(batch->base[0][batch->data_cap], behind[k]);
      lc_batch_destroy(batch);
    }
  }
}

static void nest(lc_buf *buf, size_t depth, bool arrays) {
  lc_buf_adds(buf, "{\"a\":");
  for (size_t i = 1; i < depth; i++) lc_buf_adds(buf, arrays ? "[" : "{\"b\":");
  lc_buf_adds(buf, "1");
  for (size_t i = 1; i < depth; i++) lc_buf_adds(buf, arrays ? "]" : "}");
  lc_buf_adds(buf, "}");
}

static void test_depth(void **state) {
  (void)state;
  for (int arrays = 0; arrays < 2; arrays++) {
    for (size_t depth = 254; depth < 260; depth++) {
      lc_buf buf = {0};
      nest(&buf, depth, arrays == 1);
      assert_int_equal(records_slice(buf.data, buf.len), depth <= 256 ? 0 : LC_EINVAL);
      lc_buf_free(&buf);
    }
  }
  lc_buf deep = {0};
  nest(&deep, 200000, true);
  assert_int_equal(records_slice(deep.data, deep.len), LC_EINVAL);
  lc_buf_free(&deep);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_accepts),
      lc_test_case(test_refuses),
      lc_test_case(test_end_of_body),
      lc_test_case(test_nothing_behind_stops),
      lc_test_case(test_depth),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
