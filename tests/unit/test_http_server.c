/* The HTTP server against clients that ask, are too large, too slow, too many, and vanish. */
#include "support/support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "io/http_server.h"

typedef struct server {
  lc_test *test;
  uv_prepare_t keep; /* the server keeps no loop running */
  lc_runtime runtime;
  lc_service *service;
  lc_http_request *held; /* asked "/later": answered when the test says so */
  unsigned asked;
  uint16_t port;
} server;

static void on_request(void *arg, lc_http_request *request) {
  server *self = arg;
  lc_buf body = {0};
  self->asked++;
  if (strcmp(request->path, "/later") == 0) {
    self->held = request;
    return;
  }
  lc_buf_addf(&body, "%s %s %zu %s", request->method, request->path, request->body.len,
              lc_http_header(request, "X-Test") != NULL ? lc_http_header(request, "X-Test") : "-");
  lc_http_answer(request, 200, "text/plain", &body);
}

static void nothing(uv_prepare_t *handle) { (void)handle; }

static uint16_t port_of(lc_service *service) {
  lc_buf stats = {0};
  assert_int_equal(service->resource.ops->stats(&service->resource, &stats), 0);
  const char *colon = strstr(lc_buf_cstr(&stats), "127.0.0.1:");
  assert_non_null(colon);
  unsigned long port = strtoul(colon + 10, NULL, 10);
  lc_buf_free(&stats);
  return (uint16_t)port;
}

static void open_server(server *self, lc_test *test, const lc_http_server_options *options) {
  lc_error error = {0};
  *self = (server){.test = test};
  self->runtime = (lc_runtime){.loop = &test->loop, .registry = test->registry};
  (void)uv_prepare_init(&test->loop, &self->keep);
  assert_int_equal(uv_prepare_start(&self->keep, nothing), 0);
  if (lc_http_server_create(options, test->registry, "t.lua:1", &self->service, &error) != 0) {
    fail_msg("%s", error.message);
  }
  const lc_service_host host = {.runtime = &self->runtime, .request = on_request, .arg = self};
  if (self->service->ops->open(self->service, &host, &error) != 0) fail_msg("%s", error.message);
  self->port = port_of(self->service);
}

static const lc_http_server_options plain = {.listen = "127.0.0.1:0"};

static void turn(server *self) {
  (void)lc_registry_run(self->test->registry);
  (void)uv_run(&self->test->loop, UV_RUN_NOWAIT);
}

static void close_server(server *self) {
  lc_resource *res = &self->service->resource;
  lc_resource_close(res);
  (void)lc_registry_run(self->test->registry);
  while (lc_resource_state_of(res) != LC_RES_CLOSED) (void)uv_run(&self->test->loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&self->keep, NULL);
  (void)uv_run(&self->test->loop, UV_RUN_NOWAIT); /* it lies on the test's stack */
  assert_int_equal(atomic_load(&res->descriptors), 0);
  assert_int_equal(atomic_load(&res->bytes), 0);
  lc_resource_release(res);
}

