#include "record/json_text.h"

#include "record/json_scan.h"

/* The bounds are checked at every step here: these texts may end anywhere. */

static const char *skip_spaces(const char *p, const char *end) {
  while (p < end && lc_scan_space(*p)) p++;
  return p;
}

/* `p` stands at the opening quote. Returns the byte behind the closing one, or `end`. */
static const char *skip_string(const char *p, const char *end, bool *ret_escaped) {
  *ret_escaped = false;
  for (p++; p < end; p++) {
    if (*p == '"') return p + 1;
    if (*p == '\\') {
      *ret_escaped = true;
      p++;
    }
  }
  return end;
}

/* `p` stands at a bracket. Brackets match in valid text, so that counting them is enough. */
static const char *skip_nested(const char *p, const char *end) {
  size_t depth = 0;
  bool escaped;
  while (p < end) {
    char c = *p;
    if (c == '"') {
      p = skip_string(p, end, &escaped);
      continue;
    }
    p++;
    if (c == '{' || c == '[') depth++;
    if ((c == '}' || c == ']') && --depth == 0) return p;
  }
  return end;
}

static const char *skip_value(const char *p, const char *end) {
  bool escaped;
  if (p >= end) return end;
  if (*p == '"') return skip_string(p, end, &escaped);
  if (*p == '{' || *p == '[') return skip_nested(p, end);
  while (p < end && *p != ',' && *p != '}' && *p != ']' && !lc_scan_space(*p)) p++;
  return p;
}

lc_json_type lc_json_type_of(const char *text, size_t len) {
  switch (len > 0 ? text[0] : 0) {
    case '"': return LC_JSON_STRING;
    case '{': return LC_JSON_OBJECT;
    case '[': return LC_JSON_ARRAY;
    case 't': return LC_JSON_TRUE;
    case 'f': return LC_JSON_FALSE;
    case 'n': return LC_JSON_NULL;
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9': return LC_JSON_NUMBER;
    default: return LC_JSON_REMOVED;
  }
}

lc_json_members lc_json_open(const char *text, size_t len) {
  const char *end = text + len;
  const char *p = skip_spaces(text, end);
  bool bracket = p < end && (*p == '{' || *p == '[');
  return (lc_json_members){.at = bracket ? p : end, .end = end};
}

bool lc_json_next(lc_json_members *members) {
  const char *end = members->end, *p = members->at;
  if (p >= end) return false;
  bool first = members->value == NULL, object = first ? *p == '{' : members->key != NULL;
  if (!first) p = skip_spaces(p, end);
  if (p >= end || (!first && *p != ',')) goto done;
  p = skip_spaces(p + 1, end);
  if (p >= end || *p == '}' || *p == ']') goto done;
  if (object) {
    if (*p != '"') goto done;
    members->key = p + 1;
    p = skip_string(p, end, &members->key_escaped);
    if (p <= members->key) goto done;
    members->key_len = (size_t)(p - members->key - 1);
    p = skip_spaces(p, end);
    if (p >= end || *p != ':') goto done;
    p = skip_spaces(p + 1, end);
  }
  members->value = p;
  members->at = skip_value(p, end);
  members->value_len = (size_t)(members->at - p);
  members->type = lc_json_type_of(p, members->value_len);
  return members->value_len > 0;
done:
  members->at = end;
  return false;
}

bool lc_json_key_equals(const char *inside, size_t inside_len, bool escaped, const char *bytes, size_t len) {
  if (!escaped) return inside_len == len && lc_scan_equal(inside, bytes, len);
  if (inside_len < len) return false;
  /* Escaped keys are rare: decoding piece by piece needs no memory. */
  char piece[16];
  size_t at = 0;
  for (size_t i = 0; i < inside_len;) {
    size_t step = 1;
    if (inside[i] == '\\' && i + 1 < inside_len) step = inside[i + 1] == 'u' ? 6 : 2;
    if (step == 6 && i + 12 <= inside_len && inside[i + 6] == '\\' && inside[i + 7] == 'u') {
      char pair[12];
      if (lc_json_decode(inside + i, 12, pair) == 4) step = 12; /* a surrogate pair, taken as one */
    }
    if (step > inside_len - i) step = inside_len - i;
    size_t n = lc_json_decode(inside + i, step, piece);
    if (n > len - at || memcmp(piece, bytes + at, n) != 0) return false;
    at += n;
    i += step;
  }
  return at == len;
}

/* Takes one step. On success `found` stands at the member or item. */
static bool take_step(const char *text, size_t len, const lc_json_step *step, lc_json_members *found) {
  lc_json_members it = lc_json_open(text, len);
  bool object = it.at < it.end && *it.at == '{', hit = false;
  if (object != (step->key != NULL)) return false;
  for (uint64_t index = 1; lc_json_next(&it); index++) {
    bool here = object ? lc_json_key_equals(it.key, it.key_len, it.key_escaped, step->key, step->key_len)
                       : index == step->index;
    if (!here) continue;
    *found = it;
    hit = true;
    if (!object) break;
  }
  return hit;
}

