#include "base/trend.h"

#include <stdlib.h>
#include <string.h>

#define CLEARS_BELOW 0.9
#define STEADY 0.7

static lc_crossing set(bool *active, bool now) {
  if (*active == now) return LC_CROSSING_NONE;
  *active = now;
  return now ? LC_CROSSING_RAISED : LC_CROSSING_CLEARED;
}

lc_crossing lc_threshold_step(lc_threshold *threshold, double value, double limit) {
  if (limit <= 0) return set(&threshold->active, false);
  return set(&threshold->active, value >= (threshold->active ? CLEARS_BELOW * limit : limit));
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The slopes between all pairs: 64,620 at the most, 435 as a rule. */
static void look(lc_trend *trend) {
  uint32_t n = trend->n, pairs = 0;
  int64_t rising = 0;
  double *slopes = malloc((size_t)n * (n - 1) / 2 * sizeof *slopes);
  if (slopes == NULL) return; /* what was seen last stays */
  for (uint32_t i = 0; i < n; i++) {
    for (uint32_t j = i + 1; j < n; j++) {
      double rise = trend->samples[j] - trend->samples[i];
      rising += (rise > 0) - (rise < 0);
      slopes[pairs++] = rise / (j - i);
    }
  }
  qsort(slopes, pairs, sizeof *slopes, compare);
  trend->growth = slopes[pairs / 2] * (n - 1);
  trend->steady = (double)rising / pairs;
  free(slopes);
}

lc_crossing lc_trend_step(lc_trend *trend, uint32_t window, double floor, double value) {
  if (trend->n >= window) { /* the window may have been made smaller */
    uint32_t gone = trend->n - window + 1;
    trend->n -= gone;
    memmove(trend->samples, trend->samples + gone, trend->n * sizeof *trend->samples);
  }
  trend->samples[trend->n++] = value;
  if (floor <= 0 || trend->n < window) return set(&trend->active, false);
  look(trend);
  double share = trend->active ? 0.5 : 1;
  return set(&trend->active, trend->growth >= share * floor && trend->steady >= share * STEADY);
}
