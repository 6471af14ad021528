#include "bind/trial.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/registry.h"
#include "bind/collect.h"
#include "monitor/fed_monitor.h"
#include "sink/memory_sink.h"

#define PATIENCE (60 * LC_SECOND) /* of real time, until all has come to rest */
#define STOP_WITHIN (5 * LC_SECOND)

/* --- the doubles --- */

/* A resource without a name of its own has its identity for one: kind and key. */
static const char *label_of(const lc_resource *res) {
  bool nameless = strcmp(res->name, res->identity) == 0 && strncmp(res->name, res->kind, strlen(res->kind)) == 0;
  return nameless ? res->kind : res->name;
}

static lc_trial_part *find_part(const lc_trial *trial, const lc_resource *original) {
  for (size_t i = 0; i < trial->n_parts; i++) {
    if (trial->parts[i].original == original) return &trial->parts[i];
  }
  return NULL;
}

static char *make_label(const lc_trial *trial, const lc_resource *original, bool sink) {
  const char *label = label_of(original);
  unsigned same = 1;
  char *text = NULL;
  for (size_t i = 0; i < trial->n_parts; i++) {
    const lc_trial_part *part = &trial->parts[i];
    same += (part->sink != NULL) == sink && strcmp(label_of(part->original), label) == 0;
  }
  int len = same == 1 ? asprintf(&text, "%s", label) : asprintf(&text, "%s#%u", label, same);
  return len >= 0 ? text : NULL;
}

/* Room for a part and its label. NULL: no memory. */
static lc_trial_part *add_part(lc_trial *trial, lc_resource *original, bool sink, lc_error *error) {
  lc_trial_part *grown = realloc(trial->parts, (trial->n_parts + 1) * sizeof *grown);
  if (grown != NULL) trial->parts = grown;
  char *label = grown != NULL ? make_label(trial, original, sink) : NULL;
  if (label == NULL) {
    (void)lc_error_set(error, LC_ENOMEM, "out of memory for a double of %s", original->name);
    return NULL;
  }
  grown[trial->n_parts] = (lc_trial_part){.label = label};
  return &grown[trial->n_parts];
}

static int keep_part(lc_trial *trial, lc_trial_part *part, lc_resource *original, int rc) {
  if (rc != 0) {
    free(part->label);
    return rc;
  }
  lc_resource_retain(original);
  part->original = original;
  trial->n_parts++;
  return 0;
}

static int double_monitor(void *arg, lc_monitor *original, lc_monitor **ret, lc_error *error) {
  lc_trial *trial = arg;
  lc_trial_part *part = add_part(trial, &original->resource, false, error);
  if (part == NULL) return LC_ENOMEM;
  int rc = lc_fed_monitor_create(original, trial->registry, &part->monitor, error);
  *ret = part->monitor;
  return keep_part(trial, part, &original->resource, rc);
}

/* Several pipelines may share a sink: so they do its double. */
static int double_sink(void *arg, lc_sink *original, lc_sink **ret, lc_error *error) {
  lc_trial *trial = arg;
  lc_trial_part *part = find_part(trial, &original->resource);
  if (part != NULL) {
    *ret = part->sink;
    return 0;
  }
  part = add_part(trial, &original->resource, true, error);
  if (part == NULL) return LC_ENOMEM;
  int rc = lc_memory_sink_create(original, trial->registry, &part->sink, error);
  *ret = part->sink;
  return keep_part(trial, part, &original->resource, rc);
}

/* --- opening --- */

static int load(lc_trial *trial, const char *const *files, size_t n, const lc_trial_options *options,
                lc_error *error) {
  const lc_generation_doubles doubles = {
      .monitor = double_monitor, .sink = double_sink, .arg = trial, .clock_ns = &trial->clock_ns};
  const lc_generation_options load_options = {
      .allow = options->allow, .n_allow = options->n_allow, .doubles = &doubles};
  int rc = lc_registry_create(&trial->registry, error);
  if (rc == 0) rc = lc_generation_load(files, n, trial->registry, &load_options, &trial->generation, error);
  for (size_t i = 0; rc == 0 && i < trial->generation->n_parts; i++) {
    lc_trial_part *part = find_part(trial, trial->generation->parts[i].resource);
    if (part != NULL && part->monitor != NULL) part->pipeline = trial->generation->parts[i].pipeline;
  }
  return rc;
}

static int make_state_dir(lc_trial *trial, lc_error *error) {
  const char *tmp = getenv("TMPDIR");
  if (tmp == NULL || strlen(tmp) > 40) tmp = "/tmp";
  (void)snprintf(trial->dir, sizeof trial->dir, "%s/logcap-test-XXXXXX", tmp);
  if (mkdtemp(trial->dir) != NULL) return 0;
  int sys = errno;
  trial->dir[0] = '\0';
  return lc_error_sys(error, sys, "cannot make a temporary folder in %s", tmp);
}

