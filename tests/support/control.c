#include "support/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/control_socket.h"

static void on_message(void *arg, lc_control_client *client, const char *text, size_t len);

static void on_gone(void *arg) {
  server *self = arg;
  self->gone++;
}

static void answer(server *self, lc_control_client *client, const char *verb, size_t len) {
  lc_buf answer = {0};
  if (strcmp(verb, "later") == 0) {
    self->held = client;
  } else if (strcmp(verb, "session") == 0) {
    const lc_control_session session = {.message = on_message, .gone = on_gone, .arg = self};
    lc_buf_adds(&answer, "\"hello\"");
    self->sessions += lc_control_hold(client, &session, &answer) == 0;
  } else if (strcmp(verb, "no") == 0) {
    lc_control_refuse(client, "no \"such\" thing");
  } else if (strcmp(verb, "big") == 0) {
    lc_buf_addc(&answer, '"');
    for (int i = 0; i < 3000000; i++) lc_buf_addc(&answer, 'x');
    lc_buf_addc(&answer, '"');
    lc_control_answer(client, &answer);
  } else {
    lc_buf_add_json_string(&answer, verb, len);
    lc_control_answer(client, &answer);
  }
  lc_buf_free(&answer);
}

static void on_request(void *arg, lc_control_client *client, const char *verb) {
  server *self = arg;
  self->asked++;
  answer(self, client, verb, strlen(verb));
}

static void on_message(void *arg, lc_control_client *client, const char *text, size_t len) {
  server *self = arg;
  char *copy = malloc(len + 1);
  assert_non_null(copy);
  memcpy(copy, text, len);
  copy[len] = '\0';
  self->messages++;
  if (len > self->longest) self->longest = len;
  answer(self, client, copy, len);
  free(copy);
}

static void nothing(uv_prepare_t *handle) {
  (void)handle;
}

void open_server(server *self, lc_test *test) { open_server_with_patience(self, test, 0); }

void open_server_with_patience(server *self, lc_test *test, uint64_t patience_ms) {
  lc_error error = {0};
  *self = (server){.test = test};
  (void)uv_prepare_init(&test->loop, &self->keep);
  assert_int_equal(uv_prepare_start(&self->keep, nothing), 0);
  const lc_control_handler handler = {.request = on_request, .arg = self, .patience_ms = patience_ms};
  if (lc_control_create(&test->loop, test->registry, test->dir, &handler, &self->control, &error) != 0) {
    fail_msg("%s", error.message);
  }
}

void turn(server *self) {
  (void)lc_registry_run(self->test->registry);
  (void)uv_run(&self->test->loop, UV_RUN_NOWAIT);
}

void close_server(server *self) {
  lc_resource *res = lc_control_resource(self->control);
  lc_resource_close(res);
  uv_close((uv_handle_t *)&self->keep, NULL);
  (void)lc_registry_run(self->test->registry);
  (void)uv_run(&self->test->loop, UV_RUN_DEFAULT);
  assert_int_equal(lc_resource_state_of(res), LC_RES_CLOSED);
  assert_int_equal(atomic_load(&res->descriptors), 0);
  lc_resource_release(res);
  assert_int_equal(access(lc_test_path(self->test, LC_CONTROL_NAME), F_OK), -1);
}

int dial(server *self) {
  lc_error error = {0};
  int fd = -1;
  if (lc_control_socket_connect(self->test->dir, LC_CONTROL_NAME, &fd, &error) != 0) fail_msg("%s", error.message);
  assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
  return fd;
}

char *hear(server *self, int fd) {
  lc_buf heard = {0};
  for (;;) {
    char part[65536];
    ssize_t n = recv(fd, part, sizeof part, 0);
    if (n > 0) assert_int_equal(lc_buf_add(&heard, part, (size_t)n), 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) break;
    turn(self);
  }
  close(fd);
  if (heard.len == 0) {
    lc_buf_free(&heard);
    return NULL;
  }
  assert_int_equal(lc_buf_addc(&heard, '\0'), 0);
  return heard.data;
}
