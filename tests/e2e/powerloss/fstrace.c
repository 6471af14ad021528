/* Records what a process does to the files below a folder, so that a power loss at any moment can be played afterwards.
 *
 *     cc -shared -fPIC -O1 -o fstrace.so fstrace.c -lpthread
 *     FSTRACE_ROOT=/tmp/x/world FSTRACE_OUT=/tmp/x/trace FSTRACE_VAULT=/tmp/x/vault LD_PRELOAD=./fstrace.so program
 *
 * Each call is made and recorded under one lock, so that the trace has the order in which the kernel saw them. Every
 * file gets a second name in the vault, a number, when it is created: so its inode lives on, and a replay can put the
 * very same inode back. What cannot be replayed (shared writable mappings, copies in the kernel) is recorded as such.
 * A record: struct record, then two texts, or one text and data. Read by replay.py. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN = 1, WRITE, TRUNC, SYNC, DATASYNC, RENAME, UNLINK, MKDIR, RMDIR, LINK, BAD };

struct record {
  uint32_t op, first_len, second_len, handle;
  int64_t number; /* OPEN: flags; WRITE: offset; TRUNC: length */
  int64_t extra;  /* OPEN: 1 when the file was created */
};

#define MAX_FDS 65536

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int trace_fd = -1;
static char root[PATH_MAX], vault[PATH_MAX];
static size_t root_len;
static uint32_t last_handle;
static struct {
  uint32_t handle;
  dev_t device;
  ino_t inode;
  int flags;
} fds[MAX_FDS];

static void put(uint32_t op, uint32_t handle, int64_t number, int64_t extra, const void *first, size_t first_len,
                const void *second, size_t second_len) {
  struct record r = {op, (uint32_t)first_len, (uint32_t)second_len, handle, number, extra};
  struct iovec parts[3] = {
      {&r, sizeof r}, {(void *)(uintptr_t)first, first_len}, {(void *)(uintptr_t)second, second_len}};
  ssize_t n = syscall(SYS_writev, trace_fd, parts, 3);
  if (n != (ssize_t)(sizeof r + first_len + second_len)) abort();
}

static void put_bad(const char *what) {
  if (trace_fd >= 0) put(BAD, 0, 0, 0, what, strlen(what), NULL, 0);
}

__attribute__((constructor)) static void begin(void) {
  const char *out = getenv("FSTRACE_OUT"), *dir = getenv("FSTRACE_ROOT"), *keep = getenv("FSTRACE_VAULT");
  if (out == NULL || dir == NULL || keep == NULL || strlen(dir) >= PATH_MAX || strlen(keep) >= PATH_MAX - 16) return;
  strcpy(root, dir);
  strcpy(vault, keep);
  root_len = strlen(root);
  trace_fd = (int)syscall(SYS_openat, AT_FDCWD, out, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (trace_fd < 0) abort();
  unsetenv("LD_PRELOAD"); /* children are not part of it */
}

/* The path below the root, or NULL when it lies elsewhere. */
static const char *below(int dir, const char *path, char full[PATH_MAX]) {
  if (trace_fd < 0 || path == NULL) return NULL;
  char base[PATH_MAX] = "";
  if (path[0] != '/') {
    if (dir == AT_FDCWD) {
      if (getcwd(base, sizeof base) == NULL) return NULL;
    } else {
      char link[64];
      snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
      ssize_t n = readlink(link, base, sizeof base - 1);
      if (n < 0) return NULL;
      base[n] = '\0';
    }
    strcat(base, "/");
  }
  if (snprintf(full, PATH_MAX, "%s%s", base, path) >= PATH_MAX) return NULL;
  if (strncmp(full, root, root_len) != 0 || (full[root_len] != '/' && full[root_len] != '\0')) return NULL;
  return full + root_len;
}

static uint32_t handle_of(int fd) {
  struct stat st;
  if (trace_fd < 0 || fd < 0 || fd >= MAX_FDS || fds[fd].handle == 0) return 0;
  if (fstat(fd, &st) != 0 || st.st_dev != fds[fd].device || st.st_ino != fds[fd].inode) return 0;
  return fds[fd].handle;
}

static void opened(int fd, const char *full, const char *path, int flags, int created) {
  struct stat st;
  if (fd >= MAX_FDS || fstat(fd, &st) != 0) abort();
  uint32_t handle = ++last_handle;
  fds[fd].handle = handle;
  fds[fd].device = st.st_dev;
  fds[fd].inode = st.st_ino;
  fds[fd].flags = flags;
  if (created) {
    char kept[PATH_MAX];
    snprintf(kept, sizeof kept, "%.4000s/%u", vault, handle);
    if (linkat(AT_FDCWD, full, AT_FDCWD, kept, 0) != 0) abort();
  }
  put(OPEN, handle, flags, created, path, strlen(path), NULL, 0);
}

static int do_open(int dir, const char *path, int flags, mode_t mode) {
  char full[PATH_MAX];
  const char *relative = below(dir, path, full);
  if (relative == NULL) return (int)syscall(SYS_openat, dir, path, flags, mode);
  pthread_mutex_lock(&lock);
  struct stat st;
  int created = (flags & O_CREAT) != 0 && lstat(full, &st) != 0;
  int fd = (int)syscall(SYS_openat, dir, path, flags, mode);
  int saved = errno;
  if (fd >= 0) opened(fd, full, relative, flags, created);
  if (fd >= 0 && (flags & O_TMPFILE) == O_TMPFILE) put_bad("O_TMPFILE");
  pthread_mutex_unlock(&lock);
  errno = saved;
  return fd;
}

static mode_t mode_of(int flags, va_list args) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(args, mode_t) : 0;
}

