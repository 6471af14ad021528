/* Addresses: what is one, what is local, and sockets that stand in the way. */
#include "support/support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "io/listen.h"

static bool local(const char *text) {
  lc_address address;
  lc_error error = {0};
  if (lc_listen_parse(text, &address, &error) != 0) fail_msg("%s: %s", text, error.message);
  return address.local;
}

static void test_addresses(void **state) {
  (void)state;
  assert_true(local("127.0.0.1:9600"));
  assert_true(local("127.255.0.9:0"));
  assert_true(local("[::1]:9600"));
  assert_true(local("unix:/run/a.sock"));
  assert_false(local("0.0.0.0:9600"));
  assert_false(local("10.0.0.1:9600"));
  assert_false(local("128.0.0.1:9600"));
  assert_false(local("[::]:9600"));
  assert_false(local("[::ffff:10.0.0.1]:65535"));
}

static void test_no_addresses(void **state) {
  static const char *const wrong[] = {"",          "9600",          ":9600",        "127.0.0.1",   "127.0.0.1:",
                                      "localhost:9600", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:9x", "::1:9600",
                                      "[::1]9600", "[]:1",          "[::1:9600",    "1.2.3:80",    "unix:"};
  (void)state;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    lc_address address;
    lc_error error = {0};
    if (lc_listen_parse(wrong[i], &address, &error) != LC_EINVAL) fail_msg("%s was taken", wrong[i]);
    if (strstr(error.message, "write \"127.0.0.1:9600\"") == NULL) fail_msg("%s: %s", wrong[i], error.message);
  }
  char path[200] = "unix:/";
  lc_address address;
  lc_error error = {0};
  memset(path + 6, 'x', sizeof path - 7);
  assert_int_equal(lc_listen_parse(path, &address, &error), LC_EINVAL);
  assert_non_null(strstr(error.message, "at most 107 bytes"));
}

static void test_same(void **state) {
  lc_address a, b, c;
  (void)state;
  assert_int_equal(lc_listen_parse("127.0.0.1:9600", &a, NULL), 0);
  assert_int_equal(lc_listen_parse("127.0.0.1:9600", &b, NULL), 0);
  assert_int_equal(lc_listen_parse("127.0.0.1:9601", &c, NULL), 0);
  assert_true(lc_listen_same(&a, &b));
  assert_false(lc_listen_same(&a, &c));
}

static void test_port_in_use(void **state) {
  lc_address address, again;
  lc_error error = {0};
  char text[LC_LISTEN_TEXT];
  int fd = -1, other = -1;
  (void)state;
  assert_int_equal(lc_listen_parse("127.0.0.1:0", &address, &error), 0);
  assert_int_equal(lc_listen_open(&address, 5, &fd, &error), 0);
  lc_listen_text(fd, text);
  assert_int_equal(strncmp(text, "127.0.0.1:", 10), 0);
  assert_string_not_equal(text, "127.0.0.1:0");
  assert_int_equal(lc_listen_parse(text, &again, &error), 0);
  assert_int_equal(lc_listen_open(&again, 5, &other, &error), LC_ESYS);
  assert_int_equal(error.sys, EADDRINUSE);
  lc_listen_close(&address, fd);
  assert_int_equal(lc_listen_open(&again, 5, &other, &error), 0);
  lc_listen_close(&again, other);
}

static void unix_address(lc_test *test, lc_address *ret) {
  char text[200];
  (void)snprintf(text, sizeof text, "unix:%s", lc_test_path(test, "a.sock"));
  assert_int_equal(lc_listen_parse(text, ret, NULL), 0);
}

static void test_socket_file(void **state) {
  lc_test *test = *state;
  lc_address first, second;
  lc_error error = {0};
  struct stat st;
  int fd = -1, other = -1;
  unix_address(test, &first);
  unix_address(test, &second);
  assert_int_equal(lc_listen_open(&first, 5, &fd, &error), 0);
  assert_int_equal(stat(lc_test_path(test, "a.sock"), &st), 0);
  assert_int_equal(st.st_mode & 0777, 0600);
  assert_int_equal(lc_listen_open(&second, 5, &other, &error), LC_ESYS); /* somebody listens */
  assert_int_equal(error.sys, EADDRINUSE);
  assert_int_equal(close(fd), 0); /* as a kill would: the file stays */
  assert_int_equal(lc_listen_open(&second, 5, &other, &error), 0);
  lc_listen_close(&second, other);
  assert_int_equal(access(lc_test_path(test, "a.sock"), F_OK), -1);
  assert_int_equal(lc_listen_open(&second, 5, &other, &error), 0);
  assert_int_equal(unlink(lc_test_path(test, "a.sock")), 0);
  lc_test_write(test, "a.sock", "x", 1);
  lc_listen_close(&second, other); /* what stands there now is not its own */
  assert_int_equal(access(lc_test_path(test, "a.sock"), F_OK), 0);
}

static void test_file_in_the_way(void **state) {
  lc_test *test = *state;
  lc_address address;
  lc_error error = {0};
  int fd = -1;
  unix_address(test, &address);
  lc_test_write(test, "a.sock", "x", 1);
  assert_int_equal(lc_listen_open(&address, 5, &fd, &error), LC_EINVAL);
  assert_int_equal(access(lc_test_path(test, "a.sock"), F_OK), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_addresses),   lc_test_case(test_no_addresses), lc_test_case(test_same),
      lc_test_case(test_port_in_use), lc_test_case(test_socket_file),  lc_test_case(test_file_in_the_way),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
