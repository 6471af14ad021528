#include "bind/pattern.h"

#include <string.h>

#define DEPTH_MAX 200    /* quantifiers in one pattern, as in LuaJIT */
#define BYTES_A_STEP 64u /* bytes that are scanned in about the time of one step */

static const char malformed_end[] = "malformed pattern (ends with '%')";
static const char malformed_set[] = "malformed pattern (missing ']')";

/* --- compiling --- */

typedef struct compiler {
  const char *at, *end;
  lc_pattern *pattern;
  uint8_t open[LC_PATTERN_CAPTURES]; /* captures that are not closed */
  uint32_t n_open;
  uint32_t quantifiers;
} compiler;

static void add_byte(uint64_t set[4], unsigned char byte) { set[byte >> 6] |= UINT64_C(1) << (byte & 63); }

static bool has(const uint64_t set[4], unsigned char byte) { return (set[byte >> 6] >> (byte & 63)) & 1; }

/* Adds the bytes of %letter: of ASCII, whatever the locale. */
static void add_class(uint64_t set[4], unsigned char letter) {
  static const struct {
    char letter;
    uint64_t low, high; /* bytes 0 to 63, 64 to 127 */
  } classes[] = {
      {'a', 0, UINT64_C(0x07fffffe07fffffe)},
      {'c', UINT64_C(0x00000000ffffffff), UINT64_C(0x8000000000000000)},
      {'d', UINT64_C(0x03ff000000000000), 0},
      {'g', UINT64_C(0xfffffffe00000000), UINT64_C(0x7fffffffffffffff)},
      {'l', 0, UINT64_C(0x07fffffe00000000)},
      {'p', UINT64_C(0xfc00fffe00000000), UINT64_C(0x78000001f8000001)},
      {'s', UINT64_C(0x0000000100003e00), 0},
      {'u', 0, UINT64_C(0x0000000007fffffe)},
      {'w', UINT64_C(0x03ff000000000000), UINT64_C(0x07fffffe07fffffe)},
      {'x', UINT64_C(0x03ff000000000000), UINT64_C(0x0000007e0000007e)},
      {'z', 1, 0},
  };
  for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
    if (classes[i].letter == letter) {
      set[0] |= classes[i].low;
      set[1] |= classes[i].high;
      return;
    }
    if (classes[i].letter - ('a' - 'A') == letter) { /* the complement */
      set[0] |= ~classes[i].low;
      set[1] |= ~classes[i].high;
      set[2] = set[3] = UINT64_MAX;
      return;
    }
  }
  add_byte(set, letter);
}

/* The set behind a "[", which is passed. A "]" at once is one of its bytes. */
static const char *compile_set(compiler *self, uint64_t set[4]) {
  const char *at = self->at, *end = self->end;
  bool negated = at < end && *at == '^';
  if (negated) at++;
  bool first = true;
  for (; at < end && (*at != ']' || first); first = false) {
    unsigned char byte = (unsigned char)*at++;
    if (byte == '%') {
      if (at == end) return malformed_set;
      add_class(set, (unsigned char)*at++);
    } else if (end - at >= 2 && *at == '-' && at[1] != ']') {
      for (unsigned b = byte; b <= (unsigned char)at[1]; b++) add_byte(set, (unsigned char)b);
      at += 2;
    } else {
      add_byte(set, byte);
    }
  }
  if (at == end) return malformed_set;
  for (int i = 0; negated && i < 4; i++) set[i] = ~set[i];
  self->at = at + 1;
  return NULL;
}

static lc_pattern_item *add_item(compiler *self, lc_pattern_op op) {
  lc_pattern_item *item = &self->pattern->items[self->pattern->n_items++];
  *item = (lc_pattern_item){.op = (uint8_t)op};
  return item;
}

