/* Sinks that take other options over while they work: nothing is lost, nothing is there twice. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/clock.h"
#include "sink/file_sink.h"
#include "sink/null_sink.h"
#include "sink/stdout_sink.h"
#include "support/run.h"

#define LINES 20000u

/* Stands in for the C library's: counts, and fails when it is told to. */
static _Atomic int syncs, sync_failures;
int syncfs(int fd);
int syncfs(int fd) {
  (void)fd;
  syncs++;
  if (sync_failures == 0) return 0;
  sync_failures--;
  errno = EIO;
  return -1;
}

static lc_sink *describe(run *r, const lc_file_sink_options *options) {
  lc_error error = {0};
  lc_sink *sink = NULL;
  if (lc_file_sink_create(options, r->test->registry, "s", "t:1", &sink, &error) != 0) fail_msg("%s", error.message);
  return sink;
}

/* What a reload does with a sink of the same identity. */
static void offer(lc_sink *live, lc_sink *described, lc_fit fit) {
  lc_resource *res = &live->resource;
  assert_string_equal(res->identity, described->resource.identity);
  assert_int_equal(res->ops->fit(res, &described->resource), fit);
  if (fit == LC_FIT_CHANGED) res->ops->adopt(res, &described->resource);
  lc_resource_release(&described->resource);
  lc_registry_run(res->registry);
}

static void reload(run *r, const lc_file_sink_options *options) {
  offer(r->bases[0], describe(r, options), LC_FIT_CHANGED);
}

static void begin(run *r, lc_test *test, const lc_file_sink_options *options, bool lent) {
  run_begin(r, test, true);
  r->bases[r->n_sinks++] = describe(r, options);
  if (!lent) run_with_sink(r, "other", DOUBLE_AT_ONCE); /* with two sinks none is lent */
}

static uint64_t stat_of(run *r, const char *name) {
  lc_buf buf = {0};
  char key[64];
  lc_resource *res = &r->bases[0]->resource;
  assert_int_equal(res->ops->stats(res, &buf), 0);
  (void)snprintf(key, sizeof key, "\"%s\":", name);
  const char *at = strstr(lc_buf_cstr(&buf), key);
  if (at == NULL) fail_msg("no %s in %s", name, lc_buf_cstr(&buf));
  uint64_t value = strtoull(at + strlen(key), NULL, 10);
  lc_buf_free(&buf);
  return value;
}

/* Marks the lines of a file, compressed or not, whatever their format. */
static void count_lines(const char *path, uint8_t *seen, uint32_t n) {
  char line[512];
  gzFile file = gzopen(path, "rb");
  assert_non_null(file);
  while (gzgets(file, line, sizeof line) != NULL) {
    const char *at = line[0] == '{' ? strstr(line, "\"a ") : line;
    unsigned index = n;
    if (at == NULL || sscanf(at + (*at == '"'), "a %u", &index) != 1 || index >= n || strchr(line, '\n') == NULL) {
      fail_msg("%s has the line %s", path, line);
    }
    seen[index]++;
  }
  assert_int_equal(gzclose(file), Z_OK);
}

/* The files of a folder; each is shown to `each` when it is not NULL. */
static uint32_t count_files(lc_test *test, const char *folder, uint8_t *seen, const char *ending) {
  char name[256], path[1024];
  uint32_t n = 0;
  DIR *dir = opendir(lc_test_path(test, folder));
  if (dir == NULL) return 0;
  for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
    if (entry->d_name[0] == '.') continue;
    (void)snprintf(name, sizeof name, "%.200s", entry->d_name);
    (void)snprintf(path, sizeof path, "%s/%s", lc_test_path(test, folder), name);
    if (seen != NULL) count_lines(path, seen, LINES);
    size_t len = strlen(name), end = strlen(ending);
    n += len >= end && strcmp(name + len - end, ending) == 0;
  }
  assert_int_equal(closedir(dir), 0);
  return n;
}

static void assert_each_once(lc_test *test) {
  static const char *const folders[] = {"one", "two", "three"};
  uint8_t *seen = calloc(LINES, 1);
  assert_non_null(seen);
  for (int i = 0; i < 3; i++) {
    assert_true(count_files(test, folders[i], seen, "") > 0);
  }
  for (uint32_t i = 0; i < LINES; i++) {
    if (seen[i] != 1) fail_msg("line %u is there %u times", i, seen[i]);
  }
  free(seen);
}

