/* The control socket: `state_dir/control.sock` (0600), where commands ask the running logcap.
 *
 *     lc_control_handler handler = {.request = on_request, .arg = app};
 *     lc_control_create(loop, registry, state_dir, &handler, &control, &error);
 *     ...
 *     lc_resource_close(lc_control_resource(control));      // removes the socket, drops the clients
 *     lc_resource_release(lc_control_resource(control));
 *
 * A client sends one line, a verb, and gets one line of JSON: {"ok":true,"result":...} or {"ok":false,"error":"..."};
 * then the connection ends. A verb may also be answered by a session (lc_control_hold): then the client stays and sends
 * messages, one a line, each of which is answered by a line before the next one is read. Only the user that runs
 * logcap, and root, are answered. Requests, clients and the time that a client may take are bounded; whatever a client
 * sends or does not read harms nobody but itself.
 *
 * Thread: the loop thread. */
#ifndef LC_APP_CONTROL_H
#define LC_APP_CONTROL_H

#include <uv.h>

#include "base/buf.h"
#include "logcap/resource.h"

typedef struct lc_control lc_control;
typedef struct lc_control_client lc_control_client;

#define LC_CONTROL_NAME "control.sock"
#define LC_CONTROL_CLIENTS_MAX 16u  /* commands at once */
#define LC_CONTROL_SESSIONS_MAX 16u /* beside them */
#define LC_CONTROL_REQUEST_MAX 4096u /* bytes, with the newline */
#define LC_CONTROL_MESSAGE_MAX (1u << 20) /* bytes of a session's message */
#define LC_CONTROL_PATIENCE_MS 10000u /* for the request, and again for the answer to be read; a
                                          session may rest for ever between two messages */

typedef struct lc_control_handler {
  /* Answers with lc_control_answer or lc_control_refuse, once: now or later, on the loop thread. */
  void (*request)(void *arg, lc_control_client *client, const char *verb);
  void *arg;
  uint64_t patience_ms; /* 0: LC_CONTROL_PATIENCE_MS */
} lc_control_handler;

typedef struct lc_control_session {
  /* A message without its newline, which may hold anything; held until it is answered with lc_control_answer or
   * lc_control_refuse, once: now or later, on the loop thread. */
  void (*message)(void *arg, lc_control_client *client, const char *text, size_t len);
  void (*gone)(void *arg); /* the client is gone, and no answer is due any more: the last call */
  void *arg;
} lc_control_session;

/* Takes the place of a socket that an earlier run left: the caller holds the lock of the state directory. */
int lc_control_create(uv_loop_t *loop, lc_registry *registry, const char *state_dir, const lc_control_handler *handler,
                      lc_control **ret, lc_error *error) LC_CHECK;
lc_resource *lc_control_resource(lc_control *control);

/* `result` is JSON; it is copied. The client may have gone meanwhile: then nothing happens. */
void lc_control_answer(lc_control_client *client, const lc_buf *result);
void lc_control_refuse(lc_control_client *client, const char *message);

/* Answers a request with `hello` and keeps the client for a session. On failure it was refused instead, and none of
 * the session's functions is called. */
int lc_control_hold(lc_control_client *client, const lc_control_session *session, const lc_buf *hello) LC_CHECK;

#endif
