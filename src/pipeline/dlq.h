/* The dead-letter queue: records that a stage or a sink refused, as JSON lines in the folder dlq of
 * the state directory.
 *
 *     lc_dlq_open(state_dir, NULL, own, &dlq, &error);
 *     lc_dlq_encode(&text, batch, &batch->dead[i], "shop");    // whoever holds the batch
 *     rc = lc_dlq_append(dlq, &text, 1, &error);                // pool thread
 *     lc_dlq_close(dlq);
 *
 * A file is started when the one before has `file_size` bytes; when all together have `total_size`, the oldest is
 * deleted, counted and logged. Nothing is made on disk before the first entry. An entry is there whole or not at all:
 * what a failed write or a kill left behind is cut.
 *
 * Thread: encoding by whoever holds the batch, figures from any; the rest from any that may block (one mutex inside).
 */
#ifndef LC_PIPELINE_DLQ_H
#define LC_PIPELINE_DLQ_H

#include "base/buf.h"
#include "io/inodes.h"
#include "logcap/record.h"

#define LC_DLQ_FILE_SIZE_DEFAULT (UINT64_C(64) << 20)
#define LC_DLQ_TOTAL_SIZE_DEFAULT (UINT64_C(1) << 30)

typedef struct lc_dlq lc_dlq;

typedef struct lc_dlq_options {
  uint64_t file_size;  /* bytes; 0: LC_DLQ_FILE_SIZE_DEFAULT */
  uint64_t total_size; /* bytes, at least twice file_size; 0: LC_DLQ_TOTAL_SIZE_DEFAULT */
} lc_dlq_options;

typedef struct lc_dlq_stats {
  uint64_t files, bytes;                 /* stored now, those of earlier runs included */
  uint64_t entries;                      /* appended in this run */
  uint64_t deleted_files, deleted_entries; /* in this run, to stay below total_size */
  uint64_t failures;                     /* appends that failed */
} lc_dlq_stats;

/* Looks at what earlier runs left. `options` and `own` may be NULL; `own` is borrowed. */
int lc_dlq_open(const char *state_dir, const lc_dlq_options *options, lc_inodes *own, lc_dlq **ret, lc_error *error)
    LC_CHECK;
void lc_dlq_close(lc_dlq *dlq); /* NULL is allowed */

/* Appends one line for a record that a stage, or a sink, refused: time, pipeline, stage or sink, reason, source,
 * position (just behind the record), and the record as it is now: `record`, its object, or `message` and `fields`.
 * Bytes that are not UTF-8 go as `record_base64`, `message_base64`, `fields_base64`. Returns 0 or LC_ENOMEM, and then
 * leaves the length of `ret` as it was. */
int lc_dlq_encode(lc_buf *ret, const lc_batch *batch, const lc_dead *dead, const char *pipeline) LC_CHECK;
int lc_dlq_encode_refused(lc_buf *ret, const lc_batch *batch, uint32_t record, const char *pipeline, const char *sink,
                          const char *reason) LC_CHECK;

/* Appends so many whole entries. On failure none of them is there. */
int lc_dlq_append(lc_dlq *dlq, const lc_buf *text, uint64_t entries, lc_error *error) LC_CHECK;
/* Makes what was appended survive power loss. */
int lc_dlq_sync(lc_dlq *dlq, lc_error *error) LC_CHECK;
lc_dlq_stats lc_dlq_stats_get(const lc_dlq *dlq);

#endif
