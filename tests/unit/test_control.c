/* The control socket against clients that ask, babble, vanish, say nothing and come in crowds. */
#include "support/control.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/control_socket.h"

static void assert_answer(server *self, const void *request, size_t len, const char *expected) {
  int fd = dial(self);
  assert_int_equal(send(fd, request, len, MSG_NOSIGNAL), (ssize_t)len);
  char *answer = hear(self, fd);
  if (expected) assert_string_equal(answer, expected);
  else assert_null(answer);
  free(answer);
}

static void test_answers(void **state) {
  server self;
  open_server(&self, *state);
  assert_answer(&self, "hello\n", 6, "{\"ok\":true,\"result\":\"hello\"}\n");
  assert_answer(&self, "hello\r\nmore\n", 12, "{\"ok\":true,\"result\":\"hello\"}\n");
  assert_answer(&self, "no\n", 3, "{\"ok\":false,\"error\":\"no \\\"such\\\" thing\"}\n");
  assert_answer(&self, "\n", 1, "{\"ok\":true,\"result\":\"\"}\n");
  assert_int_equal(self.asked, 4);
  close_server(&self);
}

static void test_socket_is_private(void **state) {
  server self;
  struct stat st;
  open_server(&self, *state);
  assert_int_equal(stat(lc_test_path(*state, LC_CONTROL_NAME), &st), 0);
  assert_true(S_ISSOCK(st.st_mode));
  assert_int_equal(st.st_mode & 07777, 0600);
  close_server(&self);
}

static void test_garbage(void **state) {
  server self;
  char garbage[LC_CONTROL_REQUEST_MAX + 1000];
  open_server(&self, *state);
  assert_answer(&self, "st\0us\n", 6, "{\"ok\":false,\"error\":\"the request holds a zero byte\"}\n");
  memset(garbage, 'x', sizeof garbage);
  assert_answer(&self, garbage, LC_CONTROL_REQUEST_MAX, "{\"ok\":false,\"error\":\"the request is too long\"}\n");
  for (size_t i = 0; i < sizeof garbage; i++) garbage[i] = (char)(i * 7 + 128);
  int fd = dial(&self);
  (void)send(fd, garbage, sizeof garbage, MSG_NOSIGNAL);
  free(hear(&self, fd));
  assert_answer(&self, "fine\n", 5, "{\"ok\":true,\"result\":\"fine\"}\n");
  close_server(&self);
}

static void test_piece_by_piece(void **state) {
  server self;
  open_server(&self, *state);
  int fd = dial(&self);
  for (const char *c = "hello\n"; *c; c++) {
    assert_int_equal(send(fd, c, 1, MSG_NOSIGNAL), 1);
    for (int i = 0; i < 3; i++) turn(&self);
  }
  char *answer = hear(&self, fd);
  assert_string_equal(answer, "{\"ok\":true,\"result\":\"hello\"}\n");
  free(answer);
  close_server(&self);
}

static void test_clients_that_vanish(void **state) {
  server self;
  open_server(&self, *state);
  for (int i = 0; i < 40; i++) {
    int fd = dial(&self);
    if (i % 4 == 1) (void)send(fd, "hal", 3, MSG_NOSIGNAL);
    if (i % 4 == 2) (void)send(fd, "hello\n", 6, MSG_NOSIGNAL);
    if (i % 4 == 3) (void)send(fd, "big\n", 4, MSG_NOSIGNAL);
    if (i % 8 > 3) turn(&self);
    close(fd);
    for (int k = 0; k < 5; k++) turn(&self);
  }
  assert_int_equal(atomic_load(&lc_control_resource(self.control)->descriptors), 1);
  assert_answer(&self, "fine\n", 5, "{\"ok\":true,\"result\":\"fine\"}\n");
  close_server(&self);
}

static void test_big_answer(void **state) {
  server self;
  open_server(&self, *state);
  int fd = dial(&self);
  assert_int_equal(send(fd, "big\n", 4, MSG_NOSIGNAL), 4);
  char *answer = hear(&self, fd);
  assert_int_equal(strlen(answer), 3000000 + strlen("{\"ok\":true,\"result\":\"\"}\n"));
  free(answer);
  close_server(&self);
}

