/* Hashes: xxHash's XXH3, seedless for what is stored. Any thread. */
#ifndef LC_BASE_HASH_H
#define LC_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct lc_hash128 {
  uint64_t low, high;
} lc_hash128;

uint64_t lc_hash64(const void *bytes, size_t len);
uint64_t lc_hash64_seed(const void *bytes, size_t len, uint64_t seed);
lc_hash128 lc_hash_128(const void *bytes, size_t len);

#endif
