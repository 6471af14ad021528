/* Slicing one text as the only record of a batch, for the tests of the JSON slicer. */
#ifndef LC_TESTS_SLICE_H
#define LC_TESTS_SLICE_H

#include "record/json.h"
#include "support/records.h"
#include "support/support.h"

/* The record must be as it was when the text is refused. */
static inline int records_slice(const char *text, size_t len) {
  lc_batch *batch = records_one(text, len);
  lc_record before = batch->records[0];
  int rc = lc_json_slice(batch, &batch->records[0]);
  if (rc != 0) assert_memory_equal(&before, &batch->records[0], sizeof before);
  lc_batch_destroy(batch);
  return rc;
}

#endif
