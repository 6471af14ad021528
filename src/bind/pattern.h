/* Lua's patterns: string.find, match, gmatch and gsub of pipeline files, in a form that can be interrupted.
 *
 *     lc_pattern_item items[LC_PATTERN_ITEMS(4)];
 *     const char *wrong = lc_pattern_compile(&pattern, items, "(%d+", 4);       // "unfinished capture"
 *     lc_pattern_match match = {.pattern = &pattern, .begin = s, .end = s + len, .look = look};
 *     const char *end = lc_pattern_from(&match, s, &begin);
 *
 * LuaJIT's own matcher is one C call, which may take minutes, say for ".-b" in a long line of "a", and which no hook
 * reaches. This one counts its steps, and now and then has somebody look whether it may go on.
 *
 * A pattern is compiled to items: each is a set of bytes with a quantifier, or a mark. As there are no alternatives,
 * the captures of a match are those that were set last on the way, and nothing has to be taken back.
 *
 * Thread: the one that has the state. */
#ifndef LC_BIND_PATTERN_H
#define LC_BIND_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LC_PATTERN_CAPTURES 32
#define LC_PATTERN_POSITION SIZE_MAX /* length of a capture "()" */

typedef enum lc_pattern_op {
  LC_PATTERN_END,      /* of the pattern: it matches */
  LC_PATTERN_ONE,      /* one byte of the set */
  LC_PATTERN_MAYBE,    /* ? */
  LC_PATTERN_MANY,     /* * and, behind a ONE, + */
  LC_PATTERN_FEW,      /* - */
  LC_PATTERN_EOS,      /* $ */
  LC_PATTERN_OPEN,     /* ( of capture n */
  LC_PATTERN_CLOSE,    /* ) of it */
  LC_PATTERN_HERE,     /* () */
  LC_PATTERN_SAME,     /* %1: what capture n has */
  LC_PATTERN_BALANCED, /* %bxy */
  LC_PATTERN_FRONTIER  /* %f[set] */
} lc_pattern_op;

typedef struct lc_pattern_item {
  uint8_t op; /* lc_pattern_op */
  uint8_t n;  /* capture */
  bool single;         /* the set has one byte only: */
  unsigned char x, y;  /* that one; the two of %b */
  uint64_t set[4];     /* of bytes */
} lc_pattern_item;

typedef struct lc_pattern {
  lc_pattern_item *items; /* borrowed */
  uint32_t n_items, n_captures;
} lc_pattern;

typedef struct lc_pattern_match {
  const lc_pattern *pattern;
  const char *begin, *end; /* of the subject, which a NUL follows */
  struct lc_pattern_capture {
    const char *at;
    size_t len; /* or LC_PATTERN_POSITION */
  } captures[LC_PATTERN_CAPTURES];
  int64_t steps;            /* left until `look` is called; set by it */
  void (*look)(struct lc_pattern_match *match); /* may raise an error, and not come back */
  void *arg;                /* for it */
} lc_pattern_match;

/* The most items that a pattern of this length has. */
#define LC_PATTERN_ITEMS(len) ((len) * 2 + 1)

/* Compiles a pattern without its leading ^ into `items`, which have room for LC_PATTERN_ITEMS. Returns NULL, or why it
 * is wrong: a static text. */
const char *lc_pattern_compile(lc_pattern *ret, lc_pattern_item *items, const char *text, size_t len);
/* Matches at `at` exactly; returns the end of the match, or NULL. */
const char *lc_pattern_at(lc_pattern_match *match, const char *at);
/* Looks for the first match from `at` on; `*ret_at` is its begin. */
const char *lc_pattern_from(lc_pattern_match *match, const char *at, const char **ret_at);

#endif
