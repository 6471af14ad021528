/* How often a stage went past its budget lately: five times within 60 s are too many. Thread: its owner's. */
#ifndef LC_BIND_TRIPS_H
#define LC_BIND_TRIPS_H

#include <stdbool.h>
#include <stdint.h>

#define LC_TRIPS_MOST 5
#define LC_TRIPS_WITHIN_NS INT64_C(60000000000)

typedef struct lc_trips {
  int64_t at_ns[LC_TRIPS_MOST]; /* monotonic; a ring */
  uint64_t n;                   /* in all */
} lc_trips;

/* Notes one; true when there were too many. */
static inline bool lc_trips_add(lc_trips *trips, int64_t now_ns) {
  trips->at_ns[trips->n++ % LC_TRIPS_MOST] = now_ns;
  return trips->n >= LC_TRIPS_MOST && now_ns - trips->at_ns[trips->n % LC_TRIPS_MOST] <= LC_TRIPS_WITHIN_NS;
}

#endif
