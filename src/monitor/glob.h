/* Path patterns: `*`, `?`, `[a-z]`, `[!a-z]`, `[[:digit:]]`, `{a,b}`, `\` before a character that stands for itself,
 * and
 * `**`, a component of its own, for any number of folders.
 *
 *     lc_globs globs = {0};
 *     if (lc_globs_add(&globs, "/var/log/{shop,cart}/" "*.log", &error) != 0) ...
 *     matches = lc_glob_match_path(globs.items[0], "/var/log/shop/a.log");
 *     lc_globs_free(&globs);
 *
 * Braces are expanded when a pattern is added, so that one pattern may become several. A match takes time proportional
 * to the lengths of pattern and name multiplied, at worst. Invalid UTF-8 matches byte by byte.
 *
 * Thread: any; a set that is not changed may be shared. */
#ifndef LC_MONITOR_GLOB_H
#define LC_MONITOR_GLOB_H

#include <stdbool.h>
#include <stdint.h>

#include "logcap/error.h"

#define LC_GLOB_PATTERN_MAX 4096u
#define LC_GLOB_EXPANSIONS_MAX 1024u

typedef enum lc_glob_kind {
  LC_GLOB_LITERAL, /* text without escapes: compare */
  LC_GLOB_WILD,
  LC_GLOB_DEPTH /* `**` */
} lc_glob_kind;

/* What stands between two slashes. */
typedef struct lc_glob_part {
  lc_glob_kind kind;
  const char *text; /* owned by the glob */
} lc_glob_part;

typedef struct lc_glob {
  uint32_t n_parts;
  lc_glob_part parts[]; /* at least one */
} lc_glob;

typedef struct lc_globs {
  lc_glob **items; /* owned */
  uint32_t n;
} lc_globs;

/* Adds a pattern: an absolute path, a path that starts with a double star, or a name without a slash. `.` and `..` are
 * resolved by their text. LC_EINVAL says what is wrong with the pattern; then the set is as it was. */
int lc_globs_add(lc_globs *globs, const char *pattern, lc_error *error) LC_CHECK;
void lc_globs_free(lc_globs *globs);

/* Whether a part, but not a double star, matches the name. Unless `hidden`, a wildcard does not match a name that
 * begins with a dot when the part does not begin with one. */
bool lc_glob_match_part(const lc_glob_part *part, const char *name, bool hidden);
/* Whether the absolute path matches, hidden or not. A double star at the end stands for at least one component. */
bool lc_glob_match_path(const lc_glob *glob, const char *path);

#endif
