/* Nested values of JSON text, with jansson as the oracle of changes by path. */
#include "record/json_text.h"

#include <stdio.h>
#include <stdlib.h>

#include "support/oracle.h"
#include "support/support.h"

#define KEY(text) \
  { .key = (text), .key_len = sizeof(text) - 1 }
#define INDEX(i) \
  { .index = (i) }
#define PATH(...) \
  (const lc_json_step[]){__VA_ARGS__}, sizeof((const lc_json_step[]){__VA_ARGS__}) / sizeof(lc_json_step)

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
      lc_test_case(test_path),
      lc_test_case(test_splice_set),
      lc_test_case(test_splice_remove),
      lc_test_case(test_broken_text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
