/* Compresses finished files in the background.
 *
 * Only a file whose last byte is committed is taken. It is safe to die at every step: the temporary file's row is
 * committed before its first byte; it is synced and renamed before the original goes; and the next start
 * (output_recover.h) undoes what was not renamed yet and finishes what was.
 *
 *     lc_pack_rules rules = {.kind = LC_FILE_ZSTD, .mode = 0640};
 *     while ((rc = lc_output_pack_next(&set, &rules, stop, arg, &error)) == 0) {}    // LC_ENOENT: none is left
 *
 * Thread: a pool thread, one at a time for a set, beside the job that has the sink. */
#ifndef LC_SINK_OUTPUT_PACK_H
#define LC_SINK_OUTPUT_PACK_H

#include "sink/compress.h"
#include "sink/output_set.h"

/* The job's own copy: those of the set may change meanwhile. */
typedef struct lc_pack_rules {
  lc_file_compression kind;
  uint32_t mode; /* of the new files */
  bool durable;
} lc_pack_rules;

/* Whether a file is waiting. Any thread. */
bool lc_output_pack_waits(lc_output_set *set);
/* Compresses one. LC_ENOENT: none is waiting; LC_ECANCELED: stopped, nothing is changed. */
int lc_output_pack_next(lc_output_set *set, const lc_pack_rules *rules, bool (*stop)(void *arg), void *arg,
                        lc_error *error) LC_CHECK;

#endif
