#include "io/http_server.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/listen.h"

#define SWEEP_MS 250u
#define MEMORY (2 * LC_HTTP_HEADER_MAX) /* bytes that a connection may use: the header as it came, and as it was read */
#define BACKLOG 128             /* connections that wait to be taken, so that a crowd does not have to ask twice */
#define BASE_DESCRIPTORS 3              /* the socket, the epoll and its wake-up */
#define LOG_EVERY_NS (10 * LC_SECOND)

typedef struct server {
  lc_service service; /* first */
  lc_address address;
  char *token; /* owned; NULL: none is asked for */
  uint64_t patience_ms;
  lc_service_host host;
  struct MHD_Daemon *daemon; /* NULL: not open */
  uv_poll_t poll;            /* MHD's own epoll descriptor */
  uv_timer_t run;            /* MHD wants to be called again */
  uv_timer_t sweep;          /* while there are clients, and to close */
  uint32_t handles;
  struct http_peer *newest, *oldest;
  uint32_t n_peers, n_dropped; /* those that MHD has still to close count as dropped */
  bool closing;
  uint64_t drain_until_ms; /* on the loop's clock */
  uint64_t requests, unauthorized, timed_out, evicted;
  lc_log_limit limit;
} server;

/* A connection with its request. It outlives the connection while an answer is due. */
typedef struct http_peer {
  lc_http_request request; /* first */
  server *server;          /* NULL: the connection is gone */
  struct MHD_Connection *connection;
  struct MHD_Response *response; /* owned; to be sent */
  unsigned status;
  uint64_t since_ms; /* of the loop's clock: its patience counts from here */
  bool too_large, asked, answered, suspended, dropped;
  struct http_peer *older, *newer;
} http_peer;

/* --- connections --- */

static http_peer *peer_of(struct MHD_Connection *connection) {
  const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
  return info != NULL ? info->socket_context : NULL;
}

