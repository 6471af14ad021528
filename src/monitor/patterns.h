/* The patterns of one monitor, walked from the root folder downwards: what a name in a folder is good for.
 *
 * A folder has a set of states: the parts of patterns that its names may match next. A step with a name gives the
 * states of that name as a folder, and whether it is wanted as a file.
 *
 *     lc_patterns_root(&patterns, states);
 *     wanted = lc_patterns_step(&patterns, states, "var", false, child);   // /var: no file, but perhaps a folder
 *
 * Thread: any; not changed after init. */
#ifndef LC_MONITOR_PATTERNS_H
#define LC_MONITOR_PATTERNS_H

#include "monitor/glob.h"

typedef struct lc_pattern_state {
  const lc_glob_part *part;
  bool last; /* of its pattern: stands for files */
} lc_pattern_state;

typedef struct lc_patterns {
  lc_globs include, exclude;
  bool hidden, follow_links;
  lc_pattern_state *states; /* owned; of all patterns, one after the other */
  uint32_t n_states;
  uint32_t n_words; /* a set of states has so many */
} lc_patterns;

/* `paths` must be absolute; an exclude may also be a name, or start with a double star. */
int lc_patterns_init(lc_patterns *patterns, const char *const *paths, uint32_t n_paths, const char *const *exclude,
                     uint32_t n_exclude, bool hidden, bool follow_links, lc_error *error) LC_CHECK;
void lc_patterns_deinit(lc_patterns *patterns);

/* The states of "/". */
void lc_patterns_root(const lc_patterns *patterns, uint64_t *ret);
/* Writes the states of the name as a folder, perhaps none, and returns whether a file of this name is wanted. A link to
 * a folder is followed through a literal part always, through a wildcard with follow_links, through a double star
 * never. */
bool lc_patterns_step(const lc_patterns *patterns, const uint64_t *states, const char *name, bool link, uint64_t *ret);
bool lc_patterns_none(const lc_patterns *patterns, const uint64_t *states);
/* The first literal name at or after state `*i` and the next `*i`; NULL: no more. */
const char *lc_patterns_literal(const lc_patterns *patterns, const uint64_t *states, uint32_t *i);
/* Whether the folder must be listed, rather than asked for literal names. */
bool lc_patterns_wild(const lc_patterns *patterns, const uint64_t *states);
/* Whether files may be wanted in the folder itself. */
bool lc_patterns_files(const lc_patterns *patterns, const uint64_t *states);
/* Whether the name is one that a pattern spells out. */
bool lc_patterns_spelled(const lc_patterns *patterns, const uint64_t *states, const char *name);

bool lc_patterns_excluded(const lc_patterns *patterns, const char *path);

#endif
