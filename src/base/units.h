/* Durations and sizes as operators write them: "250ms", "10s", "5m", "1h", "7d"; "64KiB", "10MiB", "5GiB", plain
 * numbers are seconds or bytes. Any thread. */
#ifndef LC_BASE_UNITS_H
#define LC_BASE_UNITS_H

#include <stdint.h>

#include "logcap/error.h"

int lc_parse_duration(const char *text, int64_t *ret_ns, lc_error *error) LC_CHECK;
int lc_parse_size(const char *text, uint64_t *ret_bytes, lc_error *error) LC_CHECK;

#endif