static void variants(lc_test *test, lc_file_sink_options ret[3], char paths[3][256]) {
  static const char *const names[3] = {"one/a.log", "two/{@source}.log", "three/{none}-%Y.log"};
  for (int i = 0; i < 3; i++) (void)snprintf(paths[i], 256, "%s", lc_test_path(test, names[i]));
  ret[0] = (lc_file_sink_options){.path = paths[0], .format = LC_SINK_RAW, .rotate.size = 20000};
  ret[1] = (lc_file_sink_options){.path = paths[1], .fsync = true, .metadata = true, .max_open_files = 1};
  ret[2] = (lc_file_sink_options){.path = paths[2],
                                  .rotate.size = 5000,
                                  .compress = LC_FILE_GZIP,
                                  .retain.files = 100000,
                                  .missing = "x"};
}

typedef struct flipping {
  run run; /* first */
  lc_file_sink_options options[3];
  char paths[3][256];
  uint32_t flips;
} flipping;

/* Another reload each millisecond, as long as it runs. */
static bool flip(run *r) {
  flipping *self = (flipping *)r;
  if (r->finished) return true;
  if (lc_resource_state_of(&r->bases[0]->resource) == LC_RES_OPEN) {
    reload(r, &self->options[++self->flips % 3]);
    double_monitor_jobs(r->monitor, 2);
  }
  return false;
}

static void test_each_line_once_whatever_changes(void **state) {
  for (int lent = 0; lent < 2; lent++) {
    flipping self = {.flips = 0};
    variants(*state, self.options, self.paths);
    begin(&self.run, *state, &self.options[0], lent);
    double_monitor_partition(self.run.monitor, "a", LINES);
    double_monitor_train(self.run.monitor, 2, lent ? 3 : 0);
    double_monitor_jobs(self.run.monitor, 2);
    run_start(&self.run, 0);
    run_until(&self.run, flip);
    assert_true(self.flips > 10);
    assert_each_once(*state);
    bool healthy;
    free(run_audit(&self.run, &healthy));
    assert_true(healthy);
    run_end(&self.run);
    for (int i = 0; i < 3; i++) {
      *strrchr(self.paths[i], '/') = '\0';
      assert_int_equal(lc_remove_tree(self.paths[i]), 0);
    }
    assert_int_equal(unlink(lc_test_path(*state, "positions.db")), 0); /* the next one begins anew */
    (void)unlink(lc_test_path(*state, "positions.db-wal"));
    (void)unlink(lc_test_path(*state, "positions.db-shm"));
  }
}

static bool has_failed(run *r) { return atomic_load(&r->bases[0]->resource.errors) >= 2; }

/* The old path cannot be written: what was stuck there goes to the new one. */
static void test_another_path_frees_what_is_stuck(void **state) {
  for (int lent = 0; lent < 2; lent++) {
    run r;
    char wrong[256], right[256];
    lc_test_write(*state, "file", "", 0);
    (void)snprintf(wrong, sizeof wrong, "%s", lc_test_path(*state, "file/below.log"));
    (void)snprintf(right, sizeof right, "%s", lc_test_path(*state, lent ? "right-1.log" : "right-0.log"));
    begin(&r, *state, &(lc_file_sink_options){.path = wrong, .format = LC_SINK_RAW}, lent);
    double_monitor_partition(r.monitor, lent ? "a" : "b", 200);
    run_start(&r, 0);
    run_until(&r, has_failed);
    reload(&r, &(lc_file_sink_options){.path = right, .format = LC_SINK_RAW});
    run_until(&r, run_has_finished);
    assert_false(r.result.failed);
    char *text = lc_test_read(*state, lent ? "right-1.log" : "right-0.log", NULL), *at = text;
    for (unsigned i = 0, index; i < 200; i++, at = strchr(at, '\n') + 1) {
      assert_int_equal(sscanf(at + 1, "%u", &index), 1);
      assert_int_equal(index, i);
    }
    assert_string_equal(at, "");
    free(text);
    run_end(&r);
  }
}

static bool has_written(run *r) { return stat_of(r, "records") >= 400; }
static bool is_durable(run *r) { return r->bases[0]->durable; }
static bool is_not_durable(run *r) { return !r->bases[0]->durable; }
static bool has_synced(run *r) {
  (void)r;
  return syncs >= 3;
}

static void begin_quiet(run *r, lc_test *test, const lc_file_sink_options *options, bool (*until)(run *r)) {
  begin(r, test, options, true);
  r->runtime.once = false;
  double_monitor_partition(r->monitor, "a", 400);
  run_start(r, 0);
  run_until(r, until);
}