/* A set of bytes and what follows it: ?, *, + or -. */
static const char *compile_single(compiler *self) {
  lc_pattern_item *item = add_item(self, LC_PATTERN_ONE);
  unsigned char byte = (unsigned char)*self->at++;
  const char *wrong = NULL;
  if (byte == '.') {
    memset(item->set, 0xff, sizeof item->set);
  } else if (byte == '[') {
    wrong = compile_set(self, item->set);
  } else {
    if (byte == '%') add_class(item->set, byte = (unsigned char)*self->at++);
    else add_byte(item->set, byte);
  }
  if (wrong != NULL) return wrong;
  int bits = 0;
  for (int i = 0; i < 4; i++) bits += __builtin_popcountll(item->set[i]);
  item->single = bits == 1;
  for (int i = 0; item->single && i < 4; i++) {
    if (item->set[i] != 0) item->x = (unsigned char)(i * 64 + __builtin_ctzll(item->set[i]));
  }
  if (self->at == self->end || memchr("?*+-", *self->at, 4) == NULL) return NULL;
  if (++self->quantifiers > DEPTH_MAX) return "pattern too complex";
  switch (*self->at++) {
    case '?': item->op = LC_PATTERN_MAYBE; break;
    case '*': item->op = LC_PATTERN_MANY; break;
    case '-': item->op = LC_PATTERN_FEW; break;
    default: { /* + is one, and then * of the same */
      lc_pattern_item *more = add_item(self, LC_PATTERN_MANY);
      *more = *item;
      more->op = LC_PATTERN_MANY;
    }
  }
  return NULL;
}

static const char *compile_open(compiler *self) {
  lc_pattern *pattern = self->pattern;
  if (pattern->n_captures == LC_PATTERN_CAPTURES) return "too many captures";
  bool here = self->end - self->at > 1 && self->at[1] == ')';
  add_item(self, here ? LC_PATTERN_HERE : LC_PATTERN_OPEN)->n = (uint8_t)pattern->n_captures;
  if (!here) self->open[self->n_open++] = (uint8_t)pattern->n_captures;
  pattern->n_captures++;
  self->at += here ? 2 : 1;
  return NULL;
}

/* What stands behind a %. */
static const char *compile_escape(compiler *self) {
  unsigned char what = (unsigned char)self->at[1];
  if (what == 'b') {
    if (self->end - self->at < 4) return "unbalanced pattern";
    lc_pattern_item *item = add_item(self, LC_PATTERN_BALANCED);
    item->x = (unsigned char)self->at[2];
    item->y = (unsigned char)self->at[3];
    self->at += 4;
    return NULL;
  }
  if (what == 'f') {
    if (self->end - self->at < 3 || self->at[2] != '[') return "missing '[' after '%f' in pattern";
    self->at += 3;
    return compile_set(self, add_item(self, LC_PATTERN_FRONTIER)->set);
  }
  if (what < '0' || what > '9') return compile_single(self);
  uint8_t n = (uint8_t)(what - '1');
  bool open = what == '0' || n >= self->pattern->n_captures;
  for (uint32_t i = 0; i < self->n_open && !open; i++) open = self->open[i] == n;
  if (open) return "invalid capture index";
  add_item(self, LC_PATTERN_SAME)->n = n;
  self->at += 2;
  return NULL;
}

static const char *compile_next(compiler *self) {
  switch (*self->at) {
    case '(': return compile_open(self);
    case ')':
      if (self->n_open == 0) return "invalid pattern capture";
      add_item(self, LC_PATTERN_CLOSE)->n = self->open[--self->n_open];
      self->at++;
      return NULL;
    case '$':
      if (self->end - self->at > 1) return compile_single(self);
      (void)add_item(self, LC_PATTERN_EOS);
      self->at++;
      return NULL;
    case '%': return self->end - self->at > 1 ? compile_escape(self) : malformed_end;
    default: return compile_single(self);
  }
}

const char *lc_pattern_compile(lc_pattern *ret, lc_pattern_item *items, const char *text, size_t len) {
  *ret = (lc_pattern){.items = items};
  compiler self = {.at = text, .end = text + len, .pattern = ret};
  const char *wrong = NULL;
  while (wrong == NULL && self.at < self.end) wrong = compile_next(&self);
  if (wrong == NULL && self.n_open > 0) wrong = "unfinished capture";
  (void)add_item(&self, LC_PATTERN_END);
  return wrong;
}

/* --- matching --- */

static void took(lc_pattern_match *match, size_t bytes) {
  match->steps -= 1 + (int64_t)(bytes / BYTES_A_STEP);
  if (match->steps <= 0) match->look(match);
}

/* Whether the item cannot match here: cheap, so that most tries are not made. */
static bool hopeless(const lc_pattern_match *match, const lc_pattern_item *item, const char *at) {
  return item->op == LC_PATTERN_ONE && item->single && (at == match->end || (unsigned char)*at != item->x);
}

static const char *run(lc_pattern_match *match, const lc_pattern_item *item, const char *at);

