#include "app/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/control_socket.h"
#include "base/check.h"
#include "base/log.h"

#define LC_CONTROL_READ_SIZE 65536u /* of a session, at once */

struct lc_control {
  lc_resource resource; /* first */
  uv_pipe_t listener;
  lc_control_handler handler;
  char *path; /* owned: of the socket */
  uint64_t device, inode; /* of the socket, so that only ours is removed */
  lc_control_client *clients;
  uint32_t n_clients, n_sessions; /* sessions are clients, too */
  uint32_t handles; /* open uv handles, the clients' too */
  uint64_t answered, refused;
};

/* Lives until both of its handles are closed and no answer is due any more. */
struct lc_control_client {
  lc_control *control;
  uv_pipe_t pipe;
  uv_timer_t patience;
  uv_write_t write;
  lc_buf answer;
  char request[LC_CONTROL_REQUEST_MAX];
  size_t len, line_len; /* line_len: of its first line, with the newline */
  bool asked;   /* the handler has the request and owes an answer */
  bool closing;
  bool holds;   /* it has a session, which lives as long as the client */
  bool last;    /* the answer under way is its last one */
  lc_control_session session;
  lc_buf in;    /* of a session: what it sent */
  size_t taken; /* so much of it is the message in hand */
  uint32_t handles;
  lc_control_client *prev, *next;
};

static void control_handle_gone(lc_control *control) {
  lc_require(control->handles > 0);
  if (--control->handles == 0) lc_resource_closed(&control->resource);
}

static void client_free_when_done(lc_control_client *client) {
  if (client->handles > 0 || client->asked) return;
  lc_control *control = client->control;
  if (client->holds) {
    control->n_sessions--;
    client->session.gone(client->session.arg);
  }
  if (client->prev) client->prev->next = client->next;
  else control->clients = client->next;
  if (client->next) client->next->prev = client->prev;
  lc_buf_free(&client->answer);
  lc_buf_free(&client->in);
  free(client);
  control->n_clients--;
  atomic_fetch_sub(&control->resource.descriptors, 1);
  control_handle_gone(control);
}

static void on_client_handle_closed(uv_handle_t *handle) {
  lc_control_client *client = handle->data;
  client->handles--;
  client_free_when_done(client);
}

static void client_close(lc_control_client *client) {
  if (client->closing) return;
  client->closing = true;
  uv_close((uv_handle_t *)&client->pipe, on_client_handle_closed);
  uv_close((uv_handle_t *)&client->patience, on_client_handle_closed);
}

static void on_impatient(uv_timer_t *timer) {
  client_close(timer->data);
}

static void start_patience(lc_control_client *client) {
  uint64_t wished = client->control->handler.patience_ms;
  (void)uv_timer_start(&client->patience, on_impatient, wished > 0 ? wished : LC_CONTROL_PATIENCE_MS, 0);
}

static void session_next(lc_control_client *client);

static void on_written(uv_write_t *write, int status) {
  lc_control_client *client = write->data;
  if (status == 0 && client->holds && !client->last && !client->closing) session_next(client);
  else client_close(client); /* it heard the answer, or is gone */
}

/* Sends what stands in client->answer and a newline; then a session goes on, any other client is closed. */
static void client_send(lc_control_client *client) {
  client->asked = false;
  if (client->closing) {
    client_free_when_done(client);
    return;
  }
  if (lc_buf_addc(&client->answer, '\n') != 0 || client->answer.len > UINT32_MAX) {
    lc_log(LC_LOG_WARN, "control", "out of memory for an answer");
    client_close(client);
    return;
  }
  client->control->answered++;
  uv_buf_t buf = uv_buf_init(client->answer.data, (unsigned)client->answer.len);
  client->write.data = client;
  start_patience(client);
  if (uv_write(&client->write, (uv_stream_t *)&client->pipe, &buf, 1, on_written) != 0) client_close(client);
}

void lc_control_answer(lc_control_client *client, const lc_buf *result) {
  lc_buf_clear(&client->answer);
  lc_buf_adds(&client->answer, "{\"ok\":true,\"result\":");
  lc_buf_add(&client->answer, result->data, result->len);
  lc_buf_adds(&client->answer, "}");
  client_send(client);
}

void lc_control_refuse(lc_control_client *client, const char *message) {
  client->control->refused++;
  lc_buf_clear(&client->answer);
  lc_buf_adds(&client->answer, "{\"ok\":false,\"error\":");
  lc_buf_add_json_string(&client->answer, message, strlen(message));
  lc_buf_adds(&client->answer, "}");
  client_send(client);
}

