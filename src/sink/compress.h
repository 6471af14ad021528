/* Compresses one file into another, gzip or zstd.
 *
 *     rc = lc_compress_file(LC_FILE_ZSTD, from_fd, to_fd, stop, arg, &error);
 *
 * Thread: any but the loop thread. */
#ifndef LC_SINK_COMPRESS_H
#define LC_SINK_COMPRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "logcap/error.h"
#include "sink/file_sink.h"

/* ".gz", ".zst", or "". */
const char *lc_compress_ending(lc_file_compression kind);
/* Reads `from` to its end and writes it to `to`, both at their own positions. `stop` is asked now and then and ends it
 * with LC_ECANCELED. *ret_read is the bytes read. */
int lc_compress_file(lc_file_compression kind, int from, int to, bool (*stop)(void *arg), void *arg,
                     uint64_t *ret_read, lc_error *error) LC_CHECK;

#endif
