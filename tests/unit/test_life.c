/* Lives of whole generations: loaded, opened, started, fed, stopped and dropped without any close, again and again. The
 * registry, descriptors and resident memory end where they were. $LOGCAP_LIVES says how often; scripts/life-test is the
 * long form. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/support.h"

#include "bind/generation.h"
#include "io/inodes.h"
#include "io/store.h"
#include "pipeline/engine.h"

#define LIVES 60u
#define SLACK 3000000 /* bytes of resident memory that allocators may keep */

static const char text[] =
    "local logcap = require 'logcap'\n"
    "logcap.pipeline {\n"
    "  name = 'all', memory = '4MiB',\n"
    "  from = { logcap.file_monitor { paths = { 'in/*.log' }, start = 'beginning', labels = { a = 'b' },\n"
    "    multiline = { start = '^{', timeout = '10ms' } }, logcap.stdin_monitor {} },\n"
    "  stages = { logcap.json {}, function(rec) rec.more = 1 end, logcap.dedup { max_entries = 1000 },\n"
    "    logcap.stage { function(rec) return rec.n ~= 0 end } },\n"
    "  to = { logcap.file_sink { path = 'out/{kind}.ndjson', rotate = { size = '1KiB' }, retain = { files = 3 },\n"
    "    compress = 'zstd' }, logcap.stdout_sink {}, logcap.null_sink {} },\n"
    "}\n";

typedef struct life {
  lc_test *test;
  lc_store *store;
  lc_inodes *own;
  bool finished;
  lc_engine_result result;
} life;

static void on_finished(void *arg, const lc_engine_result *result) {
  life *self = arg;
  self->finished = true;
  self->result = *result;
}

static int64_t resident(void) {
  long pages = 0;
  FILE *file = fopen("/proc/self/statm", "re");
  assert_non_null(file);
  assert_int_equal(fscanf(file, "%*d %ld", &pages), 1);
  (void)fclose(file);
  return pages * sysconf(_SC_PAGESIZE);
}

/* With `once` it ends by itself, else it is stopped at once, with whatever is under way. */
static void live(life *self, unsigned number, bool once) {
  lc_test *test = self->test;
  char line[64];
  int len = snprintf(line, sizeof line, "{\"n\":%u,\"kind\":\"k%u\"}\n", number, number % 3);
  lc_test_append(test, "in/a.log", line, (size_t)len);
  lc_runtime runtime = {.loop = &test->loop,
                        .registry = test->registry,
                        .store = self->store,
                        .own = self->own,
                        .state_dir = test->dir,
                        .once = once};
  const char *file = lc_test_path(test, "all.lua");
  lc_generation *generation = NULL;
  lc_engine *engine = NULL;
  lc_error error = {0};
  size_t n = 0;
  int rc = lc_generation_load(&file, 1, test->registry, &(lc_generation_options){0}, &generation, &error);
  if (rc == 0) rc = lc_engine_create(&runtime, &engine, &error);
  if (rc == 0) rc = lc_engine_add(engine, lc_generation_pipelines(generation, &n)[0], &error);
  if (rc == 0) rc = lc_engine_open(engine, &error);
  if (rc != 0) fail_msg("%s", error.message);
  self->finished = false;
  lc_engine_start(engine, on_finished, self);
  if (!once) lc_engine_stop(engine, INT64_C(5000000000));
  while (!self->finished) {
    (void)lc_registry_run(test->registry);
    uv_run(&test->loop, UV_RUN_ONCE);
  }
  if (self->result.failed) fail_msg("%s", self->result.message);
  lc_engine_destroy(engine);
  lc_generation_destroy(generation);
  (void)lc_registry_run(test->registry);
  while (uv_run(&test->loop, UV_RUN_NOWAIT) != 0) (void)lc_registry_run(test->registry);
  (void)lc_registry_run(test->registry);
  assert_int_equal(lc_registry_sum(test->registry).resources, 0);
}

/* Standard input is empty, standard output goes nowhere. */
static void redirect(int saved[2]) {
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  assert_true(null >= 0);
  for (int fd = 0; fd < 2; fd++) {
    saved[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 10);
    assert_true(saved[fd] >= 0 && dup2(null, fd) == fd);
  }
  assert_int_equal(close(null), 0);
}

static void restore(const int saved[2]) {
  for (int fd = 0; fd < 2; fd++) assert_true(dup2(saved[fd], fd) == fd && close(saved[fd]) == 0);
}

static unsigned lives_wanted(void) {
  const char *wanted = getenv("LOGCAP_LIVES");
  return wanted != NULL ? (unsigned)strtoul(wanted, NULL, 10) : LIVES;
}

static void test_started_and_dropped(void **state) {
  life self = {.test = *state};
  lc_error error = {0};
  int saved[2];
  unsigned lives = lives_wanted(), number = 1;
  assert_int_equal(mkdir(lc_test_path(self.test, "in"), 0700), 0);
  lc_test_write(self.test, "all.lua", text, strlen(text));
  assert_int_equal(lc_store_open(self.test->dir, &self.store, &error), 0);
  assert_int_equal(lc_inodes_create(&self.own, &error), 0);
  redirect(saved);
  for (; number <= lives / 10 + 20; number++) live(&self, number, number % 2 == 0);
  int descriptors = lc_count_descriptors();
  int64_t before = resident();
  for (unsigned i = 0; i < lives; i++, number++) live(&self, number, number % 2 == 0);
  int64_t after = resident();
  assert_int_equal(lc_count_descriptors(), descriptors);
  live(&self, number + (number % 2), true);
  restore(saved);
  lc_store_close(self.store);
  lc_inodes_destroy(self.own);
  print_message("%u lives, %d descriptors, resident %.1f to %.1f MB\n", lives, descriptors, (double)before / 1e6,
                (double)after / 1e6);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  assert_true(after - before < SLACK);
#endif
}

int main(void) {
  const struct CMUnitTest tests[] = {lc_test_case(test_started_and_dropped)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