static void test_is_durable_once_all_is_synced(void **state) {
  run r;
  char path[256];
  (void)snprintf(path, sizeof path, "%s", lc_test_path(*state, "a.log"));
  begin_quiet(&r, *state, &(lc_file_sink_options){.path = path}, has_written);
  syncs = 0;
  sync_failures = 2;
  reload(&r, &(lc_file_sink_options){.path = path, .fsync = true});
  assert_false(is_durable(&r));
  run_until(&r, has_synced); /* nothing flows: upkeep tries again */
  run_until(&r, is_durable);
  assert_int_equal(syncs, 3);
  reload(&r, &(lc_file_sink_options){.path = path, .fsync = true, .max_outputs = 7}); /* it is, and stays so */
  assert_true(is_durable(&r));
  reload(&r, &(lc_file_sink_options){.path = path});
  run_until(&r, is_not_durable); /* upkeep follows each reload: this one had to wait for it */
  assert_int_equal(syncs, 3);
  run_end(&r);
}

static bool holds_8(run *r) { return stat_of(r, "open") == 8; }
static bool holds_2(run *r) { return stat_of(r, "open") == 2; }
static bool holds_none(run *r) { return stat_of(r, "open") == 0; }

static void test_closes_down_without_a_line(void **state) {
  run r;
  char path[256], other[256];
  (void)snprintf(path, sizeof path, "%s", lc_test_path(*state, "{@source}.log"));
  (void)snprintf(other, sizeof other, "%s", lc_test_path(*state, "other.log"));
  begin(&r, *state, &(lc_file_sink_options){.path = path}, true);
  r.runtime.once = false;
  for (int i = 0; i < 8; i++) {
    char key[16];
    (void)snprintf(key, sizeof key, "k%d", i);
    double_monitor_partition(r.monitor, key, 10);
  }
  run_start(&r, 0);
  run_until(&r, holds_8);
  reload(&r, &(lc_file_sink_options){.path = path, .max_open_files = 2});
  run_until(&r, holds_2);
  reload(&r, &(lc_file_sink_options){.path = other, .max_open_files = 2}); /* the old outputs are not written again */
  run_until(&r, holds_none);
  assert_int_equal(stat_of(&r, "outputs"), 8);
  run_end(&r);
}

static bool has_forgotten_finished(run *r) {
  return stat_of(r, "rotated") >= 5 && stat_of(r, "records") == 400 && stat_of(r, "finished") == 0;
}
static bool has_3_compressed(run *r) {
  return stat_of(r, "finished") == 3 && stat_of(r, "compressed") >= 3 && count_files(r->test, "out", NULL, ".gz") == 3;
}
static bool has_1_zstd(run *r) { return count_files(r->test, "out", NULL, ".zst") == 1; }

/* Finished files that nobody needed, so that they left the memory, are found again when somebody does. */
static void test_what_is_finished_is_retained_and_compressed_by_the_new_rules(void **state) {
  run r;
  char path[256];
  (void)snprintf(path, sizeof path, "%s", lc_test_path(*state, "out/a.log"));
  lc_file_sink_options options = {.path = path, .format = LC_SINK_RAW, .rotate.size = 300};
  begin_quiet(&r, *state, &options, has_forgotten_finished);
  options.retain.files = 3;
  options.compress = LC_FILE_GZIP;
  reload(&r, &options);
  run_until(&r, has_3_compressed);
  assert_true(stat_of(&r, "removed") >= 2);
  options.compress = LC_FILE_ZSTD;
  options.retain.files = 1;
  options.rotate.age_ns = 1; /* the output itself is finished by its age, without a line */
  reload(&r, &options);
  run_until(&r, has_1_zstd);
  run_end(&r);
}

static void test_each_option_counts(void **state) {
  run r = {.test = *state};
  const lc_file_sink_options options = {.path = "/o/{a}.log", .rotate.size = 1000};
  lc_file_sink_options same = options, other[16];
  same.missing = "_missing"; /* the defaults, written out */
  same.mode = 0640;
  same.folder_mode = 0750;
  same.max_open_files = LC_FILE_SINK_OPEN_DEFAULT;
  same.max_outputs = LC_FILE_SINK_OUTPUTS_DEFAULT;
  for (int i = 0; i < 16; i++) other[i] = options;
  other[0].path = "/o/{b}.log";
  other[1].format = LC_SINK_RAW;
  other[2].metadata = true;
  other[3].local_time = true;
  other[4].fsync = true;
  other[5].missing = "none";
  other[6].mode = 0600;
  other[7].folder_mode = 0700;
  other[8].max_open_files = 7;
  other[9].max_outputs = 7;
  other[10].min_free = 1;
  other[11].rotate.size = 1001;
  other[12].rotate.age_ns = LC_SECOND;
  other[13].compress = LC_FILE_ZSTD;
  other[14].retain.files = 1;
  other[15].retain.size = 1;
  lc_sink *live = describe(&r, &options);
  offer(live, describe(&r, &options), LC_FIT_SAME);
  offer(live, describe(&r, &same), LC_FIT_SAME);
  for (int i = 0; i < 16; i++) {
    lc_sink *described = describe(&r, &other[i]);
    assert_int_equal(live->resource.ops->fit(&live->resource, &described->resource), LC_FIT_CHANGED);
    lc_resource_release(&described->resource);
  }
  lc_resource_release(&live->resource);
}

