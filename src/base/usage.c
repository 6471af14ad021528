#include "base/usage.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* The figures of /proc/self/stat that stand behind the name, which may hold anything but a newline. */
static void read_stat(lc_usage *ret) {
  char text[1024];
  FILE *file = fopen("/proc/self/stat", "re");
  if (!file) return;
  size_t len = fread(text, 1, sizeof text - 1, file);
  (void)fclose(file); /* only read */
  text[len] = '\0';
  const char *rest = strrchr(text, ')');
  unsigned long long threads = 0, pages = 0;
  static const char format[] =
      " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %llu %*d %*u %*u %llu";
  if (!rest || sscanf(rest + 1, format, &threads, &pages) != 2) return;
  ret->threads = (uint32_t)threads;
  ret->resident_bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t count_descriptors(void) {
  DIR *dir = opendir("/proc/self/fd");
  if (!dir) return 0;
  uint64_t n = 0;
  while (readdir(dir)) n++;
  (void)closedir(dir); /* only read */
  return n > 3 ? n - 3 : 0; /* ".", ".." and the one that looks */
}

static double seconds(struct timeval time) { return (double)time.tv_sec + (double)time.tv_usec / 1e6; }

lc_usage lc_usage_now(void) {
  lc_usage usage = {.descriptors = count_descriptors()};
  struct rlimit limit;
  struct rusage spent;
  read_stat(&usage);
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) usage.descriptors_limit = limit.rlim_cur;
  if (getrusage(RUSAGE_SELF, &spent) == 0) usage.cpu_seconds = seconds(spent.ru_utime) + seconds(spent.ru_stime);
  return usage;
}