static int open_engine(lc_trial *trial, lc_error *error) {
  trial->runtime = (lc_runtime){.loop = &trial->loop,
                                .registry = trial->registry,
                                .store = trial->store,
                                .own = trial->own,
                                .state_dir = trial->dir,
                                .clock_ns = &trial->clock_ns};
  int rc = lc_engine_create(&trial->runtime, &trial->engine, error);
  size_t n = 0;
  lc_pipeline *const *pipelines = lc_generation_pipelines(trial->generation, &n);
  for (size_t i = 0; i < n && rc == 0; i++) rc = lc_engine_add(trial->engine, pipelines[i], error);
  return rc == 0 ? lc_engine_open(trial->engine, error) : rc;
}

static void on_finished(void *arg, const lc_engine_result *result) {
  lc_trial *trial = arg;
  (void)result;
  trial->finished = true;
}

int lc_trial_open(const char *const *files, size_t n, const lc_trial_options *options, lc_trial **ret,
                  lc_error *error) {
  lc_trial *trial = calloc(1, sizeof *trial);
  if (trial == NULL) return lc_error_set(error, LC_ENOMEM, "out of memory");
  trial->clock_ns = options->clock_ns;
  trial->next_tick_ns = options->clock_ns + LC_SECOND;
  trial->dead_file = 1;
  int rc = load(trial, files, n, options, error);
  if (rc == 0) rc = make_state_dir(trial, error);
  if (rc == 0) rc = lc_inodes_create(&trial->own, error);
  if (rc == 0) rc = lc_store_open(trial->dir, &trial->store, error);
  if (rc == 0) {
    int uv = uv_loop_init(&trial->loop);
    trial->loop_ready = uv == 0;
    if (uv != 0) rc = lc_error_set(error, LC_ESYS, "cannot make an event loop: %s", uv_strerror(uv));
  }
  if (rc == 0) rc = open_engine(trial, error);
  if (rc != 0) {
    (void)lc_trial_close(trial, NULL);
    return rc;
  }
  trial->started = true;
  lc_engine_start(trial->engine, on_finished, trial);
  *ret = trial;
  return 0;
}

/* --- running --- */

/* Whether a stage has stopped the pipeline that the monitor feeds. */
static bool is_stopped(const lc_trial *trial, const lc_trial_part *part) {
  const lc_generation *generation = trial->generation;
  size_t i = 0;
  while (strcmp(generation->names[i], part->pipeline) != 0) i++;
  return lc_pipeline_failed(generation->pipelines[i]);
}

static bool monitors_wait(const lc_trial *trial) {
  for (size_t i = 0; i < trial->n_parts; i++) {
    const lc_trial_part *part = &trial->parts[i];
    if (part->monitor != NULL && lc_fed_monitor_waits(part->monitor) && !is_stopped(trial, part)) return true;
  }
  return false;
}

static bool at_rest(const lc_trial *trial) {
  return trial->finished || (lc_engine_at_rest(trial->engine) && !monitors_wait(trial));
}

static int run_to_rest(lc_trial *trial, lc_error *error) {
  const int64_t until = lc_clock_mono() + PATIENCE;
  for (;;) {
    (void)lc_registry_run(trial->registry);
    if (at_rest(trial)) return 0;
    if (lc_clock_mono() > until) {
      return lc_error_set(error, LC_EBUSY, "the pipeline does not come to rest: it has been busy for a minute");
    }
    bool alive = uv_run(&trial->loop, UV_RUN_ONCE) != 0; /* the end of all that is under way wakes it */
    if (!alive && !at_rest(trial)) return lc_error_set(error, LC_ENOMEM, "out of memory for a batch of records");
  }
}

int lc_trial_feed(lc_trial *trial, const lc_trial_part *part, const char *source, const char *text, size_t len,
                  lc_error *error) {
  if (is_stopped(trial, part)) {
    return lc_error_set(error, LC_ECANCELED, "pipeline \"%.100s\" is stopped: %s", part->pipeline,
                        lc_engine_failure(trial->engine));
  }
  int rc = lc_fed_monitor_feed(part->monitor, source, text, len, error);
  return rc == 0 ? run_to_rest(trial, error) : rc;
}

static void turn_monitors(const lc_trial *trial, int64_t now_ns) {
  for (size_t i = 0; i < trial->n_parts; i++) {
    if (trial->parts[i].monitor != NULL) lc_fed_monitor_turn(trial->parts[i].monitor, now_ns);
  }
}

int lc_trial_flush(lc_trial *trial, lc_error *error) {
  turn_monitors(trial, INT64_MAX);
  return run_to_rest(trial, error);
}

/* What comes first: the end, a tick, or the timeout of an open group. */
static int64_t next_event(const lc_trial *trial, int64_t end_ns) {
  int64_t next = trial->next_tick_ns < end_ns ? trial->next_tick_ns : end_ns;
  for (size_t i = 0; i < trial->n_parts; i++) {
    if (trial->parts[i].monitor == NULL) continue;
    int64_t due = lc_fed_monitor_due(trial->parts[i].monitor);
    if (due > trial->clock_ns && due < next) next = due; /* one in a pipeline that is stopped stays for ever */
  }
  return next;
}

