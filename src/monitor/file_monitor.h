/* The file monitor: follows files by glob, line by line, through rotation, truncation and restarts.
 *
 *     lc_file_monitor_options options;
 *     lc_file_monitor_options_init(&options);
 *     options.paths = (const char *const[]){"/var/log/shop/" "*.log"};
 *     options.n_paths = 1;
 *     lc_file_monitor_create(&options, registry, "shop", "pipeline.lua:3", &monitor, &error);
 *
 * A source is one generation of a file: identified by inode and birth time, not by name. It is read to its end through
 * renames and unlinking; the next file under the same path starts when the one before is at its end.
 *
 * Thread: the loop thread. */
#ifndef LC_MONITOR_FILE_MONITOR_H
#define LC_MONITOR_FILE_MONITOR_H

#include "logcap/monitor.h"
#include "record/multiline.h"

#define LC_FILE_MAX_LINE_DEFAULT (UINT64_C(256) << 10)
#define LC_FILE_MAX_LINE_MOST (UINT64_C(16) << 20)
#define LC_FILE_MAX_OPEN_DEFAULT 64u
#define LC_FILE_ROTATED_WAIT_DEFAULT (INT64_C(5) * 1000000000)
#define LC_FILE_DELETED_BYTES_DEFAULT (UINT64_C(1) << 30)
#define LC_FILE_DELETED_AGE_DEFAULT (INT64_C(3600) * 1000000000)

/* Everything is copied by lc_file_monitor_create. */
typedef struct lc_file_monitor_options {
  const char *const *paths; /* absolute patterns: `*`, `?`, `[...]`, `**`; at least one */
  uint32_t n_paths;
  const char *const *exclude; /* patterns; without a slash they are held against the file's name alone */
  uint32_t n_exclude;
  bool from_beginning; /* start = "beginning": for files of the first scan without a saved cursor. Default: false
                          ("end"). Files that appear later are always read from the beginning */
  bool hidden;         /* wildcards match names that begin with a dot. Default: false */
  bool follow_symlinks; /* a link to a file stands for that file. Default: true */
  uint64_t max_line; /* bytes; a longer line is cut, marked, and its rest skipped. Default: 256 KiB; at most 16 MiB */
  lc_multiline_options multiline; /* no pattern (default): each line is a record */
  uint32_t max_open_files;        /* descriptors held at a time. Default: 64, at least 1: with a
                                     file sink's 100, a pipeline stays below 200 */
  int64_t rotated_wait_ns;  /* a renamed or deleted file is let go when it is at its end twice, this far apart. Default:
                               5 s */
  uint64_t deleted_bytes;   /* unread bytes of deleted files that may be kept from the disk. Default: 1 GiB */
  int64_t deleted_age_ns;   /* and for how long. What is given up is counted as abandoned. Default: 1 h */
  const lc_label *labels;   /* of all its records */
  uint32_t n_labels;
} lc_file_monitor_options;

void lc_file_monitor_options_init(lc_file_monitor_options *options);

/* Describes only: touches no file. `name` may be NULL: the identity (kind and patterns) serves. LC_EINVAL names the
 * option that is wrong. The caller owns one reference (lc_resource_release(&(*ret)->resource)). */
int lc_file_monitor_create(const lc_file_monitor_options *options, lc_registry *registry, const char *name,
                           const char *made_at, lc_monitor **ret, lc_error *error) LC_CHECK;

#endif