#define OPEN_LIKE(name, dir, ...)                     \
  int name(__VA_ARGS__, int flags, ...) {             \
    va_list args;                                     \
    va_start(args, flags);                            \
    mode_t mode = mode_of(flags, args);               \
    va_end(args);                                     \
    return do_open(dir, path, flags, mode);           \
  }
OPEN_LIKE(open, AT_FDCWD, const char *path)
OPEN_LIKE(open64, AT_FDCWD, const char *path)
OPEN_LIKE(openat, dir, int dir, const char *path)
OPEN_LIKE(openat64, dir, int dir, const char *path)

int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);
int __open_2(const char *path, int flags) { return do_open(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return do_open(AT_FDCWD, path, flags, 0); }
int __openat_2(int dir, const char *path, int flags) { return do_open(dir, path, flags, 0); }
int __openat64_2(int dir, const char *path, int flags) { return do_open(dir, path, flags, 0); }
int creat(const char *path, mode_t mode) { return do_open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return do_open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int close(int fd) {
  if (fd >= 0 && fd < MAX_FDS && fds[fd].handle != 0) {
    pthread_mutex_lock(&lock);
    fds[fd].handle = 0;
    int rc = (int)syscall(SYS_close, fd);
    int saved = errno;
    pthread_mutex_unlock(&lock);
    errno = saved;
    return rc;
  }
  return (int)syscall(SYS_close, fd);
}

static int copied(int from, int to) {
  if (to >= 0 && to < MAX_FDS && from >= 0 && from < MAX_FDS) fds[to] = fds[from];
  return to;
}
int dup(int fd) { return copied(fd, (int)syscall(SYS_dup, fd)); }
int dup2(int fd, int to) { return copied(fd, (int)syscall(SYS_dup3, fd, to, 0)); }
int dup3(int fd, int to, int flags) { return copied(fd, (int)syscall(SYS_dup3, fd, to, flags)); }

static int do_fcntl(int fd, int command, void *argument) {
  int rc = (int)syscall(SYS_fcntl, fd, command, argument);
  return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? copied(fd, rc) : rc;
}
#define FCNTL_LIKE(name)                      \
  int name(int fd, int command, ...) {        \
    va_list args;                             \
    va_start(args, command);                  \
    void *argument = va_arg(args, void *);    \
    va_end(args);                             \
    return do_fcntl(fd, command, argument);   \
  }
FCNTL_LIKE(fcntl)
FCNTL_LIKE(fcntl64)

/* Makes one call that writes `n` bytes from `parts`, at `offset` or, with -1, at the file's own position. */
static ssize_t do_write(int fd, const struct iovec *parts, int n, off_t offset) {
  uint32_t handle = fd >= 0 && fd < MAX_FDS && fds[fd].handle != 0 ? 1 : 0;
  if (handle != 0) {
    pthread_mutex_lock(&lock);
    handle = handle_of(fd);
    if (handle == 0) pthread_mutex_unlock(&lock);
  }
  ssize_t done = offset < 0 ? syscall(SYS_writev, fd, parts, n)
                            : syscall(SYS_pwritev, fd, parts, n, (long)offset, (long)0);
  if (handle == 0) return done;
  int saved = errno;
  if (done > 0) {
    off_t at = offset >= 0 ? offset : lseek(fd, 0, SEEK_CUR) - done;
    if (offset >= 0 && (fds[fd].flags & O_APPEND) != 0) put_bad("pwrite to a file opened for appending");
    ssize_t left = done;
    for (int i = 0; i < n && left > 0; i++) {
      size_t len = (ssize_t)parts[i].iov_len < left ? parts[i].iov_len : (size_t)left;
      if (len > 0) put(WRITE, handle, at, 0, NULL, 0, parts[i].iov_base, len);
      at += (off_t)len;
      left -= (ssize_t)len;
    }
  }
  pthread_mutex_unlock(&lock);
  errno = saved;
  return done;
}

static struct iovec one(const void *bytes, size_t len) {
  return (struct iovec){(void *)(uintptr_t)bytes, len};
}
ssize_t write(int fd, const void *bytes, size_t len) {
  struct iovec part = one(bytes, len);
  return do_write(fd, &part, 1, -1);
}
ssize_t writev(int fd, const struct iovec *parts, int n) { return do_write(fd, parts, n, -1); }
#define PWRITE_LIKE(name)                                                \
  ssize_t name(int fd, const void *bytes, size_t len, off_t offset) {    \
    struct iovec part = one(bytes, len);                                 \
    return do_write(fd, &part, 1, offset);                               \
  }
PWRITE_LIKE(pwrite)
PWRITE_LIKE(pwrite64)
ssize_t pwritev(int fd, const struct iovec *parts, int n, off_t offset) { return do_write(fd, parts, n, offset); }
ssize_t pwritev64(int fd, const struct iovec *parts, int n, off_t offset) { return do_write(fd, parts, n, offset); }

/* A call on a descriptor, recorded when it succeeds. */
static int on_fd(int fd, long rc_of_call, uint32_t op, int64_t number) {
  int saved = errno;
  uint32_t handle = rc_of_call == 0 ? handle_of(fd) : 0;
  if (handle != 0) put(op, handle, number, 0, NULL, 0, NULL, 0);
  pthread_mutex_unlock(&lock);
  errno = saved;
  return (int)rc_of_call;
}
#define ON_FD(call, op, number) (pthread_mutex_lock(&lock), on_fd(fd, (call), (op), (number)))
int ftruncate(int fd, off_t len) { return ON_FD(syscall(SYS_ftruncate, fd, len), TRUNC, len); }
int ftruncate64(int fd, off_t len) { return ON_FD(syscall(SYS_ftruncate, fd, len), TRUNC, len); }
int fsync(int fd) { return ON_FD(syscall(SYS_fsync, fd), SYNC, 0); }
int fdatasync(int fd) { return ON_FD(syscall(SYS_fdatasync, fd), DATASYNC, 0); }

/* A call on one or two paths. */
static int on_paths(long rc_of_call, uint32_t op, const char *first, const char *second) {
  int saved = errno;
  if (rc_of_call == 0) {
    if (first != NULL && (second != NULL || (op != RENAME && op != LINK))) {
      put(op, 0, 0, 0, first, strlen(first), second, second != NULL ? strlen(second) : 0);
    } else if (first != NULL || second != NULL) {
      put_bad("a rename or link across the root");
    }
  }
  pthread_mutex_unlock(&lock);
  errno = saved;
  return (int)rc_of_call;
}
static int do_rename(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
  char a[PATH_MAX], b[PATH_MAX];
  const char *first = below(from_dir, from, a), *second = below(to_dir, to, b);
  pthread_mutex_lock(&lock);
  if (first != NULL && (flags & ~1u) != 0) put_bad("an exchanging rename");
  return on_paths(syscall(SYS_renameat2, from_dir, from, to_dir, to, flags), RENAME, first, second);
}
int rename(const char *from, const char *to) { return do_rename(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_dir, const char *from, int to_dir, const char *to) {
  return do_rename(from_dir, from, to_dir, to, 0);
}
int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
  return do_rename(from_dir, from, to_dir, to, flags);
}
int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
  char a[PATH_MAX], b[PATH_MAX];
  if (strncmp(to, vault, strlen(vault)) == 0) return (int)syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
  const char *first = below(from_dir, from, a), *second = below(to_dir, to, b);
  pthread_mutex_lock(&lock);
  return on_paths(syscall(SYS_linkat, from_dir, from, to_dir, to, flags), LINK, first, second);
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }
int unlinkat(int dir, const char *path, int flags) {
  char a[PATH_MAX];
  const char *first = below(dir, path, a);
  pthread_mutex_lock(&lock);
  return on_paths(syscall(SYS_unlinkat, dir, path, flags), (flags & AT_REMOVEDIR) != 0 ? RMDIR : UNLINK, first, NULL);
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
int mkdirat(int dir, const char *path, mode_t mode) {
  char a[PATH_MAX];
  const char *first = below(dir, path, a);
  pthread_mutex_lock(&lock);
  return on_paths(syscall(SYS_mkdirat, dir, path, mode), MKDIR, first, NULL);
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

/* What this file does not follow. */
static void not_followed(int fd, const char *what) {
  pthread_mutex_lock(&lock);
  if (handle_of(fd) != 0) put_bad(what);
  pthread_mutex_unlock(&lock);
}
void *mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset) {
  bool shared = (flags & MAP_SHARED) != 0 && (protection & PROT_WRITE) != 0;
  if (shared && fd >= 0) not_followed(fd, "a shared writable mapping");
  return (void *)syscall(SYS_mmap, at, len, protection, flags, fd, offset);
}
void *mmap64(void *at, size_t len, int protection, int flags, int fd, off_t offset) {
  return mmap(at, len, protection, flags, fd, offset);
}
int fallocate(int fd, int mode, off_t offset, off_t len) {
  if ((mode & FALLOC_FL_KEEP_SIZE) == 0 || mode != FALLOC_FL_KEEP_SIZE) not_followed(fd, "fallocate");
  return (int)syscall(SYS_fallocate, fd, mode, offset, len);
}
ssize_t copy_file_range(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t len, unsigned flags) {
  not_followed(out, "copy_file_range");
  return syscall(SYS_copy_file_range, in, in_offset, out, out_offset, len, flags);
}
ssize_t sendfile(int out, int in, off_t *offset, size_t len) {
  not_followed(out, "sendfile");
  return syscall(SYS_sendfile, out, in, offset, len);
}
