/* Errors as values. */
#include <errno.h>
#include <string.h>

#include "logcap/error.h"
#include "support/support.h"

static void test_set(void **state) {
  (void)state;
  lc_error error;
  assert_int_equal(lc_error_set(&error, LC_EINVAL, "no %s in %d", "fun", 7), LC_EINVAL);
  assert_int_equal(error.code, LC_EINVAL);
  assert_int_equal(error.sys, 0);
  assert_string_equal(error.message, "no fun in 7");
  assert_int_equal(lc_error_set(NULL, LC_EBUSY, "x"), LC_EBUSY);
}

static void test_sys(void **state) {
  (void)state;
  lc_error error;
  assert_int_equal(lc_error_sys(&error, EACCES, "cannot open %s", "/x"), LC_ESYS);
  assert_int_equal(error.sys, EACCES);
  assert_string_equal(error.message, "cannot open /x: Permission denied");
  assert_int_equal(lc_error_sys(&error, ENOENT, "x"), LC_ENOENT);
  assert_int_equal(lc_error_sys(&error, ENOMEM, "x"), LC_ENOMEM);
  assert_int_equal(lc_error_sys(NULL, EIO, "x"), LC_ESYS);
}

static void test_context(void **state) {
  (void)state;
  lc_error error;
  (void)lc_error_set(&error, LC_ELIMIT, "too many");
  assert_int_equal(lc_error_context(&error, "pipeline %s", "shop"), LC_ELIMIT);
  assert_string_equal(error.message, "pipeline shop: too many");
}

static void test_long_messages_are_cut(void **state) {
  (void)state;
  char text[1000];
  memset(text, 'x', sizeof text - 1);
  text[sizeof text - 1] = '\0';
  lc_error error;
  (void)lc_error_sys(&error, EIO, "%s", text);
  assert_int_equal(strlen(error.message), sizeof error.message - 1);
  (void)lc_error_context(&error, "%s", text);
  assert_int_equal(strlen(error.message), sizeof error.message - 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_set),
      lc_test_case(test_sys),
      lc_test_case(test_context),
      lc_test_case(test_long_messages_are_cut),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
