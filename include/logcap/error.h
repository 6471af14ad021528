/* Errors are values: a code that a caller can branch on, and a sentence that an operator can act on.
 *
 *     int open_it(const char *path, lc_error *error) {
 *       int fd = open(path, O_RDONLY | O_CLOEXEC);
 *       if (fd < 0) return lc_error_sys(error, errno, "cannot open %s", path);
 *       ...
 *     }
 *
 * Any thread. Functions return 0 or a negative lc_err; outputs stay untouched on failure. */
#ifndef LOGCAP_ERROR_H
#define LOGCAP_ERROR_H

#include <stdbool.h>

typedef enum lc_err {
  LC_OK = 0,
  LC_ENOMEM = -1,    /* memory could not be had */
  LC_EINVAL = -2,    /* bad input: an option, a file's content, an argument */
  LC_ESYS = -3,      /* a system call failed: see lc_error.sys */
  LC_EAGAIN = -4,    /* not now: call again */
  LC_ENOENT = -5,    /* no such thing */
  LC_EBUSY = -6,     /* somebody else owns it */
  LC_ECORRUPT = -7,  /* stored data does not make sense */
  LC_ELIMIT = -8,    /* a configured limit is reached */
  LC_ECLOSED = -9,   /* used after close */
  LC_ECANCELED = -10 /* stopped before it was done */
} lc_err;

typedef struct lc_error {
  lc_err code;
  int sys;           /* errno, or 0 */
  char message[480]; /* one line, no trailing full stop */
} lc_error;

#define LC_CHECK __attribute__((warn_unused_result))

/* Fills `error` (which may be NULL) and returns `code`. */
int lc_error_set(lc_error *error, lc_err code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The same for a failed system call: appends ": " and strerror(sys); the code is LC_ESYS, or LC_ENOENT / LC_ENOMEM
 * where errno says so. */
int lc_error_sys(lc_error *error, int sys, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Puts context in front of a message that is already there: "pipeline shop: cannot open ...". Returns error->code. */
int lc_error_context(lc_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
