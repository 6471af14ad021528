/* Appends lines to a file at a steady rate while it rotates by rename, reads them back from a collector's output, and
 * says how long each took, and whether each came once.
 *
 *     latency INPUT OUTPUT LINES_A_SECOND SECONDS ROTATE_SECONDS
 *
 * One thread writes a group of lines each millisecond, every line stamped with the time just before its write; one polls
 * the output. Prints one JSON object. Exits 1 when a line was lost or came twice. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MS INT64_C(1000000)
#define GRACE_NS (60000 * MS) /* how long the output may take after the last line */

typedef struct bench {
  const char *input, *output;
  uint32_t rate, seconds, rotate;
  uint32_t total;
  int64_t *waited;  /* per line: ns from append to sight; 0: not seen */
  uint32_t seen, twice, foreign;
  _Atomic uint32_t written;
  _Atomic int failed; /* errno of the writer */
} bench;

static int64_t now(void) {
  struct timespec ts;
  (void)clock_gettime(CLOCK_MONOTONIC, &ts);
  return (int64_t)ts.tv_sec * 1000 * MS + ts.tv_nsec;
}

static void sleep_until(int64_t at) {
  struct timespec ts = {(time_t)(at / (1000 * MS)), (long)(at % (1000 * MS))};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR) {
  }
}

static int reopen(const bench *self, int fd, uint32_t generation) {
  char name[4096];
  if (fd >= 0) {
    (void)close(fd);
    (void)snprintf(name, sizeof name, "%s.%" PRIu32, self->input, generation);
    if (rename(self->input, name) != 0) return -1;
  }
  return open(self->input, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* Lines `from` to `to` in one write. */
static int write_lines(int fd, uint32_t from, uint32_t to) {
  static char block[1 << 16];
  size_t len = 0;
  for (uint32_t i = from; i < to && len < sizeof block - 256; i++) {
    len += (size_t)sprintf(block + len,
                           "seq=%010" PRIu32 " at=%020" PRId64
                           " level=info service=checkout message=\"a line of a usual length, with some words in it\"\n",
                           i, now());
  }
  return write(fd, block, len) == (ssize_t)len ? 0 : -1;
}

static void *write_all(void *arg) {
  bench *self = arg;
  int64_t began = now();
  uint32_t each = self->rate / 1000, generation = 0, done = 0;
  int fd = reopen(self, -1, 0);
  for (uint32_t tick = 0; fd >= 0 && done < self->total; tick++) {
    if (self->rotate && tick > 0 && tick % (self->rotate * 1000) == 0) fd = reopen(self, fd, ++generation);
    if (fd < 0 || write_lines(fd, done, done + each) != 0) break;
    done += each;
    atomic_store(&self->written, done);
    sleep_until(began + (int64_t)(tick + 1) * MS);
  }
  if (done < self->total) atomic_store(&self->failed, errno ? errno : EIO);
  if (fd >= 0) (void)close(fd);
  return NULL;
}

static void take_line(bench *self, const char *line, int64_t at) {
  uint32_t number;
  int64_t stamp;
  if (sscanf(line, "seq=%" SCNu32 " at=%" SCNd64, &number, &stamp) != 2 || number >= self->total) {
    self->foreign++;
  } else if (self->waited[number]) {
    self->twice++;
  } else {
    self->waited[number] = at > stamp ? at - stamp : 1;
    self->seen++;
  }
}

/* Reads what the output has got; keeps the bytes of an unfinished line. */
static void read_output(bench *self, int fd) {
  static char block[(1 << 20) + 1];
  static size_t kept;
  ssize_t n;
  while ((n = read(fd, block + kept, sizeof block - 1 - kept)) > 0) {
    int64_t at = now();
    char *line = block, *end = block + kept + (size_t)n, *newline;
    *end = '\0';
    while ((newline = memchr(line, '\n', (size_t)(end - line)))) {
      *newline = '\0';
      take_line(self, line, at);
      line = newline + 1;
    }
    kept = (size_t)(end - line);
    memmove(block, line, kept);
  }
}

static void watch_output(bench *self) {
  int fd = -1;
  int64_t give_up = now() + (int64_t)self->seconds * 1000 * MS + GRACE_NS;
  while (self->seen < self->total && now() < give_up && !atomic_load(&self->failed)) {
    if (fd < 0) fd = open(self->output, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) read_output(self, fd);
    sleep_until(now() + MS / 4);
  }
  sleep_until(now() + 300 * MS); /* what comes twice may come late */
  if (fd >= 0) read_output(self, fd);
  if (fd >= 0) (void)close(fd);
}

static int compare(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static double percentile(const bench *self, double part) {
  uint32_t missing = self->total - self->seen; /* sorted to the front as 0 */
  uint32_t at = missing + (uint32_t)((double)self->seen * part);
  return (double)self->waited[at < self->total ? at : self->total - 1] / 1e6;
}

int main(int argc, char **argv) {
  if (argc != 6) return (void)fprintf(stderr, "usage: latency INPUT OUTPUT RATE SECONDS ROTATE_SECONDS\n"), 2;
  bench self = {.input = argv[1], .output = argv[2]};
  self.rate = (uint32_t)atoi(argv[3]);
  self.seconds = (uint32_t)atoi(argv[4]);
  self.rotate = (uint32_t)atoi(argv[5]);
  if (self.rate < 1000 || self.rate > 400000) return (void)fprintf(stderr, "latency: RATE: 1000 to 400000\n"), 2;
  self.total = self.rate / 1000 * 1000 * self.seconds;
  self.waited = calloc(self.total, sizeof *self.waited);
  if (!self.waited) return perror("latency"), 1;
  pthread_t writer;
  int64_t began = now();
  if (pthread_create(&writer, NULL, write_all, &self) != 0) return perror("latency"), 1;
  watch_output(&self);
  (void)pthread_join(writer, NULL);
  qsort(self.waited, self.total, sizeof *self.waited, compare);
  printf("{\"lines\":%" PRIu32 ",\"lost\":%" PRIu32 ",\"twice\":%" PRIu32 ",\"foreign\":%" PRIu32
         ",\"seconds\":%.2f,\"p50_ms\":%.3f,\"p90_ms\":%.3f,\"p99_ms\":%.3f,\"p999_ms\":%.3f,\"max_ms\":%.3f,"
         "\"writer_errno\":%d}\n",
         self.total, self.total - self.seen, self.twice, self.foreign, (double)(now() - began) / 1e9,
         percentile(&self, 0.5), percentile(&self, 0.9), percentile(&self, 0.99), percentile(&self, 0.999),
         percentile(&self, 1.0), atomic_load(&self.failed));
  int rc = self.seen == self.total && !self.twice && !self.foreign ? 0 : 1;
  free(self.waited);
  return rc;
}
