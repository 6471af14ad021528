#include "app/screen.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define ENTER "\033[?1049h\033[?25l" /* the other screen, without a cursor */
#define LEAVE "\033[?25h\033[?1049l"
#define TOP_LEFT "\033[H"
#define CLEAR_LINE "\033[K"
#define CLEAR_BELOW "\033[J"

static int put(const char *bytes, size_t len) {
  for (size_t at = 0; at < len;) {
    ssize_t n = write(STDOUT_FILENO, bytes + at, len - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return LC_ESYS;
    at += (size_t)n;
  }
  return 0;
}

lc_top_size lc_screen_size(void) {
  struct winsize size;
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) {
    return (lc_top_size){.columns = 80, .rows = 24};
  }
  return (lc_top_size){.columns = size.ws_col, .rows = size.ws_row};
}

int lc_screen_open(lc_screen *screen, lc_error *error) {
  screen->keys = tcgetattr(STDIN_FILENO, &screen->before) == 0;
  if (screen->keys) {
    struct termios raw = screen->before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* Ctrl-C and Ctrl-Z stay signals */
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) != 0) return lc_error_sys(error, errno, "cannot set the terminal");
  }
  screen->open = true;
  if (put(ENTER, sizeof ENTER - 1) == 0) return 0;
  int sys = errno;
  lc_screen_close(screen);
  return lc_error_sys(error, sys, "cannot write to the terminal");
}

void lc_screen_close(lc_screen *screen) {
  if (!screen->open) return;
  screen->open = false;
  (void)put(LEAVE, sizeof LEAVE - 1); /* a terminal that is gone needs neither */
  if (screen->keys) (void)tcsetattr(STDIN_FILENO, TCSANOW, &screen->before);
}

int lc_screen_show(const lc_screen *screen, const lc_buf *text) {
  lc_buf frame = {0};
  (void)screen;
  (void)lc_buf_adds(&frame, TOP_LEFT);
  for (size_t at = 0; at < text->len;) {
    const char *line = text->data + at, *end = memchr(line, '\n', text->len - at);
    size_t len = end != NULL ? (size_t)(end - line) : text->len - at;
    bool last = at + len + 1 >= text->len; /* no line end there: the screen would scroll */
    (void)lc_buf_add(&frame, line, len);
    (void)lc_buf_adds(&frame, last ? CLEAR_LINE : CLEAR_LINE "\r\n");
    at += len + 1;
  }
  (void)lc_buf_adds(&frame, CLEAR_BELOW);
  int rc = frame.failed ? LC_ENOMEM : put(frame.data, frame.len);
  lc_buf_free(&frame);
  return rc;
}
