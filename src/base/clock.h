/* Clocks. Only the edges of the program read them; everything below takes time as a parameter. Any thread. */
#ifndef LC_BASE_CLOCK_H
#define LC_BASE_CLOCK_H

#include <stdint.h>

#define LC_SECOND INT64_C(1000000000)
#define LC_MILLISECOND INT64_C(1000000)

int64_t lc_clock_mono(void); /* ns, never jumps */
int64_t lc_clock_wall(void); /* ns since 1970, may jump */

/* RFC 3339 in UTC with nanoseconds as far as they are not 0: "2026-11-23T21:09:20.123456789Z". `ret` has 36 bytes. */
#define LC_TIME_TEXT 36
int lc_time_format(int64_t wall_ns, char ret[LC_TIME_TEXT]); /* returns the length */

#endif