static int dial(const server *self) {
  const struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(self->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_true(fd >= 0);
  assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
  assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
  return fd;
}

static void say(server *self, int fd, const char *text) {
  for (size_t at = 0, len = strlen(text); at < len;) {
    ssize_t n = send(fd, text + at, len - at, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) return; /* it has heard enough */
    if (n > 0) at += (size_t)n;
    turn(self);
  }
}

/* Everything until the server closes; holds until the next call. */
static const char *hear(server *self, int fd) {
  static char heard[16384];
  size_t len = 0;
  for (;;) {
    ssize_t n = recv(fd, heard + len, sizeof heard - 1 - len, 0);
    if (n > 0) len += (size_t)n;
    if (n == 0 || (n < 0 && errno != EAGAIN)) break;
    turn(self);
  }
  assert_int_equal(close(fd), 0);
  heard[len] = '\0';
  return heard;
}

static const char *exchange(server *self, const char *request) {
  int fd = dial(self);
  say(self, fd, request);
  return hear(self, fd);
}

static void assert_status(server *self, const char *request, const char *status) {
  const char *answer = exchange(self, request);
  if (strncmp(answer, status, strlen(status)) != 0) fail_msg("%.60s: %.200s", request, answer);
}

static void test_answers(void **state) {
  server self;
  open_server(&self, *state, &plain);
  const char *answer = exchange(&self, "GET /a?b=c HTTP/1.1\r\nHost: x\r\nX-Test: hello\r\n\r\n");
  assert_int_equal(strncmp(answer, "HTTP/1.1 200 OK\r\n", 17), 0);
  assert_non_null(strstr(answer, "\r\nConnection: close\r\n"));
  assert_non_null(strstr(answer, "\r\n\r\nGET /a 0 hello"));
  answer = exchange(&self, "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde");
  assert_non_null(strstr(answer, "\r\n\r\nPOST /b 5 -"));
  answer = exchange(&self, "POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
  assert_non_null(strstr(answer, "\r\n\r\nPOST /c 3 -"));
  (void)exchange(&self, "babble\r\n\r\n"); /* it ends, with whatever word */
  assert_int_equal(self.asked, 3);
  close_server(&self);
}

static void test_token(void **state) {
  const lc_http_server_options options = {.listen = "0.0.0.0:0", .token = "secret-token"};
  const lc_http_server_options local = {.listen = "127.0.0.1:0", .token = "secret-token"};
  const lc_http_server_options open = {.listen = "0.0.0.0:0"};
  lc_service *refused = NULL, *taken = NULL;
  lc_error error = {0};
  lc_test *test = *state;
  server self;
  assert_int_equal(lc_http_server_create(&open, test->registry, "t.lua:1", &refused, &error), LC_EINVAL);
  assert_non_null(strstr(error.message, "needs a token"));
  assert_int_equal(lc_http_server_create(&options, test->registry, "t.lua:1", &taken, &error), 0);
  lc_resource_release(&taken->resource);
  open_server(&self, test, &local);
  const char *answer = exchange(&self, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  assert_int_equal(strncmp(answer, "HTTP/1.1 401 ", 13), 0);
  assert_non_null(strstr(answer, "\r\nWWW-Authenticate: Bearer\r\n"));
  static const char *const wrong[] = {"secret-token", "Basic secret-token", "Bearer", "Bearer ", "Bearer secret-toke",
                                      "Bearer secret-token2", "Bearer secret-tokeN", "Bearer ecret-token"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    char request[200];
    (void)snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n\r\n", wrong[i]);
    assert_status(&self, request, "HTTP/1.1 401 ");
  }
  assert_int_equal(self.asked, 0);
  assert_status(&self, "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret-token\r\n\r\n", "HTTP/1.1 200 ");
  assert_status(&self, "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: bearer  secret-token\r\n\r\n", "HTTP/1.1 200 ");
  close_server(&self);
}

static void test_new_token_is_adopted(void **state) {
  const lc_http_server_options before = {.listen = "127.0.0.1:0", .token = "first-token"};
  const lc_http_server_options after = {.listen = "127.0.0.1:0", .token = "second-token"};
  const lc_http_server_options elsewhere = {.listen = "127.0.0.1:9", .token = "first-token"};
  lc_service *same, *changed, *other;
  lc_test *test = *state;
  server self;
  open_server(&self, test, &before);
  lc_resource *res = &self.service->resource;
  assert_int_equal(lc_http_server_create(&before, test->registry, "t.lua:2", &same, NULL), 0);
  assert_int_equal(lc_http_server_create(&after, test->registry, "t.lua:2", &changed, NULL), 0);
  assert_int_equal(lc_http_server_create(&elsewhere, test->registry, "t.lua:2", &other, NULL), 0);
  assert_int_equal(res->ops->fit(res, &same->resource), LC_FIT_SAME);
  assert_int_equal(res->ops->fit(res, &changed->resource), LC_FIT_CHANGED);
  assert_int_equal(res->ops->fit(res, &other->resource), LC_FIT_REPLACE);
  res->ops->adopt(res, &changed->resource);
  assert_status(&self, "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer second-token\r\n\r\n", "HTTP/1.1 200 ");
  assert_status(&self, "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer first-token\r\n\r\n", "HTTP/1.1 401 ");
  lc_resource_release(&same->resource);
  lc_resource_release(&changed->resource);
  lc_resource_release(&other->resource);
  close_server(&self);
}

/* A request whose header has so many bytes. */
static const char *header_of(lc_buf *ret, size_t bytes) {
  static const char begin[] = "GET / HTTP/1.1\r\nHost: x\r\nX-Test: ", end[] = "\r\n\r\n";
  lc_buf_clear(ret);
  lc_buf_adds(ret, begin);
  for (size_t i = sizeof begin - 1 + sizeof end - 1; i < bytes; i++) lc_buf_addc(ret, 'x');
  lc_buf_adds(ret, end);
  return lc_buf_cstr(ret);
}

static void test_too_large(void **state) {
  server self;
  lc_buf request = {0};
  open_server(&self, *state, &plain);
  assert_status(&self, header_of(&request, LC_HTTP_HEADER_MAX), "HTTP/1.1 200 ");
  assert_status(&self, header_of(&request, LC_HTTP_HEADER_MAX + 1), "HTTP/1.1 431 ");
  self.asked = 0;
  lc_buf_clear(&request);
  lc_buf_adds(&request, "GET / HTTP/1.1\r\nHost: x\r\nX-Test: ");
  for (int i = 0; i < 100000; i++) lc_buf_addc(&request, 'x');
  lc_buf_adds(&request, "\r\n\r\n");
  assert_status(&self, lc_buf_cstr(&request), "HTTP/1.1 431 ");
  assert_status(&self, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n", "HTTP/1.1 413 ");
  assert_status(&self, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", "HTTP/1.1 4");
  lc_buf_clear(&request);
  lc_buf_adds(&request, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 70; i++) {
    lc_buf_adds(&request, "400\r\n");
    for (int j = 0; j < 1024; j++) lc_buf_addc(&request, 'x');
    lc_buf_adds(&request, "\r\n");
  }
  lc_buf_adds(&request, "0\r\n\r\n");
  assert_status(&self, lc_buf_cstr(&request), "HTTP/1.1 413 ");
  lc_buf_free(&request);
  assert_int_equal(self.asked, 0);
  close_server(&self);
}

/* One that drips bytes is cut off, however often it drips. */
static void test_slow(void **state) {
  const lc_http_server_options options = {.listen = "127.0.0.1:0", .patience_ms = 300};
  server self;
  open_server(&self, *state, &options);
  int slow = dial(&self);
  uint64_t began = uv_now(&self.test->loop), next = began;
  say(&self, slow, "GET / HTTP/1.1\r\nX-Test: ");
  for (bool open = true; open;) {
    assert_status(&self, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 "); /* it hurts nobody */
    if (uv_now(&self.test->loop) < next) continue;
    next += 10;
    open = send(slow, "x", 1, MSG_NOSIGNAL) == 1;
    assert_true(next - began < 3000); /* far from the most that a header may have */
  }
  assert_true(uv_now(&self.test->loop) - began >= 300);
  (void)close(slow);
  close_server(&self);
}

/* More than there is place for, none of which asks: newcomers are answered. */
static void test_crowd(void **state) {
  server self;
  int crowd[3 * LC_HTTP_CLIENTS_MAX];
  open_server(&self, *state, &plain);
  uint64_t began = uv_now(&self.test->loop);
  for (size_t i = 0; i < sizeof crowd / sizeof *crowd; i++) {
    crowd[i] = dial(&self);
    say(&self, crowd[i], "GET / HT");
    assert_true(atomic_load(&self.service->resource.descriptors) <= 2 * LC_HTTP_CLIENTS_MAX + 3);
  }
  for (int i = 0; i < 100; i++) {
    assert_status(&self, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 ");
  }
  assert_true(uv_now(&self.test->loop) - began < LC_HTTP_PATIENCE_MS); /* nobody ran out of patience yet */
  for (size_t i = 0; i < sizeof crowd / sizeof *crowd; i++) (void)close(crowd[i]);
  close_server(&self);
}

static void wait_for_request(server *self) {
  while (self->held == NULL) turn(self);
}

static void answer_held(server *self) {
  lc_buf body = {0};
  lc_buf_adds(&body, "at last");
  lc_http_answer(self->held, 200, "text/plain", &body);
  self->held = NULL;
}

static void test_late_answer(void **state) {
  server self;
  open_server(&self, *state, &plain);
  int fd = dial(&self);
  say(&self, fd, "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab");
  wait_for_request(&self);
  assert_status(&self, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 ");
  answer_held(&self);
  assert_non_null(strstr(hear(&self, fd), "\r\n\r\nat last"));
  close_server(&self);
}

static void test_client_gone_before_its_answer(void **state) {
  server self;
  open_server(&self, *state, &plain);
  int fd = dial(&self);
  say(&self, fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
  wait_for_request(&self);
  (void)close(fd);
  for (int i = 0; i < 10; i++) turn(&self);
  answer_held(&self);
  assert_status(&self, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 ");
  close_server(&self);
}

/* A close waits for an answer that comes in time ... */
static void test_close_lets_answers_out(void **state) {
  server self;
  open_server(&self, *state, &plain);
  int fd = dial(&self), idle = dial(&self);
  say(&self, fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
  wait_for_request(&self);
  lc_resource_close(&self.service->resource);
  for (int i = 0; i < 10; i++) turn(&self);
  assert_string_equal(hear(&self, idle), "");
  assert_int_equal(lc_resource_state_of(&self.service->resource), LC_RES_CLOSING);
  answer_held(&self);
  assert_non_null(strstr(hear(&self, fd), "\r\n\r\nat last"));
  close_server(&self);
}

/* ... and goes on without one that does not. */
static void test_answer_after_the_close(void **state) {
  server self;
  open_server(&self, *state, &plain);
  int fd = dial(&self);
  say(&self, fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
  wait_for_request(&self);
  close_server(&self);
  (void)lc_registry_run(self.test->registry); /* the server is freed */
  answer_held(&self);
  (void)close(fd);
}

static void test_port_in_use(void **state) {
  server self;
  char listen[40];
  lc_service *second = NULL;
  lc_error error = {0};
  open_server(&self, *state, &plain);
  (void)snprintf(listen, sizeof listen, "127.0.0.1:%u", self.port);
  const lc_http_server_options options = {.listen = listen};
  assert_int_equal(lc_http_server_create(&options, self.test->registry, "t.lua:9", &second, &error), 0);
  const lc_service_host host = {.runtime = &self.runtime, .request = on_request, .arg = &self};
  assert_int_equal(second->ops->open(second, &host, &error), LC_ESYS);
  assert_non_null(strstr(error.message, "admin made at t.lua:9: cannot listen at 127.0.0.1:"));
  lc_resource_release(&second->resource);
  close_server(&self);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_answers),
      lc_test_case(test_token),
      lc_test_case(test_new_token_is_adopted),
      lc_test_case(test_too_large),
      lc_test_case(test_slow),
      lc_test_case(test_crowd),
      lc_test_case(test_late_answer),
      lc_test_case(test_client_gone_before_its_answer),
      lc_test_case(test_close_lets_answers_out),
      lc_test_case(test_answer_after_the_close),
      lc_test_case(test_port_in_use),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
