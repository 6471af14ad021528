/* What a record was before a stage changed it: for a stage that fails on a record and gives it back as it came.
 *
 *     batch->undo = &undo;
 *     lc_undo_begin(&undo, rec);
 *     lc_record_set_string(batch, rec, "a", 1, "new", 3);
 *     lc_undo_roll_back(&undo, batch, rec);              // as at lc_undo_begin
 *     batch->undo = NULL;
 *     lc_undo_deinit(&undo);
 *
 * Tables of fields that were moved still stand where they were, so only a change in place has to be noted.
 *
 * Thread: whoever holds the batch. */
#ifndef LC_RECORD_UNDO_H
#define LC_RECORD_UNDO_H

#include "logcap/record.h"

typedef struct lc_undo_entry {
  uint32_t index; /* in the record's table */
  lc_field field;
} lc_undo_entry;

typedef struct lc_undo {
  lc_record before;
  lc_undo_entry *entries; /* owned; the first change of each field */
  uint32_t n, cap;
  bool lost; /* there was no memory to note a change: what was changed stays changed */
} lc_undo;

static inline void lc_undo_begin(lc_undo *undo, const lc_record *rec) {
  undo->before = *rec;
  undo->n = 0;
  undo->lost = false;
}

/* Called before a field of the record is overwritten or removed. */
void lc_undo_note(lc_undo *undo, const lc_batch *batch, const lc_record *rec, const lc_field *field);
/* Returns false when it was not possible: the record is unchanged. */
bool lc_undo_roll_back(lc_undo *undo, lc_batch *batch, lc_record *rec);
void lc_undo_deinit(lc_undo *undo); /* may run twice */

#endif
