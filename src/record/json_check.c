#include "record/json_check.h"

const char *lc_json_string_rest(const char *stop, bool *ret_escaped) {
  for (const char *p = stop;; p = lc_scan_string(p)) {
    if (*p == '"') return p + 1;
    if (*p != '\\') return NULL;
    *ret_escaped = true;
    switch (p[1]) {
      case '"':
      case '\\':
      case '/':
      case 'b':
      case 'f':
      case 'n':
      case 'r':
      case 't': p += 2; break;
      case 'u':
        if (!lc_scan_hex4(p + 2)) return NULL;
        p += 6;
        break;
      default: return NULL;
    }
  }
}

static const char *skip_digits(const char *p) {
  while ((unsigned char)(*p - '0') <= 9) p++;
  return p;
}

const char *lc_json_number_rest(const char *digits) {
  const char *p = skip_digits(digits);
  if (p == digits || (*digits == '0' && p - digits > 1)) return NULL;
  if (*p == '.') {
    const char *fraction = p + 1;
    p = skip_digits(fraction);
    if (p == fraction) return NULL;
  }
  if ((*p | 0x20) == 'e') {
    p++;
    if (*p == '+' || *p == '-') p++;
    const char *exponent = p;
    p = skip_digits(exponent);
    if (p == exponent) return NULL;
  }
  return p;
}

const char *lc_json_spaces(lc_json_scan *scan, const char *p) {
  for (; p < scan->end && lc_scan_space(*p); p++) {
    if (*p == '\n') scan->newlines = true;
  }
  return p;
}

/* A key with its colon, and the blanks around; `p` stands at its quote. */
static const char *nested_key(lc_json_scan *scan, const char *p) {
  bool escaped;
  if (*p != '"') return NULL;
  p = lc_json_string(p + 1, &escaped);
  if (p == NULL) return NULL;
  p = lc_json_skip_spaces(scan, p);
  return *p == ':' ? lc_json_skip_spaces(scan, p + 1) : NULL;
}

/* A value that opens no level. */
static const char *nested_scalar(lc_json_scan *scan, const char *p) {
  bool escaped;
  uint8_t type;
  return lc_json_value(scan, p, LC_JSON_DEPTH, &type, &escaped); /* no level is left: a bracket here is a bug */
}

const char *lc_json_nested(lc_json_scan *scan, const char *p, unsigned depth) {
  uint64_t objects[LC_JSON_DEPTH / 64] = {0}; /* one bit per open level: is it an object? */
  unsigned base = depth;
  bool opened = true; /* `p` stands at a bracket that opens a level; else behind a value */
  for (;;) {
    if (opened) {
      if (depth >= LC_JSON_DEPTH) return NULL;
      uint64_t bit = UINT64_C(1) << (depth % 64);
      objects[depth / 64] = *p == '{' ? objects[depth / 64] | bit : objects[depth / 64] & ~bit;
      depth++;
      p = lc_json_skip_spaces(scan, p + 1);
    }
    bool object = (objects[(depth - 1) / 64] >> ((depth - 1) % 64) & 1) != 0;
    if (!opened) p = lc_json_skip_spaces(scan, p);
    if (*p == (object ? '}' : ']')) {
      p++;
      if (--depth == base) return p;
      opened = false;
      continue;
    }
    if (!opened) {
      if (*p != ',') return NULL;
      p = lc_json_skip_spaces(scan, p + 1);
    }
    if (object && (p = nested_key(scan, p)) == NULL) return NULL;
    opened = *p == '{' || *p == '[';
    if (!opened && (p = nested_scalar(scan, p)) == NULL) return NULL;
  }
}
