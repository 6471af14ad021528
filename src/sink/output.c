#include "sink/output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "io/durable.h"

lc_output *lc_output_create(const char *path, size_t len, uint64_t hash) {
  lc_output *output = calloc(1, sizeof *output);
  if (output == NULL) return NULL;
  output->path = strndup(path, len);
  if (output->path == NULL) {
    free(output);
    return NULL;
  }
  output->hash = hash;
  output->fd = -1;
  return output;
}

void lc_output_destroy(lc_output *output) {
  if (output == NULL) return;
  free(output->path);
  free(output);
}

static int64_t ns_of(const struct statx_timestamp *time) { return time->tv_sec * LC_SECOND + time->tv_nsec; }

static void fill_id(const struct statx *stx, lc_file_id *ret) {
  *ret = (lc_file_id){.device = makedev(stx->stx_dev_major, stx->stx_dev_minor),
                      .inode = stx->stx_ino,
                      .birth_ns = (stx->stx_mask & STATX_BTIME) != 0 ? ns_of(&stx->stx_btime) : 0,
                      .size = stx->stx_size,
                      .links = stx->stx_nlink,
                      .changed_ns = ns_of(&stx->stx_mtime),
                      .regular = S_ISREG(stx->stx_mode)};
}

int lc_file_id_of(const char *path, lc_file_id *ret, lc_error *error) {
  struct statx stx = {0};
  if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &stx) != 0) {
    return lc_error_sys(error, errno, "cannot look at %s", path);
  }
  fill_id(&stx, ret);
  return 0;
}

int lc_file_id_of_fd(int fd, const char *path, lc_file_id *ret, lc_error *error) {
  struct statx stx = {0};
  if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &stx) != 0) {
    return lc_error_sys(error, errno, "cannot look at %s", path);
  }
  fill_id(&stx, ret);
  return 0;
}

bool lc_file_id_is(const lc_file_id *file, uint64_t inode, int64_t birth_ns) {
  return file->regular && file->inode == inode && (birth_ns == 0 || file->birth_ns == 0 || file->birth_ns == birth_ns);
}

static int read_tail(int fd, const char *path, uint64_t length, uint32_t tail_len, lc_extent *ret, lc_error *error) {
  char tail[LC_OUTPUT_TAIL] = {0};
  size_t want = tail_len < sizeof tail ? tail_len : sizeof tail, have = 0;
  if (want > length) want = (size_t)length;
  while (have < want) {
    ssize_t n = pread(fd, tail + have, want - have, (off_t)(length - want + have));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return lc_error_sys(error, errno, "cannot read %s", path);
    if (n == 0) return lc_error_set(error, LC_ECORRUPT, "%s ended while it was read", path);
    have += (size_t)n;
  }
  *ret = (lc_extent){.length = length,
                     .tail_hash = lc_hash64(tail, want),
                     .tail_len = (uint32_t)want,
                     .mid_line = want > 0 && tail[want - 1] != '\n'};
  return 0;
}

int lc_file_extent(const char *path, uint64_t length, uint32_t tail_len, lc_extent *ret, lc_error *error) {
  if (length == 0) {
    *ret = (lc_extent){.tail_hash = lc_hash64("", 0)};
    return 0;
  }
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return lc_error_sys(error, errno, "cannot open %s", path);
  int rc = read_tail(fd, path, length, tail_len, ret, error);
  (void)close(fd); /* only read */
  return rc;
}

int lc_file_tail_matches(const char *path, const lc_extent *saved, bool *ret, lc_error *error) {
  lc_extent now = {0};
  int rc = lc_file_extent(path, saved->length, saved->tail_len, &now, error);
  if (rc != 0) return rc;
  *ret = now.tail_len == saved->tail_len && (now.tail_len == 0 || now.tail_hash == saved->tail_hash);
  return 0;
}

#define OPEN_FLAGS (O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)

/* Opens what is there, or makes it, and the folders above it. Returns a descriptor or a negative errno. */
static int open_or_create(const lc_output *output, const lc_output_rules *rules, bool *ret_created, lc_error *error) {
  bool create = output->id == 0; /* most likely it is new: try that first */
  for (int attempt = 0; attempt < 6; attempt++, create = !create) {
    int fd = open(output->path, create ? OPEN_FLAGS | O_CREAT | O_EXCL : OPEN_FLAGS, (mode_t)rules->mode);
    *ret_created = create;
    if (fd >= 0) return fd;
    if (errno != ENOENT && errno != EEXIST) return -errno;
    if (errno == ENOENT && create && lc_durable_mkdir_parents(output->path, (mode_t)rules->folder_mode, error) != 0) {
      return error->sys != 0 ? -error->sys : -EIO;
    }
  }
  return -ENOENT; /* somebody removes the folder as fast as it is made */
}