/* The request is whole: what comes after its line concerns only a session. */
static void client_ask(lc_control_client *client, char *end) {
  bool text = memchr(client->request, '\0', (size_t)(end - client->request)) == NULL;
  client->line_len = (size_t)(end - client->request) + 1;
  *end = '\0';
  if (end > client->request && end[-1] == '\r') end[-1] = '\0';
  (void)uv_read_stop((uv_stream_t *)&client->pipe);
  (void)uv_timer_stop(&client->patience);
  client->asked = true;
  if (text) client->control->handler.request(client->control->handler.arg, client, client->request);
  else lc_control_refuse(client, "the request holds a zero byte");
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret) {
  (void)suggested;
  lc_control_client *client = handle->data;
  *ret = uv_buf_init(client->request + client->len, (unsigned)(sizeof client->request - client->len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  (void)buf;
  lc_control_client *client = stream->data;
  if (n == 0) return;
  if (n < 0) { /* gone, or the request is too long to end */
    if (client->len < sizeof client->request) {
      client_close(client);
      return;
    }
    (void)uv_read_stop(stream);
    client->asked = true;
    lc_control_refuse(client, "the request is too long");
    return;
  }
  char *fresh = client->request + client->len;
  client->len += (size_t)n;
  char *end = memchr(fresh, '\n', (size_t)n);
  if (end) client_ask(client, end);
}

/* --- sessions --- */

static void on_session_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret) {
  (void)suggested;
  lc_control_client *client = handle->data;
  bool room = lc_buf_reserve(&client->in, LC_CONTROL_READ_SIZE) == 0; /* else the read fails, which ends the client */
  *ret = uv_buf_init(room ? client->in.data + client->in.len : NULL, room ? LC_CONTROL_READ_SIZE : 0);
}

static void on_session_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  (void)buf;
  lc_control_client *client = stream->data;
  if (n == 0) return;
  if (n < 0) {
    client_close(client);
    return;
  }
  client->in.len += (size_t)n;
  session_next(client);
}

/* Gives the next whole message to the session, or reads on. While a message is in hand nothing is read: who sends more
 * than is answered waits. */
static void session_next(lc_control_client *client) {
  lc_buf *in = &client->in;
  if (client->taken > 0) {
    in->len -= client->taken;
    memmove(in->data, in->data + client->taken, in->len);
    client->taken = 0;
    if (in->len == 0) lc_buf_free(in);
  }
  char *end = in->len > 0 ? memchr(in->data, '\n', in->len) : NULL;
  size_t len = end != NULL ? (size_t)(end - in->data) : in->len;
  (void)uv_timer_stop(&client->patience);
  if (end == NULL && len <= LC_CONTROL_MESSAGE_MAX) {
    if (len > 0) start_patience(client);
    int uv = uv_read_start((uv_stream_t *)&client->pipe, on_session_alloc, on_session_read);
    if (uv != 0 && uv != UV_EALREADY) client_close(client);
    return;
  }
  (void)uv_read_stop((uv_stream_t *)&client->pipe);
  client->asked = true;
  if (len > LC_CONTROL_MESSAGE_MAX) {
    client->last = true;
    lc_control_refuse(client, "the message is longer than 1 MiB");
    return;
  }
  client->taken = len + 1;
  client->session.message(client->session.arg, client, in->data, len);
}

int lc_control_hold(lc_control_client *client, const lc_control_session *session, const lc_buf *hello) {
  lc_control *control = client->control;
  if (control->n_sessions >= LC_CONTROL_SESSIONS_MAX) {
    lc_control_refuse(client, "too many sessions at once: end one of them");
    return LC_ELIMIT;
  }
  size_t rest = client->len - client->line_len;
  if (rest > 0 && lc_buf_add(&client->in, client->request + client->line_len, rest) != 0) {
    lc_control_refuse(client, "out of memory for a session");
    return LC_ENOMEM;
  }
  control->n_sessions++;
  client->session = *session;
  client->holds = true;
  lc_control_answer(client, hello);
  return 0;
}

static int client_accept(lc_control_client *client, uv_loop_t *loop) {
  uv_os_fd_t fd = -1;
  (void)uv_pipe_init(loop, &client->pipe, 0);
  (void)uv_timer_init(loop, &client->patience);
  client->pipe.data = client->patience.data = client;
  client->handles = 2;
  if (uv_accept((uv_stream_t *)&client->control->listener, (uv_stream_t *)&client->pipe) != 0) return LC_ESYS;
  if (uv_fileno((uv_handle_t *)&client->pipe, &fd) != 0 || !lc_control_socket_trusted(fd)) {
    lc_log(LC_LOG_WARN, "control", "a connection of another user was refused");
    return LC_EINVAL;
  }
  if (client->control->n_clients - client->control->n_sessions > LC_CONTROL_CLIENTS_MAX) {
    lc_control_refuse(client, "too many commands at once: try again");
    return 0;
  }
  start_patience(client);
  return uv_read_start((uv_stream_t *)&client->pipe, on_alloc, on_read) == 0 ? 0 : LC_ESYS;
}

