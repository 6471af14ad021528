#include "io/webhook.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

#define FIRST_PAUSE_MS 1000u
#define LAST_PAUSE_MS 60000u

int lc_webhook_check(const char *url, lc_error *error) {
  CURLU *parsed = curl_url();
  char *scheme = NULL;
  int rc = 0;
  if (parsed == NULL) return lc_error_set(error, LC_ENOMEM, "out of memory");
  if (curl_url_set(parsed, CURLUPART_URL, url, 0) != CURLUE_OK ||
      curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
      (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)) {
    rc = lc_error_set(error, LC_EINVAL, "\"%.100s\" is no http or https URL; write \"https://example.org/hook\"", url);
  }
  curl_free(scheme);
  curl_url_cleanup(parsed);
  return rc;
}

static void send_first(lc_webhook *self);

static void remove_at(lc_webhook *self, uint32_t i) {
  atomic_fetch_sub(&self->resource.bytes, (int64_t)self->queue[i].len);
  lc_buf_free(&self->queue[i]);
  self->n--;
  memmove(&self->queue[i], &self->queue[i + 1], (self->n - i) * sizeof self->queue[0]);
}

static void lose(lc_webhook *self, uint32_t i, const char *why) {
  self->lost++;
  lc_log(LC_LOG_WARN, "webhook", "an alert was not sent", LC_S("because", why));
  remove_at(self, i);
}

static void on_again(uv_timer_t *timer) { send_first(timer->data); }

static bool worth_a_retry(const lc_http_outcome *outcome) {
  return outcome->rc != 0 || outcome->status >= 500 || outcome->status == 408 || outcome->status == 429;
}

static void on_done(void *arg, const lc_http_outcome *outcome) {
  lc_webhook *self = arg;
  char why[200];
  self->under_way = false;
  if (outcome->rc == LC_ECANCELED) return;
  if (outcome->rc == 0 && outcome->status >= 200 && outcome->status < 300) {
    self->sent++;
    self->tries = 0;
    remove_at(self, 0);
    send_first(self);
    return;
  }
  atomic_fetch_add(&self->resource.errors, 1);
  if (outcome->rc != 0) (void)snprintf(why, sizeof why, "%.190s", outcome->error.message);
  else (void)snprintf(why, sizeof why, "it was answered with status %ld", outcome->status);
  if (worth_a_retry(outcome) && ++self->tries < LC_WEBHOOK_TRIES) {
    uint64_t pause_ms = (uint64_t)self->first_pause_ms << (self->tries - 1);
    if (pause_ms > LAST_PAUSE_MS) pause_ms = LAST_PAUSE_MS;
    lc_log(LC_LOG_DEBUG, "webhook", "will try again", LC_S("because", why), LC_I("in_ms", pause_ms));
    (void)uv_timer_start(&self->again, on_again, pause_ms, 0);
    return;
  }
  self->tries = 0;
  lose(self, 0, why);
  send_first(self);
}

static void send_first(lc_webhook *self) {
  lc_error error = {0};
  while (self->n > 0 && !self->under_way && lc_resource_state_of(&self->resource) == LC_RES_OPEN) {
    lc_buf body = {0};
    (void)lc_buf_add(&body, self->queue[0].data, self->queue[0].len);
    const lc_http_post_options post = {.url = self->url, .type = "application/json", .body = &body,
                                       .timeout_ms = LC_WEBHOOK_TIMEOUT_MS, .done = on_done, .arg = self};
    if (lc_http_post(&self->http, &post, &error) != 0) lose(self, 0, error.message);
    else self->under_way = true;
  }
}

void lc_webhook_send(lc_webhook *self, lc_buf *body) {
  if (body->failed || lc_resource_state_of(&self->resource) != LC_RES_OPEN) {
    lc_buf_free(body);
    return;
  }
  if (self->n == LC_WEBHOOK_QUEUE) lose(self, self->under_way || self->tries > 0 ? 1 : 0, "too many wait");
  self->queue[self->n++] = *body;
  atomic_fetch_add(&self->resource.bytes, (int64_t)body->len);
  *body = (lc_buf){0};
  if (self->tries == 0) send_first(self);
}

/* --- the resource --- */

static void on_http_closed(lc_http *http) {
  lc_webhook *self = (lc_webhook *)(void *)((char *)http - offsetof(lc_webhook, http));
  while (self->n > 0) remove_at(self, 0);
  lc_resource_closed(&self->resource);
}

static void on_timer_closed(uv_handle_t *handle) {
  lc_webhook *self = handle->data;
  lc_http_close(&self->http, on_http_closed);
}

static void webhook_close(lc_resource *res) {
  lc_webhook *self = (lc_webhook *)res;
  if (self->n > 0) lc_log(LC_LOG_WARN, "webhook", "closed before all was sent", LC_I("waiting", self->n));
  uv_close((uv_handle_t *)&self->again, on_timer_closed);
}

static void webhook_destroy(lc_resource *res) {
  lc_webhook *self = (lc_webhook *)res;
  free(self->url);
  free(self);
}

static int webhook_stats(lc_resource *res, lc_buf *ret) {
  const lc_webhook *self = (const lc_webhook *)res;
  return lc_buf_addf(ret, "{\"waiting\":%u,\"tries\":%u,\"sent\":%llu,\"lost\":%llu}", self->n, self->tries,
                     (unsigned long long)self->sent, (unsigned long long)self->lost);
}

static const lc_resource_ops resource_ops = {
    .close = webhook_close, .destroy = webhook_destroy, .stats = webhook_stats};

int lc_webhook_create(const char *url, uv_loop_t *loop, lc_registry *registry, const char *made_at, lc_webhook **ret,
                      lc_error *error) {
  lc_webhook *self = calloc(1, sizeof *self);
  char *copy = self != NULL ? strdup(url) : NULL;
  if (copy == NULL) {
    free(self);
    return lc_error_set(error, LC_ENOMEM, "out of memory for a webhook");
  }
  self->url = copy;
  self->first_pause_ms = FIRST_PAUSE_MS;
  int rc = lc_resource_init(&self->resource, registry, &resource_ops, "webhook", NULL, "webhook", made_at, error);
  if (rc != 0) {
    free(copy);
    free(self);
    return rc;
  }
  (void)uv_timer_init(loop, &self->again);
  self->again.data = self;
  uv_unref((uv_handle_t *)&self->again);
  rc = lc_resource_opened(&self->resource, error); /* from here on a release closes what is open, on the loop */
  if (rc == 0) rc = lc_http_init(&self->http, loop, &self->resource, error);
  if (rc == 0) *ret = self;
  else lc_resource_release(&self->resource);
  return rc;
}
