/* The terminal as a screen of its own, for as long as a command shows something live.
 *
 *     if (lc_screen_open(&screen, &error) == 0) {
 *       lc_screen_show(&screen, text, len);          // lines, no more and no longer than lc_screen_size says
 *       lc_screen_close(&screen);                    // what was there before is there again
 *     }
 *
 * Thread: main. */
#ifndef LC_APP_SCREEN_H
#define LC_APP_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <termios.h>

#include "app/top_view.h"
#include "logcap/error.h"

typedef struct lc_screen {
  bool open;
  bool keys;             /* standard input is a terminal: keys are read one by one, and not shown */
  struct termios before; /* how it was */
} lc_screen;

/* Takes standard output, which must be a terminal. */
int lc_screen_open(lc_screen *screen, lc_error *error) LC_CHECK;
void lc_screen_close(lc_screen *screen); /* may run twice */
lc_top_size lc_screen_size(void);
/* Replaces what is shown. LC_ESYS when the terminal is gone. */
int lc_screen_show(const lc_screen *screen, const lc_buf *text) LC_CHECK;

#endif
