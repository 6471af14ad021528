#include "bind/nearest.h"

#include <stdbool.h>
#include <string.h>

#define LENGTH_MAX 63u

static unsigned least(unsigned a, unsigned b) { return a < b ? a : b; }

unsigned lc_edit_distance(const char *a, const char *b) {
  unsigned rows[3][LENGTH_MAX + 1];
  unsigned a_len = (unsigned)strnlen(a, LENGTH_MAX), b_len = (unsigned)strnlen(b, LENGTH_MAX);
  for (unsigned j = 0; j <= b_len; j++) rows[0][j] = j;
  for (unsigned i = 1; i <= a_len; i++) {
    unsigned *row = rows[i % 3];
    const unsigned *above = rows[(i - 1) % 3];
    row[0] = i;
    for (unsigned j = 1; j <= b_len; j++) {
      row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
      bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = least(row[j], rows[(i - 2) % 3][j - 2] + 1);
    }
  }
  return rows[a_len % 3][b_len];
}

void lc_nearest_offer(lc_nearest *nearest, const char *candidate) {
  unsigned length = (unsigned)strnlen(nearest->name, LENGTH_MAX);
  unsigned distance = lc_edit_distance(nearest->name, candidate);
  unsigned limit = length < 4 ? 1 : 1 + length / 4;
  if (distance > limit || (nearest->best != NULL && distance >= nearest->distance)) return;
  nearest->best = candidate;
  nearest->distance = distance;
}
