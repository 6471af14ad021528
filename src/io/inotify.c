#include "io/inotify.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

#define BUFFER_BYTES 65536u
#define READS_MAX 8u     /* at once; then other handles get their turn */
#define BUSY_WAKES 8u    /* so many wake-ups in a row without a pause: look at intervals from now on */
#define BUSY_INTERVAL 2u /* ms */

struct lc_inotify {
  int fd;
  uv_poll_t poll;
  uv_timer_t timer; /* runs instead of the poll while busy */
  const lc_inotify_callbacks *callbacks;
  void *arg;
  void (*closed)(void *arg);
  void *closed_arg;
  uv_work_t close_job;
  unsigned n_handles; /* not closed yet, and the job that closes the descriptor */
  unsigned wakes;     /* in a row */
  uint64_t last;      /* ns: when the last wake-up was done */
  bool closing;
  char buffer[BUFFER_BYTES] __attribute__((aligned(__alignof__(struct inotify_event))));
};

static void deliver(lc_inotify *inotify, size_t len) {
  struct inotify_event from;
  for (size_t at = 0; at + sizeof from <= len && !inotify->closing; at += sizeof from + from.len) {
    memcpy(&from, inotify->buffer + at, sizeof from);
    const char *name = from.len > 0 ? inotify->buffer + at + sizeof from : "";
    lc_inotify_event event = {from.wd, from.mask, from.cookie, name};
    inotify->callbacks->event(inotify->arg, &event);
  }
}

/* Returns whether there was anything. */
static bool read_events(lc_inotify *inotify) {
  bool any = false;
  for (unsigned i = 0; i < READS_MAX && !inotify->closing; i++) {
    ssize_t n = read(inotify->fd, inotify->buffer, BUFFER_BYTES);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break; /* EAGAIN; a read that fits at least one event cannot fail otherwise */
    any = true;
    deliver(inotify, (size_t)n);
    if ((size_t)n < BUFFER_BYTES / 2) break;
  }
  if (any && !inotify->closing && inotify->callbacks->done != NULL) inotify->callbacks->done(inotify->arg);
  return any;
}

static void on_timer(uv_timer_t *timer);
static void on_readable(uv_poll_t *poll, int status, int events);

/* Waits for the next event, or for the interval. Neither can fail: the descriptor is good, the callbacks are there. */
static void wait_for(lc_inotify *inotify, bool busy) {
  if (busy) {
    (void)uv_poll_stop(&inotify->poll);
    lc_require(uv_timer_start(&inotify->timer, on_timer, BUSY_INTERVAL, 0) == 0);
  } else {
    lc_require(uv_poll_start(&inotify->poll, UV_READABLE, on_readable) == 0);
  }
}

static void on_readable(uv_poll_t *poll, int status, int events) {
  lc_inotify *inotify = poll->data;
  (void)status; /* an error shows in read */
  (void)events;
  uint64_t now = uv_hrtime();
  inotify->wakes = now - inotify->last < UINT64_C(1000000) ? inotify->wakes + 1 : 0;
  (void)read_events(inotify);
  if (inotify->closing) return;
  inotify->last = uv_hrtime();
  if (inotify->wakes >= BUSY_WAKES) wait_for(inotify, true);
}

static void on_timer(uv_timer_t *timer) {
  lc_inotify *inotify = timer->data;
  bool any = read_events(inotify);
  if (inotify->closing) return;
  if (!any) inotify->wakes = 0;
  wait_for(inotify, any);
}

static int limit_instances(lc_error *error) {
  return lc_error_set(error, LC_ELIMIT,
                      "no inotify instance is left: raise the sysctl fs.inotify.max_user_instances, or the limit of "
                      "open files (ulimit -n)");
}

int lc_inotify_open(uv_loop_t *loop, const lc_inotify_callbacks *callbacks, void *arg, lc_inotify **ret,
                    lc_error *error) {
  lc_inotify *inotify = calloc(1, sizeof *inotify);
  if (inotify == NULL) return lc_error_set(error, LC_ENOMEM, "out of memory");
  inotify->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (inotify->fd < 0) {
    int sys = errno;
    free(inotify);
    return sys == EMFILE ? limit_instances(error) : lc_error_sys(error, sys, "cannot use inotify");
  }
  int rc = uv_poll_init(loop, &inotify->poll, inotify->fd);
  if (rc != 0) {
    (void)close(inotify->fd);
    free(inotify);
    return lc_error_sys(error, -rc, "cannot wait for inotify");
  }
  lc_require(uv_timer_init(loop, &inotify->timer) == 0);
  inotify->poll.data = inotify->timer.data = inotify;
  inotify->n_handles = 3;
  inotify->callbacks = callbacks;
  inotify->arg = arg;
  wait_for(inotify, false);
  *ret = inotify;
  return 0;
}

int lc_inotify_add(lc_inotify *inotify, const char *path, uint32_t mask, lc_error *error) {
  int wd = inotify_add_watch(inotify->fd, path, mask | IN_MASK_ADD);
  if (wd >= 0) return wd;
  if (errno != ENOSPC) return lc_error_sys(error, errno, "cannot watch %s", path);
  return lc_error_set(error, LC_ELIMIT,
                      "cannot watch %s: no watch is left: raise the sysctl fs.inotify.max_user_watches", path);
}

void lc_inotify_remove(lc_inotify *inotify, int wd) {
  (void)inotify_rm_watch(inotify->fd, wd); /* EINVAL: its file was deleted */
}

static void one_closed(lc_inotify *inotify) {
  if (--inotify->n_handles > 0) return;
  void (*closed)(void *arg) = inotify->closed;
  void *arg = inotify->closed_arg;
  free(inotify);
  if (closed != NULL) closed(arg);
}

static void on_closed(uv_handle_t *handle) {
  one_closed(handle->data);
}

/* Pool thread. Only read from: whatever close says, nothing is lost. */
static void close_descriptor(uv_work_t *job) {
  lc_inotify *inotify = job->data;
  (void)close(inotify->fd);
}

static void on_descriptor_closed(uv_work_t *job, int status) {
  (void)status; /* never canceled */
  one_closed(job->data);
}

void lc_inotify_close(lc_inotify *inotify, void (*closed)(void *arg), void *arg) {
  if (inotify->closing) return;
  inotify->closing = true;
  inotify->closed = closed;
  inotify->closed_arg = arg;
  uv_close((uv_handle_t *)&inotify->poll, on_closed);
  uv_close((uv_handle_t *)&inotify->timer, on_closed);
  /* uv_close has taken it out of epoll. In the pool, because the kernel waits 10 to 20 ms for its last readers. */
  inotify->close_job.data = inotify;
  int rc = uv_queue_work(inotify->poll.loop, &inotify->close_job, close_descriptor, on_descriptor_closed);
  lc_require(rc == 0); /* it can only fail for want of a callback */
}
