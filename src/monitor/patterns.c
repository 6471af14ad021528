#include "monitor/patterns.h"

#include <stdlib.h>
#include <string.h>

static bool has(const uint64_t *states, uint32_t i) {
  return (states[i / 64] >> (i % 64) & 1) != 0;
}

/* The first state of the set at or after `i`, or n_states. */
static uint32_t next_state(const lc_patterns *patterns, const uint64_t *states, uint32_t i) {
  while (i < patterns->n_states && !has(states, i)) i = states[i / 64] >> (i % 64) == 0 ? (i / 64 + 1) * 64 : i + 1;
  return i < patterns->n_states ? i : patterns->n_states;
}

/* A double star may also stand for no folder at all. */
static void add_state(const lc_patterns *patterns, uint64_t *states, uint32_t i) {
  states[i / 64] |= UINT64_C(1) << (i % 64);
  const lc_pattern_state *state = &patterns->states[i];
  if (state->part->kind == LC_GLOB_DEPTH && !state->last) add_state(patterns, states, i + 1); /* never two in a row */
}

static int add_includes(lc_patterns *patterns, const char *const *paths, uint32_t n, lc_error *error) {
  if (n == 0) return lc_error_set(error, LC_EINVAL, "there is no path");
  for (uint32_t i = 0; i < n; i++) {
    if (paths[i][0] != '/') return lc_error_set(error, LC_EINVAL, "path \"%.200s\" is not absolute", paths[i]);
    int rc = lc_globs_add(&patterns->include, paths[i], error);
    if (rc != 0) return rc;
  }
  for (uint32_t i = 0; i < patterns->include.n; i++) patterns->n_states += patterns->include.items[i]->n_parts;
  patterns->n_words = (patterns->n_states + 63) / 64;
  patterns->states = calloc(patterns->n_states, sizeof *patterns->states);
  if (patterns->states == NULL) return lc_error_set(error, LC_ENOMEM, "out of memory");
  uint32_t to = 0;
  for (uint32_t i = 0; i < patterns->include.n; i++) {
    const lc_glob *glob = patterns->include.items[i];
    for (uint32_t k = 0; k < glob->n_parts; k++) {
      patterns->states[to++] = (lc_pattern_state){&glob->parts[k], k + 1 == glob->n_parts};
    }
  }
  return 0;
}

/* A name alone is held against the name of any file. */
static int add_exclude(lc_patterns *patterns, const char *pattern, lc_error *error) {
  if (strchr(pattern, '/') != NULL && pattern[0] != '/' && strncmp(pattern, "**/", 3) != 0) {
    return lc_error_set(error, LC_EINVAL,
                        "exclude pattern \"%.200s\" must be a name, an absolute path, or start with \"**/\"", pattern);
  }
  return lc_globs_add(&patterns->exclude, pattern, error);
}

int lc_patterns_init(lc_patterns *patterns, const char *const *paths, uint32_t n_paths, const char *const *exclude,
                     uint32_t n_exclude, bool hidden, bool follow_links, lc_error *error) {
  *patterns = (lc_patterns){.hidden = hidden, .follow_links = follow_links};
  int rc = add_includes(patterns, paths, n_paths, error);
  for (uint32_t i = 0; i < n_exclude && rc == 0; i++) rc = add_exclude(patterns, exclude[i], error);
  if (rc != 0) lc_patterns_deinit(patterns);
  return rc;
}

void lc_patterns_deinit(lc_patterns *patterns) {
  lc_globs_free(&patterns->include);
  lc_globs_free(&patterns->exclude);
  free(patterns->states);
  *patterns = (lc_patterns){0};
}

void lc_patterns_root(const lc_patterns *patterns, uint64_t *ret) {
  memset(ret, 0, patterns->n_words * sizeof *ret);
  for (uint32_t i = 0; i < patterns->n_states; i++) {
    if (i == 0 || patterns->states[i - 1].last) add_state(patterns, ret, i);
  }
}

static bool step_depth(const lc_patterns *patterns, uint32_t i, const char *name, bool link, uint64_t *ret) {
  if (name[0] == '.' && !patterns->hidden) return false;
  if (!link) add_state(patterns, ret, i);
  return patterns->states[i].last;
}

bool lc_patterns_step(const lc_patterns *patterns, const uint64_t *states, const char *name, bool link, uint64_t *ret) {
  bool wanted = false;
  memset(ret, 0, patterns->n_words * sizeof *ret);
  for (uint32_t i = 0; (i = next_state(patterns, states, i)) < patterns->n_states; i++) {
    const lc_pattern_state *state = &patterns->states[i];
    if (state->part->kind == LC_GLOB_DEPTH) {
      wanted |= step_depth(patterns, i, name, link, ret);
    } else if (lc_glob_match_part(state->part, name, patterns->hidden)) {
      if (state->last) wanted = true;
      else if (!link || patterns->follow_links || state->part->kind == LC_GLOB_LITERAL) add_state(patterns, ret, i + 1);
    }
  }
  return wanted;
}

bool lc_patterns_none(const lc_patterns *patterns, const uint64_t *states) {
  return next_state(patterns, states, 0) == patterns->n_states;
}

const char *lc_patterns_literal(const lc_patterns *patterns, const uint64_t *states, uint32_t *i) {
  while ((*i = next_state(patterns, states, *i)) < patterns->n_states) {
    const lc_glob_part *part = patterns->states[(*i)++].part;
    if (part->kind == LC_GLOB_LITERAL) return part->text;
  }
  return NULL;
}

bool lc_patterns_wild(const lc_patterns *patterns, const uint64_t *states) {
  for (uint32_t i = 0; (i = next_state(patterns, states, i)) < patterns->n_states; i++) {
    if (patterns->states[i].part->kind != LC_GLOB_LITERAL) return true;
  }
  return false;
}

bool lc_patterns_files(const lc_patterns *patterns, const uint64_t *states) {
  for (uint32_t i = 0; (i = next_state(patterns, states, i)) < patterns->n_states; i++) {
    if (patterns->states[i].last) return true;
  }
  return false;
}

bool lc_patterns_spelled(const lc_patterns *patterns, const uint64_t *states, const char *name) {
  const char *literal;
  for (uint32_t i = 0; (literal = lc_patterns_literal(patterns, states, &i)) != NULL;) {
    if (strcmp(literal, name) == 0) return true;
  }
  return false;
}

bool lc_patterns_excluded(const lc_patterns *patterns, const char *path) {
  const char *name = strrchr(path, '/');
  name = name != NULL ? name + 1 : path;
  for (uint32_t i = 0; i < patterns->exclude.n; i++) {
    const lc_glob *glob = patterns->exclude.items[i];
    if (glob->n_parts == 1 && glob->parts[0].kind != LC_GLOB_DEPTH) {
      if (lc_glob_match_part(&glob->parts[0], name, true)) return true;
    } else if (lc_glob_match_path(glob, path)) {
      return true;
    }
  }
  return false;
}
