#include "io/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define HINT "write \"127.0.0.1:9600\", \"[::1]:9600\" or \"unix:/run/logcap/admin.sock\""

static struct sockaddr_un *as_unix(const lc_address *address) {
  return (struct sockaddr_un *)(uintptr_t)&address->sa;
}

static int parse_unix(const char *path, lc_address *ret, lc_error *error) {
  struct sockaddr_un *un = as_unix(ret);
  size_t len = strlen(path);
  if (len == 0) return lc_error_set(error, LC_EINVAL, "\"unix:\" names no socket; " HINT);
  if (len >= sizeof un->sun_path) {
    return lc_error_set(error, LC_EINVAL, "the path of a socket has at most %zu bytes, this one has %zu: %s",
                        sizeof un->sun_path - 1, len, path);
  }
  un->sun_family = AF_UNIX;
  memcpy(un->sun_path, path, len + 1);
  ret->len = (socklen_t)sizeof *un;
  ret->local = true;
  return 0;
}

static bool parse_port(const char *text, uint16_t *ret) {
  char *end = NULL;
  if (*text < '0' || *text > '9') return false;
  unsigned long port = strtoul(text, &end, 10);
  if (*end != '\0' || port > 65535) return false;
  *ret = htons((uint16_t)port);
  return true;
}

static bool parse_ipv4(const char *host, uint16_t port, lc_address *ret) {
  struct sockaddr_in *in = (struct sockaddr_in *)&ret->sa;
  if (inet_pton(AF_INET, host, &in->sin_addr) != 1) return false;
  in->sin_family = AF_INET;
  in->sin_port = port;
  ret->len = (socklen_t)sizeof *in;
  ret->local = (ntohl(in->sin_addr.s_addr) >> 24) == 127;
  return true;
}

static bool parse_ipv6(const char *host, uint16_t port, lc_address *ret) {
  struct sockaddr_in6 *in = (struct sockaddr_in6 *)&ret->sa;
  if (inet_pton(AF_INET6, host, &in->sin6_addr) != 1) return false;
  in->sin6_family = AF_INET6;
  in->sin6_port = port;
  ret->len = (socklen_t)sizeof *in;
  ret->local = IN6_IS_ADDR_LOOPBACK(&in->sin6_addr);
  return true;
}

int lc_listen_parse(const char *text, lc_address *ret, lc_error *error) {
  char host[64] = "";
  lc_address address = {0};
  uint16_t port = 0;
  if (strncmp(text, "unix:", 5) == 0) {
    int rc = parse_unix(text + 5, &address, error);
    if (rc == 0) *ret = address;
    return rc;
  }
  const char *colon = strrchr(text, ':');
  bool v6 = text[0] == '[' && colon != NULL && colon > text + 1 && colon[-1] == ']';
  size_t len = colon == NULL ? 0 : (size_t)(colon - text) - (v6 ? 2 : 0);
  if (colon == NULL || len == 0 || len >= sizeof host || !parse_port(colon + 1, &port)) {
    return lc_error_set(error, LC_EINVAL, "\"%.100s\" is no address with a port; " HINT, text);
  }
  memcpy(host, text + (v6 ? 1 : 0), len);
  host[len] = '\0';
  if (!(v6 ? parse_ipv6(host, port, &address) : parse_ipv4(host, port, &address))) {
    return lc_error_set(error, LC_EINVAL, "\"%.100s\" is no address of a network interface, and names are not looked "
                        "up; " HINT, text);
  }
  *ret = address;
  return 0;
}

bool lc_listen_same(const lc_address *a, const lc_address *b) {
  return a->len == b->len && memcmp(&a->sa, &b->sa, a->len) == 0;
}

static void show(const struct sockaddr_storage *sa, char ret[LC_LISTEN_TEXT]) {
  char host[INET6_ADDRSTRLEN] = "?";
  if (sa->ss_family == AF_UNIX) {
    (void)snprintf(ret, LC_LISTEN_TEXT, "unix:%s", ((const struct sockaddr_un *)sa)->sun_path);
  } else if (sa->ss_family == AF_INET6) {
    const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)sa;
    (void)inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof host);
    (void)snprintf(ret, LC_LISTEN_TEXT, "[%s]:%u", host, ntohs(in->sin6_port));
  } else {
    const struct sockaddr_in *in = (const struct sockaddr_in *)sa;
    (void)inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
    (void)snprintf(ret, LC_LISTEN_TEXT, "%s:%u", host, ntohs(in->sin_port));
  }
}

void lc_listen_text(int fd, char ret[LC_LISTEN_TEXT]) {
  struct sockaddr_storage sa;
  socklen_t len = sizeof sa;
  memset(&sa, 0, sizeof sa);
  if (getsockname(fd, (struct sockaddr *)&sa, &len) != 0) sa.ss_family = AF_INET;
  show(&sa, ret);
}

/* Removes a socket that nobody listens at any more, and nothing else. */
static int remove_old(const lc_address *address, lc_error *error) {
  const struct sockaddr_un *un = as_unix(address);
  struct stat st;
  if (lstat(un->sun_path, &st) != 0) {
    return errno == ENOENT ? 0 : lc_error_sys(error, errno, "cannot look at %s", un->sun_path);
  }
  if (!S_ISSOCK(st.st_mode)) {
    return lc_error_set(error, LC_EINVAL, "%s is in the way of a socket: remove it", un->sun_path);
  }
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return lc_error_sys(error, errno, "cannot make a socket");
  int sys = connect(fd, (const struct sockaddr *)un, sizeof *un) == 0 ? EADDRINUSE : errno;
  (void)close(fd);
  if (sys != ECONNREFUSED) return lc_error_sys(error, EADDRINUSE, "cannot listen at unix:%s", un->sun_path);
  if (unlink(un->sun_path) == 0 || errno == ENOENT) return 0;
  return lc_error_sys(error, errno, "cannot remove the old socket %s", un->sun_path);
}

/* Nobody can connect before listen, and by then the mode is right. */
static int begin_listening(lc_address *address, int fd, int backlog) {
  const int on = 1;
  struct stat st;
  bool file = address->sa.ss_family == AF_UNIX;
  if (!file && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) return errno;
  if (address->sa.ss_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) return errno;
  if (bind(fd, (const struct sockaddr *)&address->sa, address->len) != 0) return errno;
  if (file) {
    const char *path = as_unix(address)->sun_path;
    if (chmod(path, 0600) != 0 || lstat(path, &st) != 0) return errno;
    address->device = st.st_dev;
    address->inode = st.st_ino;
  }
  return listen(fd, backlog) == 0 ? 0 : errno;
}

int lc_listen_open(lc_address *address, int backlog, int *ret_fd, lc_error *error) {
  char text[LC_LISTEN_TEXT];
  show(&address->sa, text);
  int rc = address->sa.ss_family == AF_UNIX ? remove_old(address, error) : 0;
  if (rc != 0) return rc;
  int fd = socket(address->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return lc_error_sys(error, errno, "cannot make a socket");
  int sys = begin_listening(address, fd, backlog);
  if (sys == 0) {
    *ret_fd = fd;
    return 0;
  }
  lc_listen_close(address, fd);
  return lc_error_sys(error, sys, "cannot listen at %s", text);
}

void lc_listen_close(const lc_address *address, int fd) {
  struct stat st;
  if (address->inode != 0) {
    const char *path = as_unix(address)->sun_path;
    bool ours = lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_dev == address->device &&
                st.st_ino == address->inode;
    if (ours) (void)unlink(path);
  }
  if (fd >= 0) (void)close(fd);
}
