/* An HTTP client on the loop (libcurl's multi interface, without threads but for looking names up): what sinks and
 * webhooks stand on. It is part of a resource, on whose counters its descriptors stand.
 *
 *     lc_http_init(&self->http, loop, &self->resource, &error);
 *     lc_http_post(&self->http, &(lc_http_post_options){.url = url, .type = "application/json", .body = &body,
 *                  .timeout_ms = 10000, .done = on_done, .arg = self}, &error);
 *     ...
 *     lc_http_close(&self->http, on_closed);        // from ops->close; every call under way ends with LC_ECANCELED
 *
 * It keeps nobody's loop running. Environment variables such as https_proxy count.
 *
 * Thread: the loop thread. */
#ifndef LC_IO_HTTP_H
#define LC_IO_HTTP_H

#include <uv.h>

#include "base/buf.h"
#include "logcap/resource.h"

#define LC_HTTP_ANSWER_MAX 4096u /* bytes of an answer that are kept */

typedef struct lc_http {
  lc_resource *owner; /* borrowed */
  void *multi;        /* curl's; NULL: closed */
  uv_loop_t *loop;
  uv_timer_t timer;
  uint32_t handles; /* open uv handles */
  struct http_call *calls; /* under way; owned */
  bool closing;
  void (*closed)(struct lc_http *http);
} lc_http;

typedef struct lc_http_outcome {
  int rc;          /* 0: there is an answer; LC_ESYS: there is none; LC_ECANCELED */
  long status;     /* of the answer: 200 ... */
  lc_buf answer;   /* the first LC_HTTP_ANSWER_MAX bytes of its body; borrowed */
  lc_error error;  /* why there is no answer */
} lc_http_outcome;

typedef struct lc_http_post_options {
  const char *url;  /* http or https */
  const char *type; /* of the body */
  lc_buf *body;     /* taken over and left empty, also on failure */
  long timeout_ms;  /* for all of it */
  void (*done)(void *arg, const lc_http_outcome *outcome); /* called once when lc_http_post returned 0, from the loop */
  void *arg;
} lc_http_post_options;

int lc_http_init(lc_http *http, uv_loop_t *loop, lc_resource *owner, lc_error *error) LC_CHECK;
int lc_http_post(lc_http *http, const lc_http_post_options *options, lc_error *error) LC_CHECK;
/* Calls `closed`, now or later, when nothing is left. One that was never initialised is all zeroes: then it is now. */
void lc_http_close(lc_http *http, void (*closed)(lc_http *http));

#endif
