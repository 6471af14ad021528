#include "pipeline/cursor.h"

#include "base/check.h"

void lc_cursor_expect(lc_cursor *cursor, lc_ack *ack) {
  ack->next = NULL;
  if (cursor->last != NULL) {
    cursor->last->next = ack;
  } else {
    cursor->first = ack;
  }
  cursor->last = ack;
}

void lc_cursor_pass(lc_cursor *cursor, uint64_t position, const lc_mark *mark) {
  lc_require(cursor->first == NULL && position >= cursor->position);
  cursor->position = position;
  cursor->mark = *mark;
}

bool lc_cursor_advance(lc_cursor *cursor, void (*popped)(lc_ack *ack)) {
  bool moved = false;
  while (cursor->first != NULL && cursor->first->done) {
    lc_ack *ack = cursor->first;
    cursor->first = ack->next;
    if (cursor->first == NULL) cursor->last = NULL;
    if (ack->end >= cursor->position) { /* a range that this sink had already may lie below */
      cursor->position = ack->end;
      cursor->mark = ack->resume;
    }
    cursor->drained = ack->final; /* what follows an end takes it back */
    moved = true;
    popped(ack);
  }
  return moved;
}
