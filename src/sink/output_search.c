#include "sink/output_search.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sink/output.h"

typedef struct lc_output_folder_entry {
  uint64_t inode;
  size_t name; /* offset */
} lc_output_folder_entry;

static int by_inode(const void *a, const void *b) {
  const lc_output_folder_entry *x = a, *y = b;
  return (x->inode > y->inode) - (x->inode < y->inode);
}

static int add_entry(lc_output_folder *folder, const struct dirent *entry) {
  size_t len = strlen(entry->d_name) + 1;
  if (folder->n == folder->cap) {
    uint32_t cap = folder->cap < 64 ? 64 : folder->cap * 2;
    lc_output_folder_entry *entries = realloc(folder->entries, cap * sizeof *entries);
    if (entries == NULL) return LC_ENOMEM;
    folder->entries = entries;
    folder->cap = cap;
  }
  if (folder->names_len + len > folder->names_cap) {
    size_t cap = (folder->names_len + len) * 2;
    char *names = realloc(folder->names, cap);
    if (names == NULL) return LC_ENOMEM;
    folder->names = names;
    folder->names_cap = cap;
  }
  memcpy(folder->names + folder->names_len, entry->d_name, len);
  folder->entries[folder->n++] = (lc_output_folder_entry){entry->d_ino, folder->names_len};
  folder->names_len += len;
  return 0;
}

static int read_folder(lc_output_folder *folder, lc_error *error) {
  DIR *dir = opendir(folder->path);
  if (dir == NULL) { /* not LC_ENOENT: that says that the folder does not have the file */
    int sys = errno;
    (void)lc_error_sys(error, sys, "cannot read folder %s", folder->path);
    return LC_ESYS;
  }
  int rc = 0;
  while (rc == 0) {
    errno = 0;
    const struct dirent *entry = readdir(dir);
    if (entry == NULL) {
      if (errno != 0) rc = lc_error_sys(error, errno, "cannot read folder %s", folder->path);
      break;
    }
    if (entry->d_type != DT_REG && entry->d_type != DT_UNKNOWN) continue;
    if (add_entry(folder, entry) != 0) rc = lc_error_set(error, LC_ENOMEM, "no memory for folder %s", folder->path);
  }
  (void)closedir(dir);
  if (folder->n > 1) qsort(folder->entries, folder->n, sizeof *folder->entries, by_inode);
  return rc;
}

static int load(lc_output_folder *folder, const char *path, lc_error *error) {
  const char *slash = strrchr(path, '/');
  size_t len = slash != NULL ? (size_t)(slash - path) + 1 : 0;
  if (folder->path != NULL && strlen(folder->path) == len && memcmp(folder->path, path, len) == 0) return 0;
  lc_output_folder_free(folder);
  folder->path = len > 0 ? strndup(path, len) : strdup("./");
  if (folder->path == NULL) return lc_error_set(error, LC_ENOMEM, "no memory for a folder");
  int rc = read_folder(folder, error);
  if (rc != 0) lc_output_folder_free(folder);
  return rc;
}

void lc_output_folder_free(lc_output_folder *folder) {
  free(folder->path);
  free(folder->entries);
  free(folder->names);
  *folder = (lc_output_folder){0};
}

/* The first of the entries with this inode; n when there is none. */
static uint32_t first_entry(const lc_output_folder *folder, uint64_t inode) {
  uint32_t low = 0, high = folder->n;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (folder->entries[middle].inode < inode) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

int lc_output_folder_search(lc_output_folder *folder, const char *path, uint64_t inode, int64_t birth_ns,
                            char **ret_path, lc_error *error) {
  int rc = load(folder, path, error);
  if (rc != 0) return rc;
  for (uint32_t i = first_entry(folder, inode); i < folder->n && folder->entries[i].inode == inode; i++) {
    char *found = NULL;
    lc_file_id id = {0};
    if (asprintf(&found, "%s%s", folder->path, folder->names + folder->entries[i].name) < 0) {
      return lc_error_set(error, LC_ENOMEM, "no memory for a path");
    }
    if (lc_file_id_of(found, &id, NULL) == 0 && lc_file_id_is(&id, inode, birth_ns)) {
      *ret_path = found;
      return 0;
    }
    free(found);
  }
  return lc_error_set(error, LC_ENOENT, "no file in %s is what %s was", folder->path, path);
}

int lc_output_search(const char *path, uint64_t inode, int64_t birth_ns, char **ret_path, lc_error *error) {
  lc_output_folder folder = {0};
  int rc = lc_output_folder_search(&folder, path, inode, birth_ns, ret_path, error);
  lc_output_folder_free(&folder);
  return rc;
}
