/* Sessions on the control socket: messages one after the other, and clients that flood, babble, vanish and do not read. */
#include "support/control.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HELLO "{\"ok\":true,\"result\":\"hello\"}\n"

static void say(int fd, const char *text, size_t len) {
  assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* Turns the loop until the client has heard exactly this. */
static void expect(server *self, int fd, const char *expected) {
  size_t len = strlen(expected), at = 0;
  char *heard = malloc(len + 1);
  assert_non_null(heard);
  while (at < len) {
    turn(self);
    ssize_t n = recv(fd, heard + at, len - at, 0);
    if (n == 0) fail_msg("the server ended after %.*s", (int)at, heard);
    if (n > 0) at += (size_t)n;
    else assert_int_equal(errno, EAGAIN);
  }
  heard[len] = '\0';
  assert_string_equal(heard, expected);
  free(heard);
}

static int session(server *self) {
  int fd = dial(self);
  say(fd, "session\n", 8);
  expect(self, fd, HELLO);
  return fd;
}

static void hang_up(server *self, int fd) {
  unsigned gone = self->gone;
  close(fd);
  while (self->gone == gone) turn(self);
}

static void test_one_after_the_other(void **state) {
  server self;
  open_server(&self, *state);
  int fd = session(&self);
  say(fd, "a\n", 2);
  expect(&self, fd, "{\"ok\":true,\"result\":\"a\"}\n");
  say(fd, "no\nb\nc", 6);
  expect(&self, fd, "{\"ok\":false,\"error\":\"no \\\"such\\\" thing\"}\n{\"ok\":true,\"result\":\"b\"}\n");
  say(fd, "c\n\n", 3);
  expect(&self, fd, "{\"ok\":true,\"result\":\"cc\"}\n{\"ok\":true,\"result\":\"\"}\n");
  assert_int_equal(self.messages, 5);
  hang_up(&self, fd);
  close_server(&self);
}

static void test_messages_behind_the_verb(void **state) {
  server self;
  open_server(&self, *state);
  int fd = dial(&self);
  say(fd, "session\na\nb\n", 12);
  expect(&self, fd, HELLO "{\"ok\":true,\"result\":\"a\"}\n{\"ok\":true,\"result\":\"b\"}\n");
  hang_up(&self, fd);
  close_server(&self);
}

static void test_binary(void **state) {
  server self;
  char garbage[5000];
  open_server(&self, *state);
  int fd = session(&self);
  for (size_t i = 0; i < sizeof garbage; i++) garbage[i] = (char)(i * 7 + 128);
  say(fd, garbage, sizeof garbage);
  say(fd, "x\0y\n", 4);
  say(fd, "z\n", 2);
  expect(&self, fd, "{\"ok\":true,\"result\":\"");
  while (self.messages == 0 || self.longest < 255 || self.messages < 20) turn(&self);
  hang_up(&self, fd);
  close_server(&self);
}

/* The longest message is taken; one byte more, without an end in sight, ends the session with a word. */
static void test_long_messages(void **state) {
  server self;
  open_server(&self, *state);
  size_t sent = 0, len = LC_CONTROL_MESSAGE_MAX + 1;
  char *text = malloc(len);
  assert_non_null(text);
  memset(text, 'x', len);
  text[LC_CONTROL_MESSAGE_MAX] = '\n';
  for (int round = 0; round < 2; round++) {
    int fd = session(&self);
    for (sent = 0; sent < len;) {
      ssize_t n = send(fd, text + sent, len - sent, MSG_NOSIGNAL);
      if (n > 0) sent += (size_t)n;
      turn(&self);
    }
    if (round == 0) {
      expect(&self, fd, "{\"ok\":true,\"result\":\"xxx");
      assert_int_equal(self.longest, LC_CONTROL_MESSAGE_MAX);
      hang_up(&self, fd);
    } else {
      char *heard = hear(&self, fd);
      assert_string_equal(heard, "{\"ok\":false,\"error\":\"the message is longer than 1 MiB\"}\n");
      free(heard);
    }
    text[LC_CONTROL_MESSAGE_MAX] = 'x';
  }
  free(text);
  assert_int_equal(self.messages, 1);
  close_server(&self);
}

/* Who sends without reading is read no more once the answers do not go out, and dropped when patience ends. */
static void test_flood(void **state) {
  server self;
  open_server_with_patience(&self, *state, 50);
  int fd = session(&self);
  uint64_t sent = 0;
  while (self.gone == 0) {
    ssize_t n = send(fd, "big\nbig\nbig\nbig\n", 16, MSG_NOSIGNAL);
    if (n > 0) sent += (uint64_t)n;
    turn(&self);
    assert_true(sent < (UINT64_C(64) << 20)); /* the socket's buffers hold some; nobody reads the rest */
  }
  assert_int_equal(self.messages, 1);
  close(fd);
  fd = session(&self);
  hang_up(&self, fd);
  close_server(&self);
}

/* A session may rest, but not in the middle of a message. */
static void test_patience(void **state) {
  server self;
  open_server_with_patience(&self, *state, 20);
  int fd = session(&self);
  uint64_t until = uv_now(&self.test->loop) + 100;
  while (uv_now(&self.test->loop) < until) turn(&self);
  assert_int_equal(self.gone, 0);
  say(fd, "a\n", 2);
  expect(&self, fd, "{\"ok\":true,\"result\":\"a\"}\n");
  say(fd, "hal", 3);
  while (self.gone == 0) turn(&self);
  assert_null(hear(&self, fd));
  close_server(&self);
}

static void test_clients_that_vanish(void **state) {
  static const char *const words[] = {"", "hal", "hello\n", "big\n", "hello\nbig\nhal"};
  server self;
  open_server(&self, *state);
  for (unsigned i = 0; i < 50; i++) {
    int fd = session(&self);
    say(fd, words[i % 5], strlen(words[i % 5]));
    for (unsigned k = 0; k < i % 7; k++) turn(&self);
    hang_up(&self, fd);
  }
  assert_int_equal(self.sessions, 50);
  assert_int_equal(self.gone, 50);
  assert_int_equal(atomic_load(&lc_control_resource(self.control)->descriptors), 1);
  close_server(&self);
}

/* It vanishes while its answer is due: the session lives until that is given. */
static void test_answer_after_the_client_is_gone(void **state) {
  server self;
  lc_buf answer = {0};
  open_server(&self, *state);
  int fd = session(&self);
  say(fd, "later\n", 6);
  while (!self.held) turn(&self);
  close(fd);
  for (int i = 0; i < 5; i++) turn(&self);
  assert_int_equal(self.gone, 0);
  assert_int_equal(lc_buf_adds(&answer, "1"), 0);
  lc_control_answer(self.held, &answer);
  lc_buf_free(&answer);
  while (self.gone == 0) turn(&self);
  close_server(&self);
}

/* Sessions take no place from commands, nor commands from sessions. */
static void test_crowd(void **state) {
  server self;
  int fds[LC_CONTROL_SESSIONS_MAX];
  open_server(&self, *state);
  for (unsigned i = 0; i < LC_CONTROL_SESSIONS_MAX; i++) fds[i] = session(&self);
  assert_int_equal(atomic_load(&lc_control_resource(self.control)->descriptors), 1 + LC_CONTROL_SESSIONS_MAX);
  int fd = dial(&self);
  say(fd, "session\n", 8);
  char *heard = hear(&self, fd);
  assert_string_equal(heard, "{\"ok\":false,\"error\":\"too many sessions at once: end one of them\"}\n");
  free(heard);
  fd = dial(&self);
  say(fd, "hi\n", 3);
  heard = hear(&self, fd);
  assert_string_equal(heard, "{\"ok\":true,\"result\":\"hi\"}\n");
  free(heard);
  hang_up(&self, fds[0]);
  fds[0] = session(&self);
  for (unsigned i = 0; i < LC_CONTROL_SESSIONS_MAX; i++) {
    say(fds[i], "a\n", 2);
    expect(&self, fds[i], "{\"ok\":true,\"result\":\"a\"}\n");
  }
  lc_resource_close(lc_control_resource(self.control)); /* they are still there */
  for (int i = 0; i < 5; i++) turn(&self);
  assert_int_equal(self.gone, 1 + LC_CONTROL_SESSIONS_MAX);
  for (unsigned i = 0; i < LC_CONTROL_SESSIONS_MAX; i++) close(fds[i]);
  close_server(&self);
}

int main(void) {
  (void)signal(SIGPIPE, SIG_IGN); /* as the program does */
  const struct CMUnitTest tests[] = {
      lc_test_case(test_one_after_the_other),
      lc_test_case(test_messages_behind_the_verb),
      lc_test_case(test_binary),
      lc_test_case(test_long_messages),
      lc_test_case(test_flood),
      lc_test_case(test_patience),
      lc_test_case(test_clients_that_vanish),
      lc_test_case(test_answer_after_the_client_is_gone),
      lc_test_case(test_crowd),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
