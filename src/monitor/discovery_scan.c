#include "monitor/discovery_scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#define WATCH_SELF (IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)
#define WATCH_NAMES (WATCH_SELF | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB)
#define WATCH_FILES (IN_MODIFY | IN_CLOSE_WRITE)
#define WATCH_TARGET (WATCH_FILES | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF)

void lc_scan_deinit(lc_scan *scan) {
  free(scan->asked);
  free(scan->names);
  free(scan->states);
  lc_buf_free(&scan->text);
  *scan = (lc_scan){.wd = -1};
}

static bool grow(void **array, uint32_t *cap, uint32_t needed, size_t size) {
  if (needed <= *cap) return true;
  uint32_t bigger = *cap * 2 > needed ? *cap * 2 : needed < 16 ? 16 : needed;
  void *grown = realloc(*array, bigger * size);
  if (grown == NULL) return false;
  *array = grown;
  *cap = bigger;
  return true;
}

static lc_name_kind kind_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG: return LC_NAME_FILE;
    case S_IFDIR: return LC_NAME_FOLDER;
    case S_IFIFO: return LC_NAME_FIFO;
    case S_IFSOCK: return LC_NAME_SOCKET;
    case S_IFLNK: return LC_NAME_LINK;
    default: return LC_NAME_DEVICE;
  }
}

/* 0 or errno. */
static int stat_name(int folder, const char *name, int flags, lc_name_kind *ret_kind, lc_stat *ret) {
  struct statx stx;
  unsigned mask = STATX_TYPE | STATX_INO | STATX_SIZE | STATX_MTIME | STATX_BTIME;
  if (statx(folder, name, flags | AT_STATX_SYNC_AS_STAT | AT_NO_AUTOMOUNT, mask, &stx) != 0) return errno;
  int64_t birth = 0;
  if ((stx.stx_mask & STATX_BTIME) != 0) birth = stx.stx_btime.tv_sec * INT64_C(1000000000) + stx.stx_btime.tv_nsec;
  *ret_kind = kind_of(stx.stx_mode);
  *ret = (lc_stat){.device = makedev(stx.stx_dev_major, stx.stx_dev_minor),
                   .inode = stx.stx_ino,
                   .birth_ns = birth,
                   .size = stx.stx_size,
                   .mtime_ns = stx.stx_mtime.tv_sec * INT64_C(1000000000) + stx.stx_mtime.tv_nsec};
  return 0;
}

static bool is_gone(int error) {
  return error == ENOENT || error == ENOTDIR || error == ENAMETOOLONG;
}

/* Looks where a link leads. */
static void follow(int folder, const char *name, lc_scan_name *ret) {
  int error = stat_name(folder, name, 0, &ret->kind, &ret->stat);
  if (error == 0) return;
  ret->kind = is_gone(error) ? LC_NAME_DANGLING : error == ELOOP ? LC_NAME_LOOP : LC_NAME_UNKNOWN;
  ret->error = ret->kind == LC_NAME_UNKNOWN ? error : 0;
}

static void look(int folder, const char *name, lc_scan_name *ret) {
  int error = stat_name(folder, name, AT_SYMLINK_NOFOLLOW, &ret->kind, &ret->stat);
  if (error != 0) {
    ret->kind = is_gone(error) ? LC_NAME_ABSENT : LC_NAME_UNKNOWN;
    ret->error = ret->kind == LC_NAME_UNKNOWN ? error : 0;
  } else if (ret->kind == LC_NAME_LINK) {
    ret->is_link = true;
    follow(folder, name, ret);
  }
}

bool lc_scan_file(const char *path, lc_stat *ret) {
  lc_name_kind kind = LC_NAME_UNKNOWN;
  return stat_name(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, &kind, ret) == 0 && kind == LC_NAME_FILE;
}

/* "folder/name" behind the texts, not counted. NULL: out of memory. */
static const char *full_path(lc_scan *scan, const char *name) {
  size_t folder = scan->dir->parent != NULL ? strlen(scan->dir->path) : 0, len = strlen(name);
  if (lc_buf_reserve(&scan->text, folder + len + 2) != 0) return NULL;
  char *path = scan->text.data + scan->text.len;
  memcpy(path, scan->dir->path, folder);
  path[folder] = '/';
  memcpy(path + folder + 1, name, len + 1);
  return path;
}

