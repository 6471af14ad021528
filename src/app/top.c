#include "app/top.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/control_client.h"
#include "app/query.h"
#include "app/screen.h"
#include "app/top_view.h"
#include "base/clock.h"
#include "base/units.h"
#include "io/state_dir.h"

#define INTERVAL_DEFAULT LC_SECOND
#define INTERVAL_LEAST (100 * LC_MILLISECOND)
#define INTERVAL_MOST (86400 * LC_SECOND)
#define PATIENCE (30 * LC_SECOND)

/* An answer to "status", and when it was there. */
typedef struct sample {
  lc_buf reply;
  lc_answer status;
  int64_t at_ns;
} sample;

typedef struct top {
  lc_buf folder;
  int64_t interval_ns;
  bool live;       /* a screen, until it is ended */
  bool done;
  lc_screen screen;
  int signals;     /* signalfd */
  bool keys;       /* standard input is watched */
  int fd;          /* of the question that is open, or -1 */
  int64_t next_ns; /* when to ask again, or to give up waiting for the answer */
  lc_buf reply;    /* of the open question, so far */
  sample before, now;
  bool both;       /* there are two samples: rates can be told */
} top;

static bool has_answer(const top *self) { return self->now.reply.len > 0; }

/* --- showing --- */

static int show(top *self, lc_error *error) {
  lc_buf text = {0};
  lc_top_size size = self->live ? lc_screen_size() : (lc_top_size){0};
  const sample *before = self->both ? &self->before : &self->now;
  double seconds = (double)(self->now.at_ns - before->at_ns) / (double)LC_SECOND;
  int rc = lc_top_view(before->status, self->now.status, seconds, size, &text);
  if (rc != 0) rc = lc_error_set(error, rc, "out of memory");
  if (rc == 0 && self->live && lc_screen_show(&self->screen, &text) != 0) self->done = true; /* nobody sees it */
  if (rc == 0 && !self->live && self->both) {
    bool written = fwrite(text.data, 1, text.len, stdout) == text.len && fflush(stdout) == 0;
    if (!written) rc = lc_error_sys(error, errno, "cannot write to standard output");
    self->done = true;
  }
  lc_buf_free(&text);
  return rc;
}

/* --- asking --- */

static int ask(top *self, lc_error *error) {
  const char *folder = lc_buf_cstr(&self->folder);
  int rc = lc_control_send(folder, "status", &self->fd, error);
  if (rc == LC_ENOENT) rc = lc_query_nobody(folder, error);
  self->next_ns = lc_clock_mono() + PATIENCE;
  return rc;
}

static int take_reply(top *self, lc_error *error) {
  lc_answer status;
  (void)close(self->fd); /* only read */
  self->fd = -1;
  int rc = lc_control_reply(&self->reply, &status, error);
  if (rc != 0) return rc;
  lc_buf_free(&self->before.reply);
  self->both = has_answer(self);
  self->before = self->now;
  self->now = (sample){.reply = self->reply, .status = status, .at_ns = lc_clock_mono()};
  self->reply = (lc_buf){0};
  self->next_ns = self->now.at_ns + self->interval_ns;
  return show(self, error);
}

