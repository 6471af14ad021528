/* Files that must survive: the one place that knows how a file is replaced so that, whatever happens, either the old or
 * the new content is there, and a failure is noticed.
 *
 *     rc = lc_durable_write_file(path, buf.data, buf.len, 0600, &error);
 *
 * Thread: any but the loop thread while it runs; everything here waits for the disk. */
#ifndef LC_IO_DURABLE_H
#define LC_IO_DURABLE_H

#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"
#include "logcap/error.h"

/* Replaces `path` by a file with these bytes: temporary file beside it (path.tmp, replaced when one is left over),
 * fsync, rename, fsync of the folder. On failure `path` is as it was, but for a failing last fsync: then the new
 * content is there and may be lost with the power. */
int lc_durable_write_file(const char *path, const void *bytes, size_t len, mode_t mode, lc_error *error) LC_CHECK;

/* Renames within one file system and makes it stand: fsync of the target's folder, and of the source's if it is
 * another. The file's own content must be synced before. */
int lc_durable_rename(const char *from, const char *to, lc_error *error) LC_CHECK;

/* Makes the entries of a folder stand: files that were created, renamed or removed in it. */
int lc_durable_sync_dir(const char *directory, lc_error *error) LC_CHECK;
/* The folder that holds `path`. */
int lc_durable_sync_parent(const char *path, lc_error *error) LC_CHECK;

/* Makes a folder and those above it that are missing, each with `mode`, each synced into its parent. A folder that is
 * there keeps its mode. */
int lc_durable_mkdirs(const char *directory, mode_t mode, lc_error *error) LC_CHECK;
/* The same for the folder that holds `path`. */
int lc_durable_mkdir_parents(const char *path, mode_t mode, lc_error *error) LC_CHECK;

/* Writes all of it at the file's own position, going on after signals and short writes. ret_written (may be NULL) says
 * how much went out, also on failure. `path` is for the message. */
int lc_durable_write_all(int fd, const void *bytes, size_t len, size_t *ret_written, const char *path, lc_error *error)
    LC_CHECK;

/* Appends a file's content to `ret`. LC_ELIMIT when it is longer than `limit`. */
int lc_durable_read_file(const char *path, size_t limit, lc_buf *ret, lc_error *error) LC_CHECK;

#endif
