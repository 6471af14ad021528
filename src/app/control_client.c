#include "app/control_client.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "app/control.h"
#include "app/control_socket.h"
#include "record/json_text.h"

#define REPLY_MAX (UINT64_C(1) << 30)

static int send_request(int fd, const char *verb, lc_error *error) {
  char line[LC_CONTROL_REQUEST_MAX];
  int len = snprintf(line, sizeof line, "%s\n", verb);
  if (len < 0 || (size_t)len >= sizeof line) return lc_error_set(error, LC_EINVAL, "the request is too long");
  for (size_t at = 0; at < (size_t)len;) {
    ssize_t n = send(fd, line + at, (size_t)len - at, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return lc_error_sys(error, errno, "cannot ask the running logcap");
    at += (size_t)n;
  }
  return 0;
}

static int read_reply(int fd, lc_buf *reply, lc_error *error) {
  for (;;) {
    if (reply->len > REPLY_MAX) return lc_error_set(error, LC_ELIMIT, "the running logcap answers without an end");
    if (lc_buf_reserve(reply, 65536) != 0) return lc_error_set(error, LC_ENOMEM, "out of memory for the answer");
    ssize_t n = recv(fd, reply->data + reply->len, 65536, 0);
    if (n == 0) return 0;
    if (n > 0) reply->len += (size_t)n;
    else if (errno == EAGAIN) return lc_error_set(error, LC_EAGAIN, "the running logcap does not answer");
    else if (errno != EINTR) return lc_error_sys(error, errno, "cannot read the answer of the running logcap");
  }
}

int lc_control_reply(const lc_buf *reply, lc_answer *ret_result, lc_error *error) {
  lc_answer whole = {reply->data, reply->len, LC_JSON_OBJECT}, member;
  if (reply->len == 0) return lc_error_set(error, LC_ECLOSED, "the running logcap closed the connection");
  if (reply->data[reply->len - 1] != '\n') {
    return lc_error_set(error, LC_ECORRUPT, "the answer of the running logcap was cut off");
  }
  whole.len--;
  if (lc_answer_get(whole, "result", &member)) {
    *ret_result = member;
    return 0;
  }
  if (!lc_answer_get(whole, "error", &member) || member.type != LC_JSON_STRING || member.len < 2) {
    return lc_error_set(error, LC_ECORRUPT, "the answer of the running logcap makes no sense");
  }
  char message[sizeof error->message * 2];
  size_t len = member.len - 2 < sizeof message ? member.len - 2 : sizeof message - 1;
  len = lc_json_decode(member.at + 1, len, message);
  return lc_error_set(error, LC_EINVAL, "%.*s", (int)len, message);
}

int lc_control_send(const char *folder, const char *verb, int *ret_fd, lc_error *error) {
  int fd = -1;
  int rc = lc_control_socket_connect(folder, LC_CONTROL_NAME, &fd, error);
  if (rc != 0) return rc;
  if (!lc_control_socket_trusted(fd)) {
    rc = lc_error_set(error, LC_EINVAL, "whoever listens at %s/%s is another user", folder, LC_CONTROL_NAME);
  }
  if (rc == 0) rc = send_request(fd, verb, error);
  if (rc == 0) *ret_fd = fd;
  else (void)close(fd);
  return rc;
}

int lc_control_ask(const char *folder, const char *verb, lc_buf *reply, lc_answer *ret_result, lc_error *error) {
  return lc_control_ask_long(folder, verb, LC_CONTROL_SOCKET_PATIENCE_S, reply, ret_result, error);
}

int lc_control_ask_long(const char *folder, const char *verb, unsigned patience_s, lc_buf *reply, lc_answer *ret_result,
                        lc_error *error) {
  int fd = -1;
  const struct timeval patience = {.tv_sec = (time_t)patience_s};
  int rc = lc_control_send(folder, verb, &fd, error);
  if (rc != 0) return rc;
  if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0) {
    rc = lc_error_sys(error, errno, "cannot set how long to wait for the answer");
  }
  if (rc == 0) rc = read_reply(fd, reply, error);
  if (rc == 0) rc = lc_control_reply(reply, ret_result, error);
  (void)close(fd);
  return rc;
}
