#include "monitor/file_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"

#define READINGS_MAX 32u /* of a folder that changes all the time, however many files are looked for in it */
#define TICK_NS (20 * LC_MILLISECOND) /* a file system's times are no finer than the kernel's tick */

typedef struct folder_entry {
  lc_file_id id;
  uint32_t name; /* offset in names */
} folder_entry;

struct lc_file_folder {
  char *folder;          /* owned */
  folder_entry *entries; /* owned; sorted by id; a file that was renamed between two readings has several */
  size_t n, cap;
  unsigned readings;
  char *names; /* owned */
  size_t names_len, names_cap;
  int64_t changed_ns; /* when the folder had changed last, before it was read the last time */
  bool young;         /* so shortly before that the next change may have the same time */
};

void lc_file_folder_free(lc_file_folder *list) {
  if (list == NULL) return;
  free(list->folder);
  free(list->entries);
  free(list->names);
  free(list);
}

static int compare_entries(const void *a, const void *b) {
  const lc_file_id *left = a, *right = b; /* the id is an entry's first member */
  if (left->inode != right->inode) return left->inode < right->inode ? -1 : 1;
  if (left->birth_ns != right->birth_ns) return left->birth_ns < right->birth_ns ? -1 : 1;
  return 0;
}

static bool add_entry(lc_file_folder *list, lc_file_id id, const char *name) {
  size_t len = strlen(name) + 1;
  if (list->n == list->cap) {
    size_t cap = list->cap == 0 ? 64 : list->cap * 2;
    folder_entry *grown = realloc(list->entries, cap * sizeof *grown);
    if (grown == NULL) return false;
    list->entries = grown;
    list->cap = cap;
  }
  if (list->names_len + len > list->names_cap) {
    size_t cap = (list->names_len + len) * 2;
    char *grown = realloc(list->names, cap);
    if (grown == NULL) return false;
    list->names = grown;
    list->names_cap = cap;
  }
  list->entries[list->n++] = (folder_entry){id, (uint32_t)list->names_len};
  memcpy(list->names + list->names_len, name, len);
  list->names_len += len;
  return true;
}

static int64_t changed_ns(const char *folder) {
  struct stat st;
  return stat(folder, &st) == 0 ? (int64_t)st.st_mtim.tv_sec * LC_SECOND + st.st_mtim.tv_nsec : -1;
}

static bool is_young(int64_t changed) { return lc_clock_wall() - changed < TICK_NS; }

/* Whether the list still says what is there: files are renamed while it is made, and afterwards. */
static bool still_holds(const lc_file_folder *list) {
  return !list->young && list->changed_ns == changed_ns(list->folder);
}

/* The first entry of an id among the first `n`, or where it would stand. */
static size_t place_of(const lc_file_folder *list, size_t n, lc_file_id id) {
  size_t low = 0;
  while (n > low) {
    size_t middle = low + (n - low) / 2;
    if (compare_entries(&list->entries[middle], &id) < 0) low = middle + 1;
    else n = middle;
  }
  return low;
}

static bool is_listed(const lc_file_folder *list, size_t n, lc_file_id id, const char *name) {
  for (size_t i = place_of(list, n, id); i < n && lc_file_id_equal(list->entries[i].id, id); i++) {
    if (strcmp(list->names + list->entries[i].name, name) == 0) return true;
  }
  return false;
}

/* Adds the names that are not listed yet. 0 or errno. */
static int fill(lc_file_folder *list, DIR *folder) {
  size_t listed = list->n;
  for (;;) {
    errno = 0;
    struct dirent *entry = readdir(folder);
    if (entry == NULL) return errno;
    if (entry->d_type != DT_REG && entry->d_type != DT_UNKNOWN) continue;
    lc_file_stat found;
    if (lc_file_stat_at(dirfd(folder), entry->d_name, &found) != 0 || !found.regular) continue;
    if (is_listed(list, listed, found.id, entry->d_name)) continue;
    if (!add_entry(list, found.id, entry->d_name)) return ENOMEM;
  }
}

/* 0 or errno. */
static int read_names(lc_file_folder *list) {
  list->readings++;
  list->changed_ns = changed_ns(list->folder);
  list->young = is_young(list->changed_ns);
  DIR *stream = opendir(list->folder);
  int rc = stream == NULL ? errno : fill(list, stream);
  if (stream != NULL) closedir(stream);
  if (list->n > 1) qsort(list->entries, list->n, sizeof *list->entries, compare_entries);
  return rc;
}

static int open_list(const char *folder, size_t len, lc_file_folder **ret) {
  lc_file_folder *list = calloc(1, sizeof *list);
  if (list == NULL) return ENOMEM;
  list->folder = strndup(folder, len);
  int rc = list->folder == NULL ? ENOMEM : read_names(list);
  if (rc != 0) {
    lc_file_folder_free(list);
    return rc;
  }
  *ret = list;
  return 0;
}

static int failed(int sys, int *ret_errno) {
  if (sys == ENOENT || sys == ENOTDIR) return LC_ENOENT;
  *ret_errno = sys;
  return sys == ENOMEM ? LC_ENOMEM : LC_ESYS;
}

/* Under which of its listed names the file is now. 0, LC_ENOENT, LC_ENOMEM. */
static int look_up(const lc_file_folder *list, lc_file_id id, char **ret_path) {
  for (size_t i = place_of(list, list->n, id); i < list->n && lc_file_id_equal(list->entries[i].id, id); i++) {
    const char *name = list->names + list->entries[i].name;
    char *found = malloc(strlen(list->folder) + strlen(name) + 1);
    if (found == NULL) return LC_ENOMEM;
    (void)stpcpy(stpcpy(found, list->folder), name);
    lc_file_stat now;
    if (lc_file_stat_at(AT_FDCWD, found, &now) == 0 && lc_file_id_equal(now.id, id)) {
      *ret_path = found;
      return 0;
    }
    free(found);
  }
  return LC_ENOENT;
}

int lc_file_folder_find(lc_file_folder **list, const char *path, lc_file_id id, char **ret_path, int *ret_errno) {
  const char *slash = strrchr(path, '/');
  if (slash == NULL) return LC_ENOENT;
  size_t len = (size_t)(slash - path) + 1; /* with the slash: "/" stays a folder */
  if (*list != NULL && (strlen((*list)->folder) != len || memcmp((*list)->folder, path, len) != 0)) {
    lc_file_folder_free(*list);
    *list = NULL;
  }
  if (*list == NULL) {
    int sys = open_list(path, len, list);
    if (sys != 0) return failed(sys, ret_errno);
  }
  for (;;) {
    int rc = look_up(*list, id, ret_path);
    if (rc == LC_ENOMEM) return failed(ENOMEM, ret_errno);
    if (rc == 0 || still_holds(*list)) return rc;
    if ((*list)->readings >= READINGS_MAX && is_young(changed_ns((*list)->folder))) return rc; /* it never rests */
    int sys = read_names(*list); /* it may have been missed: gone from under one name, not yet under the next */
    if (sys != 0) return failed(sys, ret_errno);
  }
}