int lc_json_path(const char *text, size_t len, const lc_json_step *steps, size_t n, const char **ret, size_t *ret_len,
                 lc_json_type *ret_type) {
  for (size_t i = 0; i < n; i++) {
    lc_json_members found = {0};
    if (!take_step(text, len, &steps[i], &found)) return LC_ENOENT;
    text = found.value;
    len = found.value_len;
  }
  *ret = text;
  *ret_len = len;
  *ret_type = lc_json_type_of(text, len);
  return 0;
}

/* Appends what the steps from a missing member on make: {"b":{"c":value}}. */
static int add_missing(lc_buf *ret, const lc_json_step *steps, size_t n, const char *value, size_t value_len) {
  for (size_t i = 0; i < n; i++) {
    if (steps[i].key == NULL) return LC_EINVAL;
    lc_buf_addc(ret, '{');
    lc_buf_add_json_string(ret, steps[i].key, steps[i].key_len);
    lc_buf_addc(ret, ':');
  }
  lc_buf_add(ret, value, value_len);
  for (size_t i = 0; i < n; i++) lc_buf_addc(ret, '}');
  return 0;
}

/* Adds a member or item at the end of `inner`, which stands in the whole text. */
static int splice_append(const char *text, size_t len, const char *inner, size_t inner_len, const lc_json_step *steps,
                         size_t n, const char *value, size_t value_len, lc_buf *ret) {
  uint64_t count = 0;
  lc_json_members it = lc_json_open(inner, inner_len);
  bool object = it.at < it.end && *it.at == '{';
  const char *last = it.at + 1;
  if (it.at >= it.end || object != (steps[0].key != NULL)) return LC_EINVAL;
  for (; lc_json_next(&it); count++) last = it.at;
  if (!object && steps[0].index != count + 1) return LC_EINVAL;
  lc_buf_add(ret, text, (size_t)(last - text));
  if (count > 0) lc_buf_addc(ret, ',');
  if (object) {
    lc_buf_add_json_string(ret, steps[0].key, steps[0].key_len);
    lc_buf_addc(ret, ':');
  }
  int rc = add_missing(ret, steps + 1, n - 1, value, value_len);
  lc_buf_add(ret, last, (size_t)(text + len - last));
  return rc;
}

/* Writes the whole text without the member or item that `step` names in `inner`. */
static void splice_remove(const char *text, size_t len, const char *inner, size_t inner_len, const lc_json_step *step,
                          lc_buf *ret) {
  lc_json_members it = lc_json_open(inner, inner_len);
  const char *kept = text, *before = it.at + 1; /* copied up to; the end of the member before */
  bool any = false;                             /* a member stays before this one */
  for (uint64_t index = 1; lc_json_next(&it); index++) {
    bool here = step->key != NULL ? lc_json_key_equals(it.key, it.key_len, it.key_escaped, step->key, step->key_len)
                                  : index == step->index;
    if (here) {
      lc_buf_add(ret, kept, (size_t)(before - kept));
      kept = it.at;
    } else {
      if (!any && kept == before && index > 1) {
        /* The members before it are gone: so is the comma in front of it. */
        const char *start = step->key != NULL ? it.key - 1 : it.value;
        kept = start;
      }
      any = true;
    }
    before = it.at;
  }
  lc_buf_add(ret, kept, (size_t)(text + len - kept));
}

int lc_json_splice(const char *text, size_t len, const lc_json_step *steps, size_t n, const char *value,
                   size_t value_len, lc_buf *ret) {
  size_t before = ret->len;
  const char *inner = text;
  size_t inner_len = len;
  int rc = n == 0 ? LC_EINVAL : 0;
  for (size_t i = 0; rc == 0 && i < n; i++) {
    lc_json_members found = {0};
    bool hit = take_step(inner, inner_len, &steps[i], &found);
    if (!hit && value == NULL) {
      lc_buf_add(ret, text, len);
      break;
    }
    if (!hit) {
      rc = splice_append(text, len, inner, inner_len, steps + i, n - i, value, value_len, ret);
      break;
    }
    if (i + 1 == n && value == NULL) {
      splice_remove(text, len, inner, inner_len, &steps[i], ret);
    } else if (i + 1 == n) {
      const char *behind = found.value + found.value_len;
      lc_buf_add(ret, text, (size_t)(found.value - text));
      lc_buf_add(ret, value, value_len);
      lc_buf_add(ret, behind, (size_t)(text + len - behind));
    }
    inner = found.value;
    inner_len = found.value_len;
  }
  if (ret->failed) return LC_ENOMEM;
  if (rc != 0) ret->len = before;
  return rc;
}
