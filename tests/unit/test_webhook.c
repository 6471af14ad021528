/* The webhook, and the HTTP client below it, against servers that take, refuse, fail, and are not there. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/http_server.h"
#include "io/webhook.h"

typedef struct hook {
  lc_test *test;
  uv_timer_t keep; /* the rest keeps no loop running; it also bounds how long a test waits */
  lc_runtime runtime;
  lc_service *server;
  lc_webhook *webhook;
  lc_http_request *held; /* while `hold` */
  bool hold;
  unsigned status[16]; /* what is answered, in turn; 0: 200 */
  unsigned asked;
  char got[128][40]; /* bodies, as they came */
} hook;

static void on_request(void *arg, lc_http_request *request) {
  hook *self = arg;
  lc_buf body = {0};
  const char *type = lc_http_header(request, "Content-Type");
  assert_string_equal(type, "application/json");
  assert_string_equal(request->method, "POST");
  assert_true(self->asked < 128 && request->body.len < sizeof self->got[0]);
  memcpy(self->got[self->asked], request->body.data, request->body.len);
  unsigned status = self->asked < 16 && self->status[self->asked] != 0 ? self->status[self->asked] : 200;
  self->asked++;
  if (self->hold) self->held = request;
  else lc_http_answer(request, status, "text/plain", &body);
}

static void too_long(uv_timer_t *timer) {
  (void)timer;
  fail_msg("it takes too long");
}

static void open_hook(hook *self, lc_test *test, const char *url) {
  lc_error error = {0};
  lc_buf stats = {0};
  char own[100];
  *self = (hook){.test = test};
  self->runtime = (lc_runtime){.loop = &test->loop, .registry = test->registry};
  (void)uv_timer_init(&test->loop, &self->keep);
  assert_int_equal(uv_timer_start(&self->keep, too_long, 60000, 0), 0);
  const lc_http_server_options options = {.listen = "127.0.0.1:0"};
  assert_int_equal(lc_http_server_create(&options, test->registry, "t.lua:1", &self->server, &error), 0);
  const lc_service_host host = {.runtime = &self->runtime, .request = on_request, .arg = self};
  assert_int_equal(self->server->ops->open(self->server, &host, &error), 0);
  assert_int_equal(self->server->resource.ops->stats(&self->server->resource, &stats), 0);
  const char *at = strstr(lc_buf_cstr(&stats), "127.0.0.1:");
  (void)snprintf(own, sizeof own, "http://%.*s/hook?key=secret", (int)strcspn(at, "\""), at);
  lc_buf_free(&stats);
  if (lc_webhook_create(url != NULL ? url : own, &test->loop, test->registry, "t.lua:2", &self->webhook, &error) != 0) {
    fail_msg("%s", error.message);
  }
  self->webhook->first_pause_ms = 1;
}

static void turn(hook *self) {
  (void)lc_registry_run(self->test->registry);
  (void)uv_run(&self->test->loop, UV_RUN_ONCE);
}

static void close_resource(hook *self, lc_resource *res) {
  lc_resource_close(res);
  while (lc_resource_state_of(res) != LC_RES_CLOSED) {
    (void)lc_registry_run(self->test->registry);
    if (lc_resource_state_of(res) != LC_RES_CLOSED) (void)uv_run(&self->test->loop, UV_RUN_NOWAIT);
  }
  assert_int_equal(atomic_load(&res->descriptors), 0);
  assert_int_equal(atomic_load(&res->bytes), 0);
  lc_resource_release(res);
}

static void close_hook(hook *self) {
  close_resource(self, &self->webhook->resource);
  close_resource(self, &self->server->resource);
  uv_close((uv_handle_t *)&self->keep, NULL);
  (void)uv_run(&self->test->loop, UV_RUN_NOWAIT);
}

static void send_text(hook *self, const char *text) {
  lc_buf body = {0};
  lc_buf_adds(&body, text);
  lc_webhook_send(self->webhook, &body);
  assert_null(body.data);
}

static void test_url(void **state) {
  (void)state;
  assert_int_equal(lc_webhook_check("http://example.org/x?y=z", NULL), 0);
  assert_int_equal(lc_webhook_check("https://user:word@[::1]:8080/", NULL), 0);
  assert_int_equal(lc_webhook_check("ftp://example.org/", NULL), LC_EINVAL);
  assert_int_equal(lc_webhook_check("file:///etc/passwd", NULL), LC_EINVAL);
  assert_int_equal(lc_webhook_check("example.org", NULL), LC_EINVAL);
  assert_int_equal(lc_webhook_check("http://", NULL), LC_EINVAL);
}