/* Writes to a link's target show in no folder that we know of. */
static void watch_target(lc_scan *scan, const char *path, lc_scan_name *found) {
  if (!found->is_link || found->kind != LC_NAME_FILE || scan->inotify == NULL) return;
  lc_error error = {0};
  found->wd = lc_inotify_add(scan->inotify, path, WATCH_TARGET, &error);
  if (found->wd >= 0) return;
  found->wd = -1;
  scan->link_unwatched = true;
  if (scan->watch_error.code == 0) scan->watch_error = error;
}

/* Keeps what was found. 0 or errno. */
static int keep(lc_scan *scan, const char *name, const lc_scan_name *found) {
  if (!grow((void **)&scan->names, &scan->cap_names, scan->n_names + 1, sizeof *scan->names)) return ENOMEM;
  lc_scan_name *kept = &scan->names[scan->n_names];
  *kept = *found;
  kept->name = (uint32_t)scan->text.len;
  if (lc_buf_add(&scan->text, name, strlen(name) + 1) != 0) return ENOMEM;
  scan->n_names++;
  return 0;
}

/* A name that does not matter, or not any more: whoever asked for it by name is told. */
static int pass_over(lc_scan *scan, const char *name) {
  return scan->asked != NULL ? keep(scan, name, &(lc_scan_name){.kind = LC_NAME_ABSENT, .wd = -1}) : 0;
}

/* What the patterns say of a name that is there. `wanted`: as a file. 0 or errno. */
static int judge(lc_scan *scan, const char *name, bool wanted, lc_scan_name *found) {
  const lc_patterns *patterns = scan->patterns;
  const uint64_t *states = scan->states + (size_t)scan->n_states * patterns->n_words;
  if (found->kind == LC_NAME_FOLDER && !lc_patterns_none(patterns, states)) {
    found->kind = LC_NAME_DESCEND;
    found->states = scan->n_states++;
    return keep(scan, name, found);
  }
  if (found->kind == LC_NAME_UNKNOWN || found->kind == LC_NAME_ABSENT) return keep(scan, name, found);
  if (!wanted) return pass_over(scan, name);
  const char *path = full_path(scan, name);
  if (path == NULL) return ENOMEM;
  if (lc_patterns_excluded(patterns, path)) return pass_over(scan, name);
  if (found->is_link && !patterns->follow_links && found->kind != LC_NAME_FOLDER) found->kind = LC_NAME_LINK;
  watch_target(scan, path, found);
  found->spelled = lc_patterns_spelled(patterns, scan->dir->states, name);
  return keep(scan, name, found);
}

/* `type` is what readdir said, or DT_UNKNOWN. 0 or errno. */
static int look_at(lc_scan *scan, int folder, const char *name, unsigned char type) {
  const lc_patterns *patterns = scan->patterns;
  if (!grow((void **)&scan->states, &scan->cap_states, (scan->n_states + 1) * patterns->n_words,
            sizeof *scan->states)) {
    return ENOMEM;
  }
  uint64_t *states = scan->states + (size_t)scan->n_states * patterns->n_words;
  const uint64_t *from = scan->dir->states;
  bool wanted = lc_patterns_step(patterns, from, name, type == DT_LNK, states);
  bool enters = !lc_patterns_none(patterns, states);
  bool may_be_folder = type == DT_DIR || type == DT_LNK || type == DT_UNKNOWN;
  if (!wanted && !(enters && may_be_folder)) return 0;
  lc_scan_name found = {.wd = -1};
  if (type == DT_DIR) found.kind = LC_NAME_FOLDER;
  else look(folder, name, &found);
  if (found.is_link && type != DT_LNK) wanted = lc_patterns_step(patterns, from, name, true, states);
  return judge(scan, name, wanted, &found);
}

