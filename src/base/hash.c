#include "base/hash.h"

/* Inlined: short keys are hashed without a call into a shared library. */
#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t lc_hash64(const void *bytes, size_t len) {
  return XXH3_64bits(bytes, len);
}

uint64_t lc_hash64_seed(const void *bytes, size_t len, uint64_t seed) {
  return XXH3_64bits_withSeed(bytes, len, seed);
}

lc_hash128 lc_hash_128(const void *bytes, size_t len) {
  XXH128_hash_t hash = XXH3_128bits(bytes, len);
  return (lc_hash128){hash.low64, hash.high64};
}
