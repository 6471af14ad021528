#include "record/undo.h"

#include <stdlib.h>

static bool noted(const lc_undo *undo, uint32_t index) {
  for (uint32_t i = undo->n; i > 0; i--) {
    if (undo->entries[i - 1].index == index) return true;
  }
  return false;
}

/* A field whose value stands in the body was never changed; any other one may have been, and was noted then. */
static bool is_pristine(const lc_record *rec, const lc_field *field) {
  return (rec->flags & LC_REC_OBJECT) != 0 && field->value - rec->body < rec->body_len;
}

void lc_undo_note(lc_undo *undo, const lc_batch *batch, const lc_record *rec, const lc_field *field) {
  uint32_t index = (uint32_t)(field - (batch->fields + rec->fields));
  if (index >= undo->before.n_fields) return; /* added since: it goes with the table */
  if (!is_pristine(rec, field) && noted(undo, index)) return;
  if (undo->n == undo->cap) {
    uint32_t cap = undo->cap > 0 ? undo->cap * 2 : 16;
    lc_undo_entry *grown = realloc(undo->entries, cap * sizeof *grown);
    if (grown == NULL) {
      undo->lost = true;
      return;
    }
    undo->entries = grown;
    undo->cap = cap;
  }
  undo->entries[undo->n++] = (lc_undo_entry){index, *field};
}

bool lc_undo_roll_back(lc_undo *undo, lc_batch *batch, lc_record *rec) {
  if (undo->lost) return false;
  *rec = undo->before;
  for (uint32_t i = 0; i < undo->n; i++) batch->fields[rec->fields + undo->entries[i].index] = undo->entries[i].field;
  undo->n = 0;
  return true;
}

void lc_undo_deinit(lc_undo *undo) {
  free(undo->entries);
  *undo = (lc_undo){0};
}
