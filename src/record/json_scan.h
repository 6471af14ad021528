/* The scanning kernels of the JSON slicer: 32 bytes at a time with SSE2, plain C elsewhere (LC_JSON_PLAIN forces it).
 *
 * All of them read up to 32 bytes from `p` on, whatever the text's end; the slicer guarantees that these bytes can be
 * read and that a control character stands at the end of the text, at which every scan stops.
 *
 * Any thread. */
#ifndef LC_RECORD_JSON_SCAN_H
#define LC_RECORD_JSON_SCAN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && !defined(LC_JSON_PLAIN)
#include <emmintrin.h>
#define LC_JSON_SSE2 1
#endif

#define LC_SCAN_KEY 32u /* longest text that lc_scan_matches compares */

#define lc_likely(x) __builtin_expect(!!(x), 1)
#define lc_unlikely(x) __builtin_expect(!!(x), 0)

#ifdef LC_JSON_SSE2

static inline uint32_t lc_scan_stops16(const char *p) {
  __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
  __m128i quotes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
  __m128i slashes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
  __m128i controls = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
  return (uint32_t)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quotes, slashes), controls));
}

/* The first quote, backslash or control character from `p` on. Most strings are short. */
static inline const char *lc_scan_string(const char *p) {
  uint32_t first = lc_scan_stops16(p);
  if (lc_likely(first != 0)) return p + __builtin_ctz(first);
  for (p += 16;; p += 32) {
    uint32_t stops = lc_scan_stops16(p) | lc_scan_stops16(p + 16) << 16;
    if (lc_likely(stops != 0)) return p + __builtin_ctz(stops);
  }
}

/* Whether `text`, whose bytes are those set in `mask`, stands at `p`. */
static inline bool lc_scan_matches(const char *p, const char text[LC_SCAN_KEY], uint32_t mask) {
  __m128i low = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(const void *)p),
                               _mm_loadu_si128((const __m128i *)(const void *)text));
  __m128i high = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(const void *)(p + 16)),
                                _mm_loadu_si128((const __m128i *)(const void *)(text + 16)));
  uint32_t same = (uint32_t)_mm_movemask_epi8(low) | (uint32_t)_mm_movemask_epi8(high) << 16;
  return (mask & ~same) == 0;
}

/* Bit i is set when p[i] is a digit, for 16 bytes. */
static inline uint32_t lc_scan_digits(const char *p) {
  __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
  __m128i values = _mm_sub_epi8(bytes, _mm_set1_epi8('0'));
  return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(values, _mm_set1_epi8(9)), values));
}

#else

static inline bool lc_scan_is_stop(char c) {
  return (unsigned char)c < 0x20 || c == '"' || c == '\\';
}

static inline const char *lc_scan_string(const char *p) {
  const uint64_t ones = UINT64_C(0x0101010101010101), highs = UINT64_C(0x8080808080808080);
  for (;; p += 8) {
    uint64_t word, quotes, slashes;
    memcpy(&word, p, 8);
    quotes = word ^ ones * '"';
    slashes = word ^ ones * '\\';
    uint64_t stops = ((quotes - ones) & ~quotes) | ((slashes - ones) & ~slashes) | ((word - ones * 0x20) & ~word);
    if ((stops & highs) == 0) continue;
    while (!lc_scan_is_stop(*p)) p++;
    return p;
  }
}

static inline bool lc_scan_matches(const char *p, const char text[LC_SCAN_KEY], uint32_t mask) {
  return memcmp(p, text, mask == UINT32_MAX ? 32 : (size_t)__builtin_ctz(~mask)) == 0;
}

static inline uint32_t lc_scan_digits(const char *p) {
  uint32_t digits = 0;
  for (unsigned i = 0; i < 16; i++) digits |= (uint32_t)((unsigned char)(p[i] - '0') <= 9) << i;
  return digits;
}

#endif

static inline bool lc_scan_space(char c) {
  return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static inline bool lc_scan_hex4(const char *p) {
  for (int i = 0; i < 4; i++) {
    char low = (char)(p[i] | 0x20);
    if (!((p[i] >= '0' && p[i] <= '9') || (low >= 'a' && low <= 'f'))) return false;
  }
  return true;
}

/* Compares two pieces of equal length; both are short most of the time. */
static inline bool lc_scan_equal(const char *a, const char *b, size_t len) {
  if (len >= 8) {
    uint64_t x, y, u, v;
    memcpy(&x, a, 8);
    memcpy(&y, b, 8);
    if (x != y) return false;
    if (len > 16) return memcmp(a + 8, b + 8, len - 8) == 0;
    memcpy(&u, a + len - 8, 8);
    memcpy(&v, b + len - 8, 8);
    return u == v;
  }
  if (len >= 4) {
    uint32_t x, y, u, v;
    memcpy(&x, a, 4);
    memcpy(&y, b, 4);
    memcpy(&u, a + len - 4, 4);
    memcpy(&v, b + len - 4, 4);
    return x == y && u == v;
  }
  for (size_t i = 0; i < len; i++) {
    if (a[i] != b[i]) return false;
  }
  return true;
}

#endif
