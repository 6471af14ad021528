/* Checks of JSON values by their grammar (RFC 8259), for text that ends in a control character (see json_scan.h).
 *
 * Each takes the value's first byte and returns the byte behind it, or NULL when it is not valid. Invalid UTF-8 inside
 * strings is accepted: bytes that nobody touches leave as they came. Any thread. */
#ifndef LC_RECORD_JSON_CHECK_H
#define LC_RECORD_JSON_CHECK_H

#include "logcap/record.h"
#include "record/json_scan.h"

#define LC_JSON_DEPTH 256 /* levels of nesting that are accepted, the outermost object included */

/* What the slow paths need to know and to tell. */
typedef struct lc_json_scan {
  const char *end; /* the text's end: the control character stands there */
  bool newlines;   /* a newline stands between its tokens */
} lc_json_scan;

/* Goes on with a string from its first stop on; sets *ret_escaped when it holds an escape. */
const char *lc_json_string_rest(const char *stop, bool *ret_escaped);
/* Goes on with a number that is not a plain one of at most 15 digits. */
const char *lc_json_number_rest(const char *digits);
/* `p` stands at `{` or `[`, and `depth` levels are open around it. */
const char *lc_json_nested(lc_json_scan *scan, const char *p, unsigned depth);
const char *lc_json_spaces(lc_json_scan *scan, const char *p);

static inline const char *lc_json_skip_spaces(lc_json_scan *scan, const char *p) {
  return lc_likely((unsigned char)*p > ' ') ? p : lc_json_spaces(scan, p);
}

/* `p` stands behind the opening quote. */
static inline const char *lc_json_string(const char *p, bool *ret_escaped) {
  p = lc_scan_string(p);
  return lc_likely(*p == '"') ? p + 1 : lc_json_string_rest(p, ret_escaped);
}

static inline const char *lc_json_number(const char *p) {
  const char *start = p + (*p == '-');
  uint32_t digits = lc_scan_digits(start);
  unsigned n = (unsigned)__builtin_ctz(~digits);
  if (lc_unlikely(n >= 15)) return lc_json_number_rest(start);
  if (lc_unlikely(n == 0 || (n > 1 && *start == '0'))) return NULL;
  if (start[n] == '.') {
    unsigned fraction = (unsigned)__builtin_ctz(~(digits >> (n + 1)));
    if (fraction == 0) return NULL;
    n += 1 + fraction;
    if (lc_unlikely(n >= 16)) return lc_json_number_rest(start);
  }
  if (lc_unlikely((start[n] | 0x20) == 'e')) return lc_json_number_rest(start);
  return start + n;
}

static inline bool lc_json_word(const char *p, const char word[4]) {
  return memcmp(p, word, 4) == 0;
}

/* Any value. `depth` levels are open around it. */
static inline const char *lc_json_value(lc_json_scan *scan, const char *p, unsigned depth, uint8_t *ret_type,
                                        bool *ret_escaped) {
  if (*p == '"') {
    *ret_type = LC_JSON_STRING;
    return lc_json_string(p + 1, ret_escaped);
  }
  if ((unsigned char)(*p - '0') <= 9 || *p == '-') {
    *ret_type = LC_JSON_NUMBER;
    return lc_json_number(p);
  }
  switch (*p) {
    case '{': *ret_type = LC_JSON_OBJECT; return lc_json_nested(scan, p, depth);
    case '[': *ret_type = LC_JSON_ARRAY; return lc_json_nested(scan, p, depth);
    case 't': *ret_type = LC_JSON_TRUE; return lc_json_word(p, "true") ? p + 4 : NULL;
    case 'f': *ret_type = LC_JSON_FALSE; return lc_json_word(p, "fals") && p[4] == 'e' ? p + 5 : NULL;
    case 'n': *ret_type = LC_JSON_NULL; return lc_json_word(p, "null") ? p + 4 : NULL;
    default: return NULL;
  }
}

#endif
