#include "app/control_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* A socket's address holds 107 bytes, a path may be longer: go through the open folder. */
static int address_of(int folder_fd, const char *name, struct sockaddr_un *ret, lc_error *error) {
  memset(ret, 0, sizeof *ret);
  ret->sun_family = AF_UNIX;
  int n = snprintf(ret->sun_path, sizeof ret->sun_path, "/proc/self/fd/%d/%s", folder_fd, name);
  if (n > 0 && (size_t)n < sizeof ret->sun_path) return 0;
  return lc_error_sys(error, ENAMETOOLONG, "cannot use %s as the control socket", name);
}

static int open_folder(const char *folder, lc_error *error) {
  int fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return lc_error_sys(error, errno, "cannot open %s", folder);
  return fd;
}

/* Removes what an earlier run left, and nothing but a socket. */
static int remove_old(int folder_fd, const char *folder, const char *name, lc_error *error) {
  struct stat st;
  if (fstatat(folder_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
    return errno == ENOENT ? 0 : lc_error_sys(error, errno, "cannot look at %s/%s", folder, name);
  }
  if (!S_ISSOCK(st.st_mode)) {
    return lc_error_set(error, LC_EINVAL, "%s/%s is in the way of the control socket: remove it", folder, name);
  }
  if (unlinkat(folder_fd, name, 0) == 0 || errno == ENOENT) return 0;
  return lc_error_sys(error, errno, "cannot remove the old control socket %s/%s", folder, name);
}

int lc_control_socket_listen(const char *folder, const char *name, int backlog, int *ret_fd, lc_error *error) {
  struct sockaddr_un address;
  int fd = -1, rc = 0;
  int folder_fd = open_folder(folder, error);
  if (folder_fd < 0) return folder_fd;
  rc = address_of(folder_fd, name, &address, error);
  if (rc == 0) rc = remove_old(folder_fd, folder, name, error);
  if (rc != 0) goto out;
  fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  /* Nobody can connect before listen, and by then the mode is right. */
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || fchmodat(folder_fd, name, 0600, 0) != 0 ||
      listen(fd, backlog) != 0) {
    rc = lc_error_sys(error, errno, "cannot make the control socket %s/%s", folder, name);
  }

out:
  (void)close(folder_fd); /* only a path */
  if (rc == 0) *ret_fd = fd;
  else if (fd >= 0) (void)close(fd);
  return rc;
}

/* A connect waits for a place in the queue: without a bound for ever, when the daemon hangs. */
static int dial(const struct sockaddr_un *address, int *ret_fd) {
  const struct timeval patience = {.tv_sec = LC_CONTROL_SOCKET_PATIENCE_S};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) == 0 &&
      setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 &&
      connect(fd, (const struct sockaddr *)address, sizeof *address) == 0) {
    *ret_fd = fd;
    return 0;
  }
  int sys = errno;
  (void)close(fd);
  return sys;
}

int lc_control_socket_connect(const char *folder, const char *name, int *ret_fd, lc_error *error) {
  struct sockaddr_un address;
  int folder_fd = open_folder(folder, error);
  if (folder_fd < 0) return folder_fd;
  int sys = 0;
  int rc = address_of(folder_fd, name, &address, error);
  if (rc == 0) sys = dial(&address, ret_fd);
  (void)close(folder_fd);
  if (rc != 0 || sys == 0) return rc;
  if (sys == ENOENT || sys == ECONNREFUSED) {
    return lc_error_set(error, LC_ENOENT, "nobody listens at %s/%s", folder, name);
  }
  if (sys == EAGAIN) return lc_error_set(error, LC_EAGAIN, "the logcap at %s/%s does not answer", folder, name);
  return lc_error_sys(error, sys, "cannot connect to %s/%s", folder, name);
}

bool lc_control_socket_trusted(int fd) {
  struct ucred peer;
  socklen_t len = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0) return false;
  return peer.uid == geteuid() || peer.uid == 0;
}