static int read_reply(top *self, lc_error *error) {
  if (lc_buf_reserve(&self->reply, 65536) != 0) return lc_error_set(error, LC_ENOMEM, "out of memory for the answer");
  ssize_t n = recv(self->fd, self->reply.data + self->reply.len, 65536, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  if (n < 0) return lc_error_sys(error, errno, "cannot read the answer of the running logcap");
  if (n == 0) return take_reply(self, error);
  self->reply.len += (size_t)n;
  return 0;
}

static int on_time(top *self, lc_error *error) {
  if (self->fd < 0) return ask(self, error);
  return lc_error_set(error, LC_EAGAIN, "the running logcap does not answer");
}

/* --- keys and signals --- */

/* Ctrl-Z: the shell gets its terminal as it was, until it lets us go on. */
static int suspend(top *self, lc_error *error) {
  lc_screen_close(&self->screen);
  (void)raise(SIGSTOP);
  return self->live ? lc_screen_open(&self->screen, error) : 0;
}

static int on_signal(top *self, lc_error *error) {
  struct signalfd_siginfo info;
  int rc = 0;
  if (read(self->signals, &info, sizeof info) != (ssize_t)sizeof info) return 0;
  if (info.ssi_signo == SIGTSTP) rc = suspend(self, error);
  else if (info.ssi_signo != SIGWINCH) self->done = true;
  return rc == 0 && !self->done && self->live && has_answer(self) ? show(self, error) : rc;
}

static void on_keys(top *self) {
  char keys[64];
  ssize_t n = read(STDIN_FILENO, keys, sizeof keys);
  if (n <= 0 && errno != EINTR) self->keys = false; /* there will be none */
  for (ssize_t i = 0; i < n; i++) self->done = self->done || keys[i] == 'q' || keys[i] == 'Q';
}

static int watch_signals(top *self, lc_error *error) {
  sigset_t wanted;
  sigemptyset(&wanted);
  const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) sigaddset(&wanted, signals[i]);
  (void)sigprocmask(SIG_BLOCK, &wanted, NULL); /* cannot fail */
  self->signals = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
  return self->signals >= 0 ? 0 : lc_error_sys(error, errno, "cannot take signals");
}

/* --- the loop --- */

static int turn(top *self, lc_error *error) {
  struct pollfd fds[] = {{.fd = self->signals, .events = POLLIN},
                         {.fd = self->fd, .events = POLLIN},
                         {.fd = self->keys ? STDIN_FILENO : -1, .events = POLLIN}};
  int64_t left = self->next_ns - lc_clock_mono();
  int wait_ms = left > 0 ? (int)(left / LC_MILLISECOND) + 1 : 0;
  int n = poll(fds, 3, wait_ms);
  if (n < 0) return errno == EINTR ? 0 : lc_error_sys(error, errno, "cannot wait");
  int rc = 0;
  if (fds[0].revents != 0) rc = on_signal(self, error);
  if (rc == 0 && fds[2].revents != 0) on_keys(self);
  if (rc == 0 && !self->done && fds[1].revents != 0) rc = read_reply(self, error);
  else if (rc == 0 && !self->done && lc_clock_mono() >= self->next_ns) rc = on_time(self, error);
  return rc;
}

static int read_interval(top *self, const lc_cli *cli, lc_error *error) {
  self->interval_ns = INTERVAL_DEFAULT;
  if (cli->interval == NULL) return 0;
  int rc = lc_parse_duration(cli->interval, &self->interval_ns, error);
  if (rc == 0 && (self->interval_ns < INTERVAL_LEAST || self->interval_ns > INTERVAL_MOST)) {
    rc = lc_error_set(error, LC_EINVAL, "\"%.80s\" is not between 100ms and 1d", cli->interval);
  }
  return rc == 0 ? 0 : lc_error_context(error, "--interval");
}

static int open_top(top *self, const lc_cli *cli, lc_error *error) {
  int rc = lc_state_dir_resolve(cli->state_dir, &self->folder, error);
  if (rc == 0) rc = watch_signals(self, error);
  if (rc == 0) rc = ask(self, error); /* before anything is shown: there may be nobody */
  if (rc == 0 && self->live) rc = lc_screen_open(&self->screen, error);
  self->keys = self->screen.keys;
  return rc;
}

int lc_top(const lc_cli *cli) {
  top self = {.signals = -1, .fd = -1, .live = !cli->once && isatty(STDOUT_FILENO)};
  lc_error error = {0};
  if (read_interval(&self, cli, &error) != 0) {
    fprintf(stderr, "logcap: %s\n", error.message);
    return LC_EXIT_USAGE;
  }
  int rc = open_top(&self, cli, &error);
  while (rc == 0 && !self.done) rc = turn(&self, &error);
  lc_screen_close(&self.screen);
  if (rc != 0) fprintf(stderr, "logcap: %s\n", error.message);
  if (self.fd >= 0) (void)close(self.fd); /* only read */
  if (self.signals >= 0) (void)close(self.signals);
  lc_buf_free(&self.folder);
  lc_buf_free(&self.reply);
  lc_buf_free(&self.before.reply);
  lc_buf_free(&self.now.reply);
  return rc == 0 ? LC_EXIT_FINE : LC_EXIT_FAILED;
}