static lc_sink *describe_stdout(run *r, lc_sink_format format, bool metadata) {
  lc_error error = {0};
  lc_sink *sink = NULL;
  const lc_stdout_sink_options options = {.format = format, .metadata = metadata};
  assert_int_equal(lc_stdout_sink_create(&options, r->test->registry, NULL, "t:1", &sink, &error), 0);
  return sink;
}

typedef struct piped {
  run run; /* first */
  int from;
  lc_buf text;
} piped;

static bool is_stuck(run *r) { return atomic_load(&r->bases[0]->resource.errors) >= 1; }

static bool drains(run *r) {
  piped *self = (piped *)r;
  char bytes[4096];
  for (ssize_t n; (n = read(self->from, bytes, sizeof bytes)) > 0;) lc_buf_add(&self->text, bytes, (size_t)n);
  return r->finished;
}

/* The reader of a pipe sleeps in the middle of a batch: that batch leaves as it began. */
static void test_stdout_finishes_a_batch_in_its_format(void **state) {
  piped self = {.from = -1};
  int ends[2];
  run_begin(&self.run, *state, true);
  self.run.bases[self.run.n_sinks++] = describe_stdout(&self.run, LC_SINK_RAW, false);
  offer(self.run.bases[0], describe_stdout(&self.run, LC_SINK_RAW, false), LC_FIT_SAME);
  double_monitor_batch(self.run.monitor, 4000);
  double_monitor_partition(self.run.monitor, "a", 4000);
  assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  assert_true(fcntl(ends[1], F_SETPIPE_SZ, 4096) >= 4096);
  self.from = ends[0];
  (void)fflush(stdout);
  int before = dup(STDOUT_FILENO);
  assert_true(before >= 0 && dup2(ends[1], STDOUT_FILENO) >= 0);
  run_start(&self.run, 0);
  run_until(&self.run, is_stuck);
  offer(self.run.bases[0], describe_stdout(&self.run, LC_SINK_JSON, false), LC_FIT_CHANGED);
  offer(self.run.bases[0], describe_stdout(&self.run, LC_SINK_JSON, true), LC_FIT_CHANGED);
  run_until(&self.run, drains);
  (void)drains(&self.run);
  assert_int_equal(dup2(before, STDOUT_FILENO), STDOUT_FILENO);
  assert_int_equal(close(before) | close(ends[0]) | close(ends[1]), 0);
  const char *at = lc_buf_cstr(&self.text);
  for (unsigned i = 0, index = 0; i < 4000; i++, at = strchr(at, '\n') + 1) {
    const char *format = i < 2000 ? "a %u\n" : "{\"message\":\"a %u\",\"@timestamp\"";
    if (sscanf(at, format, &index) != 1 || index != i) fail_msg("line %u is %.60s", i, at);
  }
  assert_string_equal(at, "");
  lc_buf_free(&self.text);
  run_end(&self.run);
}

static void test_a_null_sink_has_nothing_to_change(void **state) {
  lc_test *test = *state;
  lc_sink *sinks[2];
  for (int i = 0; i < 2; i++) assert_int_equal(lc_null_sink_create(test->registry, "n", "t:1", &sinks[i], NULL), 0);
  offer(sinks[0], sinks[1], LC_FIT_SAME);
  lc_resource_release(&sinks[0]->resource);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_each_line_once_whatever_changes),
      lc_test_case(test_another_path_frees_what_is_stuck),
      lc_test_case(test_is_durable_once_all_is_synced),
      lc_test_case(test_closes_down_without_a_line),
      lc_test_case(test_what_is_finished_is_retained_and_compressed_by_the_new_rules),
      lc_test_case(test_each_option_counts),
      lc_test_case(test_stdout_finishes_a_batch_in_its_format),
      lc_test_case(test_a_null_sink_has_nothing_to_change),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
