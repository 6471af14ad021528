/* What the process holds of the system. Any thread; reads /proc, which no disk stands behind. */
#ifndef LC_BASE_USAGE_H
#define LC_BASE_USAGE_H

#include <stdint.h>

typedef struct lc_usage {
  uint64_t resident_bytes;
  uint64_t descriptors;       /* open now */
  uint64_t descriptors_limit; /* the soft limit */
  uint32_t threads;
  double cpu_seconds; /* user and system */
} lc_usage;

/* What cannot be told is 0. */
lc_usage lc_usage_now(void);

#endif
