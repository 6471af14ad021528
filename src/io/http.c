#include "io/http.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"

#define WAKE_UP_DESCRIPTORS 2 /* of a multi handle: the pair that curl_multi_wakeup would use */

typedef struct http_call {
  lc_http *http;
  CURL *easy;
  struct curl_slist *headers; /* owned */
  lc_buf body, answer;
  char why[CURL_ERROR_SIZE];
  void (*done)(void *arg, const lc_http_outcome *outcome);
  void *arg;
  struct http_call *prev, *next;
} http_call;

/* A socket that curl waits for. */
typedef struct http_socket {
  uv_poll_t poll; /* first */
  lc_http *http;
  curl_socket_t fd;
} http_socket;

/* --- handles --- */

static void handle_gone(lc_http *http) {
  lc_require(http->handles > 0);
  if (--http->handles == 0 && http->closing) http->closed(http);
}

static void on_socket_closed(uv_handle_t *handle) {
  http_socket *socket = (http_socket *)handle;
  lc_http *http = socket->http;
  free(socket);
  handle_gone(http);
}

static void on_timer_closed(uv_handle_t *handle) { handle_gone(handle->data); }

/* --- calls --- */

static void free_call(http_call *call) {
  curl_easy_cleanup(call->easy);
  curl_slist_free_all(call->headers);
  lc_buf_free(&call->body);
  lc_buf_free(&call->answer);
  free(call);
}

static void end_call(http_call *call, int rc, const char *why) {
  lc_http *http = call->http;
  lc_http_outcome outcome = {.rc = rc, .answer = call->answer};
  if (rc == 0) (void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &outcome.status);
  else lc_error_set(&outcome.error, rc, "%s", why);
  (void)curl_multi_remove_handle(http->multi, call->easy);
  *(call->prev != NULL ? &call->prev->next : &http->calls) = call->next;
  if (call->next != NULL) call->next->prev = call->prev;
  call->done(call->arg, &outcome);
  free_call(call);
}

static void collect(lc_http *http) {
  int left = 0;
  for (CURLMsg *message; http->multi != NULL && (message = curl_multi_info_read(http->multi, &left)) != NULL;) {
    if (message->msg != CURLMSG_DONE) continue;
    CURLcode code = message->data.result;
    http_call *call = NULL;
    (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
    end_call(call, code == CURLE_OK ? 0 : LC_ESYS, call->why[0] != '\0' ? call->why : curl_easy_strerror(code));
  }
}

static void act(lc_http *http, curl_socket_t fd, int events) {
  int running = 0;
  if (http->multi == NULL) return;
  (void)curl_multi_socket_action(http->multi, fd, events, &running); /* what fails, fails in its own call */
  collect(http);
}

/* --- what curl asks of the loop --- */

static void on_poll(uv_poll_t *poll, int status, int events) {
  const http_socket *socket = (const http_socket *)poll;
  int flags = status < 0 ? CURL_CSELECT_ERR : 0;
  if ((events & UV_READABLE) != 0) flags |= CURL_CSELECT_IN;
  if ((events & UV_WRITABLE) != 0) flags |= CURL_CSELECT_OUT;
  act(socket->http, socket->fd, flags);
}

static void on_timer(uv_timer_t *timer) { act(timer->data, CURL_SOCKET_TIMEOUT, 0); }

static int on_want_timer(CURLM *multi, long ms, void *arg) {
  lc_http *http = arg;
  (void)multi;
  if (ms < 0) (void)uv_timer_stop(&http->timer);
  else (void)uv_timer_start(&http->timer, on_timer, (uint64_t)ms, 0);
  return 0;
}

static http_socket *watch(lc_http *http, curl_socket_t fd) {
  http_socket *fresh = calloc(1, sizeof *fresh);
  if (fresh == NULL || uv_poll_init(http->loop, &fresh->poll, fd) != 0) {
    free(fresh);
    return NULL;
  }
  fresh->http = http;
  fresh->fd = fd;
  http->handles++;
  uv_unref((uv_handle_t *)&fresh->poll);
  (void)curl_multi_assign(http->multi, fd, fresh); /* fails only for a socket that is none of its own */
  return fresh;
}

static int on_want_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg) {
  lc_http *http = arg;
  http_socket *socket = socket_arg;
  (void)easy;
  if (what == CURL_POLL_REMOVE) {
    if (socket == NULL) return 0;
    (void)uv_poll_stop(&socket->poll); /* now: curl closes the descriptor next */
    uv_close((uv_handle_t *)&socket->poll, on_socket_closed);
    return 0;
  }
  if (socket == NULL && (socket = watch(http, fd)) == NULL) return -1; /* the transfer fails */
  int events = ((what & CURL_POLL_IN) != 0 ? UV_READABLE : 0) | ((what & CURL_POLL_OUT) != 0 ? UV_WRITABLE : 0);
  return uv_poll_start(&socket->poll, events, on_poll) == 0 ? 0 : -1;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address) {
  lc_http *http = arg;
  (void)purpose;
  int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  if (fd < 0) return CURL_SOCKET_BAD;
  atomic_fetch_add(&http->owner->descriptors, 1);
  return fd;
}

