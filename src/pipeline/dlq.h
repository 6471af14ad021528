/* The dead-letter queue: records that nobody could take, as JSON lines below <state>/dlq/, rotated by size and bounded.
 *
 *     lc_dlq_open(state_dir, NULL, own, &dlq, &error);
 *     lc_dlq_encode(&text, batch, &batch->dead[0], "shop");   // whoever holds the batch
 *     lc_dlq_append(dlq, &text, 1, &error);                   // pool thread, one call at a time
 *     lc_dlq_close(dlq);
 *
 * Thread: as said at each function; the counters are atomic. */
#ifndef LC_PIPELINE_DLQ_H
#define LC_PIPELINE_DLQ_H

#include "base/buf.h"
#include "io/inodes.h"
#include "logcap/record.h"

typedef struct lc_dlq lc_dlq;

typedef struct lc_dlq_options {
  uint64_t file_size;  /* bytes; a file is rotated above it */
  uint64_t total_size; /* bytes; the oldest files are deleted above it, counted and logged */
} lc_dlq_options;

typedef struct lc_dlq_stats {
  uint64_t entries, bytes, deleted_files, failures;
} lc_dlq_stats;

/* `options` NULL: 64 MiB a file, 1 GiB in all. Makes the folder (0700); opens no file until the first entry. */
int lc_dlq_open(const char *state_dir, const lc_dlq_options *options, lc_inodes *own, lc_dlq **ret, lc_error *error)
    LC_CHECK;
void lc_dlq_close(lc_dlq *dlq); /* NULL is allowed */

/* Appends one entry for a record that a stage refused / that a sink refused for `reason`. Returns 0 or LC_ENOMEM. */
int lc_dlq_encode(lc_buf *ret, const lc_batch *batch, const lc_dead *dead, const char *pipeline);
int lc_dlq_encode_refused(lc_buf *ret, const lc_batch *batch, uint32_t record, const char *pipeline, const char *sink,
                          const char *reason);
/* Writes `entries` encoded entries. All or nothing: a partial write is cut back. */
int lc_dlq_append(lc_dlq *dlq, const lc_buf *text, uint64_t entries, lc_error *error) LC_CHECK;
lc_dlq_stats lc_dlq_stats_get(const lc_dlq *dlq);

#endif
