/* Random sequences of reloads: monitors, sinks and whole pipelines come, go, move, are replaced, closed in use, stopped
 * by a stage and paused, while sinks hold what they get or cannot be opened, memory runs short, nothing can be saved, and
 * logcap stops and starts again from the same store.
 * A sink that was named all the time has every record of each source, exactly once and in order; no other has one twice.
 *
 * LOGCAP_SEED names the first seed, LOGCAP_ROUNDS how many are tried. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "pipeline/inside.h"
#include "pipeline/inspect.h"
#include "pipeline/reload.h"
#include "support/run.h"

#define SINKS 4     /* the first one is named by all, all the time */
#define MONITORS 4  /* the first one, too */
#define PIPELINES 3 /* the first one, too */
#define RECORDS 4000u
#define STEPS 25

typedef struct world {
  run r;
  unsigned seed;
  bool replaces; /* sinks are replaced now and then: order is kept by each of them alone */
  bool closes;   /* somebody closes sinks and monitors in use, and stages stop pipelines */
  bool away;     /* the store */
  bool was_away; /* a monitor that could not load its cursors then stopped its pipeline */
  char why[480]; /* the last reload failed */
  lc_buf text[SINKS];
  lc_sink *live[SINKS]; /* counted; the newest of each name */
} world;

static unsigned dice(world *w, unsigned n) { return (unsigned)rand_r(&w->seed) % n; }

static _Atomic int fuse; /* at so many batches a stage stops its pipeline; 0: none does */

static int pass(lc_stage *stage, lc_batch *batch, uint32_t *at, uint32_t to, int64_t now_ns, lc_error *error) {
  (void)stage, (void)batch, (void)now_ns;
  if (atomic_load(&fuse) > 0 && atomic_fetch_sub(&fuse, 1) == 1) return lc_error_set(error, LC_EINVAL, "it burnt down");
  *at = to;
  return 0;
}

/* --- describing --- */

typedef struct generation {
  lc_monitor *monitors[MONITORS];
  lc_sink *sinks[SINKS];
  lc_pipeline *pipelines[PIPELINES];
  uint32_t n;
} generation;

static lc_monitor *make_monitor(world *w, unsigned i) {
  char name[8];
  snprintf(name, sizeof name, "m%u", i);
  double_monitor *monitor = double_monitor_create(w->r.test->registry, name);
  double_monitor_partition(monitor, name, RECORDS);
  double_monitor_batch(monitor, 1 + dice(w, 20));
  double_monitor_train(monitor, 1 + dice(w, 3), dice(w, 3));
  double_monitor_fit(monitor, dice(w, 3) == 0 ? LC_FIT_REPLACE : LC_FIT_CHANGED);
  return double_monitor_base(monitor);
}

static lc_sink *make_sink(world *w, unsigned i, bool may_fail) {
  static const double_policy policies[] = {DOUBLE_AT_ONCE, DOUBLE_REVERSE, DOUBLE_HOLD};
  char name[8];
  snprintf(name, sizeof name, "s%u", i);
  double_sink *sink = double_sink_create(w->r.test->registry, name, i == 0 ? DOUBLE_AT_ONCE : policies[dice(w, 3)]);
  double_sink_into(sink, &w->text[i]);
  double_sink_fit(sink, w->replaces && dice(w, 4) == 0 ? LC_FIT_REPLACE : LC_FIT_CHANGED);
  if (may_fail && dice(w, 20) == 0) double_sink_fail_open(sink);
  return double_sink_base(sink);
}

