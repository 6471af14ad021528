/* Encoders: records as the bytes of an output, one record a line.
 *
 * Raw is the message's bytes and a newline (of an object: its member "message", decoded; without one, the object as
 * JSON). JSON is one object a line: an untouched object's own text, an object with additions its text with these
 * inserted, else the fields in order; a plain line is {"message":"...", fields}.
 *
 * Records that nobody touched are never copied: where their text and newlines stand in one piece in the data block,
 * that piece is handed out as it is.
 *
 *     lc_encoder encoder = {.format = LC_FORMAT_JSON};
 *     struct iovec iov[64];
 *     uint32_t at = delivery->at;
 *     while (at < batch->n_records) {
 *       size_t n, bytes;
 *       rc = lc_encode(&encoder, batch, &at, batch->n_records, UINT64_MAX, iov, 64, &n, &bytes);
 *       if (rc != 0) ...                     // LC_ENOMEM: nothing of *at and behind it was encoded
 *       writev(fd, iov, n);                  // the pieces hold until the next call, and while the batch is held
 *     }
 *     lc_encoder_deinit(&encoder);
 *
 * Thread: an encoder belongs to one job at a time, as does the batch. */
#ifndef LC_RECORD_ENCODE_H
#define LC_RECORD_ENCODE_H

#include <sys/uio.h>

#include "base/buf.h"
#include "logcap/record.h"

typedef enum lc_format { LC_FORMAT_JSON, LC_FORMAT_RAW } lc_format;

typedef struct lc_encoder {
  lc_format format;
  bool metadata;     /* JSON: adds @timestamp (RFC 3339), @source and @labels, unless the record has such a field */
  lc_buf buf;        /* owned; the encoded pieces */
  uint32_t hint;     /* where "message" stood last */
  uint32_t range;    /* whose @source and @labels are in `about`, of the batch in hand */
  lc_buf about;      /* owned; `"@source":"...","@labels":{...}` */
  size_t source_len; /* of the first of these */
  bool about_filled;
} lc_encoder;

/* Encodes live records of [*at, to) into pieces and moves *at behind the last one. Stops early, at a record's end, when
 * `max` pieces are filled, when `limit` bytes are reached, or when its buffer is full: call again. *ret_n may be 0 when
 * no live record was left. Each record goes out whole, with its newline. */
int lc_encode(lc_encoder *encoder, const lc_batch *batch, uint32_t *at, uint32_t to, uint64_t limit, struct iovec *iov,
              size_t max, size_t *ret_n, size_t *ret_bytes) LC_CHECK;

/* Appends one record with its newline to `ret`, whatever its flags. For sinks that sort records into several outputs.
 * With metadata, call lc_encoder_begin first when the batch is another one than last time. */
int lc_encode_record(lc_encoder *encoder, const lc_batch *batch, const lc_record *rec, lc_buf *ret) LC_CHECK;
void lc_encoder_begin(lc_encoder *encoder);
void lc_encoder_deinit(lc_encoder *encoder); /* may run twice */

/* Appends one record without a newline. */
int lc_encode_raw(const lc_batch *batch, const lc_record *rec, uint32_t *hint, lc_buf *ret) LC_CHECK;
int lc_encode_json(const lc_batch *batch, const lc_record *rec, lc_buf *ret) LC_CHECK;

#endif
