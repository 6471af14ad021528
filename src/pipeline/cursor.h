/* A cursor: how far one sink has one source.
 *
 * Ranges of a source reach a sink in order, and each leaves an lc_ack in its cursor's queue. Acks may become done in
 * any order; the cursor moves over those at the front. Nothing is allocated on the way.
 *
 *     lc_cursor_expect(cursor, ack);     // when the range is handed to the sink
 *     ack->done = true;                  // when its last record settled
 *     lc_cursor_advance(cursor, popped, arg);
 *
 * Thread: the loop thread; `skip_until` is constant once the source is attached. */
#ifndef LC_PIPELINE_CURSOR_H
#define LC_PIPELINE_CURSOR_H

#include "logcap/source.h"

typedef struct lc_ack lc_ack;

typedef struct lc_cursor {
  uint64_t position;   /* all below is settled */
  uint64_t from;       /* what lies below was never for this edge */
  lc_mark mark;        /* where to resume from there */
  bool drained;        /* the end is settled, and nothing came after it */
  uint64_t skip_until; /* below it, the sink has everything from an earlier run */
  lc_ack *first, *last; /* ranges on their way, in order; owned by their deliveries */
} lc_cursor;

/* A range on its way to a sink. */
struct lc_ack {
  uint64_t end;
  lc_mark resume;
  bool final; /* the source ends here */
  bool done;
  struct lc_stream *stream; /* borrowed; kept alive by its delivery */
  void *owner;              /* the delivery it belongs to */
  lc_ack *next;
};

void lc_cursor_expect(lc_cursor *cursor, lc_ack *ack);
/* Moves to `position` at once: nothing of the source is on its way to the sink. */
void lc_cursor_pass(lc_cursor *cursor, uint64_t position, const lc_mark *mark);
/* Moves over done acks at the front and calls `popped` for each, which may free it. Returns true when it moved. */
bool lc_cursor_advance(lc_cursor *cursor, void (*popped)(lc_ack *ack));

#endif