static lc_pipeline *make_pipeline(world *w, generation *g, unsigned p, const unsigned *owner) {
  char name[8];
  lc_error error = {0};
  lc_monitor *monitors[MONITORS];
  lc_sink *sinks[SINKS];
  lc_stage *stage = double_stage_create(w->r.test->registry, "pass", dice(w, 2) ? LC_STAGE_STATELESS : 0, pass);
  snprintf(name, sizeof name, "p%u", p);
  lc_pipeline_options options = {.name = name, .made_at = "x.lua:1", .monitors = monitors, .sinks = sinks,
                                 .stages = &stage, .n_stages = dice(w, 2), .memory = UINT64_C(2) << 20};
  for (unsigned m = 0; m < MONITORS; m++) {
    if (owner[m] == p) monitors[options.n_monitors++] = g->monitors[m];
  }
  for (unsigned s = 0; s < SINKS; s++) {
    if (s == 0 || dice(w, 2)) sinks[options.n_sinks++] = g->sinks[s];
  }
  lc_pipeline *pipeline = NULL;
  if (options.n_monitors > 0) assert_int_equal(lc_pipeline_create(&options, w->r.test->registry, &pipeline, &error), 0);
  lc_resource_release(&stage->resource);
  return pipeline;
}

/* With `all`, every monitor has a pipeline. */
static void describe(world *w, generation *g, bool all, bool may_fail) {
  unsigned owner[MONITORS] = {0};
  *g = (generation){0};
  for (unsigned m = 1; m < MONITORS; m++) owner[m] = dice(w, all ? PIPELINES : PIPELINES + 1);
  for (unsigned m = 0; m < MONITORS; m++) g->monitors[m] = make_monitor(w, m);
  for (unsigned s = 0; s < SINKS; s++) g->sinks[s] = make_sink(w, s, may_fail);
  for (unsigned p = 0; p < PIPELINES; p++) {
    lc_pipeline *made = make_pipeline(w, g, p, owner);
    if (made != NULL) g->pipelines[g->n++] = made;
  }
}

static void let_go(generation *g) {
  for (uint32_t p = 0; p < g->n; p++) lc_pipeline_release(g->pipelines[p]);
  for (unsigned m = 0; m < MONITORS; m++) lc_resource_release(&g->monitors[m]->resource);
  for (unsigned s = 0; s < SINKS; s++) lc_resource_release(&g->sinks[s]->resource);
}

static void note_live(world *w, unsigned s, lc_resource *live) {
  if (w->live[s] == (lc_sink *)live) return;
  lc_resource_retain(live);
  if (w->live[s] != NULL) lc_resource_release(&w->live[s]->resource);
  w->live[s] = (lc_sink *)live;
}

static int reload(world *w, bool all, bool trouble) {
  generation g;
  lc_reload *planned = NULL;
  lc_error error = {0};
  describe(w, &g, all, trouble);
  if (trouble && dice(w, 4) == 0) lc_fault_after(1 + dice(w, 120));
  int rc = lc_reload_prepare(w->r.engine, g.pipelines, g.n, &planned, &error);
  lc_fault_off();
  snprintf(w->why, sizeof w->why, "%s", error.message);
  if (rc == 0) {
    for (unsigned s = 0; s < SINKS; s++) note_live(w, s, lc_reload_live(planned, &g.sinks[s]->resource));
    if (trouble && dice(w, 10) == 0) lc_reload_cancel(planned);
    else lc_reload_commit(planned);
  }
  let_go(&g);
  return rc;
}

/* --- running --- */

/* A sink or a monitor, which another generation may have replaced already. */
static void close_one(world *w) {
  unsigned i = dice(w, SINKS);
  if (dice(w, 2) == 0) {
    lc_resource_close(&w->live[i]->resource);
    return;
  }
  const lc_engine *engine = w->r.engine;
  if (engine->n_pipelines == 0) return; /* those that had stopped are gone, and their successors not yet there */
  const lc_pipeline *pipeline = engine->pipelines[dice(w, engine->n_pipelines)];
  if (pipeline->n_feeds > 0) lc_resource_close(&pipeline->feeds[dice(w, pipeline->n_feeds)]->monitor->resource);
}

static void turn(world *w, unsigned ms) {
  uint64_t until = uv_hrtime() + ms * UINT64_C(1000000);
  do {
    lc_registry_run(w->r.test->registry);
    uv_run(&w->r.test->loop, UV_RUN_NOWAIT);
    struct timespec nap = {0, 20000};
    nanosleep(&nap, NULL);
  } while (uv_hrtime() < until);
}

