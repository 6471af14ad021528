/* A growing byte buffer.
 *
 *     lc_buf buf = {0};
 *     if (lc_buf_add(&buf, "x", 1) != 0) goto out_of_memory;
 *     lc_buf_free(&buf);
 *
 * Thread: its owner's. Sticky: after a failed growth every call fails until lc_buf_free, so that callers may check once
 * at the end (buf.failed). */
#ifndef LC_BASE_BUF_H
#define LC_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "logcap/error.h"

typedef struct lc_buf {
  char *data; /* owned; not terminated */
  size_t len, cap;
  bool failed;
} lc_buf;

/* Makes room for `more` bytes behind len. Returns 0 or LC_ENOMEM. */
int lc_buf_reserve(lc_buf *buf, size_t more);
int lc_buf_add(lc_buf *buf, const void *bytes, size_t len);
int lc_buf_adds(lc_buf *buf, const char *string);
int lc_buf_addc(lc_buf *buf, char c);
int lc_buf_addf(lc_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Appends `bytes` as a JSON string with quotes; invalid UTF-8 becomes U+FFFD. */
int lc_buf_add_json_string(lc_buf *buf, const void *bytes, size_t len);
/* The length of the UTF-8 sequence at `bytes`; 0 when it is not valid: overlong, a surrogate, cut, beyond U+10FFFF. */
size_t lc_utf8_length(const void *bytes, size_t left);
/* Whether all of it is UTF-8 that a JSON text may hold. */
bool lc_utf8_valid(const void *bytes, size_t len);
/* Terminates without counting the NUL, for use as a C string; "" when memory failed. */
const char *lc_buf_cstr(lc_buf *buf);
void lc_buf_clear(lc_buf *buf); /* len = 0, keeps the memory */
void lc_buf_free(lc_buf *buf);

#endif
