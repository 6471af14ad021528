#include "app/process.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

#define DESCRIPTORS_WANTED 16384u

static void raise_descriptor_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= DESCRIPTORS_WANTED) return;
  rlim_t before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max < DESCRIPTORS_WANTED ? limit.rlim_max : DESCRIPTORS_WANTED;
  if (limit.rlim_cur > before && setrlimit(RLIMIT_NOFILE, &limit) != 0) {
    lc_log(LC_LOG_WARN, "run", "cannot raise the limit of descriptors", LC_I("limit", before));
  }
}

void lc_process_setup(void) {
  /* A heap for each thread of the pool would keep what batches left there: two bound it. */
  (void)mallopt(M_ARENA_MAX, 2);
  (void)signal(SIGPIPE, SIG_IGN);
  raise_descriptor_limit();
}

bool lc_process_on_terminal(void) {
  return isatty(STDIN_FILENO) || isatty(STDOUT_FILENO) || isatty(STDERR_FILENO);
}

int lc_process_register_output(lc_inodes *own, lc_error *error) {
  const int outputs[] = {STDOUT_FILENO, STDERR_FILENO};
  for (int i = 0; i < 2; i++) {
    struct stat st;
    if (fstat(outputs[i], &st) != 0 || !S_ISREG(st.st_mode)) continue; /* closed, a terminal or a pipe */
    int rc = lc_inodes_add_fd(own, outputs[i], error);
    if (rc != 0) return rc;
  }
  return 0;
}
