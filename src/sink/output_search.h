/* Finds a file again that was renamed within its folder.
 *
 *     rc = lc_output_search("/var/log/out/a.log", inode, birth_ns, &path, &error);   // "/var/log/out/a.log.1"
 *
 * Thread: any but the loop thread; it reads the folder. */
#ifndef LC_SINK_OUTPUT_SEARCH_H
#define LC_SINK_OUTPUT_SEARCH_H

#include <stddef.h>
#include <stdint.h>

#include "logcap/error.h"

/* Looks among all names of the folder that holds `path`. *ret_path is the caller's. LC_ENOENT when it is not there,
 * another error when the folder cannot be read or is not there. */
int lc_output_search(const char *path, uint64_t inode, int64_t birth_ns, char **ret_path, lc_error *error) LC_CHECK;

/* The inodes of a folder, read once: for looking up many. */
typedef struct lc_output_folder {
  char *path; /* owned, with the slash at its end; NULL: nothing read */
  struct lc_output_folder_entry *entries; /* owned; by inode */
  uint32_t n, cap;
  char *names; /* owned */
  size_t names_len, names_cap;
} lc_output_folder;

/* The same from what was read of the folder last; reads it when it was another one. Zero the folder to start. */
int lc_output_folder_search(lc_output_folder *folder, const char *path, uint64_t inode, int64_t birth_ns,
                            char **ret_path, lc_error *error) LC_CHECK;
void lc_output_folder_free(lc_output_folder *folder);

#endif
