#include "monitor/glob.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* The next character and moves on: a code point, or a byte that is not UTF-8, told apart from all code points. */
static uint32_t next_char(const char **at) {
  const unsigned char *s = (const unsigned char *)*at;
  uint32_t c = s[0];
  *at += 1;
  if (c < 0x80) return c;
  unsigned more = c >= 0xf0 && c < 0xf8 ? 3 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xc2 && c < 0xe0 ? 1 : 0;
  if (more == 0) return 0x80000000u | c;
  uint32_t point = c & (0x3fu >> more);
  for (unsigned i = 1; i <= more; i++) {
    if ((s[i] & 0xc0) != 0x80) return 0x80000000u | c; /* also stops at the terminator */
    point = point << 6 | (s[i] & 0x3fu);
  }
  *at += more;
  return point;
}

typedef struct class_name {
  const char *name;
  int (*has)(int);
} class_name;

static const class_name class_names[] = {{"alnum", isalnum}, {"alpha", isalpha},  {"digit", isdigit},
                                         {"lower", islower}, {"punct", ispunct},  {"space", isspace},
                                         {"upper", isupper}, {"xdigit", isxdigit}};

/* `at` stands on "[:": the class and moves behind ":]". NULL: no such class. */
static const class_name *named_class(const char **at) {
  for (size_t i = 0; i < sizeof class_names / sizeof *class_names; i++) {
    size_t len = strlen(class_names[i].name);
    if (strncmp(*at + 2, class_names[i].name, len) == 0 && strncmp(*at + 2 + len, ":]", 2) == 0) {
      *at += len + 4;
      return &class_names[i];
    }
  }
  return NULL;
}

static uint32_t next_escaped(const char **at) {
  if (**at == '\\' && (*at)[1] != '\0') *at += 1;
  return next_char(at);
}

/* One member of a set, which moves on behind it. */
static bool set_member(const char **at, uint32_t c) {
  if ((*at)[0] == '[' && (*at)[1] == ':') {
    const class_name *class = named_class(at);
    if (class != NULL) return c < 0x80 && class->has((int)c) != 0;
  }
  uint32_t low = next_escaped(at), high = low;
  if ((*at)[0] == '-' && (*at)[1] != ']' && (*at)[1] != '\0') {
    *at += 1;
    high = next_escaped(at);
  }
  return low <= c && c <= high;
}

/* `at` stands behind a '[' whose end is known to be there, and moves behind it. */
static bool match_set(const char **at, uint32_t c) {
  bool negated = **at == '!' || **at == '^';
  if (negated) *at += 1;
  bool found = false;
  do {
    if (set_member(at, c)) found = true;
  } while (**at != ']' && **at != '\0');
  if (**at == ']') *at += 1;
  return found != negated;
}

/* Matches one character; moves both on. */
static bool match_one(const char **pattern, const char **name) {
  uint32_t c = next_char(name);
  char kind = **pattern;
  if (kind == '\0') return false;
  if (kind == '?' || kind == '[') *pattern += 1;
  if (kind == '?') return true;
  if (kind == '[') return match_set(pattern, c);
  return next_escaped(pattern) == c;
}

/* Goes back to the last star only: what an earlier one took can stay as it is. */
static bool match_wild(const char *pattern, const char *name) {
  const char *star = NULL, *taken = NULL;
  while (*name != '\0') {
    if (*pattern == '*') {
      star = ++pattern;
      taken = name;
      continue;
    }
    const char *next = name;
    if (match_one(&pattern, &next)) {
      name = next;
      continue;
    }
    if (star == NULL) return false;
    (void)next_char(&taken);
    pattern = star;
    name = taken;
  }
  while (*pattern == '*') pattern++;
  return *pattern == '\0';
}

bool lc_glob_match_part(const lc_glob_part *part, const char *name, bool hidden) {
  if (part->kind == LC_GLOB_LITERAL) return strcmp(part->text, name) == 0;
  const char *text = part->text;
  if (name[0] == '.' && !hidden && text[0] != '.' && !(text[0] == '\\' && text[1] == '.')) return false;
  return match_wild(text, name);
}

/* Copies the component at `at` and moves behind it and its slash. False: too long for any file. */
static bool next_component(const char **at, char ret[NAME_MAX + 1]) {
  size_t len = strcspn(*at, "/");
  if (len > NAME_MAX) return false;
  memcpy(ret, *at, len);
  ret[len] = '\0';
  *at += len;
  while (**at == '/') *at += 1;
  return true;
}