/* As many as there are, then one less each time. */
static const char *run_many(lc_pattern_match *match, const lc_pattern_item *item, const char *at) {
  const char *last = at;
  while (last < match->end && has(item->set, (unsigned char)*last)) last++;
  took(match, (size_t)(last - at));
  for (;; last--) {
    if (!hopeless(match, item + 1, last)) {
      const char *end = run(match, item + 1, last);
      if (end != NULL) return end;
      took(match, 0);
    }
    if (last == at) return NULL;
  }
}

static const char *run_few(lc_pattern_match *match, const lc_pattern_item *item, const char *at) {
  const char *first = at;
  for (;; at++) {
    if (!hopeless(match, item + 1, at)) {
      const char *end = run(match, item + 1, at);
      if (end != NULL) return end;
      took(match, 0);
    }
    if (at == match->end || !has(item->set, (unsigned char)*at)) {
      took(match, (size_t)(at - first));
      return NULL;
    }
  }
}

static const char *run_balanced(lc_pattern_match *match, const lc_pattern_item *item, const char *at) {
  const char *last = at;
  size_t open = 1;
  if (at == match->end || (unsigned char)*at != item->x) return NULL;
  while (++last < match->end && open > 0) {
    if ((unsigned char)*last == item->y) open--;
    else if ((unsigned char)*last == item->x) open++;
  }
  took(match, (size_t)(last - at));
  return open == 0 ? last : NULL;
}

static const char *run_same(lc_pattern_match *match, const lc_pattern_item *item, const char *at) {
  const struct lc_pattern_capture *capture = &match->captures[item->n];
  if (capture->len == LC_PATTERN_POSITION || capture->len > (size_t)(match->end - at)) return NULL;
  took(match, capture->len);
  return memcmp(capture->at, at, capture->len) == 0 ? at + capture->len : NULL;
}

static bool at_frontier(const lc_pattern_match *match, const lc_pattern_item *item, const char *at) {
  unsigned char before = at == match->begin ? 0 : (unsigned char)at[-1];
  return !has(item->set, before) && has(item->set, (unsigned char)*at); /* a NUL stands at the end */
}

static const char *run(lc_pattern_match *match, const lc_pattern_item *item, const char *at) {
  for (;; item++) {
    switch ((lc_pattern_op)item->op) {
      case LC_PATTERN_END: return at;
      case LC_PATTERN_ONE:
        if (at == match->end || !has(item->set, (unsigned char)*at)) return NULL;
        at++;
        break;
      case LC_PATTERN_MAYBE:
        if (at < match->end && has(item->set, (unsigned char)*at)) {
          const char *end = run(match, item + 1, at + 1);
          if (end != NULL) return end;
          took(match, 0);
        }
        break;
      case LC_PATTERN_MANY: return run_many(match, item, at);
      case LC_PATTERN_FEW: return run_few(match, item, at);
      case LC_PATTERN_EOS:
        if (at != match->end) return NULL;
        break;
      case LC_PATTERN_OPEN: match->captures[item->n].at = at; break;
      case LC_PATTERN_CLOSE: match->captures[item->n].len = (size_t)(at - match->captures[item->n].at); break;
      case LC_PATTERN_HERE:
        match->captures[item->n] = (struct lc_pattern_capture){at, LC_PATTERN_POSITION};
        break;
      case LC_PATTERN_SAME:
      case LC_PATTERN_BALANCED:
        at = item->op == LC_PATTERN_SAME ? run_same(match, item, at) : run_balanced(match, item, at);
        if (at == NULL) return NULL;
        break;
      case LC_PATTERN_FRONTIER:
        if (!at_frontier(match, item, at)) return NULL;
        break;
    }
  }
}

const char *lc_pattern_at(lc_pattern_match *match, const char *at) { return run(match, match->pattern->items, at); }

const char *lc_pattern_from(lc_pattern_match *match, const char *at, const char **ret_at) {
  const lc_pattern_item *first = match->pattern->items;
  bool single = first->op == LC_PATTERN_ONE && first->single;
  for (; at <= match->end; at++) {
    if (single) { /* the places where it can begin are found faster */
      const char *next = memchr(at, first->x, (size_t)(match->end - at));
      if (next == NULL) return NULL;
      at = next;
    }
    const char *end = run(match, first, at);
    if (end != NULL) {
      *ret_at = at;
      return end;
    }
    took(match, 0);
  }
  return NULL;
}
