/* The name that a mistyped one was probably meant to be. Any thread. */
#ifndef LC_BIND_NEAREST_H
#define LC_BIND_NEAREST_H

#include <stddef.h>

/* Edit distance, where swapping neighbours counts once. Only the first 63 bytes of each count. */
unsigned lc_edit_distance(const char *a, const char *b);

/* Keeps the best of the candidates that are offered.
 *
 *     lc_nearest nearest = {.name = "pathes"};
 *     lc_nearest_offer(&nearest, "paths");       // for each
 *     if (nearest.best != NULL) ...              // close enough to be meant */
typedef struct lc_nearest {
  const char *name; /* borrowed */
  const char *best; /* borrowed; NULL: none is near */
  unsigned distance;
} lc_nearest;
void lc_nearest_offer(lc_nearest *nearest, const char *candidate);

#endif
