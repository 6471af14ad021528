#include "monitor/file_open.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool fail(lc_file_work *work, int error) {
  work->look = LC_LOOK_FAILED;
  work->error = error;
  return false;
}

/* Opens `path` if it is the file that we want. A descriptor, -ENOENT when it is not there or is another file, or
 * -errno; `ret` is untouched then. */
static int open_if(const char *path, lc_file_id id, lc_file_stat *ret) {
  /* O_NONBLOCK: whatever has taken the name meanwhile, a FIFO for instance, must not hold us up. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return errno == ENOTDIR || errno == ELOOP || errno == ENXIO || errno == ESTALE ? -ENOENT : -errno;
  lc_file_stat now;
  int rc = lc_file_stat_fd(fd, &now);
  if (rc == 0 && now.regular && lc_file_id_equal(now.id, id)) {
    *ret = now;
    return fd;
  }
  (void)close(fd); /* nothing was written through it */
  return rc != 0 ? rc : -ENOENT;
}

/* Looks for the file under another name of its folder. A descriptor or -errno. */
static int open_renamed(lc_file_job *job, lc_file_work *work) {
  lc_file *file = work->file;
  int sys = 0;
  char *path = NULL;
  int rc = lc_file_folder_find(&job->folder, lc_file_path(file), file->id, &path, &sys);
  if (rc == LC_ENOENT) return -ENOENT;
  if (rc != 0) return -sys;
  int fd = open_if(path, file->id, &work->stat);
  if (fd < 0) {
    free(path);
    return fd == -ENOENT ? -EAGAIN : fd; /* it moved on while we looked */
  }
  free(work->found_path);
  work->found_path = path;
  return fd;
}

static bool open_file(lc_file_job *job, lc_file_work *work) {
  lc_file *file = work->file;
  if (job->permits == 0 || job->no_descriptors) {
    work->look = LC_LOOK_SKIPPED;
    return false;
  }
  int fd = open_if(lc_file_path(file), file->id, &work->stat);
  if (fd == -ENOENT) fd = open_renamed(job, work);
  if (fd == -ENOENT) {
    work->look = LC_LOOK_GONE;
    return false;
  }
  if (fd == -EMFILE || fd == -ENFILE) {
    job->no_descriptors = true;
    work->look = LC_LOOK_SKIPPED;
    return false;
  }
  if (fd < 0) return fail(work, -fd);
  file->fd = fd;
  job->permits--;
  return true;
}

static char *scratch(lc_file_job *job) {
  if (job->scratch == NULL) job->scratch = malloc(LC_FILE_BLOCK);
  return job->scratch;
}

/* Compares a file that nothing was read from with those that are followed. */
static bool check_copy(lc_file_job *job, lc_file_work *work) {
  lc_file *file = work->file;
  char *bytes = scratch(job);
  if (bytes == NULL) return fail(work, ENOMEM);
  for (uint32_t i = 0; i < work->n_originals; i++) {
    const lc_file_mark *original = &work->originals[i];
    if (work->stat.size < original->offset) continue;
    int rc = lc_file_prefix_matches(original, file->fd, &job->prefix, bytes);
    if (rc < 0) return fail(work, -rc);
    if (rc > 0) {
      file->mark = *original;
      work->copy = true;
      work->seek_end = false;
      return true;
    }
  }
  if (!work->suspicious) return true;
  int64_t n = lc_file_read_at(file->fd, bytes, LC_FILE_HEAD, 0);
  if (n < 0) return fail(work, (int)-n);
  if (!lc_file_copies_suspect(job->how->copies, bytes, (uint32_t)n)) return true;
  work->look = LC_LOOK_SUSPECT;
  return false;
}

bool lc_file_seek(lc_file_job *job, lc_file_work *work, uint64_t offset) {
  char *bytes = scratch(job);
  if (bytes == NULL) return fail(work, ENOMEM);
  if (offset > work->stat.size) offset = work->stat.size;
  int rc = lc_file_mark_at(&work->file->mark, work->file->fd, offset, &job->prefix, bytes);
  if (rc < 0) return fail(work, -rc);
  work->file->mark.size = work->stat.size;
  return true;
}

bool lc_file_open_for(lc_file_job *job, lc_file_work *work) {
  lc_file *file = work->file;
  if (file->fd < 0) {
    if (!open_file(job, work)) return false;
    if (file->mark.offset > file->mark.base) {
      int rc = lc_file_head_matches(&file->mark, file->fd);
      if (rc < 0) return fail(work, -rc);
      if (rc == 0) {
        work->look = LC_LOOK_REPLACED;
        return false;
      }
    }
  } else {
    int rc = lc_file_stat_fd(file->fd, &work->stat);
    if (rc < 0) return fail(work, -rc);
  }
  if (job->how->own != NULL &&
      lc_inodes_has_born(job->how->own, work->stat.device, work->stat.id.inode, work->stat.id.birth_ns)) {
    work->look = LC_LOOK_OWN;
    return false;
  }
  if (work->seek && work->stat.size < work->seek_to) {
    work->look = LC_LOOK_REPLACED;
    return false;
  }
  if (work->seek) return lc_file_seek(job, work, work->seek_to);
  return file->mark.offset > 0 || check_copy(job, work);
}

void lc_file_find_name(lc_file_work *work) {
  lc_file_stat now;
  lc_file *file = work->file;
  if (lc_file_stat_at(AT_FDCWD, lc_file_path(file), &now) == 0 && lc_file_id_equal(now.id, file->id)) return;
  char link[64], path[PATH_MAX];
  (void)snprintf(link, sizeof link, "/proc/self/fd/%d", file->fd);
  ssize_t len = readlink(link, path, sizeof path - 1);
  if (len <= 0 || len >= (ssize_t)sizeof path - 1) return; /* then its folder is searched, as ever */
  path[len] = '\0';
  if (lc_file_stat_at(AT_FDCWD, path, &now) != 0 || !lc_file_id_equal(now.id, file->id)) return;
  char *found = strdup(path);
  if (found == NULL) return;
  free(work->found_path);
  work->found_path = found;
}

void lc_file_close_after(lc_file_job *job, lc_file_work *work, bool had, bool others) {
  lc_file *file = work->file;
  if (had || file->fd < 0) return;
  bool needed = work->look == LC_LOOK_DONE && (work->more || (work->stat.links == 0 && !work->ended));
  if (needed || !others || job->permits > 0) return;
  (void)close(file->fd); /* nothing was written through it */
  file->fd = -1;
  job->permits++;
}
