/* What `logcap top` shows: rates from two answers to "status", as text.
 *
 *     lc_top_view(before, now, 1.0, (lc_top_size){.columns = 80, .rows = 24}, &text);
 *
 * Thread: any; pure. */
#ifndef LC_APP_TOP_VIEW_H
#define LC_APP_TOP_VIEW_H

#include "app/render.h"
#include "base/buf.h"

typedef struct lc_top_size {
  unsigned columns, rows; /* the most of both; 0: no bound */
} lc_top_size;

/* Appends lines, each with its newline. `seconds` lie between the two answers. What cannot be told, because it was not
 * there before or counts anew, is "-". Returns 0 or LC_ENOMEM. */
int lc_top_view(lc_answer before, lc_answer now, double seconds, lc_top_size size, lc_buf *ret) LC_CHECK;

#endif