/* Back, it waits until a commit succeeded: one under way may fail yet, the next one is a second off, and a stop may have
 * less. */
static void move_store(world *w, bool away) {
  if (w->away == away) return;
  run_move_store(&w->r, away);
  w->away = away;
  w->was_away = true;
  while (!away && (w->r.engine->last_failures > 0 || w->r.engine->commit_running)) turn(w, 5);
}

static void pause_some(world *w, bool paused) {
  for (unsigned p = 0; p < PIPELINES; p++) {
    char name[8];
    lc_error error = {0};
    snprintf(name, sizeof name, "p%u", p);
    int rc = !paused || dice(w, 3) == 0 ? lc_engine_pause(w->r.engine, name, paused, &error) : 0;
    assert_true(rc == 0 || rc == LC_ENOENT);
  }
}

static void open_hands(world *w) {
  for (unsigned s = 1; s < SINKS; s++) {
    lc_sink *sink = w->live[s];
    if (sink == NULL || lc_resource_state_of(&sink->resource) != LC_RES_OPEN) continue;
    double_sink_release((double_sink *)sink, DOUBLE_AT_ONCE);
  }
}

static void on_finished(void *arg, const lc_engine_result *result) {
  world *w = arg;
  w->r.finished = true;
  w->r.result = *result;
}

static void start(world *w, lc_test *test) {
  generation g;
  lc_error error = {0};
  run *r = &w->r;
  *r = (run){.test = test};
  r->runtime = (lc_runtime){.loop = &test->loop, .registry = test->registry, .state_dir = test->dir, .drain_ms = 300};
  assert_int_equal(lc_store_open(test->dir, &r->runtime.store, &error), 0);
  assert_int_equal(lc_inodes_create(&r->runtime.own, &error), 0);
  assert_int_equal(lc_engine_create(&r->runtime, &r->engine, &error), 0);
  describe(w, &g, false, false);
  for (uint32_t p = 0; p < g.n; p++) assert_int_equal(lc_engine_add(r->engine, g.pipelines[p], &error), 0);
  for (unsigned s = 0; s < SINKS; s++) note_live(w, s, &g.sinks[s]->resource);
  let_go(&g);
  assert_int_equal(lc_engine_open(r->engine, &error), 0);
  lc_engine_start(r->engine, on_finished, w);
}

static void stop(world *w) {
  run *r = &w->r;
  if (dice(w, 2)) open_hands(w);
  move_store(w, false);
  if (!r->finished) lc_engine_stop(r->engine, INT64_C(100000000));
  run_until(r, run_has_finished);
  if (!w->closes && !w->was_away) assert_false(r->result.failed);
  lc_engine_destroy(r->engine);
  for (unsigned s = 0; s < SINKS; s++) {
    lc_resource_release(&w->live[s]->resource);
    w->live[s] = NULL;
  }
  lc_registry_run(r->test->registry);
  lc_store_close(r->runtime.store);
  lc_inodes_destroy(r->runtime.own);
}

/* --- checking --- */

static void check_sink(world *w, unsigned s, unsigned seed) {
  static uint8_t seen[MONITORS][RECORDS];
  uint32_t last[MONITORS] = {0};
  memset(seen, 0, sizeof seen);
  for (const char *at = lc_buf_cstr(&w->text[s]); *at != '\0';) {
    unsigned m = 0, n = 0;
    int len = 0;
    if (sscanf(at, "m%u %u\n%n", &m, &n, &len) != 2) {
      fail_msg("seed %u: odd line %.20s", seed, at);
    }
    at += len;
    assert_true(m < MONITORS && n < RECORDS);
    /* A stop at the deadline keeps the rows of a sink that held something, and its heir has more. */
    bool twice = seen[m][n]++ > 0 && (s == 0 || (!w->replaces && !w->closes)); /* one that is closed is discarded, too */
    if (twice) fail_msg("seed %u: s%u has record %u of m%u twice", seed, s, n, m);
    if (s == 0 && !w->replaces && n != last[m]) fail_msg("seed %u: s0 expects m%u %u, has %u", seed, m, last[m], n);
    last[m] = n + 1;
  }
  for (unsigned m = 0; s == 0 && m < MONITORS; m++) {
    for (unsigned n = 0; n < RECORDS; n++) {
      if (!seen[m][n]) fail_msg("seed %u: s0 never got record %u of m%u", seed, n, m);
    }
  }
}

