/* A trial: pipeline files in a real engine, with doubles in the place of their monitors and sinks, and a clock that the
 * test drives. What `logcap.testing` stands on.
 *
 *     lc_trial_open(files, n, &(lc_trial_options){.clock_ns = now}, &trial, &error); // "a.lua:3: ..." when wrong
 *     lc_trial_feed(trial, &trial->parts[0], "shop.log", "one\ntwo\n", 8, &error);    // returns when all is at rest
 *     lc_trial_advance(trial, 10 * LC_SECOND, &error);                                // ticks, open groups
 *     ... lc_memory_sink_entry(trial->parts[i].sink, 0) ...
 *     rc = lc_trial_close(trial, &error);                                               // LC_EBUSY: something is left
 *
 * It has a registry, a loop and a state directory of its own; the latter is made in $TMPDIR or /tmp, and removed.
 *
 * Thread: the one that opened it; the loop runs inside these calls. */
#ifndef LC_BIND_TRIAL_H
#define LC_BIND_TRIAL_H

#include "bind/generation.h"
#include "io/inodes.h"
#include "io/store.h"
#include "pipeline/engine.h"

/* A monitor or a sink of the files, and its double. */
typedef struct lc_trial_part {
  lc_resource *original; /* counted */
  lc_monitor *monitor;   /* the double, counted: one of these two */
  lc_sink *sink;
  const char *pipeline; /* borrowed from the generation: that the monitor feeds; NULL for sinks */
  char *label;          /* owned: how a test names it: its name, else its kind; the second of these "kind#2" */
} lc_trial_part;

typedef struct lc_trial {
  int64_t clock_ns, next_tick_ns;
  char dir[64]; /* the state directory; empty until made */
  uv_loop_t loop;
  bool loop_ready, started, finished;
  lc_registry *registry;
  lc_inodes *own;
  lc_store *store;
  lc_generation *generation;
  lc_engine *engine;
  lc_runtime runtime;
  lc_trial_part *parts;
  size_t n_parts;
  uint64_t dead_file, dead_at; /* how far dead letters were read */
} lc_trial;

typedef struct lc_trial_options {
  const char *const *allow;
  size_t n_allow;
  int64_t clock_ns; /* the wall clock at the start */
} lc_trial_options;

int lc_trial_open(const char *const *files, size_t n, const lc_trial_options *options, lc_trial **ret,
                  lc_error *error) LC_CHECK;
/* Feeds a monitor whole lines, and waits until they are settled. LC_ECANCELED when a stage has stopped its pipeline
 * before, with the reason of the first that was stopped. */
int lc_trial_feed(lc_trial *trial, const lc_trial_part *part, const char *source, const char *text, size_t len,
                  lc_error *error) LC_CHECK;
int lc_trial_advance(lc_trial *trial, int64_t by_ns, lc_error *error) LC_CHECK;
/* Closes all open groups, as at the end of a file. */
int lc_trial_flush(lc_trial *trial, lc_error *error) LC_CHECK;
/* Appends the dead letters that were written since the last call: JSON lines. */
int lc_trial_dead_letters(lc_trial *trial, lc_buf *ret, lc_error *error) LC_CHECK;
/* Stops, closes and frees all. LC_EBUSY, naming it, when something was not let go. NULL is allowed. */
int lc_trial_close(lc_trial *trial, lc_error *error);

#endif