bool lc_glob_match_path(const lc_glob *glob, const char *path) {
  while (*path == '/') path++;
  uint32_t i = 0, depth = UINT32_MAX; /* the part after the last `**` */
  const char *taken = NULL;           /* where that one's own components end */
  char name[NAME_MAX + 1];
  while (*path != '\0') {
    if (i < glob->n_parts && glob->parts[i].kind == LC_GLOB_DEPTH) {
      depth = ++i;
      taken = path;
      if (i == glob->n_parts) return true;
      continue;
    }
    const char *next = path;
    if (!next_component(&next, name)) return false;
    if (i < glob->n_parts && lc_glob_match_part(&glob->parts[i], name, true)) {
      path = next;
      i++;
      continue;
    }
    if (depth == UINT32_MAX || !next_component(&taken, name)) return false;
    path = taken;
    i = depth;
  }
  return i == glob->n_parts;
}

/* Behind the ']' that ends the set at `at`, or NULL. */
static const char *set_end(const char *at) {
  at++;
  if (*at == '!' || *at == '^') at++;
  for (const char *first = at; *at != '\0' && *at != '/'; at++) {
    if (*at == ']' && at > first) return at + 1;
    if (at[0] == '[' && at[1] == ':') {
      const char *end = at;
      if (named_class(&end) == NULL) return NULL;
      at = end - 1;
    } else if (at[0] == '\\') {
      at++;
      if (*at == '\0' || *at == '/') return NULL;
    }
  }
  return NULL;
}

/* Behind what stands at `at`: a set, an escaped character or a byte. NULL: it does not end. */
static const char *skip_unit(const char *at) {
  if (*at == '[') return set_end(at);
  if (*at == '\\') return at[1] != '\0' && at[1] != '/' ? at + 2 : NULL;
  return at + 1;
}

static int check_units(const char *pattern, lc_error *error) {
  for (const char *at = pattern; *at != '\0';) {
    const char *next = skip_unit(at);
    if (next == NULL && *at == '[') {
      return lc_error_set(error, LC_EINVAL,
                          "pattern \"%.200s\": [ without a matching ], or an unknown class in it; "
                          "write \\[ for the character itself",
                          pattern);
    }
    if (next == NULL)
      return lc_error_set(error, LC_EINVAL, "pattern \"%.200s\": \\ needs a character behind it", pattern);
    at = next;
  }
  return 0;
}

/* One component of a pattern, cut out of it; unescapes it in place when it has no wildcard. */
static lc_glob_part make_part(char *text) {
  if (strcmp(text, "**") == 0) return (lc_glob_part){LC_GLOB_DEPTH, text};
  for (const char *at = text; *at != '\0'; at += *at == '\\' ? 2 : 1) {
    if (strchr("*?[", *at) != NULL) return (lc_glob_part){LC_GLOB_WILD, text};
  }
  char *to = text;
  for (const char *at = text; *at != '\0'; at++) {
    if (*at == '\\') at++;
    *to++ = *at;
  }
  *to = '\0';
  return (lc_glob_part){LC_GLOB_LITERAL, text};
}

/* Adds a component. 0, or what is wrong. */
static const char *add_component(lc_glob *glob, char *text) {
  lc_glob_part part = make_part(text);
  lc_glob_part *last = glob->n_parts > 0 ? &glob->parts[glob->n_parts - 1] : NULL;
  if (part.kind == LC_GLOB_LITERAL && (part.text[0] == '\0' || strcmp(part.text, ".") == 0)) return NULL;
  if (part.kind == LC_GLOB_LITERAL && strcmp(part.text, "..") == 0) {
    if (last != NULL && last->kind != LC_GLOB_LITERAL) return "\"..\" cannot follow a wildcard";
    if (last != NULL) glob->n_parts--;
    return NULL;
  }
  if (part.kind == LC_GLOB_DEPTH && last != NULL && last->kind == LC_GLOB_DEPTH) return NULL;
  glob->parts[glob->n_parts++] = part;
  return NULL;
}

/* Of a pattern without braces. */
static int make_glob(const char *pattern, lc_glob **ret, lc_error *error) {
  int rc = check_units(pattern, error);
  if (rc != 0) return rc;
  size_t len = strlen(pattern), cap = 1;
  if (len > 0 && pattern[len - 1] == '/') {
    return lc_error_set(error, LC_EINVAL, "pattern \"%.200s\" names a folder: write \"%.200s*\" for its files", pattern,
                        pattern);
  }
  for (const char *at = pattern; *at != '\0'; at++) cap += *at == '/';
  lc_glob *glob = calloc(1, sizeof *glob + cap * sizeof *glob->parts + len + 1);
  if (glob == NULL) return lc_error_set(error, LC_ENOMEM, "out of memory");
  char *text = (char *)&glob->parts[cap];
  memcpy(text, pattern, len + 1);
  const char *wrong = NULL;
  for (char *end; text != NULL && wrong == NULL; text = end) {
    end = strchr(text, '/');
    if (end != NULL) *end++ = '\0';
    wrong = add_component(glob, text);
  }
  if (wrong == NULL && glob->n_parts == 0) wrong = "names no file";
  if (wrong != NULL) {
    free(glob);
    return lc_error_set(error, LC_EINVAL, "pattern \"%.200s\": %s", pattern, wrong);
  }
  *ret = glob;
  return 0;
}