static int close_socket(void *arg, curl_socket_t fd) {
  lc_http *http = arg;
  atomic_fetch_sub(&http->owner->descriptors, 1);
  return close(fd);
}

/* --- asking --- */

static size_t on_answer(char *bytes, size_t one, size_t n, void *arg) {
  http_call *call = arg;
  (void)one;
  size_t room = LC_HTTP_ANSWER_MAX - call->answer.len;
  (void)lc_buf_add(&call->answer, bytes, n < room ? n : room); /* out of memory: less is known of it */
  return n;
}

/* Everything that a request needs; false when curl has no memory for it, or does not know the scheme. */
static bool set_up(http_call *call, const lc_http_post_options *options) {
  char type[200];
  CURL *easy = call->easy;
  (void)snprintf(type, sizeof type, "Content-Type: %.150s", options->type);
  call->headers = curl_slist_append(NULL, type);
  struct curl_slist *more = call->headers != NULL ? curl_slist_append(call->headers, "Expect:") : NULL;
  return more != NULL && curl_easy_setopt(easy, CURLOPT_URL, options->url) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_USERAGENT, "logcap/" LC_VERSION) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body.len > 0 ? call->body.data : "") == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.len) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, options->timeout_ms) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->why) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_answer) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_WRITEDATA, call) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_PRIVATE, call) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, call->http) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, call->http) == CURLE_OK;
}

static int no_memory(lc_buf *body, lc_error *error) {
  lc_buf_free(body);
  return lc_error_set(error, LC_ENOMEM, "out of memory for an HTTP request");
}

int lc_http_post(lc_http *http, const lc_http_post_options *options, lc_error *error) {
  if (http->closing || http->multi == NULL) {
    lc_buf_free(options->body);
    return lc_error_set(error, LC_ECLOSED, "the HTTP client is closed");
  }
  http_call *call = options->body->failed ? NULL : calloc(1, sizeof *call);
  if (call == NULL) return no_memory(options->body, error);
  call->http = http;
  call->done = options->done;
  call->arg = options->arg;
  call->body = *options->body;
  *options->body = (lc_buf){0};
  call->easy = curl_easy_init();
  if (call->easy == NULL || !set_up(call, options) || curl_multi_add_handle(http->multi, call->easy) != CURLM_OK) {
    free_call(call);
    return no_memory(options->body, error);
  }
  call->next = http->calls;
  if (call->next != NULL) call->next->prev = call;
  http->calls = call;
  return 0;
}

/* --- opening and closing --- */

int lc_http_init(lc_http *http, uv_loop_t *loop, lc_resource *owner, lc_error *error) {
  *http = (lc_http){.owner = owner, .loop = loop};
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) { /* counted: each has its cleanup */
    return lc_error_set(error, LC_ENOMEM, "cannot start libcurl");
  }
  CURLM *multi = curl_multi_init();
  if (multi == NULL) {
    curl_global_cleanup();
    return lc_error_set(error, LC_ENOMEM, "out of memory for an HTTP client");
  }
  http->multi = multi;
  (void)curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_want_socket); /* these only set members */
  (void)curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, http);
  (void)curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_want_timer);
  (void)curl_multi_setopt(multi, CURLMOPT_TIMERDATA, http);
  (void)uv_timer_init(loop, &http->timer);
  http->timer.data = http;
  uv_unref((uv_handle_t *)&http->timer);
  http->handles = 1;
  atomic_fetch_add(&owner->descriptors, WAKE_UP_DESCRIPTORS);
  return 0;
}

void lc_http_close(lc_http *http, void (*closed)(lc_http *http)) {
  if (http->multi == NULL) {
    closed(http);
    return;
  }
  http->closing = true;
  http->closed = closed;
  for (http_call *call = http->calls, *next; call != NULL; call = next) {
    next = call->next; /* none is added while it closes */
    end_call(call, LC_ECANCELED, "logcap stops");
  }
  (void)curl_multi_cleanup(http->multi); /* closes kept connections; their polls close too */
  http->multi = NULL;
  atomic_fetch_sub(&http->owner->descriptors, WAKE_UP_DESCRIPTORS);
  curl_global_cleanup();
  uv_close((uv_handle_t *)&http->timer, on_timer_closed);
}