static void on_connection(uv_stream_t *listener, int status) {
  lc_control *control = listener->data;
  if (status != 0) {
    lc_log(LC_LOG_WARN, "control", "cannot take a connection", LC_S("error", uv_strerror(status)));
    return;
  }
  lc_control_client *client = calloc(1, sizeof *client);
  if (!client) { /* it stays in the backlog and is taken with the next one */
    lc_log(LC_LOG_WARN, "control", "out of memory for a connection");
    return;
  }
  client->control = control;
  client->next = control->clients;
  if (client->next) client->next->prev = client;
  control->clients = client;
  control->n_clients++;
  control->handles++;
  atomic_fetch_add(&control->resource.descriptors, 1);
  if (client_accept(client, listener->loop) != 0) client_close(client);
}

static void on_listener_closed(uv_handle_t *handle) {
  control_handle_gone(handle->data);
}

static void control_close(lc_resource *res) {
  lc_control *self = (lc_control *)res;
  struct stat st;
  /* The lock is still held: what stands there with our inode is ours. */
  if (lstat(self->path, &st) == 0 && st.st_dev == self->device && st.st_ino == self->inode) (void)unlink(self->path);
  for (lc_control_client *client = self->clients; client; client = client->next) client_close(client);
  if (self->handles == 0) { /* it never listened */
    lc_resource_closed(res);
    return;
  }
  atomic_fetch_sub(&res->descriptors, 1);
  uv_close((uv_handle_t *)&self->listener, on_listener_closed);
}

static void control_destroy(lc_resource *res) {
  lc_control *self = (lc_control *)res;
  free(self->path);
  free(self);
}

static int control_stats(lc_resource *res, lc_buf *ret) {
  const lc_control *self = (const lc_control *)res;
  return lc_buf_addf(ret, "{\"clients\":%u,\"sessions\":%u,\"answered\":%llu,\"refused\":%llu}", self->n_clients,
                     self->n_sessions, (unsigned long long)self->answered, (unsigned long long)self->refused);
}

static const lc_resource_ops control_ops = {.close = control_close, .destroy = control_destroy, .stats = control_stats};

static int init_listener(lc_control *self, uv_loop_t *loop, const char *state_dir, lc_error *error) {
  int fd = -1;
  struct stat st;
  int rc = lc_control_socket_listen(state_dir, LC_CONTROL_NAME, (int)LC_CONTROL_CLIENTS_MAX, &fd, error);
  if (rc != 0) return rc;
  (void)uv_pipe_init(loop, &self->listener, 0);
  self->listener.data = self;
  self->handles = 1;
  atomic_store(&self->resource.descriptors, 1);
  rc = uv_pipe_open(&self->listener, fd);
  if (rc != 0) (void)close(fd);
  else rc = uv_listen((uv_stream_t *)&self->listener, (int)LC_CONTROL_CLIENTS_MAX, on_connection);
  if (rc != 0) return lc_error_set(error, LC_ESYS, "cannot listen at %s: %s", self->path, uv_strerror(rc));
  if (lstat(self->path, &st) != 0) return lc_error_sys(error, errno, "cannot look at %s", self->path);
  self->device = st.st_dev;
  self->inode = st.st_ino;
  uv_unref((uv_handle_t *)&self->listener); /* it keeps nobody running */
  return 0;
}

int lc_control_create(uv_loop_t *loop, lc_registry *registry, const char *state_dir, const lc_control_handler *handler,
                      lc_control **ret, lc_error *error) {
  lc_control *self = calloc(1, sizeof *self);
  size_t len = strlen(state_dir) + sizeof "/" LC_CONTROL_NAME;
  char *path = malloc(len);
  if (!self || !path) {
    free(self);
    free(path);
    return lc_error_set(error, LC_ENOMEM, "out of memory for the control socket");
  }
  (void)snprintf(path, len, "%s/" LC_CONTROL_NAME, state_dir);
  self->path = path;
  self->handler = *handler;
  int rc = lc_resource_init(&self->resource, registry, &control_ops, "control", "control", "control:", NULL, error);
  if (rc != 0) {
    free(path);
    free(self);
    return rc;
  }
  rc = lc_resource_opened(&self->resource, error); /* from here on a release closes what is open, on the loop */
  if (rc == 0) rc = init_listener(self, loop, state_dir, error);
  if (rc == 0) *ret = self;
  else lc_resource_release(&self->resource);
  return rc;
}

lc_resource *lc_control_resource(lc_control *control) {
  return &control->resource;
}
