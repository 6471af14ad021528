/* inotify in a uv_poll: many watches, one descriptor, and no event lost silently.
 *
 *     lc_inotify_open(loop, &callbacks, monitor, &inotify, &error);
 *     wd = lc_inotify_add(inotify, "/var/log", IN_CREATE | IN_MODIFY, &error);
 *       ... callbacks.event(monitor, &event) ...
 *     lc_inotify_close(inotify, closed, monitor);     // frees itself before `closed` is called
 *
 * A queue overflow arrives as an event with IN_Q_OVERFLOW and wd -1. While events never cease, they are looked at every
 * two milliseconds, so that the kernel merges what is the same and a fast writer does not wake the loop for each write.
 *
 * Thread: the loop thread, except lc_inotify_add and lc_inotify_remove, which any may call until the close. */
#ifndef LC_IO_INOTIFY_H
#define LC_IO_INOTIFY_H

#include <sys/inotify.h>
#include <uv.h>

#include "logcap/error.h"

typedef struct lc_inotify lc_inotify;

typedef struct lc_inotify_event {
  int wd;
  uint32_t mask;
  uint32_t cookie;  /* joins the two halves of a rename */
  const char *name; /* in the watched folder; "": the watched file or folder itself */
} lc_inotify_event;

typedef struct lc_inotify_callbacks {
  void (*event)(void *arg, const lc_inotify_event *event);
  /* All events that there were have been delivered. May be NULL. */
  void (*done)(void *arg);
} lc_inotify_callbacks;

/* `callbacks` must outlive it. LC_ELIMIT names the limit that is exhausted. */
int lc_inotify_open(uv_loop_t *loop, const lc_inotify_callbacks *callbacks, void *arg, lc_inotify **ret,
                    lc_error *error) LC_CHECK;
/* The watch's number, or a negative lc_err: LC_ELIMIT names the limit that is exhausted. The same file under two names
 * has one watch, which gets the events of both masks. May block on a slow file system. */
int lc_inotify_add(lc_inotify *inotify, const char *path, uint32_t mask, lc_error *error) LC_CHECK;
/* Ends a watch; an IN_IGNORED event follows. One that is gone already is fine. */
void lc_inotify_remove(lc_inotify *inotify, int wd);
/* No more callbacks. `closed` is called on the loop, later. */
void lc_inotify_close(lc_inotify *inotify, void (*closed)(void *arg), void *arg);

#endif