static void test_in_order(void **state) {
  hook self;
  char text[40];
  open_hook(&self, *state, NULL);
  for (int i = 0; i < 30; i++) {
    (void)snprintf(text, sizeof text, "{\"n\":%d}", i);
    send_text(&self, text);
  }
  while (self.webhook->sent < 30) turn(&self);
  for (int i = 0; i < 30; i++) {
    (void)snprintf(text, sizeof text, "{\"n\":%d}", i);
    assert_string_equal(self.got[i], text);
  }
  assert_int_equal(self.webhook->lost, 0);
  close_hook(&self);
}

static void test_tried_again(void **state) {
  hook self;
  open_hook(&self, *state, NULL);
  self.status[0] = 500;
  self.status[1] = 429;
  self.status[2] = 408;
  self.status[4] = 404; /* the second one: nobody ever takes it */
  send_text(&self, "1");
  send_text(&self, "2");
  send_text(&self, "3");
  while (self.webhook->sent < 2) turn(&self);
  static const char *const wanted[] = {"1", "1", "1", "1", "2", "3"};
  for (size_t i = 0; i < 6; i++) assert_string_equal(self.got[i], wanted[i]);
  assert_int_equal(self.asked, 6);
  assert_int_equal(self.webhook->lost, 1);
  assert_int_equal(atomic_load(&self.webhook->resource.errors), 4);
  close_hook(&self);
}

static void test_given_up(void **state) {
  hook self;
  open_hook(&self, *state, "http://127.0.0.1:1/nobody");
  send_text(&self, "1");
  while (self.webhook->lost < 1) turn(&self);
  assert_int_equal(atomic_load(&self.webhook->resource.errors), LC_WEBHOOK_TRIES);
  assert_int_equal(self.webhook->n, 0);
  close_hook(&self);
}

/* The one under way stays, the oldest that waits goes. */
static void test_queue_is_bounded(void **state) {
  hook self;
  char text[40];
  open_hook(&self, *state, NULL);
  self.hold = true;
  for (unsigned i = 0; i < LC_WEBHOOK_QUEUE + 10; i++) {
    (void)snprintf(text, sizeof text, "%u", i);
    send_text(&self, text);
  }
  assert_int_equal(self.webhook->n, LC_WEBHOOK_QUEUE);
  assert_int_equal(self.webhook->lost, 10);
  while (self.held == NULL) turn(&self);
  lc_buf none = {0};
  self.hold = false;
  lc_http_answer(self.held, 200, "text/plain", &none);
  while (self.webhook->n > 0) turn(&self);
  assert_string_equal(self.got[0], "0");
  assert_string_equal(self.got[1], "11");
  assert_string_equal(self.got[LC_WEBHOOK_QUEUE - 1], "73");
  close_hook(&self);
}

static void test_closed_under_way(void **state) {
  hook self;
  open_hook(&self, *state, NULL);
  self.hold = true;
  send_text(&self, "1");
  send_text(&self, "2");
  while (self.held == NULL) turn(&self);
  close_resource(&self, &self.webhook->resource);
  lc_buf none = {0};
  lc_http_answer(self.held, 200, "text/plain", &none);
  close_resource(&self, &self.server->resource);
  uv_close((uv_handle_t *)&self.keep, NULL);
  (void)uv_run(&self.test->loop, UV_RUN_NOWAIT);
}

static void test_closed_while_it_waits(void **state) {
  hook self;
  open_hook(&self, *state, NULL);
  self.webhook->first_pause_ms = 60000;
  self.status[0] = 503;
  send_text(&self, "1");
  while (atomic_load(&self.webhook->resource.errors) == 0) turn(&self);
  close_hook(&self);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_url),       lc_test_case(test_in_order),         lc_test_case(test_tried_again),
      lc_test_case(test_given_up),  lc_test_case(test_queue_is_bounded), lc_test_case(test_closed_under_way),
      lc_test_case(test_closed_while_it_waits),
  };
  for (const char *const *name = (const char *const[]){"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", NULL};
       *name != NULL; name++) {
    (void)unsetenv(*name);
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
