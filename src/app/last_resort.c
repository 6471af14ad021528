#include "app/last_resort.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define GRACE_S 5u /* beyond the deadline: a stop that is only late ends by itself */
#define AT_ONCE_S 2u

/* A handler has no argument: what it needs can only stand here. Written before it is installed. */
static struct {
  void (*term)(int), (*interrupt)(int); /* libuv's */
  unsigned within_s;
  volatile sig_atomic_t asked;
} resort;

static void on_signal(int number) {
  int saved = errno;
  if (resort.asked < 2) (void)alarm(resort.asked == 0 ? resort.within_s + GRACE_S : AT_ONCE_S); /* never renewed */
  if (resort.asked < 2) resort.asked = resort.asked + 1;
  (number == SIGINT ? resort.interrupt : resort.term)(number);
  errno = saved;
}

static void on_alarm(int number) {
  static const char why[] =
      "logcap: ended by force: its main thread did not come back, perhaps from a Lua function; what was not acked will "
      "be read again\n";
  (void)number;
  ssize_t written = write(STDERR_FILENO, why, sizeof why - 1);
  (void)written;
  _exit(1);
}

int lc_last_resort_arm(int number, unsigned within_s, lc_error *error) {
  struct sigaction taken, ours = {.sa_handler = on_alarm};
  sigfillset(&ours.sa_mask);
  if (sigaction(SIGALRM, &ours, NULL) != 0 || sigaction(number, NULL, &taken) != 0) {
    return lc_error_sys(error, errno, "cannot take signals");
  }
  *(number == SIGINT ? &resort.interrupt : &resort.term) = taken.sa_handler;
  resort.within_s = within_s;
  taken.sa_handler = on_signal;
  return sigaction(number, &taken, NULL) == 0 ? 0 : lc_error_sys(error, errno, "cannot take signals");
}
