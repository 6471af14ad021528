#include "io/inodes.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/clock.h"

/* Open addressing with linear probing, at most two thirds full; removal shifts back, so that there are no tombstones.
 * Inode 0 exists on no file system and marks an empty slot. */
typedef struct slot {
  uint64_t device, inode;
  int64_t birth_ns; /* 0: not known */
} slot;

struct lc_inodes {
  pthread_mutex_t lock;
  slot *slots;
  size_t n, cap; /* cap is a power of two */
};

#define LEAST_SLOTS 64

static size_t home_of(const lc_inodes *inodes, uint64_t device, uint64_t inode) {
  uint64_t h = (inode ^ (device << 32 | device >> 32)) * UINT64_C(0x9e3779b97f4a7c15);
  return (size_t)(h ^ h >> 32) & (inodes->cap - 1);
}

/* Where the file stands, or the empty slot where it would. */
static size_t find(const lc_inodes *inodes, uint64_t device, uint64_t inode) {
  size_t i = home_of(inodes, device, inode);
  while (inodes->slots[i].inode != 0 && (inodes->slots[i].inode != inode || inodes->slots[i].device != device)) {
    i = (i + 1) & (inodes->cap - 1);
  }
  return i;
}

static int grow(lc_inodes *inodes) {
  slot *old = inodes->slots;
  size_t old_cap = inodes->cap;
  slot *slots = calloc(old_cap * 2, sizeof *slots);
  if (slots == NULL) return LC_ENOMEM;
  inodes->slots = slots;
  inodes->cap = old_cap * 2;
  for (size_t i = 0; i < old_cap; i++) {
    if (old[i].inode != 0) slots[find(inodes, old[i].device, old[i].inode)] = old[i];
  }
  free(old);
  return 0;
}

int lc_inodes_create(lc_inodes **ret, lc_error *error) {
  lc_inodes *inodes = calloc(1, sizeof *inodes);
  slot *slots = calloc(LEAST_SLOTS, sizeof *slots);
  if (inodes == NULL || slots == NULL || pthread_mutex_init(&inodes->lock, NULL) != 0) {
    free(inodes);
    free(slots);
    return lc_error_set(error, LC_ENOMEM, "out of memory: cannot keep a list of logcap's own files");
  }
  inodes->slots = slots;
  inodes->cap = LEAST_SLOTS;
  *ret = inodes;
  return 0;
}

void lc_inodes_destroy(lc_inodes *inodes) {
  if (inodes == NULL) return;
  (void)pthread_mutex_destroy(&inodes->lock);
  free(inodes->slots);
  free(inodes);
}

int lc_inodes_add(lc_inodes *inodes, uint64_t device, uint64_t inode) {
  return lc_inodes_add_born(inodes, device, inode, 0);
}

int lc_inodes_add_born(lc_inodes *inodes, uint64_t device, uint64_t inode, int64_t birth_ns) {
  if (inode == 0) return 0;
  (void)pthread_mutex_lock(&inodes->lock);
  int rc = (inodes->n + 1) * 3 > inodes->cap * 2 ? grow(inodes) : 0;
  if (rc == 0) {
    size_t i = find(inodes, device, inode);
    if (inodes->slots[i].inode == 0) inodes->n++;
    inodes->slots[i] = (slot){device, inode, birth_ns};
  }
  (void)pthread_mutex_unlock(&inodes->lock);
  return rc;
}

int lc_inodes_add_fd(lc_inodes *inodes, int fd, lc_error *error) {
  struct statx stx;
  if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &stx) != 0) {
    return lc_error_sys(error, errno, "cannot look at an own file");
  }
  int64_t birth_ns = 0;
  if ((stx.stx_mask & STATX_BTIME) != 0) birth_ns = stx.stx_btime.tv_sec * LC_SECOND + stx.stx_btime.tv_nsec;
  if (lc_inodes_add_born(inodes, makedev(stx.stx_dev_major, stx.stx_dev_minor), stx.stx_ino, birth_ns) == 0) return 0;
  return lc_error_set(error, LC_ENOMEM, "out of memory: cannot remember an own file");
}

void lc_inodes_remove(lc_inodes *inodes, uint64_t device, uint64_t inode) {
  if (inode == 0) return;
  (void)pthread_mutex_lock(&inodes->lock);
  size_t mask = inodes->cap - 1, hole = find(inodes, device, inode);
  if (inodes->slots[hole].inode != 0) {
    inodes->n--;
    /* Whoever stands behind the hole and could stand in it moves up. */
    for (size_t i = (hole + 1) & mask; inodes->slots[i].inode != 0; i = (i + 1) & mask) {
      size_t home = home_of(inodes, inodes->slots[i].device, inodes->slots[i].inode);
      if (((i - home) & mask) < ((i - hole) & mask)) continue;
      inodes->slots[hole] = inodes->slots[i];
      hole = i;
    }
    inodes->slots[hole] = (slot){0};
  }
  (void)pthread_mutex_unlock(&inodes->lock);
}

bool lc_inodes_has(lc_inodes *inodes, uint64_t device, uint64_t inode) {
  return lc_inodes_has_born(inodes, device, inode, 0);
}

bool lc_inodes_has_born(lc_inodes *inodes, uint64_t device, uint64_t inode, int64_t birth_ns) {
  if (inode == 0) return false;
  (void)pthread_mutex_lock(&inodes->lock);
  const slot *one = &inodes->slots[find(inodes, device, inode)];
  bool yes = one->inode != 0 && (one->birth_ns == 0 || birth_ns == 0 || one->birth_ns == birth_ns);
  (void)pthread_mutex_unlock(&inodes->lock);
  return yes;
}
