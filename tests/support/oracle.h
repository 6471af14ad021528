/* jansson as the oracle of the JSON slicer: what it says about a text, minus the differences that record/json.h names.
 */
#ifndef LC_TESTS_ORACLE_H
#define LC_TESTS_ORACLE_H

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "record/json.h"
#include "record/json_text.h"

/* Replaces what jansson refuses and the slicer passes through, keeping the length: bytes of 0x80 and above by 'x', and
 * \u escapes of surrogates and of NUL by \u0078. */
static inline char *oracle_copy(const char *text, size_t len) {
  char *copy = malloc(len + 1);
  if (copy == NULL) abort();
  memcpy(copy, text, len);
  copy[len] = 0;
  for (size_t i = 0; i < len; i++) {
    if ((unsigned char)copy[i] >= 0x80) copy[i] = 'x';
    if (copy[i] != '\\' || i + 1 >= len) continue;
    i++; /* the escaped character is not the start of another escape */
    if (copy[i] != 'u' || len - i < 5) continue;
    bool surrogate = (copy[i + 1] == 'd' || copy[i + 1] == 'D') && strchr("89abcdefABCDEF", copy[i + 2]) != NULL &&
                     copy[i + 2] != 0 && strspn(copy + i + 3, "0123456789abcdefABCDEF") >= 2;
    if (surrogate || memcmp(copy + i + 1, "0000", 4) == 0) memcpy(copy + i + 1, "0078", 4);
  }
  return copy;
}

static inline size_t oracle_depth(const json_t *value) {
  size_t most = 0, index;
  const char *key;
  json_t *child;
  if (json_is_object(value)) {
    json_object_foreach((json_t *)value, key, child) {
      size_t depth = oracle_depth(child);
      if (depth > most) most = depth;
    }
    return most + 1;
  }
  if (!json_is_array(value)) return 0;
  json_array_foreach(value, index, child) {
    size_t depth = oracle_depth(child);
    if (depth > most) most = depth;
  }
  return most + 1;
}

/* Jansson refuses numbers beyond the range of its types; a digit string of this text has none when it is short. */
static inline bool oracle_big_numbers(const char *text, size_t len) {
  size_t digits = 0;
  for (size_t i = 0; i < len; i++) {
    digits = text[i] >= '0' && text[i] <= '9' ? digits + 1 : 0;
    if (digits > 15 || ((text[i] | 0x20) == 'e' && i > 0 && i + 1 < len && strchr("0123456789", text[i - 1]) != NULL &&
                        strchr("+-0123456789", text[i + 1]) != NULL)) {
      return true;
    }
  }
  return false;
}

/* Parses like the slicer. NULL: refused. Jansson overlooks a NUL byte behind a number; no valid text has one. */
static inline json_t *oracle_parse(const char *text, size_t len) {
  if (len > 0 && memchr(text, 0, len) != NULL) return NULL;
  char *copy = oracle_copy(text, len);
  json_t *root = json_loadb(copy, len, 0, NULL);
  free(copy);
  if (root != NULL && (!json_is_object(root) || oracle_depth(root) > 256)) {
    json_decref(root);
    return NULL;
  }
  return root;
}

#endif
