/* One run of an engine with one pipeline of doubles.
 *
 *     run r;
 *     run_begin(&r, *state, true);
 *     run_with_sink(&r, "sink", DOUBLE_AT_ONCE);
 *     double_monitor_partition(r.monitor, "a", 10);
 *     run_start(&r, 0);
 *     run_until(&r, run_has_finished);
 *     run_end(&r);
 *
 * Thread: the test's. */
#ifndef LC_TESTS_RUN_H
#define LC_TESTS_RUN_H

#include "io/inodes.h"
#include "io/store.h"
#include "pipeline/engine.h"
#include "support/doubles.h"
#include "support/support.h"

typedef struct run {
  lc_test *test;
  lc_runtime runtime;
  lc_engine *engine;
  double_monitor *monitor;
  double_sink *sinks[2];
  double_lender *lender;
  lc_sink *bases[2]; /* of these, in order */
  uint32_t n_sinks;
  lc_stage *stages[4];
  uint32_t n_stages;
  lc_engine_result result;
  bool finished;
  uv_timer_t poll;
  bool (*until)(struct run *run);
  uint32_t polls;
} run;

/* `once` as in lc_runtime. The store and the doubles' state are in the test's folder, for the next run, too. */
void run_begin(run *self, lc_test *test, bool once);
double_sink *run_with_sink(run *self, const char *name, double_policy policy);
double_lender *run_with_lender(run *self, const char *name);
void run_start(run *self, uint64_t memory); /* 0: the default */
/* Runs the loop until `until` says so; polled each millisecond. */
void run_until(run *self, bool (*until)(run *self));
bool run_has_finished(run *self);
char *run_audit(run *self, bool *ret_healthy); /* free it */
/* Moves positions.db away, so that no commit succeeds, or back. */
void run_move_store(run *self, bool away);
void run_assert_in(const char *text, const char *part);
/* Stops it when it still runs, and lets go of everything. */
void run_end(run *self);

#endif