/* What it still sends is not read; MHD closes it when it is called next. */
static void drop(http_peer *peer) {
  if (peer->dropped) return;
  peer->dropped = true;
  peer->server->n_dropped++;
  const union MHD_ConnectionInfo *info = MHD_get_connection_info(peer->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  if (info != NULL) (void)shutdown(info->connect_fd, SHUT_RDWR);
}

static void free_peer(http_peer *peer) {
  if (peer->response != NULL) MHD_destroy_response(peer->response);
  lc_buf_free(&peer->request.body);
  free(peer);
}

static void make_place(server *self) {
  if (self->n_peers - self->n_dropped <= LC_HTTP_CLIENTS_MAX) return;
  http_peer *victim = self->oldest;
  while (victim != self->newest && (victim->asked || victim->dropped)) victim = victim->newer;
  self->evicted++;
  drop(victim);
}

static void on_sweep(uv_timer_t *timer);

static void add_peer(server *self, struct MHD_Connection *connection, void **ret) {
  http_peer *fresh = calloc(1, sizeof *fresh);
  *ret = fresh;
  if (fresh == NULL) return; /* its request will end the connection */
  fresh->server = self;
  fresh->connection = connection;
  fresh->since_ms = uv_now(self->host.runtime->loop);
  fresh->older = self->newest;
  *(self->newest != NULL ? &self->newest->newer : &self->oldest) = fresh;
  self->newest = fresh;
  self->n_peers++;
  atomic_fetch_add(&self->service.resource.descriptors, 1);
  atomic_fetch_add(&self->service.resource.bytes, MEMORY);
  if (self->n_peers == 1 && !self->closing) (void)uv_timer_start(&self->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
  make_place(self);
}

static void remove_peer(server *self, http_peer *peer) {
  *(peer->older != NULL ? &peer->older->newer : &self->oldest) = peer->newer;
  *(peer->newer != NULL ? &peer->newer->older : &self->newest) = peer->older;
  self->n_peers--;
  self->n_dropped -= peer->dropped;
  atomic_fetch_sub(&self->service.resource.descriptors, 1);
  atomic_fetch_sub(&self->service.resource.bytes, MEMORY);
  peer->server = NULL;
  if (!peer->asked || peer->answered) free_peer(peer);
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what) {
  if (what == MHD_CONNECTION_NOTIFY_STARTED) add_peer(arg, connection, context);
  else if (*context != NULL) remove_peer(arg, *context);
}

/* --- requests --- */

static enum MHD_Result send_response(const http_peer *peer) {
  if (peer->response == NULL) return MHD_NO; /* there was no memory: the connection ends */
  return MHD_queue_response(peer->connection, peer->status, peer->response);
}

static void set_response(http_peer *peer, unsigned status, const char *type, lc_buf *body, const char *allow) {
  static const char none[] = "{\"error\":\"out of memory for an answer\"}\n";
  if (body->failed) {
    status = MHD_HTTP_INTERNAL_SERVER_ERROR;
    peer->response = MHD_create_response_from_buffer(sizeof none - 1, (void *)(uintptr_t)none, MHD_RESPMEM_PERSISTENT);
    lc_buf_free(body);
  } else {
    peer->response = MHD_create_response_from_buffer(body->len, body->data, MHD_RESPMEM_MUST_FREE);
    if (peer->response == NULL) free(body->data);
    *body = (lc_buf){0};
  }
  peer->status = status;
  peer->answered = true;
  if (peer->response == NULL) return;
  (void)MHD_add_response_header(peer->response, MHD_HTTP_HEADER_CONTENT_TYPE, type); /* each: an answer lacks it then */
  (void)MHD_add_response_header(peer->response, MHD_HTTP_HEADER_CONNECTION, "close");
  (void)MHD_add_response_header(peer->response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
  if (allow != NULL) (void)MHD_add_response_header(peer->response, MHD_HTTP_HEADER_ALLOW, allow);
  if (status == MHD_HTTP_UNAUTHORIZED) {
    (void)MHD_add_response_header(peer->response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
  }
}

static enum MHD_Result refuse(http_peer *peer, unsigned status, const char *message) {
  lc_buf body = {0};
  lc_buf_addf(&body, "{\"error\":\"%s\"}\n", message);
  set_response(peer, status, "application/json", &body, NULL);
  return send_response(peer);
}

/* Takes the same time for all tokens of one length. */
static bool same_token(const char *token, const char *given) {
  size_t len = strlen(token), given_len = strlen(given);
  unsigned differs = len != given_len;
  for (size_t i = 0; i < given_len; i++) differs |= (unsigned)(given[i] ^ token[i % len]);
  return differs == 0;
}

static bool authorized(const server *self, struct MHD_Connection *connection) {
  if (self->token == NULL) return true;
  const char *header = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
  if (header == NULL || strncasecmp(header, "Bearer ", 7) != 0) return false;
  for (header += 7; *header == ' ';) header++;
  return same_token(self->token, header);
}

static enum MHD_Result refuse_stranger(http_peer *peer) {
  server *self = peer->server;
  uint64_t held = 0;
  self->unauthorized++;
  if (lc_log_limit_pass(&self->limit, lc_clock_mono(), LOG_EVERY_NS, &held)) {
    lc_log(LC_LOG_WARN, "admin", "refused a request without the right token", LC_S("path", peer->request.path),
           LC_I("not_logged", held));
  }
  return refuse(peer, MHD_HTTP_UNAUTHORIZED, "a bearer token is needed: Authorization: Bearer TOKEN");
}

/* The header is there. */
static enum MHD_Result begin_request(http_peer *peer, const char *path, const char *method) {
  (void)snprintf(peer->request.path, sizeof peer->request.path, "%s", path);
  (void)snprintf(peer->request.method, sizeof peer->request.method, "%s", method);
  peer->server->requests++;
  const union MHD_ConnectionInfo *header =
      MHD_get_connection_info(peer->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
  if (header == NULL || header->header_size > LC_HTTP_HEADER_MAX) {
    return refuse(peer, MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE, "the header is too large");
  }
  if (!authorized(peer->server, peer->connection)) return refuse_stranger(peer);
  const char *length = MHD_lookup_connection_value(peer->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
  if (length != NULL && strtoull(length, NULL, 10) > LC_HTTP_BODY_MAX) {
    return refuse(peer, MHD_HTTP_CONTENT_TOO_LARGE, "the body is too large");
  }
  return MHD_YES;
}

/* A body whose length was not told is read on when it is too large: only behind its end can it be refused. */
static void take_body(http_peer *peer, const char *bytes, size_t len) {
  lc_buf *body = &peer->request.body;
  peer->too_large = peer->too_large || len > LC_HTTP_BODY_MAX - body->len;
  if (!peer->too_large) (void)lc_buf_add(body, bytes, len); /* sticky: looked at when it is whole */
}

/* The request is whole: it is answered at once, or its connection waits. */
static enum MHD_Result ask(http_peer *peer) {
  if (peer->too_large) return refuse(peer, MHD_HTTP_CONTENT_TOO_LARGE, "the body is too large");
  if (peer->request.body.failed) return MHD_NO;
  const lc_service_host *host = &peer->server->host;
  peer->asked = true;
  host->request(host->arg, &peer->request);
  if (peer->answered) return send_response(peer);
  peer->suspended = true;
  MHD_suspend_connection(peer->connection);
  return MHD_YES;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *path, const char *method,
                                  const char *version, const char *bytes, size_t *len, void **state) {
  (void)arg;
  (void)version;
  http_peer *peer = peer_of(connection);
  if (peer == NULL) return MHD_NO;
  if (*state == NULL) {
    *state = peer;
    return begin_request(peer, path, method);
  }
  if (*len > 0) {
    take_body(peer, bytes, *len);
    *len = 0;
    return MHD_YES;
  }
  return peer->answered ? send_response(peer) : ask(peer);
}

static void run(server *self);
static void on_run(uv_timer_t *timer) { run(timer->data); }

void lc_http_answer_allow(lc_http_request *request, unsigned status, const char *type, lc_buf *body,
                          const char *allow) {
  http_peer *self = (http_peer *)request;
  set_response(self, status, type, body, allow);
  if (self->server == NULL) {
    free_peer(self);
    return;
  }
  if (!self->suspended) return;
  self->suspended = false;
  self->since_ms = uv_now(self->server->host.runtime->loop);
  MHD_resume_connection(self->connection);
  (void)uv_timer_start(&self->server->run, on_run, 0, 0);
}

void lc_http_answer(lc_http_request *request, unsigned status, const char *type, lc_buf *body) {
  lc_http_answer_allow(request, status, type, body, NULL);
}

const char *lc_http_header(const lc_http_request *request, const char *name) {
  return MHD_lookup_connection_value(((const http_peer *)request)->connection, MHD_HEADER_KIND, name);
}

/* --- the loop --- */

static void run(server *self) {
  MHD_UNSIGNED_LONG_LONG ms = 0;
  if (self->daemon == NULL) return;
  (void)MHD_run(self->daemon); /* fails only when the daemon is stopped */
  if (MHD_get_timeout(self->daemon, &ms) == MHD_YES) (void)uv_timer_start(&self->run, on_run, ms, 0);
}

static void on_poll(uv_poll_t *poll, int status, int events) {
  (void)status;
  (void)events;
  run(poll->data);
}

static void on_handle_closed(uv_handle_t *handle) {
  server *self = handle->data;
  if (--self->handles == 0) lc_resource_closed(&self->service.resource);
}

/* Nobody is inside of MHD. */
static void finish(server *self) {
  for (http_peer *peer = self->oldest; peer != NULL; peer = peer->newer) {
    if (peer->suspended) MHD_resume_connection(peer->connection);
    peer->suspended = false;
  }
  (void)uv_poll_stop(&self->poll);
  MHD_stop_daemon(self->daemon);
  self->daemon = NULL;
  lc_require(self->n_peers == 0);
  atomic_fetch_sub(&self->service.resource.descriptors, BASE_DESCRIPTORS - 1); /* the socket went before */
  uv_close((uv_handle_t *)&self->poll, on_handle_closed);
  uv_close((uv_handle_t *)&self->run, on_handle_closed);
  uv_close((uv_handle_t *)&self->sweep, on_handle_closed);
}

static void on_sweep(uv_timer_t *timer) {
  server *self = timer->data;
  uint64_t now_ms = uv_now(timer->loop);
  if (self->closing && (self->n_peers == 0 || now_ms >= self->drain_until_ms)) {
    finish(self);
    return;
  }
  for (http_peer *peer = self->oldest; peer != NULL; peer = peer->newer) {
    if (peer->suspended || peer->dropped || now_ms - peer->since_ms < self->patience_ms) continue;
    self->timed_out++;
    drop(peer);
  }
  if (self->n_peers == 0) (void)uv_timer_stop(timer);
}

/* --- the service --- */

static int start_daemon(server *self, int fd, lc_error *error) {
  self->daemon = MHD_start_daemon(
      MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, self, MHD_OPTION_LISTEN_SOCKET, fd,
      MHD_OPTION_CONNECTION_LIMIT, 2 * LC_HTTP_CLIENTS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY,
      MHD_OPTION_NOTIFY_CONNECTION, on_connection, self, MHD_OPTION_END);
  if (self->daemon == NULL) return lc_error_sys(error, errno, "cannot start the HTTP server");
  return 0;
}

static void init_handles(server *self, uv_loop_t *loop, int epoll_fd) {
  (void)uv_poll_init(loop, &self->poll, epoll_fd); /* fails only when it cannot be made not to block */
  (void)uv_timer_init(loop, &self->run);
  (void)uv_timer_init(loop, &self->sweep);
  self->poll.data = self->run.data = self->sweep.data = self;
  self->handles = 3;
  uv_unref((uv_handle_t *)&self->poll); /* they keep nobody running */
  uv_unref((uv_handle_t *)&self->run);
  uv_unref((uv_handle_t *)&self->sweep);
}

static int server_open(lc_service *service, const lc_service_host *host, lc_error *error) {
  server *self = (server *)service;
  char text[LC_LISTEN_TEXT];
  int fd = -1;
  self->host = *host;
  int rc = lc_listen_open(&self->address, BACKLOG, &fd, error);
  if (rc == 0) rc = start_daemon(self, fd, error);
  if (rc == 0) rc = lc_resource_opened(&service->resource, error);
  if (rc != 0) {
    if (self->daemon != NULL) MHD_stop_daemon(self->daemon); /* which closes the socket */
    lc_listen_close(&self->address, self->daemon != NULL ? -1 : fd);
    self->daemon = NULL;
    return lc_error_context(error, "admin made at %s", service->resource.made_at);
  }
  init_handles(self, host->runtime->loop, MHD_get_daemon_info(self->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd);
  (void)uv_poll_start(&self->poll, UV_READABLE, on_poll);
  atomic_store(&service->resource.descriptors, BASE_DESCRIPTORS);
  lc_listen_text(fd, text);
  lc_log(LC_LOG_INFO, "admin", "listens", LC_S("address", text));
  return 0;
}

/* Takes no new clients, and lets those that have asked hear their answer. */
static void server_close(lc_resource *res) {
  server *self = (server *)res;
  uv_timer_t *sweep = &self->sweep;
  self->closing = true;
  lc_listen_close(&self->address, MHD_quiesce_daemon(self->daemon));
  atomic_fetch_sub(&res->descriptors, 1);
  for (http_peer *peer = self->oldest; peer != NULL; peer = peer->newer) {
    if (!peer->asked) drop(peer);
  }
  self->drain_until_ms = uv_now(sweep->loop) + LC_HTTP_DRAIN_MS;
  uv_ref((uv_handle_t *)sweep);
  (void)uv_timer_start(sweep, on_sweep, 0, 10);
}

static void server_destroy(lc_resource *res) {
  server *self = (server *)res;
  free(self->token);
  free(self);
}

static int server_stats(lc_resource *res, lc_buf *ret) {
  const server *self = (const server *)res;
  char text[LC_LISTEN_TEXT] = "";
  if (self->daemon != NULL && !self->closing) {
    lc_listen_text(MHD_get_daemon_info(self->daemon, MHD_DAEMON_INFO_LISTEN_FD)->listen_fd, text);
  }
  lc_buf_adds(ret, "{\"address\":");
  lc_buf_add_json_string(ret, text, strlen(text));
  return lc_buf_addf(ret,
                     ",\"clients\":%u,\"requests\":%llu,\"unauthorized\":%llu,\"timed_out\":%llu,"
                     "\"evicted\":%llu}",
                     self->n_peers, (unsigned long long)self->requests, (unsigned long long)self->unauthorized,
                     (unsigned long long)self->timed_out, (unsigned long long)self->evicted);
}

static lc_fit server_fit(const lc_resource *res, const lc_resource *described) {
  const server *self = (const server *)res, *wanted = (const server *)described;
  if (!lc_listen_same(&self->address, &wanted->address)) return LC_FIT_REPLACE;
  bool same = (self->token == NULL) == (wanted->token == NULL) &&
              (self->token == NULL || strcmp(self->token, wanted->token) == 0);
  return same ? LC_FIT_SAME : LC_FIT_CHANGED;
}

static void server_adopt(lc_resource *res, lc_resource *described) {
  server *self = (server *)res, *wanted = (server *)described;
  char *before = self->token;
  self->token = wanted->token;
  wanted->token = before;
}

static const lc_resource_ops resource_ops = {.close = server_close,
                                             .destroy = server_destroy,
                                             .stats = server_stats,
                                             .fit = server_fit,
                                             .adopt = server_adopt};
static const lc_service_ops service_ops = {.open = server_open};

int lc_http_server_create(const lc_http_server_options *options, lc_registry *registry, const char *made_at,
                          lc_service **ret, lc_error *error) {
  lc_address address;
  int rc = lc_listen_parse(options->listen, &address, error);
  if (rc != 0) return rc;
  if (!address.local && options->token == NULL) {
    return lc_error_set(error, LC_EINVAL,
                        "other machines reach \"%.100s\", so it needs a token: write token_file = \"admin.token\", or "
                        "listen = \"127.0.0.1:9600\"", options->listen);
  }
  server *self = calloc(1, sizeof *self);
  char *token = self != NULL && options->token != NULL ? strdup(options->token) : NULL;
  if (self == NULL || (options->token != NULL && token == NULL)) {
    free(self);
    return lc_error_set(error, LC_ENOMEM, "out of memory");
  }
  self->address = address;
  self->token = token;
  self->patience_ms = options->patience_ms != 0 ? options->patience_ms : LC_HTTP_PATIENCE_MS;
  self->service.ops = &service_ops;
  rc = lc_resource_init(&self->service.resource, registry, &resource_ops, "admin", NULL, "admin", made_at, error);
  if (rc != 0) {
    free(token);
    free(self);
    return rc;
  }
  *ret = &self->service;
  return 0;
}
