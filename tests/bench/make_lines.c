/* Writes the benchmark's input: JSON lines of about 220 bytes, the same for the same count.
 *
 *     make_lines 1000000 >in.json
 *
 * One line in six has the level "debug". */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t next_random(uint64_t *seed) { /* splitmix64 */
  uint64_t z = (*seed += UINT64_C(0x9e3779b97f4a7c15));
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

static int write_line(uint64_t number, uint64_t *seed) {
  static const char *const levels[] = {"debug", "info", "info", "info", "warn", "error"};
  static const char *const services[] = {"checkout", "cart", "search", "users"};
  static const int statuses[] = {200, 200, 200, 201, 204, 302, 404, 500};
  uint64_t dice = next_random(seed), user = next_random(seed) % 100000000;
  uint64_t high = next_random(seed), low = next_random(seed);
  unsigned seconds = (unsigned)(number / 1000 % 60), minutes = (unsigned)(number / 60000 % 60);
  return printf("{\"time\":\"2026-11-23T12:%02u:%02u.%03uZ\",\"level\":\"%s\",\"service\":\"%s\",\"host\":\"web-%02u\","
                "\"trace_id\":\"%016" PRIx64 "%016" PRIx64 "\",\"user_id\":%" PRIu64 ",\"status\":%d,"
                "\"duration_ms\":%u.%03u,\"message\":\"GET /api/v1/cart/%" PRIu64 " done\"}\n",
                minutes, seconds, (unsigned)(number % 1000), levels[dice % 6], services[(dice >> 8) % 4],
                (unsigned)(number % 16), high, low, user, statuses[(dice >> 16) % 8], (unsigned)((dice >> 24) % 500),
                (unsigned)((dice >> 40) % 1000), number % 1000);
}

int main(int argc, char **argv) {
  uint64_t lines = argc == 2 ? strtoull(argv[1], NULL, 10) : 0, seed = 42;
  if (lines == 0) return (void)fprintf(stderr, "usage: make_lines COUNT\n"), 2;
  for (uint64_t i = 0; i < lines; i++) {
    if (write_line(i, &seed) < 0) return perror("make_lines"), 1;
  }
  if (fflush(stdout) != 0) return perror("make_lines"), 1;
  return 0;
}