static const char *hint_of(int sys) {
  switch (sys) {
    case ENOSPC: return "free some space on the disk";
    case EDQUOT: return "the quota is used up: raise it or free some space";
    case EACCES:
    case EPERM: return "give the user that logcap runs as the right to write there";
    case EROFS: return "the file system is read-only: mount it writable or write elsewhere";
    case ENOTDIR: return "something that is not a folder stands in the path";
    case ELOOP: return "a symbolic link stands there: remove it or write elsewhere";
    case EMFILE: return "too many open files: raise the limit (ulimit -n) or lower max_open_files";
    case EISDIR: return "a folder stands there";
    case EFBIG: return "the file size limit is reached: raise it (ulimit -f) or set rotate.size";
    default: return NULL;
  }
}

static int path_error(lc_error *error, int sys, const char *what, const char *path) {
  int rc = lc_error_sys(error, sys, "cannot %s %s", what, path);
  const char *hint = hint_of(sys);
  if (hint == NULL || error == NULL) return rc;
  size_t len = strlen(error->message), more = strlen(hint);
  if (len + more + 3 < sizeof error->message) {
    memcpy(error->message + len, "; ", 2);
    memcpy(error->message + len + 2, hint, more + 1);
  }
  return rc;
}

/* Somebody else's file, or one of ours under another name, is not appended to. */
static int check_free(const lc_output *output, const lc_output_rules *rules, const lc_file_id *file, lc_error *error) {
  if (!file->regular) {
    return lc_error_set(error, LC_EINVAL, "cannot write %s: it is not a regular file", output->path);
  }
  if (output->id != 0 || rules->own == NULL ||
      !lc_inodes_has_born(rules->own, file->device, file->inode, file->birth_ns)) {
    return 0;
  }
  return lc_error_set(error, LC_EBUSY, "cannot write %s: logcap itself already writes this file; give each sink a path "
                      "of its own", output->path);
}

static int take(const lc_output *output, const lc_output_rules *rules, int fd, const lc_file_id *file,
                lc_error *error) {
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return path_error(error, errno, "lock", output->path);
    return lc_error_set(error, LC_EBUSY, "cannot write %s: another process or sink writes it; an output has one owner, "
                        "so give each a path of its own", output->path);
  }
  if (rules->own == NULL) return 0;
  int rc = lc_inodes_add_born(rules->own, file->device, file->inode, file->birth_ns);
  return rc == 0 ? 0 : lc_error_set(error, rc, "no memory to remember %s as ours", output->path);
}

/* A file without a row: from now on it is ours. */
static int adopt(lc_output *output, const lc_output_rules *rules, const lc_file_id *file, bool created,
                 lc_error *error) {
  lc_extent end;
  int rc = lc_file_extent(output->path, file->size, LC_OUTPUT_TAIL, &end, error);
  if (rc == 0 && created && rules->durable) rc = lc_durable_sync_parent(output->path, error);
  if (rc != 0) return rc;
  output->device = file->device;
  output->inode = file->inode;
  output->birth_ns = file->birth_ns;
  output->made_ns = !created && file->birth_ns != 0 ? file->birth_ns : lc_clock_wall();
  output->end = output->settled = end;
  output->mid_line = end.mid_line;
  output->row_due = true;
  return 0;
}

/* Its folder could not be read when the sink was opened: what lies beyond the saved end is being written again. */
static int recover_late(const lc_output *output, int fd, bool durable, bool *ret_cut, lc_error *error) {
  bool matches = false;
  int rc = lc_file_tail_matches(output->path, &output->end, &matches, error);
  if (rc != 0 || !matches) return rc;
  if (ftruncate(fd, (off_t)output->end.length) != 0) return path_error(error, errno, "cut", output->path);
  if (durable && fsync(fd) != 0) return path_error(error, errno, "sync", output->path);
  *ret_cut = true;
  return 0;
}

/* The same file, but its end is not where we left it: go on where it is. */
static int find_end(lc_output *output, const lc_output_rules *rules, int fd, const lc_file_id *file,
                    lc_output_found *ret, lc_error *error) {
  *ret = LC_OUTPUT_AGAIN;
  bool cut = false;
  int rc = 0;
  if (output->cut_late && file->size > output->end.length) rc = recover_late(output, fd, rules->durable, &cut, error);
  if (rc != 0) return rc;
  output->cut_late = false;
  lc_extent end = {0};
  if (cut || file->size == output->end.length) {
    rc = output->unread ? lc_file_extent(output->path, output->end.length, 1, &end, error) : 0;
    if (rc == 0 && output->unread) output->mid_line = end.mid_line;
    output->unread = output->unread && rc != 0;
    return rc;
  }
  rc = lc_file_extent(output->path, file->size, LC_OUTPUT_TAIL, &end, error);
  if (rc != 0) return rc;
  *ret = file->size < output->end.length ? LC_OUTPUT_SHORTER : LC_OUTPUT_LONGER;
  output->disturbed = *ret == LC_OUTPUT_SHORTER ? -1 : 1;
  output->end = end;
  output->mid_line = end.mid_line;
  output->unread = false;
  if (end.length < output->settled.length) output->settled = end;
  return 0;
}

