/* Decoding and encoding of JSON strings: the part of json_text.h that deals with characters. */
#include "base/buf.h"
#include "record/json_scan.h"
#include "record/json_text.h"

static unsigned hex4(const char *p) {
  unsigned value = 0;
  for (int i = 0; i < 4; i++) {
    unsigned c = (unsigned char)p[i];
    value = value << 4 | (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
  }
  return value;
}

static size_t put_utf8(unsigned code, char *to) {
  if (code < 0x80) {
    to[0] = (char)code;
    return 1;
  }
  if (code < 0x800) {
    to[0] = (char)(0xC0 | code >> 6);
    to[1] = (char)(0x80 | (code & 0x3F));
    return 2;
  }
  if (code < 0x10000) {
    to[0] = (char)(0xE0 | code >> 12);
    to[1] = (char)(0x80 | (code >> 6 & 0x3F));
    to[2] = (char)(0x80 | (code & 0x3F));
    return 3;
  }
  to[0] = (char)(0xF0 | code >> 18);
  to[1] = (char)(0x80 | (code >> 12 & 0x3F));
  to[2] = (char)(0x80 | (code >> 6 & 0x3F));
  to[3] = (char)(0x80 | (code & 0x3F));
  return 4;
}

/* `p` stands at \uXXXX. Takes a surrogate pair as one; returns the bytes read. */
static size_t decode_unicode(const char *p, const char *end, char **to) {
  unsigned code = hex4(p + 2);
  size_t used = 6;
  if (code >= 0xD800 && code < 0xE000) {
    bool pair = code < 0xDC00 && end - p >= 12 && p[6] == '\\' && p[7] == 'u' && lc_scan_hex4(p + 8);
    unsigned low = pair ? hex4(p + 8) : 0;
    if (low >= 0xDC00 && low < 0xE000) {
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
      used = 12;
    } else {
      code = 0xFFFD;
    }
  }
  *to += put_utf8(code, *to);
  return used;
}

size_t lc_json_decode(const char *inside, size_t len, char *to) {
  static const char plain[] = {['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t'};
  const char *p = inside, *end = inside + len;
  char *start = to;
  while (p < end) {
    const char *slash = memchr(p, '\\', (size_t)(end - p));
    size_t piece = (size_t)((slash != NULL ? slash : end) - p);
    memmove(to, p, piece);
    to += piece;
    p += piece;
    if (p == end) break;
    if (end - p >= 6 && p[1] == 'u' && lc_scan_hex4(p + 2)) {
      p += decode_unicode(p, end, &to);
    } else if (end - p >= 2) {
      unsigned char c = (unsigned char)p[1];
      *to++ = c < sizeof plain && plain[c] != 0 ? plain[c] : (char)c;
      p += 2;
    } else {
      *to++ = *p++; /* a lone backslash at the end: not valid */
    }
  }
  return (size_t)(to - start);
}

size_t lc_json_plain(const char *bytes, size_t len) {
  size_t i = 0;
#ifdef LC_JSON_SSE2
  for (; len - i >= 16; i += 16) {
    __m128i chunk = _mm_loadu_si128((const __m128i *)(const void *)(bytes + i));
    uint32_t stops = lc_scan_stops16(bytes + i) | (uint32_t)_mm_movemask_epi8(chunk);
    if (stops != 0) return i + (size_t)__builtin_ctz(stops);
  }
#endif
  for (; i < len; i++) {
    unsigned char c = (unsigned char)bytes[i];
    if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\') break;
  }
  return i;
}

/* One character that does not stand for itself. Returns the bytes read. */
static size_t encode_special(const char *p, size_t room, char **to) {
  static const char escapes[] = {
      ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't', ['"'] = '"', ['\\'] = '\\'};
  static const char hex[] = "0123456789abcdef";
  unsigned char c = (unsigned char)*p;
  if (c >= 0x80) {
    size_t n = lc_utf8_length(p, room);
    memcpy(*to, n > 0 ? p : "\xEF\xBF\xBD", n > 0 ? n : 3);
    *to += n > 0 ? n : 3;
    return n > 0 ? n : 1;
  }
  *(*to)++ = '\\';
  if (c < sizeof escapes && escapes[c] != 0) {
    *(*to)++ = escapes[c];
    return 1;
  }
  const char text[5] = {'u', '0', '0', hex[c >> 4], hex[c & 15]};
  memcpy(*to, text, 5);
  *to += 5;
  return 1;
}

size_t lc_json_encode(const char *bytes, size_t len, char *to) {
  char *start = to;
  *to++ = '"';
  for (size_t i = 0; i < len;) {
    size_t plain = lc_json_plain(bytes + i, len - i);
    memcpy(to, bytes + i, plain);
    to += plain;
    i += plain;
    if (i < len) i += encode_special(bytes + i, len - i, &to);
  }
  *to++ = '"';
  return (size_t)(to - start);
}

size_t lc_json_encoded_len(const char *bytes, size_t len) {
  size_t total = 2;
  for (size_t i = 0; i < len;) {
    size_t plain = lc_json_plain(bytes + i, len - i);
    total += plain;
    i += plain;
    if (i < len) {
      char scratch[8], *to = scratch;
      i += encode_special(bytes + i, len - i, &to);
      total += (size_t)(to - scratch);
    }
  }
  return total;
}
