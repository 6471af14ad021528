/* Finds a file by its identity among all names of a folder: where a rotation has put it.
 *
 *     rc = lc_file_folder_find(&list, "/var/log/app.log", id, &path);
 *     lc_file_folder_free(list);
 *
 * A list is kept between calls, so that many files of one folder cost one reading of it. It blocks: pool threads, or
 * before the start. */
#ifndef LC_MONITOR_FILE_FOLDER_H
#define LC_MONITOR_FILE_FOLDER_H

#include "monitor/file_identity.h"

typedef struct lc_file_folder lc_file_folder;

/* Looks through the folder of `path`. *list is NULL, or the list of the call before, which is replaced when it is of
 * another folder. Returns 0 and the new path (the caller frees it), LC_ENOENT, or LC_ESYS / LC_ENOMEM with *ret_errno
 * set. */
int lc_file_folder_find(lc_file_folder **list, const char *path, lc_file_id id, char **ret_path,
                        int *ret_errno) LC_CHECK;
void lc_file_folder_free(lc_file_folder *list); /* NULL is allowed */

#endif
