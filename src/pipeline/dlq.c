#include "pipeline/dlq.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "io/durable.h"

typedef struct dlq_file {
  uint64_t number; /* its name; grows for ever */
  uint64_t size;
  uint64_t device, inode;
} dlq_file;

struct lc_dlq {
  pthread_mutex_t lock;
  char *directory; /* owned; state_dir/dlq */
  lc_inodes *own;  /* borrowed; may be NULL */
  uint64_t file_size, total_size;
  dlq_file *files; /* owned; oldest first */
  size_t n_files, cap_files;
  uint64_t last_number;
  uint64_t total;  /* bytes of all files */
  int fd;          /* of the last file, or -1: the next append starts one */
  bool unsynced;   /* the last file has bytes that a power loss may take */
  bool unnamed;    /* the folder has entries that a power loss may take */
  _Atomic uint64_t entries, deleted_files, deleted_entries, failures, bytes_now, files_now;
};

static int path_of(const lc_dlq *dlq, uint64_t number, char ret[PATH_MAX], lc_error *error) {
  int n = snprintf(ret, PATH_MAX, "%s/%010llu.ndjson", dlq->directory, (unsigned long long)number);
  return n > 0 && n < PATH_MAX ? 0
                               : lc_error_sys(error, ENAMETOOLONG, "cannot name a file in %.64s...", dlq->directory);
}

static int out_of_memory(const lc_dlq *dlq, lc_error *error) {
  return lc_error_set(error, LC_ENOMEM, "out of memory: cannot use the dead-letter queue %s", dlq->directory);
}

static int add_file(lc_dlq *dlq, uint64_t number, const struct stat *st, lc_error *error) {
  if (dlq->n_files == dlq->cap_files) {
    size_t cap = dlq->cap_files != 0 ? dlq->cap_files * 2 : 16;
    dlq_file *files = realloc(dlq->files, cap * sizeof *files);
    if (files == NULL) return out_of_memory(dlq, error);
    dlq->files = files;
    dlq->cap_files = cap;
  }
  if (dlq->own != NULL && lc_inodes_add(dlq->own, st->st_dev, st->st_ino) != 0) return out_of_memory(dlq, error);
  dlq->files[dlq->n_files++] = (dlq_file){number, (uint64_t)st->st_size, st->st_dev, st->st_ino};
  dlq->total += (uint64_t)st->st_size;
  if (number > dlq->last_number) dlq->last_number = number;
  return 0;
}

static void forget_file(lc_dlq *dlq, size_t at) {
  dlq_file *file = &dlq->files[at];
  dlq->total -= file->size;
  if (dlq->own != NULL) lc_inodes_remove(dlq->own, file->device, file->inode);
  memmove(file, file + 1, (--dlq->n_files - at) * sizeof *file);
}

/* 0 for names that are not ours. */
static uint64_t number_of(const char *name) {
  if (strlen(name) < 17 || strspn(name, "0123456789") != strlen(name) - 7) return 0;
  if (strcmp(name + strlen(name) - 7, ".ndjson") != 0) return 0;
  errno = 0;
  unsigned long long number = strtoull(name, NULL, 10);
  return errno == 0 && number < UINT64_MAX ? number : 0;
}

static int by_number(const void *a, const void *b) {
  uint64_t x = ((const dlq_file *)a)->number, y = ((const dlq_file *)b)->number;
  return x < y ? -1 : x > y;
}

static int scan(lc_dlq *dlq, lc_error *error) {
  DIR *dir = opendir(dlq->directory);
  if (dir == NULL && errno == ENOENT) return 0;
  if (dir == NULL) return lc_error_sys(error, errno, "cannot open the dead-letter queue %s", dlq->directory);
  int rc = 0;
  for (;;) {
    errno = 0;
    struct dirent *entry = readdir(dir);
    if (entry == NULL) break;
    uint64_t number = number_of(entry->d_name);
    struct stat st;
    if (number == 0) continue;
    if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode)) continue;
    if ((rc = add_file(dlq, number, &st, error)) != 0) break;
  }
  if (rc == 0 && errno != 0) rc = lc_error_sys(error, errno, "cannot read the dead-letter queue %s", dlq->directory);
  (void)closedir(dir); /* nothing was written */
  if (rc == 0 && dlq->n_files > 1) qsort(dlq->files, dlq->n_files, sizeof *dlq->files, by_number);
  return rc;
}

/* Where the last whole entry ends. A power loss may leave a hole where bytes should be; no entry has zero bytes, and
 * what lies behind the first hole was never synced, so that its records will be read again. */