static int add_glob(lc_globs *globs, const char *pattern, lc_error *error) {
  if ((globs->n & (globs->n - 1)) == 0) { /* 0, 1, 2, 4, ...: full */
    size_t cap = globs->n == 0 ? 1 : (size_t)globs->n * 2;
    lc_glob **grown = realloc(globs->items, cap * sizeof *grown);
    if (grown == NULL) return lc_error_set(error, LC_ENOMEM, "out of memory");
    globs->items = grown;
  }
  int rc = make_glob(pattern, &globs->items[globs->n], error);
  if (rc == 0) globs->n++;
  return rc;
}

/* The '{' that comes first, or NULL. */
static const char *first_brace(const char *at) {
  while (at != NULL && *at != '\0') {
    if (*at == '{') return at;
    at = skip_unit(at);
  }
  return NULL;
}

/* The ',' or '}' that ends the alternative at `at`, or NULL. */
static const char *alternative_end(const char *at) {
  unsigned depth = 0;
  while (at != NULL && *at != '\0') {
    if (depth == 0 && (*at == ',' || *at == '}')) return at;
    if (*at == '{') depth++;
    if (*at == '}') depth--;
    at = skip_unit(at);
  }
  return NULL;
}

static int expand(lc_globs *globs, const char *pattern, uint32_t most, lc_error *error);

/* The pattern with `alternative` instead of everything from `open` to `close`. */
static int expand_one(lc_globs *globs, const char *pattern, const char *open, const char *alternative, size_t len,
                      const char *close, uint32_t most, lc_error *error) {
  size_t before = (size_t)(open - pattern);
  const char *after = close + 1;
  char *text = malloc(before + len + strlen(after) + 1);
  if (text == NULL) return lc_error_set(error, LC_ENOMEM, "out of memory");
  memcpy(text, pattern, before);
  memcpy(text + before, alternative, len);
  (void)strcpy(text + before + len, after);
  int rc = expand(globs, text, most, error);
  free(text);
  return rc;
}

/* As deep as there are braces in the longest pattern at most. */
// NOLINTNEXTLINE(misc-no-recursion)
static int expand(lc_globs *globs, const char *pattern, uint32_t most, lc_error *error) {
  const char *open = first_brace(pattern);
  if (open == NULL) {
    if (globs->n < most) return add_glob(globs, pattern, error);
    return lc_error_set(error, LC_EINVAL, "braces expand to more than %u patterns", LC_GLOB_EXPANSIONS_MAX);
  }
  const char *close = open + 1;
  unsigned n = 0;
  do {
    close = alternative_end(close + (n > 0));
    n++;
  } while (close != NULL && *close == ',');
  if (close == NULL || n < 2) {
    return lc_error_set(error, LC_EINVAL, "%s; write \\{ for the character itself",
                        close == NULL ? "{ without a matching }" : "{} holds only one alternative");
  }
  for (const char *at = open + 1, *end; at <= close; at = end + 1) {
    end = alternative_end(at);
    int rc = expand_one(globs, pattern, open, at, (size_t)(end - at), close, most, error);
    if (rc != 0) return rc;
  }
  return 0;
}

int lc_globs_add(lc_globs *globs, const char *pattern, lc_error *error) {
  size_t len = strlen(pattern);
  if (len == 0) return lc_error_set(error, LC_EINVAL, "a pattern is empty");
  if (len > LC_GLOB_PATTERN_MAX) {
    return lc_error_set(error, LC_EINVAL, "pattern \"%.100s...\" is longer than %u bytes", pattern,
                        LC_GLOB_PATTERN_MAX);
  }
  uint32_t before = globs->n;
  int rc = check_units(pattern, error);
  if (rc == 0) {
    rc = expand(globs, pattern, before + LC_GLOB_EXPANSIONS_MAX, error);
    if (rc == LC_EINVAL && error != NULL && strncmp(error->message, "pattern ", 8) != 0) {
      rc = lc_error_context(error, "pattern \"%.200s\"", pattern);
    }
  }
  while (rc != 0 && globs->n > before) free(globs->items[--globs->n]);
  return rc;
}

void lc_globs_free(lc_globs *globs) {
  while (globs->n > 0) free(globs->items[--globs->n]);
  free(globs->items);
  globs->items = NULL;
}
