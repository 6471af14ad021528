#include "sink/output_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEVICES_MAX 64u

typedef struct devices {
  uint64_t done[DEVICES_MAX];
  uint32_t n;
} devices;

static bool is_done(const devices *self, uint64_t device) {
  if (device == 0) return true; /* never opened: nothing was written to it */
  for (uint32_t i = 0; i < self->n; i++) {
    if (self->done[i] == device) return true;
  }
  return false;
}

/* The folder of a path, or the nearest one above it that is there. */
static int open_folder(const char *path, lc_error *error) {
  char folder[PATH_MAX];
  size_t len = strlen(path);
  if (len >= sizeof folder) return lc_error_set(error, LC_EINVAL, "%s is too long", path);
  memcpy(folder, path, len + 1);
  int fd = -1;
  do {
    char *slash = strrchr(folder, '/');
    if (slash == NULL) break;
    slash[slash == folder] = '\0';
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  } while (fd < 0 && (errno == ENOENT || errno == ENOTDIR) && folder[1] != '\0');
  return fd >= 0 ? fd : lc_error_sys(error, errno, "cannot open the folder of %s", path);
}

static int sync_device(devices *self, uint64_t device, const char *path, lc_error *error) {
  int fd = open_folder(path, error);
  if (fd < 0) return fd;
  int rc = syncfs(fd) == 0 ? 0 : lc_error_sys(error, errno, "cannot sync the file system of %s", path);
  (void)close(fd); /* only read */
  if (rc == 0) self->done[self->n++] = device;
  return rc;
}

/* The path of a finished output on a file system that is not done, to be freed; NULL: there is none. */
static int next_finished(lc_output_set *set, const devices *self, char **ret, uint64_t *ret_device) {
  int rc = 0;
  *ret = NULL;
  uv_mutex_lock(&set->lock);
  const lc_output *one = set->closed;
  while (one != NULL && is_done(self, one->device)) one = one->next_closed;
  if (one != NULL) {
    *ret = strdup(one->path);
    *ret_device = one->device;
    rc = *ret != NULL ? 0 : LC_ENOMEM;
  }
  uv_mutex_unlock(&set->lock);
  return rc;
}

static int sync_finished(lc_output_set *set, devices *self, lc_error *error) {
  int rc = 0;
  while (rc == 0 && self->n < DEVICES_MAX) {
    char *path;
    uint64_t device = 0;
    rc = next_finished(set, self, &path, &device);
    if (rc != 0) return lc_error_set(error, rc, "no memory to sync outputs");
    if (path == NULL) break;
    rc = sync_device(self, device, path, error);
    free(path);
  }
  return rc;
}

int lc_output_set_sync_before(lc_output_set *set, lc_error *error) {
  devices self = {.n = 0};
  int rc = 0;
  if (!atomic_load(&set->sync_due)) return 0;
  for (uint32_t i = 0; rc == 0 && i < set->cap && self.n < DEVICES_MAX; i++) {
    const lc_output *one = set->table[i];
    if (one != NULL && !is_done(&self, one->device)) rc = sync_device(&self, one->device, one->path, error);
  }
  for (const lc_output *one = set->turned; rc == 0 && one != NULL && self.n < DEVICES_MAX; one = one->next_closed) {
    if (!is_done(&self, one->device)) rc = sync_device(&self, one->device, one->path, error);
  }
  if (rc == 0) rc = sync_finished(set, &self, error);
  if (rc != 0) {
    lc_output_set_count(set, LC_COUNT_sync_failures, 1);
    return rc;
  }
  if (self.n == DEVICES_MAX) sync(); /* of so many the rest is done, too */
  atomic_store(&set->sync_due, false);
  return 0;
}