static int find_last_end(int fd, uint64_t *ret, const char *path, lc_error *error) {
  char block[65536];
  uint64_t at = 0, end = 0;
  for (;;) {
    ssize_t n = pread(fd, block, sizeof block, (off_t)at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return lc_error_sys(error, errno, "cannot read %s", path);
    const char *hole = memchr(block, '\0', (size_t)n);
    size_t len = hole != NULL ? (size_t)(hole - block) : (size_t)n;
    const char *newline = memrchr(block, '\n', len);
    if (newline != NULL) end = at + (uint64_t)(newline - block) + 1;
    if (n == 0 || hole != NULL) break;
    at += (uint64_t)n;
  }
  *ret = end;
  return 0;
}

/* Goes on with the newest file of the run before, without what a kill or a power loss left half written. */
static int reopen_last(lc_dlq *dlq, lc_error *error) {
  if (dlq->n_files == 0 || dlq->files[dlq->n_files - 1].size >= dlq->file_size) return 0;
  dlq_file *last = &dlq->files[dlq->n_files - 1];
  char path[PATH_MAX];
  int rc = path_of(dlq, last->number, path, error);
  if (rc != 0) return rc;
  int fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return lc_error_sys(error, errno, "cannot open the dead-letter file %s", path);
  uint64_t end = 0;
  rc = find_last_end(fd, &end, path, error);
  if (rc == 0 && end != last->size) {
    if (ftruncate(fd, (off_t)end) != 0) rc = lc_error_sys(error, errno, "cannot cut a torn entry off %s", path);
  }
  if (rc != 0) {
    (void)close(fd); /* the first failure is the one that counts */
    return rc;
  }
  dlq->total -= last->size - end;
  last->size = end;
  dlq->fd = fd;
  return 0;
}

/* For those who ask without waiting for the lock, which is held while the disk works. */
static void publish(lc_dlq *dlq) {
  dlq->bytes_now = dlq->total;
  dlq->files_now = dlq->n_files;
}

int lc_dlq_open(const char *state_dir, const lc_dlq_options *options, lc_inodes *own, lc_dlq **ret, lc_error *error) {
  uint64_t file_size = options != NULL && options->file_size != 0 ? options->file_size : LC_DLQ_FILE_SIZE_DEFAULT;
  uint64_t total_size = options != NULL && options->total_size != 0 ? options->total_size : LC_DLQ_TOTAL_SIZE_DEFAULT;
  if (total_size / 2 < file_size) {
    return lc_error_set(error, LC_EINVAL, "the dead-letter queue's total size must be at least twice its file size");
  }
  lc_dlq *dlq = calloc(1, sizeof *dlq);
  size_t size = strlen(state_dir) + sizeof "/dlq";
  if (dlq != NULL) dlq->directory = malloc(size);
  if (dlq == NULL || dlq->directory == NULL || pthread_mutex_init(&dlq->lock, NULL) != 0) {
    if (dlq != NULL) free(dlq->directory);
    free(dlq);
    return lc_error_set(error, LC_ENOMEM, "out of memory: cannot open the dead-letter queue in %s", state_dir);
  }
  snprintf(dlq->directory, size, "%s/dlq", state_dir);
  dlq->own = own;
  dlq->file_size = file_size;
  dlq->total_size = total_size;
  dlq->fd = -1;
  int rc = scan(dlq, error);
  if (rc == 0) rc = reopen_last(dlq, error);
  if (rc != 0) {
    lc_dlq_close(dlq);
    return rc;
  }
  publish(dlq);
  *ret = dlq;
  return 0;
}

void lc_dlq_close(lc_dlq *dlq) {
  if (dlq == NULL) return;
  if (dlq->fd >= 0 && close(dlq->fd) != 0) {
    lc_log(LC_LOG_WARN, "dlq", "cannot close the dead-letter queue", LC_S("error", strerror(errno)));
  }
  (void)pthread_mutex_destroy(&dlq->lock);
  free(dlq->files);
  free(dlq->directory);
  free(dlq);
}

/* How many entries a file has. What cannot be read is not counted. */
static uint64_t count_entries(int fd) {
  char block[65536];
  uint64_t lines = 0;
  for (;;) {
    ssize_t n = read(fd, block, sizeof block);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    for (const char *at = block; (at = memchr(at, '\n', (size_t)(block + n - at))) != NULL; at++) lines++;
  }
  return lines;
}

static int delete_oldest(lc_dlq *dlq, lc_error *error) {
  char path[PATH_MAX];
  int rc = path_of(dlq, dlq->files[0].number, path, error);
  if (rc != 0) return rc;
  /* Open until it is forgotten, so that its inode is not given to a new file before. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  uint64_t entries = fd >= 0 ? count_entries(fd) : 0;
  if (unlink(path) != 0 && errno != ENOENT) {
    rc = lc_error_sys(error, errno, "cannot delete %s", path);
  } else {
    forget_file(dlq, 0);
  }
  if (fd >= 0) (void)close(fd); /* nothing was written */
  if (rc != 0) return rc;
  dlq->deleted_entries += entries;
  dlq->deleted_files++;
  lc_log(LC_LOG_WARN, "dlq", "the dead-letter queue is full: its oldest file was deleted", LC_S("file", path),
         LC_I("entries", entries));
  return 0;
}

static int make_room(lc_dlq *dlq, size_t len, lc_error *error) {
  int rc = 0;
  while (rc == 0 && dlq->total + len > dlq->total_size && dlq->n_files > (dlq->fd >= 0 ? 1 : 0)) {
    rc = delete_oldest(dlq, error);
  }
  return rc;
}

static int start_file(lc_dlq *dlq, lc_error *error) {
  char path[PATH_MAX];
  uint64_t number = dlq->last_number + 1;
  int rc = path_of(dlq, number, path, error);
  if (rc == 0) rc = lc_durable_mkdirs(dlq->directory, 0700, error);
  if (rc != 0) return rc;
  int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return lc_error_sys(error, errno, "cannot create the dead-letter file %s", path);
  struct stat st;
  rc = fstat(fd, &st) == 0 ? add_file(dlq, number, &st, error) : lc_error_sys(error, errno, "cannot look at %s", path);
  if (rc != 0) {
    (void)close(fd); /* empty, and taken away again */
    (void)unlink(path);
    return rc;
  }
  dlq->fd = fd;
  dlq->unnamed = true;
  return 0;
}

static int sync_file(lc_dlq *dlq, lc_error *error) {
  if (dlq->fd < 0 || !dlq->unsynced) return 0;
  if (fdatasync(dlq->fd) != 0)
    return lc_error_sys(error, errno, "cannot sync the dead-letter queue %s", dlq->directory);
  dlq->unsynced = false;
  return 0;
}

static int finish_file(lc_dlq *dlq, lc_error *error) {
  int rc = sync_file(dlq, error);
  if (rc != 0) return rc;
  int fd = dlq->fd;
  dlq->fd = -1;
  return close(fd) == 0 ? 0 : lc_error_sys(error, errno, "cannot close a file of %s", dlq->directory);
}

/* Somebody may purge the queue while it is in use. */
static void let_go_of_deleted(lc_dlq *dlq) {
  struct stat st;
  if (dlq->fd < 0 || (fstat(dlq->fd, &st) == 0 && st.st_nlink > 0)) return;
  (void)close(dlq->fd); /* its content is gone anyway */
  dlq->fd = -1;
  dlq->unsynced = false;
  forget_file(dlq, dlq->n_files - 1);
}

static int write_entries(lc_dlq *dlq, const lc_buf *text, lc_error *error) {
  dlq_file *last = &dlq->files[dlq->n_files - 1];
  dlq->unsynced = true;
  size_t written = 0;
  int rc = lc_durable_write_all(dlq->fd, text->data, text->len, &written, dlq->directory, error);
  if (rc != 0 && ftruncate(dlq->fd, (off_t)last->size) != 0) {
    /* The torn entry stays at the end of this file; the next entries go to another one. */
    lc_log(LC_LOG_WARN, "dlq", "cannot cut a torn entry", LC_S("error", strerror(errno)));
    (void)close(dlq->fd);
    dlq->fd = -1;
  } else if (rc != 0) {
    written = 0;
  }
  last->size += written;
  dlq->total += written;
  return rc;
}

static int append(lc_dlq *dlq, const lc_buf *text, lc_error *error) {
  int rc = 0;
  let_go_of_deleted(dlq);
  if (dlq->fd >= 0) {
    uint64_t size = dlq->files[dlq->n_files - 1].size;
    if (size > 0 && size + text->len > dlq->file_size) rc = finish_file(dlq, error);
  }
  if (rc == 0) rc = make_room(dlq, text->len, error);
  if (rc == 0 && dlq->fd < 0) rc = start_file(dlq, error);
  return rc == 0 ? write_entries(dlq, text, error) : rc;
}

int lc_dlq_append(lc_dlq *dlq, const lc_buf *text, uint64_t entries, lc_error *error) {
  if (text->failed) return out_of_memory(dlq, error);
  if (text->len == 0) return 0;
  (void)pthread_mutex_lock(&dlq->lock);
  int rc = append(dlq, text, error);
  if (rc == 0) dlq->entries += entries;
  if (rc != 0) dlq->failures++;
  publish(dlq);
  (void)pthread_mutex_unlock(&dlq->lock);
  return rc;
}

int lc_dlq_sync(lc_dlq *dlq, lc_error *error) {
  (void)pthread_mutex_lock(&dlq->lock);
  int rc = sync_file(dlq, error);
  if (rc == 0 && dlq->unnamed) rc = lc_durable_sync_dir(dlq->directory, error);
  if (rc == 0) dlq->unnamed = false;
  (void)pthread_mutex_unlock(&dlq->lock);
  return rc;
}

lc_dlq_stats lc_dlq_stats_get(const lc_dlq *dlq) {
  return (lc_dlq_stats){.files = dlq->files_now,
                        .bytes = dlq->bytes_now,
                        .entries = dlq->entries,
                        .deleted_files = dlq->deleted_files,
                        .deleted_entries = dlq->deleted_entries,
                        .failures = dlq->failures};
}
