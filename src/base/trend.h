/* When a figure is worth an alert: a threshold, and a trend. Both raise once and clear once.
 *
 *     lc_threshold files = {0};
 *     switch (lc_threshold_step(&files, 1012, 1000)) {   // LC_CROSSING_RAISED, and LC_CROSSING_NONE from then on
 *       ...
 *     }
 *     lc_trend memory = {0};
 *     lc_trend_step(&memory, 30, 32e6, resident);        // once per interval: raised by 32 MB of growth in 30 of them
 *
 * Pure; thread: its owner's. */
#ifndef LC_BASE_TREND_H
#define LC_BASE_TREND_H

#include <stdbool.h>
#include <stdint.h>

typedef enum lc_crossing { LC_CROSSING_NONE, LC_CROSSING_RAISED, LC_CROSSING_CLEARED } lc_crossing;

/* Raised from `limit` on, cleared below nine tenths of it. A limit of 0 is none. */
typedef struct lc_threshold {
  bool active;
} lc_threshold;
lc_crossing lc_threshold_step(lc_threshold *threshold, double value, double limit);

#define LC_TREND_LEAST 5u
#define LC_TREND_MOST 360u

/* Looks at the last samples: `growth` is the median slope between all pairs of them (Theil and Sen) over their time, so
 * that a jump or a few odd samples count little; `steady` is by how much more pairs rise than fall, from -1 to 1
 * (Kendall). Raised when both say so: growth of at least `floor`, steady of at least 0.7; cleared when either is below
 * half of that. */
typedef struct lc_trend {
  double samples[LC_TREND_MOST]; /* the oldest first */
  uint32_t n;
  bool active;
  double growth, steady;
} lc_trend;
/* `window`: samples to look at, from LC_TREND_LEAST to LC_TREND_MOST; nothing is said before there are so many. A floor
 * of 0 is none. */
lc_crossing lc_trend_step(lc_trend *trend, uint32_t window, double floor, double value);

#endif