/* A read job of the generation before may bring it about after the last reload. */
static bool any_failed(const world *w) {
  for (uint32_t p = 0; p < w->r.engine->n_pipelines; p++) {
    if (w->r.engine->pipelines[p]->failed) return true;
  }
  return false;
}

static bool first_has_all(const world *w) {
  size_t lines = 0;
  for (size_t i = 0; i < w->text[0].len; i++) lines += w->text[0].data[i] == '\n';
  return lines >= (size_t)MONITORS * RECORDS;
}

static bool all_or_failed(run *r) {
  world *w = (world *)r; /* its first member */
  open_hands(w);
  pause_some(w, false);
  return first_has_all(w) || any_failed(w);
}

static void one_round(lc_test *test, unsigned seed) {
  world w = {.seed = seed};
  w.replaces = dice(&w, 2);
  w.closes = dice(&w, 2);
  start(&w, test);
  for (int i = 0; i < STEPS; i++) {
    turn(&w, dice(&w, 4) == 0 ? 30 : dice(&w, 6));
    if (dice(&w, 3) == 0) open_hands(&w);
    if (dice(&w, 12) == 0 || w.r.engine->phase != LC_ENGINE_RUNS) {
      stop(&w);
      start(&w, test);
      continue;
    }
    for (unsigned n = dice(&w, 4); w.closes && n > 0; n--) close_one(&w);
    if (w.closes && !w.away && dice(&w, 6) == 0) atomic_store(&fuse, 1 + (int)dice(&w, 10));
    if (dice(&w, 8) == 0) pause_some(&w, dice(&w, 2));
    if (dice(&w, 8) == 0 && atomic_load(&fuse) == 0) move_store(&w, !w.away);
    if (w.closes && dice(&w, 2)) turn(&w, dice(&w, 4));
    (void)reload(&w, false, true);
  }
  atomic_store(&fuse, 0);
  move_store(&w, false);
  if (w.r.engine->phase != LC_ENGINE_RUNS) { /* stages had stopped all pipelines */
    stop(&w);
    start(&w, test);
  }
  do {
    int rc = LC_EAGAIN;
    for (int i = 0; i < 2000 && rc == LC_EAGAIN; i++) {
      rc = reload(&w, true, false);
      open_hands(&w);
      turn(&w, 2);
    }
    if (rc != 0) fail_msg("seed %u: the last reload gave %d: %s", seed, rc, w.why);
    run_until(&w.r, all_or_failed);
  } while (!first_has_all(&w));
  stop(&w);
  for (unsigned s = 0; s < SINKS; s++) {
    check_sink(&w, s, seed);
    lc_buf_free(&w.text[s]);
  }
}

static unsigned of_environment(const char *name, unsigned otherwise) {
  const char *text = getenv(name);
  return text != NULL ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static void test_whatever_is_reloaded_each_record_arrives_once(void **state) {
  unsigned first = of_environment("LOGCAP_SEED", (unsigned)time(NULL)), rounds = of_environment("LOGCAP_ROUNDS", 3);
  for (unsigned i = 0; i < rounds; i++) {
    one_round(*state, first + i);
    lc_test *test = *state; /* the next round begins with an empty store */
    assert_int_equal(lc_remove_tree(test->dir), 0);
    assert_int_equal(mkdir(test->dir, 0700), 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {lc_test_case(test_whatever_is_reloaded_each_record_arrives_once)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
