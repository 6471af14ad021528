#include "io/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The folder part of `path`: "." for a bare name, "/" for one below the root. */
static int parent_of(const char *path, char ret[PATH_MAX], lc_error *error) {
  size_t len = strlen(path);
  while (len > 1 && path[len - 1] == '/') len--;
  while (len > 0 && path[len - 1] != '/') len--;
  while (len > 1 && path[len - 1] == '/') len--;
  if (len >= PATH_MAX) return lc_error_sys(error, ENAMETOOLONG, "cannot use %.64s...", path);
  if (len == 0) {
    memcpy(ret, ".", 2);
  } else {
    memcpy(ret, path, len);
    ret[len] = '\0';
  }
  return 0;
}

int lc_durable_sync_dir(const char *directory, lc_error *error) {
  int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return lc_error_sys(error, errno, "cannot open folder %s", directory);
  int rc = 0;
  /* EINVAL: a file system that has no fsync for folders has nothing to wait for. */
  if (fsync(fd) != 0 && errno != EINVAL) rc = lc_error_sys(error, errno, "cannot sync folder %s", directory);
  if (close(fd) != 0 && rc == 0) rc = lc_error_sys(error, errno, "cannot close folder %s", directory);
  return rc;
}

int lc_durable_sync_parent(const char *path, lc_error *error) {
  char parent[PATH_MAX];
  int rc = parent_of(path, parent, error);
  return rc == 0 ? lc_durable_sync_dir(parent, error) : rc;
}

int lc_durable_rename(const char *from, const char *to, lc_error *error) {
  char from_parent[PATH_MAX], to_parent[PATH_MAX];
  int rc = parent_of(from, from_parent, error);
  if (rc == 0) rc = parent_of(to, to_parent, error);
  if (rc != 0) return rc;
  if (rename(from, to) != 0) return lc_error_sys(error, errno, "cannot rename %s to %s", from, to);
  rc = lc_durable_sync_dir(to_parent, error);
  if (rc == 0 && strcmp(from_parent, to_parent) != 0) rc = lc_durable_sync_dir(from_parent, error);
  return rc;
}

static int make_one(const char *directory, mode_t mode, lc_error *error) {
  if (mkdir(directory, mode) == 0) return lc_durable_sync_parent(directory, error);
  int sys = errno;
  struct stat st;
  if (sys != EEXIST) return lc_error_sys(error, sys, "cannot make folder %s", directory);
  if (stat(directory, &st) != 0) return lc_error_sys(error, errno, "cannot look at %s", directory);
  return S_ISDIR(st.st_mode) ? 0 : lc_error_sys(error, ENOTDIR, "cannot make folder %s", directory);
}

int lc_durable_mkdirs(const char *directory, mode_t mode, lc_error *error) {
  size_t len = strlen(directory);
  if (len == 0) return lc_error_set(error, LC_EINVAL, "cannot make a folder without a name");
  if (len >= PATH_MAX) return lc_error_sys(error, ENAMETOOLONG, "cannot make folder %.64s...", directory);
  struct stat st;
  if (stat(directory, &st) == 0 && S_ISDIR(st.st_mode)) return 0;
  char path[PATH_MAX];
  memcpy(path, directory, len + 1);
  for (size_t i = 1; i < len; i++) {
    if (path[i] != '/') continue;
    path[i] = '\0';
    /* A folder above that is there need not be writable. */
    int rc = stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? 0 : make_one(path, mode, error);
    if (rc != 0) return rc;
    path[i] = '/';
  }
  return make_one(path, mode, error);
}

int lc_durable_mkdir_parents(const char *path, mode_t mode, lc_error *error) {
  char parent[PATH_MAX];
  int rc = parent_of(path, parent, error);
  return rc == 0 ? lc_durable_mkdirs(parent, mode, error) : rc;
}

int lc_durable_write_all(int fd, const void *bytes, size_t len, size_t *ret_written, const char *path,
                         lc_error *error) {
  size_t done = 0;
  int rc = 0;
  while (rc == 0 && done < len) {
    ssize_t n = write(fd, (const char *)bytes + done, len - done);
    if (n > 0) {
      done += (size_t)n;
    } else if (n == 0 || errno != EINTR) {
      rc = lc_error_sys(error, n == 0 ? EIO : errno, "cannot write %s", path);
    }
  }
  if (ret_written != NULL) *ret_written = done;
  return rc;
}

static int write_temporary(const char *temporary, const void *bytes, size_t len, mode_t mode, lc_error *error) {
  if (unlink(temporary) != 0 && errno != ENOENT) return lc_error_sys(error, errno, "cannot remove %s", temporary);
  int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
  if (fd < 0) return lc_error_sys(error, errno, "cannot create %s", temporary);
  int rc = lc_durable_write_all(fd, bytes, len, NULL, temporary, error);
  if (rc == 0 && fsync(fd) != 0) rc = lc_error_sys(error, errno, "cannot sync %s", temporary);
  if (close(fd) != 0 && rc == 0) rc = lc_error_sys(error, errno, "cannot close %s", temporary);
  return rc;
}

int lc_durable_write_file(const char *path, const void *bytes, size_t len, mode_t mode, lc_error *error) {
  char temporary[PATH_MAX];
  int n = snprintf(temporary, sizeof temporary, "%s.tmp", path);
  if (n < 0 || (size_t)n >= sizeof temporary) return lc_error_sys(error, ENAMETOOLONG, "cannot write %.64s...", path);
  int rc = write_temporary(temporary, bytes, len, mode, error);
  if (rc == 0 && rename(temporary, path) != 0) {
    rc = lc_error_sys(error, errno, "cannot rename %s to %s", temporary, path);
  }
  if (rc != 0) {
    (void)unlink(temporary); /* the first failure is the one that counts */
    return rc;
  }
  return lc_durable_sync_parent(path, error);
}

/* Reads one byte more than the limit, to notice a file that is too long without trusting its size. */
static int read_all(int fd, size_t limit, lc_buf *ret, const char *path, lc_error *error) {
  size_t begin = ret->len;
  for (;;) {
    if (lc_buf_reserve(ret, 65536) != 0) return lc_error_set(error, LC_ENOMEM, "out of memory: cannot read %s", path);
    ssize_t n = read(fd, ret->data + ret->len, 65536);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return lc_error_sys(error, errno, "cannot read %s", path);
    if (n == 0) return 0;
    ret->len += (size_t)n;
    if (ret->len - begin > limit) return lc_error_set(error, LC_ELIMIT, "%s is longer than %zu bytes", path, limit);
  }
}

int lc_durable_read_file(const char *path, size_t limit, lc_buf *ret, lc_error *error) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return lc_error_sys(error, errno, "cannot open %s", path);
  size_t begin = ret->len;
  int rc = read_all(fd, limit, ret, path, error);
  if (rc != 0) ret->len = begin;
  (void)close(fd); /* nothing was written */
  return rc;
}
