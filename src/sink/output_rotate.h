/* Rotation: a file gets its final name, `PATH.20261123T221530-1` (UTC), and PATH begins anew.
 *
 * The name is committed before the rename, so that the file is found again whenever the process dies.
 *
 * Thread: the job that has the sink. */
#ifndef LC_SINK_OUTPUT_ROTATE_H
#define LC_SINK_OUTPUT_ROTATE_H

#include "sink/output_set.h"

typedef struct lc_rotation {
  uint64_t size;  /* 0: never */
  int64_t age_ns; /* 0: never */
  int64_t second; /* of the last name, and its number: names are made without searching */
  uint32_t number;
  int64_t not_before_ns; /* wall clock: the last try failed */
} lc_rotation;

/* Whether the output is due, and may be. */
bool lc_rotation_due(const lc_rotation *rotation, const lc_output *output, int64_t now_ns);
/* Rotates: *output becomes the new, empty one. A failure (counted, logged) leaves *output as it is, to be written on
 * and rotated later. */
void lc_rotation_turn(lc_rotation *rotation, lc_output_set *set, lc_output **output, int64_t now_ns);
/* Rotates those that are due by age, but not more than a good many at once. True: there may be others. */
bool lc_rotation_turn_aged(lc_rotation *rotation, lc_output_set *set, int64_t now_ns);
/* Whether a name is one that a rotation, or compression after it, gave. */
bool lc_rotation_gave(const char *path);

#endif
