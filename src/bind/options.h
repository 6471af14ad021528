/* The one reader of option tables: strict, driven by a table.
 *
 *     static const lc_option options[] = {
 *       {"path", LC_OPT_PATH, .at = offsetof(my_options, path), .required = true, .example = "path = \"out.log\""},
 *       {"fsync", LC_OPT_BOOL, .at = offsetof(my_options, fsync), .size = sizeof(bool)},
 *       {.name = NULL},
 *     };
 *     lc_options_read(L, 1, "file_sink", options, &mine);
 *
 * An unknown key, a wrong type, an impossible value or a missing option raises "file:line: ..." with what would be
 * right. Options that are absent leave their member alone. Strings and lists are borrowed: they hold as long as the
 * value that the reader leaves on the stack, that is, until the constructor returns.
 *
 * Thread: the loop thread. */
#ifndef LC_BIND_OPTIONS_H
#define LC_BIND_OPTIONS_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

#include "logcap/error.h"

typedef enum lc_option_type {
  LC_OPT_STRING,   /* const char *; not empty */
  LC_OPT_PATH,     /* const char *; made absolute, relative to the pipeline file's folder */
  LC_OPT_BOOL,     /* bool */
  LC_OPT_INTEGER,  /* an integer of `size` bytes in [least, most] */
  LC_OPT_DURATION, /* int64_t nanoseconds in [least, most] */
  LC_OPT_SIZE,     /* bytes as an integer of `size` bytes in [least, most] */
  LC_OPT_WORD,     /* an integer of `size` bytes: the index of the value in `words` */
  LC_OPT_STRINGS,  /* const char *const *, and the number as uint32_t at count_at */
  LC_OPT_PATHS,    /* the same, made absolute */
  LC_OPT_PATTERNS, /* the same, made absolute when they have a slash and do not start with a double star */
  LC_OPT_LABELS,   /* const lc_label *, sorted by name, and the number as uint32_t at count_at */
  LC_OPT_TABLE,    /* a table of options of its own: `options`, whose offsets count from `at` */
  LC_OPT_FUNCTION, /* checked only; the constructor takes it from the table */
  LC_OPT_ANY       /* accepted; the constructor looks at it */
} lc_option_type;

typedef struct lc_option {
  const char *name; /* NULL ends the table; LC_OPT_FIRST stands for [1] */
  lc_option_type type;
  bool required;
  size_t at, size, count_at; /* offsets into the options' struct, and the size of an integer member */
  int64_t least, most;       /* bounds; most 0: what the member holds */
  const char *const *words;  /* ends with NULL */
  const struct lc_option *options;
  const char *example; /* how a right one looks, for hints */
} lc_option;

#define LC_OPT_FIRST "[1]"

void lc_options_read(lua_State *L, int index, const char *what, const lc_option *options, void *ret);

#endif