int lc_output_open(lc_output *output, const lc_output_rules *rules, lc_output_found *ret, lc_error *error) {
  bool created = false;
  lc_file_id file = {0};
  if (output->id != 0) { /* never made anew behind our back */
    int rc = lc_file_id_of(output->path, &file, error);
    if (rc != 0 && rc != LC_ENOENT) return rc;
    if (rc != 0 || !lc_file_id_is(&file, output->inode, output->birth_ns)) {
      *ret = LC_OUTPUT_REPLACED;
      return 0;
    }
  }
  int fd = open_or_create(output, rules, &created, error);
  if (fd < 0) return path_error(error, -fd, "open", output->path);
  int rc = lc_file_id_of_fd(fd, output->path, &file, error);
  if (rc == 0) rc = check_free(output, rules, &file, error);
  if (rc == 0) rc = take(output, rules, fd, &file, error);
  lc_output_found found = created ? LC_OUTPUT_CREATED : LC_OUTPUT_ADOPTED;
  if (rc == 0) {
    if (output->id == 0) {
      rc = adopt(output, rules, &file, created, error);
    } else if (lc_file_id_is(&file, output->inode, output->birth_ns)) {
      rc = find_end(output, rules, fd, &file, &found, error);
    } else {
      found = LC_OUTPUT_REPLACED;
    }
  }
  if (rc != 0 || found == LC_OUTPUT_REPLACED) {
    (void)close(fd); /* nothing was written through it */
  } else {
    output->fd = fd;
  }
  if (rc == 0) *ret = found;
  return rc;
}

bool lc_output_in_place(const lc_output *output) {
  lc_file_id file = {0};
  return lc_file_id_of(output->path, &file, NULL) == 0 && file.device == output->device &&
         lc_file_id_is(&file, output->inode, output->birth_ns);
}

int lc_output_close(lc_output *output, lc_error *error) {
  if (output->fd < 0) return 0;
  int rc = close(output->fd);
  output->fd = -1;
  return rc == 0 ? 0 : path_error(error, errno, "close", output->path);
}

/* Cuts `done` bytes off the front of the pieces; skips empty ones. */
static void advance(struct iovec *iov, size_t *at, size_t n, size_t done) {
  while (*at < n && done >= iov[*at].iov_len) done -= iov[(*at)++].iov_len;
  if (*at == n) return;
  iov[*at].iov_base = (char *)iov[*at].iov_base + done;
  iov[*at].iov_len -= done;
}

/* An append leaves the descriptor's position at the end of the file, wherever that is. */
static void check_end(lc_output *output) {
  off_t end = lseek(output->fd, 0, SEEK_CUR);
  if (end < 0 || (uint64_t)end == output->end.length) return;
  output->disturbed = (uint64_t)end < output->end.length ? -1 : 1;
  output->end.length = (uint64_t)end;
}

int lc_output_write(lc_output *output, struct iovec *iov, size_t *at, size_t n, lc_error *error) {
  advance(iov, at, n, 0);
  while (*at < n) {
    size_t pieces = n - *at < IOV_MAX ? n - *at : IOV_MAX;
    ssize_t done = writev(output->fd, iov + *at, (int)pieces);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return path_error(error, errno, "write", output->path);
    output->end.length += (uint64_t)done;
    output->unsynced = true;
    advance(iov, at, n, (size_t)done);
  }
  check_end(output);
  return 0;
}

int lc_output_sync(lc_output *output, lc_error *error) {
  bool opened = output->fd < 0;
  int fd = opened ? open(output->path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : output->fd;
  if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
    output->unsynced = false; /* somebody removed it: the next use of the output finds out */
    return 0;
  }
  if (fd < 0) return path_error(error, errno, "sync", output->path);
  int rc = fsync(fd) == 0 ? 0 : path_error(error, errno, "sync", output->path);
  if (opened) (void)close(fd); /* written through another descriptor, and synced */
  if (rc == 0) output->unsynced = false;
  return rc;
}

lc_stored_output lc_output_row(const lc_output *output, uint32_t sink_id) {
  return (lc_stored_output){.id = output->id,
                            .sink_id = sink_id,
                            .path = output->path,
                            .inode = output->inode,
                            .birth_ns = output->birth_ns,
                            .device = output->device,
                            .length = output->settled.length,
                            .tail_hash = output->settled.tail_hash,
                            .tail_len = output->settled.tail_len,
                            .made_ns = output->made_ns,
                            .closed = output->closed};
}
