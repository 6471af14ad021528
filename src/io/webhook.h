/* A webhook: JSON objects, each POSTed to a URL until somebody takes it. A resource of kind "webhook".
 *
 *     lc_webhook_create(url, loop, registry, made_at, &webhook, &error);
 *     lc_webhook_send(webhook, &body);
 *     ...
 *     lc_resource_close(&webhook->resource);      // what waits is let go
 *     lc_resource_release(&webhook->resource);
 *
 * One request at a time, in order. An answer of 2xx ends it; no answer, 408, 429 and 5xx are tried again, after 1, 2,
 * 4 ... 60 seconds, for LC_WEBHOOK_TRIES times; others end it too, with a line in the log. When LC_WEBHOOK_QUEUE wait,
 * the oldest of those that were not tried yet goes.
 *
 * The URL is not shown anywhere: its path is often a secret.
 *
 * Thread: the loop thread. */
#ifndef LC_IO_WEBHOOK_H
#define LC_IO_WEBHOOK_H

#include <uv.h>

#include "io/http.h"

#define LC_WEBHOOK_QUEUE 64u
#define LC_WEBHOOK_TRIES 10u
#define LC_WEBHOOK_TIMEOUT_MS 10000

typedef struct lc_webhook {
  lc_resource resource; /* first */
  char *url;            /* owned */
  lc_http http;
  uv_timer_t again;
  bool under_way;
  uint32_t tries; /* of the first in the queue */
  uint32_t first_pause_ms; /* before the second try; it doubles with each */
  lc_buf queue[LC_WEBHOOK_QUEUE];
  uint32_t n;
  uint64_t sent, lost;
} lc_webhook;

/* LC_EINVAL when it is no http or https URL. */
int lc_webhook_check(const char *url, lc_error *error) LC_CHECK;
int lc_webhook_create(const char *url, uv_loop_t *loop, lc_registry *registry, const char *made_at, lc_webhook **ret,
                      lc_error *error) LC_CHECK;
/* Takes the body's memory over and leaves it empty. */
void lc_webhook_send(lc_webhook *webhook, lc_buf *body);

#endif
