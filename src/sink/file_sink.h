/* The file sink: lines into files, exactly once.
 *
 * The path is a template: `{field}` is the record's field, `{@source}` the name of its source, `%Y %m %d ...`
 * (strftime) its time; `{{`, `}}` and `%%` stand for themselves. A value never leaves its place in the path: see
 * src/sink/path_template.h. Missing folders are made.
 *
 *     lc_file_sink_options options = {.path = "/var/log/out/{service}-%Y%m%d.ndjson", .fsync = true};
 *     rc = lc_file_sink_create(&options, registry, NULL, "pipeline.lua:12", &sink, &error);
 *
 * What is exact, and how:
 * - the lengths of the outputs and the cursors are committed in one snapshot;
 * - the row of a new output, and the name that a rotation gives, are committed before the first byte and the rename;
 * - at open, what lies beyond a committed length is cut when it will be written again, and kept otherwise.
 *
 * Thread: the loop thread. Zeroes in the options stand for the defaults. */
#ifndef LC_SINK_FILE_SINK_H
#define LC_SINK_FILE_SINK_H

#include <stdbool.h>
#include <stdint.h>

#include "logcap/sink.h"
#include "sink/format.h"

typedef enum lc_file_compression { LC_FILE_PLAIN, LC_FILE_GZIP, LC_FILE_ZSTD } lc_file_compression;

#define LC_FILE_SINK_OPEN_DEFAULT 100u
#define LC_FILE_SINK_OUTPUTS_DEFAULT 100000u

typedef struct lc_file_sink_options {
  const char *path; /* template of an absolute path */
  lc_sink_format format;
  bool metadata;     /* JSON: timestamp, source and labels, too */
  bool local_time;   /* strftime in local time; default: UTC */
  bool fsync;        /* exact after power loss, too */
  const char *missing; /* stands for a field that a record lacks, or an empty one; NULL: "_missing" */
  uint32_t mode;        /* of new files; 0: 0640 */
  uint32_t folder_mode; /* of new folders; 0: 0750 */
  uint32_t max_open_files; /* descriptors; 0: LC_FILE_SINK_OPEN_DEFAULT */
  uint32_t max_outputs;    /* remembered at a time, ~0.4 kB each; values beyond that share the output of "_overflow";
                              0: LC_FILE_SINK_OUTPUTS_DEFAULT */
  uint64_t min_free;       /* bytes: with less free space on the disk writing pauses; 0: no guard */
  struct {
    uint64_t size;  /* bytes: the line that reaches it is the file's last one; 0: never */
    int64_t age_ns; /* since the file was made; 0: never */
  } rotate;
  lc_file_compression compress; /* of rotated files */
  struct {                      /* of files that are not written any more, over the whole sink; 0: no limit */
    uint32_t files;
    uint64_t size; /* bytes */
    int64_t age_ns;
  } retain;
} lc_file_sink_options;

/* Copies what it is given. LC_EINVAL names the option and what is wrong with it. `name` may be NULL: then the path
 * template is the sink's identity. Nothing is created on disk before it is opened. */
int lc_file_sink_create(const lc_file_sink_options *options, lc_registry *registry, const char *name,
                        const char *made_at, lc_sink **ret, lc_error *error) LC_CHECK;

#endif
