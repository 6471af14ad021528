#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static int buf_fail(lc_buf *buf) {
  buf->failed = true;
  return LC_ENOMEM;
}

int lc_buf_reserve(lc_buf *buf, size_t more) {
  if (buf->failed) return LC_ENOMEM;
  if (more <= buf->cap - buf->len) return 0;
  if (more > SIZE_MAX / 2 - buf->len) return buf_fail(buf);
  size_t need = buf->len + more;
  size_t cap = buf->cap < 64 ? 64 : buf->cap + buf->cap / 2;
  if (cap < need) cap = need;
  char *data = realloc(buf->data, cap);
  if (!data) return buf_fail(buf);
  buf->data = data;
  buf->cap = cap;
  return 0;
}

int lc_buf_add(lc_buf *buf, const void *bytes, size_t len) {
  int rc = lc_buf_reserve(buf, len);
  if (rc != 0 || len == 0) return rc;
  memcpy(buf->data + buf->len, bytes, len);
  buf->len += len;
  return 0;
}

int lc_buf_adds(lc_buf *buf, const char *string) {
  return lc_buf_add(buf, string, strlen(string));
}

int lc_buf_addc(lc_buf *buf, char c) {
  return lc_buf_add(buf, &c, 1);
}

int lc_buf_addf(lc_buf *buf, const char *format, ...) {
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  int len = vsnprintf(NULL, 0, format, args);
  va_end(args);
  int rc = len < 0 ? buf_fail(buf) : lc_buf_reserve(buf, (size_t)len + 1);
  if (rc == 0) {
    (void)vsnprintf(buf->data + buf->len, (size_t)len + 1, format, again);
    buf->len += (size_t)len;
  }
  va_end(again);
  return rc;
}

size_t lc_utf8_length(const void *bytes, size_t left) {
  const unsigned char *s = bytes;
  unsigned char c = s[0];
  size_t n = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
  if (n > left) return 0;
  for (size_t i = 1; i < n; i++) {
    if ((s[i] & 0xc0) != 0x80) return 0;
  }
  if (c == 0xe0 && s[1] < 0xa0) return 0;
  if (c == 0xed && s[1] >= 0xa0) return 0;
  if (c == 0xf0 && s[1] < 0x90) return 0;
  if (c == 0xf4 && s[1] >= 0x90) return 0;
  return n;
}

bool lc_utf8_valid(const void *bytes, size_t len) {
  const unsigned char *s = bytes, *end = s + len;
  while (s < end) {
    size_t n = *s < 0x80 ? 1 : lc_utf8_length(s, (size_t)(end - s));
    if (n == 0) return false;
    s += n;
  }
  return true;
}

static bool json_plain(unsigned char c) {
  return c >= 0x20 && c != '"' && c != '\\' && c < 0x80;
}

/* Adds the one character at `s` that json_plain refuses; returns how many bytes it had. */
static size_t json_add_special(lc_buf *buf, const unsigned char *s, size_t left) {
  static const char shorts[] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
  unsigned char c = s[0];
  if (c >= 0x80) {
    size_t n = lc_utf8_length(s, left);
    lc_buf_add(buf, n ? (const char *)s : "\xef\xbf\xbd", n ? n : 3);
    return n ? n : 1;
  }
  char named = c == '"' || c == '\\' ? (char)c : c < sizeof shorts ? shorts[c] : '\0';
  if (named) {
    lc_buf_addc(buf, '\\');
    lc_buf_addc(buf, named);
  } else {
    lc_buf_addf(buf, "\\u%04x", c);
  }
  return 1;
}

int lc_buf_add_json_string(lc_buf *buf, const void *bytes, size_t len) {
  const unsigned char *s = bytes, *end = s + len;
  lc_buf_addc(buf, '"');
  while (s < end) {
    const unsigned char *from = s;
    while (s < end && json_plain(*s)) s++;
    lc_buf_add(buf, from, (size_t)(s - from));
    if (s < end) s += json_add_special(buf, s, (size_t)(end - s));
  }
  return lc_buf_addc(buf, '"');
}

const char *lc_buf_cstr(lc_buf *buf) {
  if (lc_buf_reserve(buf, 1) != 0) return "";
  buf->data[buf->len] = '\0';
  return buf->data;
}

void lc_buf_clear(lc_buf *buf) {
  buf->len = 0;
}

void lc_buf_free(lc_buf *buf) {
  free(buf->data);
  *buf = (lc_buf){0};
}
