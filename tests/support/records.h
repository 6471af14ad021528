/* Batches made of text, for the tests of what works on records. */
#ifndef LC_TESTS_RECORDS_H
#define LC_TESTS_RECORDS_H

#include <stdlib.h>
#include <string.h>

#include "record/batch.h"

/* A batch of one record with exactly this text, which ends where the data block ends. Aborts without memory. */
static inline lc_batch *records_one(const void *text, size_t len) {
  lc_batch *batch = lc_batch_create((uint32_t)len);
  if (batch == NULL) abort();
  if (len > 0) memcpy(batch->base[0], text, len);
  batch->data_len = (uint32_t)len;
  lc_record *rec = lc_batch_add_record(batch);
  if (rec == NULL) abort();
  rec->body_len = (uint32_t)len;
  return batch;
}

/* A batch of the text's lines, each ended by a newline. */
static inline lc_batch *records_lines(const char *text) {
  size_t len = strlen(text);
  lc_batch *batch = lc_batch_create((uint32_t)len);
  if (batch == NULL) abort();
  memcpy(batch->base[0], text, len);
  batch->data_len = (uint32_t)len;
  for (size_t at = 0; at < len;) {
    const char *newline = memchr(text + at, '\n', len - at);
    size_t end = newline != NULL ? (size_t)(newline - text) : len;
    lc_record *rec = lc_batch_add_record(batch);
    if (rec == NULL) abort();
    rec->body = (uint32_t)at;
    rec->body_len = (uint32_t)(end - at);
    at = end + 1;
  }
  return batch;
}

#endif