/* The names that were asked for. */
static int look_at_asked(lc_scan *scan, int folder) {
  int error = 0;
  for (const char *name = scan->asked; name < scan->asked + scan->asked_len && error == 0; name += strlen(name) + 1) {
    error = look_at(scan, folder, name, DT_UNKNOWN);
  }
  return error;
}

/* The names that the patterns spell out: their folder need not be readable. */
static int look_at_literals(lc_scan *scan, int folder) {
  const char *name;
  int error = 0;
  for (uint32_t i = 0; error == 0 && (name = lc_patterns_literal(scan->patterns, scan->dir->states, &i)) != NULL;) {
    error = look_at(scan, folder, name, DT_UNKNOWN);
  }
  return error;
}

static int look_at_all(lc_scan *scan, DIR *stream) {
  for (;;) {
    errno = 0;
    const struct dirent *entry = readdir(stream);
    if (entry == NULL) return errno;
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    int error = look_at(scan, dirfd(stream), entry->d_name, entry->d_type);
    if (error != 0) return error;
  }
}

/* Whether the file system may change without this kernel's doing. */
static bool is_remote(int folder) {
  static const uint32_t kinds[] = {
      0x6969,     /* NFS */ 0xff534d42,  /* CIFS */ 0xfe534d42, /* SMB2 */ 0x517b,    /* SMB */ 0x01021997, /* 9P */
      0x00c36400, /* Ceph */ 0x5346414f, /* AFS */ 0x65735546,  /* FUSE */ 0x0bd00bd0 /* Lustre */};
  struct statfs fs;
  if (fstatfs(folder, &fs) != 0) return false;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    if ((uint32_t)fs.f_type == kinds[i]) return true;
  }
  return false;
}

static void watch_folder(lc_scan *scan, uint32_t mask) {
  if (scan->inotify == NULL) return;
  int wd = lc_inotify_add(scan->inotify, scan->dir->path, mask, &scan->watch_error);
  scan->wd = wd >= 0 ? wd : -1;
}

/* Through a descriptor, so that all names are of the same folder. O_PATH needs no right to read it. */
static int open_path(const char *path) {
  return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int read_folder(lc_scan *scan) {
  const char *path = scan->dir->path;
  bool list = scan->asked == NULL && scan->dir->wild;
  int folder = list ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK) : open_path(path);
  if (folder < 0) return errno;
  scan->remote = is_remote(folder);
  if (!list) {
    int error = scan->asked != NULL ? look_at_asked(scan, folder) : look_at_literals(scan, folder);
    (void)close(folder);
    return error;
  }
  DIR *stream = fdopendir(folder);
  if (stream == NULL) {
    int error = errno;
    (void)close(folder);
    return error;
  }
  int error = look_at_all(scan, stream);
  (void)closedir(stream);
  return error;
}

/* Whether all that the patterns lead to is there, and no link that may be made to lead elsewhere. */
static bool is_settled(const lc_scan *scan) {
  for (uint32_t i = 0; i < scan->n_names; i++) {
    if (scan->names[i].kind != LC_NAME_DESCEND || scan->names[i].is_link) return false;
  }
  return true;
}

/* A folder that is only passed through: what goes on in it, and in /tmp that is much, wakes nobody as long as the next
 * folders are there; they tell themselves when they go. */
static void pass_through(lc_scan *scan) {
  watch_folder(scan, WATCH_SELF);
  scan->error = read_folder(scan);
  if (scan->error != 0 || is_settled(scan)) return;
  watch_folder(scan, WATCH_NAMES);
  scan->names_watched = true;
  scan->n_names = scan->n_states = 0;
  lc_buf_clear(&scan->text);
  scan->error = read_folder(scan);
}

void lc_scan_run(lc_scan *scan) {
  scan->wd = -1;
  if (scan->asked == NULL && !scan->dir->wild && !scan->dir->files) {
    pass_through(scan);
  } else {
    if (scan->asked == NULL) watch_folder(scan, scan->dir->files ? WATCH_NAMES | WATCH_FILES : WATCH_NAMES);
    scan->names_watched = scan->asked == NULL;
    scan->error = read_folder(scan);
  }
  scan->whole = scan->asked == NULL && scan->error == 0;
  if (scan->error != 0) scan->n_names = 0;
}
