#include "logcap/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void error_format(lc_error *error, const char *format, va_list args) {
  if (vsnprintf(error->message, sizeof error->message, format, args) < 0) error->message[0] = '\0';
}

/* Appends as much as fits. */
static void error_append(lc_error *error, const char *text) {
  size_t len = strlen(error->message);
  (void)snprintf(error->message + len, sizeof error->message - len, "%s", text);
}

int lc_error_set(lc_error *error, lc_err code, const char *format, ...) {
  if (!error) return code;
  error->code = code;
  error->sys = 0;
  va_list args;
  va_start(args, format);
  error_format(error, format, args);
  va_end(args);
  return code;
}

static lc_err error_code_of(int sys) {
  if (sys == ENOENT) return LC_ENOENT;
  return sys == ENOMEM ? LC_ENOMEM : LC_ESYS;
}

int lc_error_sys(lc_error *error, int sys, const char *format, ...) {
  lc_err code = error_code_of(sys);
  if (!error) return code;
  error->code = code;
  error->sys = sys;
  va_list args;
  va_start(args, format);
  error_format(error, format, args);
  va_end(args);
  char text[128];
  error_append(error, ": ");
  error_append(error, strerror_r(sys, text, sizeof text));
  return code;
}

int lc_error_context(lc_error *error, const char *format, ...) {
  if (!error) return LC_EINVAL;
  char before[sizeof error->message];
  memcpy(before, error->message, sizeof before);
  va_list args;
  va_start(args, format);
  error_format(error, format, args);
  va_end(args);
  error_append(error, ": ");
  error_append(error, before);
  return error->code;
}