int lc_trial_advance(lc_trial *trial, int64_t by_ns, lc_error *error) {
  int64_t end_ns = 0;
  int rc = 0;
  if (by_ns < 0 || __builtin_add_overflow(trial->clock_ns, by_ns, &end_ns)) {
    return lc_error_set(error, LC_EINVAL, "the clock goes only forward, and no further than the year 2262");
  }
  while (rc == 0 && trial->clock_ns < end_ns) {
    trial->clock_ns = next_event(trial, end_ns);
    turn_monitors(trial, trial->clock_ns);
    if (trial->clock_ns >= trial->next_tick_ns) {
      if (!trial->finished) lc_engine_tick(trial->engine);
      trial->next_tick_ns += LC_SECOND;
    }
    rc = run_to_rest(trial, error);
  }
  return rc;
}

/* --- dead letters --- */

static FILE *open_dead(const lc_trial *trial, uint64_t number) {
  char path[128];
  (void)snprintf(path, sizeof path, "%s/dlq/%010" PRIu64 ".ndjson", trial->dir, number);
  return fopen(path, "re");
}

static int read_dead(lc_trial *trial, FILE *file, lc_buf *ret, lc_error *error) {
  if (fseek(file, (long)trial->dead_at, SEEK_SET) != 0) return lc_error_sys(error, errno, "cannot read dead letters");
  for (;;) {
    if (lc_buf_reserve(ret, 65536) != 0) return lc_error_set(error, LC_ENOMEM, "out of memory for dead letters");
    size_t n = fread(ret->data + ret->len, 1, 65536, file);
    if (n == 0) break;
    ret->len += n;
    trial->dead_at += n;
  }
  return ferror(file) ? lc_error_sys(error, errno, "cannot read dead letters") : 0;
}

int lc_trial_dead_letters(lc_trial *trial, lc_buf *ret, lc_error *error) {
  FILE *file = open_dead(trial, trial->dead_file);
  while (file != NULL) {
    int rc = read_dead(trial, file, ret, error);
    (void)fclose(file); /* only read */
    if (rc != 0) return rc;
    file = open_dead(trial, trial->dead_file + 1); /* a full file is followed by another */
    if (file != NULL) {
      trial->dead_file++;
      trial->dead_at = 0;
    }
  }
  return 0;
}

/* --- the end --- */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) {
  (void)st;
  (void)type;
  (void)ftw;
  return remove(path);
}

/* Until the engine is done, or the loop has nothing left to do. */
static void stop_engine(lc_trial *trial) {
  if (trial->engine == NULL || !trial->loop_ready) return;
  if (trial->started && !trial->finished) lc_engine_stop(trial->engine, STOP_WITHIN);
  do {
    (void)lc_registry_run(trial->registry);
  } while (uv_run(&trial->loop, UV_RUN_ONCE) != 0);
}

static void free_parts(lc_trial *trial) {
  for (size_t i = 0; i < trial->n_parts; i++) {
    lc_trial_part *part = &trial->parts[i];
    lc_resource_release(part->monitor != NULL ? &part->monitor->resource : &part->sink->resource);
    lc_resource_release(part->original);
    free(part->label);
  }
  free(trial->parts);
  trial->parts = NULL;
  trial->n_parts = 0;
}

static int name_left(void *arg, lc_resource *res) {
  return lc_error_set(arg, LC_EBUSY, "%s \"%.200s\", made at %.200s, was not let go", res->kind, res->name,
                      res->made_at);
}

/* False: something is left, which `error` names; it stays, as it still refers to the registry. */
static bool end_registry(lc_trial *trial, lc_error *error) {
  if (trial->registry == NULL) return true;
  (void)lc_registry_run(trial->registry);
  if (lc_registry_each(trial->registry, name_left, error) == LC_ENOMEM) {
    (void)lc_error_set(error, LC_ENOMEM, "out of memory");
  }
  return lc_registry_destroy(trial->registry) == 0;
}

int lc_trial_close(lc_trial *trial, lc_error *error) {
  lc_error why = {0};
  if (trial == NULL) return 0;
  stop_engine(trial);
  lc_engine_destroy(trial->engine);
  lc_generation_destroy(trial->generation);
  free_parts(trial);
  bool clean = end_registry(trial, &why);
  if (trial->loop_ready && uv_loop_close(&trial->loop) != 0) {
    if (clean) (void)lc_error_set(&why, LC_EBUSY, "the event loop still has handles");
    clean = false;
  }
  lc_store_close(trial->store);
  lc_inodes_destroy(trial->own);
  if (trial->dir[0] != '\0' && nftw(trial->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0 && clean) {
    (void)lc_error_sys(&why, errno, "cannot remove %s", trial->dir);
    clean = false;
  }
  if (clean) free(trial); /* else somebody still points into it */
  if (!clean && error != NULL) *error = why;
  return clean ? 0 : why.code;
}
