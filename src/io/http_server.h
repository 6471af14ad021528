/* A small HTTP/1.1 server on the loop (libmicrohttpd, without threads): the admin interface stands on it.
 *
 *     const lc_http_server_options options = {.listen = "127.0.0.1:9600"};
 *     lc_http_server_create(&options, registry, made_at, &service, &error);
 *     service->ops->open(service, &host, &error);         // binds; from then on host.request is called
 *     ...
 *     void request(void *arg, lc_http_request *request) {
 *       lc_http_answer(request, 200, "text/plain", &body); // now or later
 *     }
 *
 * Each connection carries one request. Header, body, connections and time are bounded; when more clients come than
 * there is place for, the oldest that has not yet asked goes. With a token, every request must bear it.
 *
 * Thread: the loop thread. */
#ifndef LC_IO_HTTP_SERVER_H
#define LC_IO_HTTP_SERVER_H

#include "base/buf.h"
#include "io/service.h"

#define LC_HTTP_HEADER_MAX 8192u /* bytes of a request's header */
#define LC_HTTP_BODY_MAX 65536u  /* bytes of a request's body */
#define LC_HTTP_CLIENTS_MAX 32u
#define LC_HTTP_PATIENCE_MS 10000 /* for the request, and again for the answer to be taken */
#define LC_HTTP_DRAIN_MS 2000     /* after a close: for what was asked to be answered */

typedef struct lc_http_server_options {
  const char *listen; /* see io/listen.h */
  const char *token;  /* what a client bears: "Authorization: Bearer TOKEN"; NULL: needs none */
  uint32_t patience_ms; /* 0: LC_HTTP_PATIENCE_MS */
} lc_http_server_options;

typedef struct lc_http_request {
  char method[16], path[256]; /* a longer one is cut: nothing has such a name */
  lc_buf body;
} lc_http_request;

/* A service of kind "admin". LC_EINVAL for an address that is none, and for one that other machines reach without a
 * token. */
int lc_http_server_create(const lc_http_server_options *options, lc_registry *registry, const char *made_at,
                          lc_service **ret, lc_error *error) LC_CHECK;

/* Answers, once. Takes the body's memory over and leaves it empty; a body that failed for lack of memory becomes a 500.
 * `type` and `allow` (the header of a 405; NULL: none) are static. The client may have gone meanwhile: then nothing
 * happens. */
void lc_http_answer(lc_http_request *request, unsigned status, const char *type, lc_buf *body);
void lc_http_answer_allow(lc_http_request *request, unsigned status, const char *type, lc_buf *body,
                          const char *allow);
/* A header of the request, or NULL. Only from inside of `host.request`. */
const char *lc_http_header(const lc_http_request *request, const char *name);

#endif