/* The 17th waits for nobody: it is told to come again. */
static void test_crowd(void **state) {
  server self;
  int fds[LC_CONTROL_CLIENTS_MAX];
  open_server(&self, *state);
  for (unsigned i = 0; i < LC_CONTROL_CLIENTS_MAX; i++) {
    fds[i] = dial(&self);
    for (int k = 0; k < 3; k++) turn(&self);
  }
  assert_answer(&self, "hello\n", 6, "{\"ok\":false,\"error\":\"too many commands at once: try again\"}\n");
  close(fds[0]);
  for (int k = 0; k < 5; k++) turn(&self);
  assert_answer(&self, "hello\n", 6, "{\"ok\":true,\"result\":\"hello\"}\n");
  for (unsigned i = 1; i < LC_CONTROL_CLIENTS_MAX; i++) close(fds[i]);
  close_server(&self);
}

static void test_answer_later(void **state) {
  server self;
  lc_buf answer = {0};
  open_server(&self, *state);
  assert_int_equal(lc_buf_adds(&answer, "1"), 0);
  int fd = dial(&self);
  assert_int_equal(send(fd, "later\n", 6, MSG_NOSIGNAL), 6);
  while (!self.held) turn(&self);
  lc_control_answer(self.held, &answer);
  char *heard = hear(&self, fd);
  assert_string_equal(heard, "{\"ok\":true,\"result\":1}\n");
  free(heard);
  lc_buf_free(&answer);
  close_server(&self);
}

/* The socket closes while an answer is due: the client object lives until it is given. */
static void test_answer_after_close(void **state) {
  server self;
  lc_buf answer = {0};
  open_server(&self, *state);
  int fd = dial(&self);
  assert_int_equal(send(fd, "later\n", 6, MSG_NOSIGNAL), 6);
  while (!self.held) turn(&self);
  lc_resource *res = lc_control_resource(self.control);
  lc_resource_close(res);
  turn(&self);
  turn(&self);
  assert_int_equal(lc_resource_state_of(res), LC_RES_CLOSING);
  lc_control_answer(self.held, &answer);
  assert_null(hear(&self, fd));
  assert_int_equal(lc_resource_state_of(res), LC_RES_CLOSED);
  uv_close((uv_handle_t *)&self.keep, NULL);
  (void)uv_run(&self.test->loop, UV_RUN_DEFAULT);
  lc_resource_release(res);
}

static void test_takes_an_old_sockets_place(void **state) {
  server self, other;
  lc_error error = {0};
  int fd = -1;
  lc_test *test = *state;
  assert_int_equal(lc_control_socket_listen(test->dir, LC_CONTROL_NAME, 1, &fd, &error), 0);
  close(fd); /* died without removing it */
  assert_int_equal(lc_control_socket_connect(test->dir, LC_CONTROL_NAME, &fd, &error), LC_ENOENT);
  open_server(&self, test);
  assert_answer(&self, "hello\n", 6, "{\"ok\":true,\"result\":\"hello\"}\n");
  close_server(&self);

  lc_test_write(test, LC_CONTROL_NAME, "precious", 8);
  const lc_control_handler handler = {.arg = &other};
  assert_int_equal(lc_control_create(&test->loop, test->registry, test->dir, &handler, &other.control, &error), LC_EINVAL);
  assert_non_null(strstr(error.message, "in the way"));
  size_t len = 0;
  char *content = lc_test_read(test, LC_CONTROL_NAME, &len);
  assert_string_equal(content, "precious");
  free(content);
}

static void test_long_paths(void **state) {
  lc_test *test = *state;
  char folder[400];
  lc_error error = {0};
  int fd = -1, client = -1;
  snprintf(folder, sizeof folder, "%s/%0150d", test->dir, 1);
  assert_int_equal(mkdir(folder, 0700), 0);
  assert_int_equal(lc_control_socket_listen(folder, LC_CONTROL_NAME, 1, &fd, &error), 0);
  assert_int_equal(lc_control_socket_connect(folder, LC_CONTROL_NAME, &client, &error), 0);
  assert_true(lc_control_socket_trusted(client));
  close(client);
  close(fd);
}

int main(void) {
  (void)signal(SIGPIPE, SIG_IGN); /* as the program does */
  const struct CMUnitTest tests[] = {
      lc_test_case(test_answers),
      lc_test_case(test_socket_is_private),
      lc_test_case(test_garbage),
      lc_test_case(test_piece_by_piece),
      lc_test_case(test_clients_that_vanish),
      lc_test_case(test_big_answer),
      lc_test_case(test_crowd),
      lc_test_case(test_answer_later),
      lc_test_case(test_answer_after_close),
      lc_test_case(test_takes_an_old_sockets_place),
      lc_test_case(test_long_paths),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
