#include "app/repl_client.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "app/control.h"
#include "app/control_socket.h"
#include "record/json_text.h"

#define ANSWER_MAX (UINT64_C(16) << 20)
#define ANSWER_PATIENCE_S 90 /* a reload may take so long; other chunks are stopped much sooner */

/* --- lines --- */

static int check_interrupt(const lc_repl_client *client, lc_error *error) {
  if (client->interrupted == NULL || !*client->interrupted) return 0;
  return lc_error_set(error, LC_ECANCELED, "interrupted: the answer is not waited for, and the session ends");
}

static int send_line(lc_repl_client *client, lc_error *error) {
  lc_buf *out = &client->out;
  if (lc_buf_addc(out, '\n') != 0) return lc_error_set(error, LC_ENOMEM, "out of memory for a message");
  if (out->len > LC_CONTROL_MESSAGE_MAX) return lc_error_set(error, LC_ELIMIT, "the chunk is longer than 1 MiB");
  for (size_t at = 0; at < out->len;) {
    ssize_t n = send(client->fd, out->data + at, out->len - at, MSG_NOSIGNAL);
    bool ended = n < 0 && (errno == EPIPE || errno == ECONNRESET);
    if (n > 0) at += (size_t)n;
    else if (ended) return lc_error_set(error, LC_ECLOSED, "the running logcap has ended");
    else if (errno != EINTR) return lc_error_sys(error, errno, "cannot ask the running logcap");
    int rc = check_interrupt(client, error);
    if (rc != 0) return rc;
  }
  return 0;
}

/* Reads the next line into client->in; there is no more than one, since each is asked for. */
static int read_line(lc_repl_client *client, lc_error *error) {
  lc_buf *in = &client->in;
  lc_buf_clear(in);
  while (in->len == 0 || in->data[in->len - 1] != '\n') {
    if (in->len > ANSWER_MAX) return lc_error_set(error, LC_ELIMIT, "the running logcap answers without an end");
    if (lc_buf_reserve(in, 65536) != 0) return lc_error_set(error, LC_ENOMEM, "out of memory for the answer");
    ssize_t n = recv(client->fd, in->data + in->len, 65536, 0);
    if (n > 0) in->len += (size_t)n;
    else if (n == 0) return lc_error_set(error, LC_ECLOSED, "the running logcap has ended, or ended this session");
    else if (errno == EAGAIN) return lc_error_set(error, LC_EAGAIN, "the running logcap does not answer");
    else if (errno != EINTR) return lc_error_sys(error, errno, "cannot read the answer of the running logcap");
    int rc = check_interrupt(client, error);
    if (rc != 0) return rc;
  }
  return 0;
}

int lc_answer_string(lc_answer value, lc_buf *ret) {
  lc_buf_clear(ret);
  if (value.type != LC_JSON_STRING || value.len < 2) return 0;
  if (lc_buf_reserve(ret, value.len) != 0) return LC_ENOMEM;
  ret->len = lc_json_decode(value.at + 1, value.len - 2, ret->data);
  return 0;
}

/* Sends client->out, and finds the result in the answer. */
static int ask(lc_repl_client *client, lc_answer *ret, lc_error *error) {
  lc_answer whole, why;
  int rc = send_line(client, error);
  if (rc == 0) rc = read_line(client, error);
  if (rc != 0) return rc;
  whole = (lc_answer){client->in.data, client->in.len - 1, LC_JSON_OBJECT};
  if (lc_answer_get(whole, "result", ret)) return 0;
  lc_buf text = {0};
  if (!lc_answer_get(whole, "error", &why) || lc_answer_string(why, &text) != 0 || text.len == 0) {
    rc = lc_error_set(error, LC_ECORRUPT, "the answer of the running logcap makes no sense");
  } else {
    rc = lc_error_set(error, LC_EINVAL, "%s", lc_buf_cstr(&text));
  }
  lc_buf_free(&text);
  return rc;
}

/* --- the session --- */

int lc_repl_client_open(lc_repl_client *ret, const char *folder, lc_error *error) {
  const struct timeval patience = {.tv_sec = ANSWER_PATIENCE_S};
  lc_answer hello;
  *ret = (lc_repl_client){.fd = -1};
  int rc = lc_control_socket_connect(folder, LC_CONTROL_NAME, &ret->fd, error);
  if (rc == 0 && !lc_control_socket_trusted(ret->fd)) {
    rc = lc_error_set(error, LC_EINVAL, "whoever listens at %s/%s is another user", folder, LC_CONTROL_NAME);
  }
  if (rc == 0) rc = lc_buf_adds(&ret->out, "repl") == 0 ? ask(ret, &hello, error) : LC_ENOMEM;
  if (rc == 0 && setsockopt(ret->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0) {
    rc = lc_error_sys(error, errno, "cannot set the patience of the session");
  }
  if (rc != 0) lc_repl_client_close(ret);
  return rc;
}

void lc_repl_client_close(lc_repl_client *client) {
  if (client->fd >= 0) (void)close(client->fd);
  client->fd = -1;
  lc_buf_free(&client->in);
  lc_buf_free(&client->out);
}

static void begin_message(lc_repl_client *client, const char *key, const char *text, size_t len) {
  lc_buf_clear(&client->out);
  lc_buf_addf(&client->out, "{\"%s\":", key);
  lc_buf_add_json_string(&client->out, text, len);
}

static int take_reply(lc_answer result, lc_reply *reply) {
  static const char *const keys[] = {"text", "error", "incomplete"};
  lc_answer member;
  for (int kind = 0; kind < 3; kind++) {
    if (!lc_answer_get(result, keys[kind], &member)) continue;
    reply->kind = (lc_reply_kind)kind;
    if (lc_answer_string(member, &reply->text) != 0) return LC_ENOMEM;
  }
  reply->lost = lc_answer_true(result, "lost");
  lc_buf_clear(&reply->printed);
  return lc_answer_get(result, "printed", &member) ? lc_answer_string(member, &reply->printed) : 0;
}

int lc_repl_client_eval(lc_repl_client *client, const char *code, size_t len, bool json, lc_reply *ret,
                        lc_error *error) {
  lc_answer result;
  if (!lc_utf8_valid(code, len)) {
    return lc_error_set(error, LC_EINVAL, "the chunk is not UTF-8; write other bytes in strings as escapes: \"\\xff\"");
  }
  begin_message(client, "eval", code, len);
  lc_buf_adds(&client->out, json ? ",\"json\":true}" : "}");
  int rc = ask(client, &result, error);
  if (rc == 0 && take_reply(result, ret) != 0) rc = lc_error_set(error, LC_ENOMEM, "out of memory for the answer");
  return rc;
}

int lc_repl_client_complete(lc_repl_client *client, const char *line, size_t len, size_t *ret_from,
                            lc_answer *ret_words, lc_error *error) {
  lc_answer result;
  begin_message(client, "complete", line, len);
  lc_buf_addc(&client->out, '}');
  int rc = ask(client, &result, error);
  if (rc != 0) return rc;
  if (!lc_answer_get(result, "words", ret_words)) {
    return lc_error_set(error, LC_ECORRUPT, "the answer of the running logcap makes no sense");
  }
  *ret_from = lc_answer_count(result, "from");
  return 0;
}

void lc_reply_free(lc_reply *reply) {
  lc_buf_free(&reply->text);
  lc_buf_free(&reply->printed);
}
