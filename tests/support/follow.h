/* Runs a monitor into a double sink through the real pipeline, and can do so again on the same state.
 *
 *     follow_init(&self, test);
 *     self.options.from_beginning = true;
 *     follow_glob(&self, "in/" "*.log");
 *     follow_start(&self, false);
 *     follow_until(&self, "a\nb\n");     // fails the test after a deadline
 *     follow_stop(&self);               // and start again, or
 *     follow_deinit(&self);
 *
 * Thread: the test's. */
#ifndef LC_TESTS_FOLLOW_H
#define LC_TESTS_FOLLOW_H

#include "io/inodes.h"
#include "io/store.h"
#include "monitor/file_monitor.h"
#include "pipeline/engine.h"
#include "support/doubles.h"
#include "support/support.h"

typedef struct follow {
  lc_test *test;
  char state[96], glob[4][128];
  const char *paths[4];
  lc_file_monitor_options options;
  lc_monitor *(*make)(struct follow *self, lc_registry *registry); /* NULL: a file monitor of `options` */
  uint64_t memory;     /* of the pipeline; 0: the default */
  double_policy policy;
  lc_runtime runtime;
  lc_engine *engine;
  lc_monitor *monitor;
  double_sink *sink;
  lc_engine_result result;
  bool finished;
  uint64_t looks; /* for conditions that wait for more */
  uv_timer_t timer;
  bool ticked;
} follow;

void follow_init(follow *self, lc_test *test);
void follow_glob(follow *self, const char *pattern); /* relative to the test's folder, as all names here are */
void follow_begin(follow *self, void **state, const char *pattern); /* both */
void follow_start(follow *self, bool once);
/* Runs the loop until it holds, or fails the test after a minute. */
void follow_wait(follow *self, bool (*holds)(follow *self));
/* Until the sink has exactly this text. */
void follow_until(follow *self, const char *text);
/* Until so many records are there. */
void follow_until_count(follow *self, uint32_t count);
/* Until a figure of the monitor's stats is this. */
void follow_until_stat(follow *self, const char *name, uint64_t value);
/* For what must not come; what must come is waited for. */
void follow_run_for(follow *self, uint32_t ms);
void follow_wait_finished(follow *self);
const char *follow_text(follow *self);
/* A figure of the monitor's stats. */
uint64_t follow_stat(follow *self, const char *name);
/* Whether the ledger balances and health is green. */
bool follow_healthy(follow *self);
void follow_put(follow *self, const char *name, const char *text); /* appends */
void follow_move(follow *self, const char *from, const char *to);
void follow_delete(follow *self, const char *name);
void follow_stop(follow *self);
void follow_deinit(follow *self);

#endif
