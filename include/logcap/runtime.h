/* What every monitor and sink may use. One per process, owned by the application. */
#ifndef LOGCAP_RUNTIME_H
#define LOGCAP_RUNTIME_H

#include <stdbool.h>
#include <uv.h>

#include "logcap/error.h"
#include "logcap/resource.h"

typedef struct lc_runtime {
  uv_loop_t *loop;
  lc_registry *registry;
  struct lc_store *store;   /* the cursor store: thread-safe */
  struct lc_inodes *own;    /* files that logcap itself writes: thread-safe; monitors leave them alone */
  const char *state_dir;
  bool once; /* read what is there, then stop */
  uint64_t drain_ms;    /* after a reload, so long may what is named no more drain; 0: 30 s */
  const int64_t *clock_ns; /* the wall clock of a test, which moves it (loop thread); NULL: the real one */
  uint64_t patience_ms; /* with `once`: so long may all sinks settle nothing before the run gives up; 0: 30 s */
} lc_runtime;

#endif
