/* Patterns and paths: nothing overruns, braces expand to a bounded number, and what is compiled matches itself where it
 * has no wildcard. The input is a pattern and a path, apart by a newline. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/patterns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds) {
  if (!holds) abort();
}

/* "/a/b" of a glob's parts, when all are literal. */
static char *spelled(const lc_glob *glob) {
  size_t len = 1;
  for (uint32_t i = 0; i < glob->n_parts; i++) {
    if (glob->parts[i].kind != LC_GLOB_LITERAL || strlen(glob->parts[i].text) > 255) return NULL;
    len += strlen(glob->parts[i].text) + 1;
  }
  char *path = calloc(1, len), *at = path;
  require(path != NULL);
  for (uint32_t i = 0; i < glob->n_parts; i++) at = stpcpy(stpcpy(at, "/"), glob->parts[i].text);
  return path;
}

/* Walking from the root must agree with matching the whole path. */
static void walk(const char *pattern, const char *path, const lc_globs *globs) {
  const char *paths[] = {pattern};
  lc_patterns patterns;
  if (lc_patterns_init(&patterns, paths, 1, NULL, 0, true, true, NULL) != 0) return;
  uint64_t *states = calloc(patterns.n_words, sizeof *states), *next = calloc(patterns.n_words, sizeof *next);
  char *copy = strdup(path);
  require(states != NULL && next != NULL && copy != NULL);
  lc_patterns_root(&patterns, states);
  bool wanted = false, fits = true;
  for (char *save = NULL, *name = strtok_r(copy, "/", &save); name != NULL; name = strtok_r(NULL, "/", &save)) {
    if (strlen(name) > 255) fits = false;
    wanted = lc_patterns_step(&patterns, states, name, false, next);
    memcpy(states, next, patterns.n_words * sizeof *states);
  }
  bool matched = false;
  for (uint32_t i = 0; i < globs->n; i++) matched |= lc_glob_match_path(globs->items[i], path);
  require(!fits || wanted == matched);
  free(states);
  free(next);
  free(copy);
  lc_patterns_deinit(&patterns);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const uint8_t *split = size > 0 ? memchr(data, '\n', size) : NULL;
  if (split == NULL || size > 6000) return 0;
  char *pattern = strndup((const char *)data, (size_t)(split - data));
  char *path = strndup((const char *)split + 1, size - (size_t)(split - data) - 1);
  require(pattern != NULL && path != NULL);
  lc_globs globs = {0};
  lc_error error = {0};
  if (lc_globs_add(&globs, pattern, &error) == 0) {
    require(globs.n > 0 && globs.n <= LC_GLOB_EXPANSIONS_MAX);
    for (uint32_t i = 0; i < globs.n; i++) {
      char *self = spelled(globs.items[i]);
      require(self == NULL || lc_glob_match_path(globs.items[i], self));
      free(self);
    }
    if (pattern[0] == '/') walk(pattern, path, &globs);
  } else {
    require(globs.n == 0 && error.message[0] != '\0');
  }
  lc_globs_free(&globs);
  free(pattern);
  free(path);
  return 0;
}
