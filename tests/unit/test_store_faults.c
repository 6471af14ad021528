/* What must not happen to the cursor store: damaged files, kills, full disks, second owners, many threads. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "io/inodes.h"
#include "io/store.h"
#include "io/store_report.h"
#include "support/support.h"

static lc_store *open_store(const char *dir) {
  lc_store *store = NULL;
  lc_error error = {0};
  int rc = lc_store_open(dir, &store, &error);
  if (rc != 0) fail_msg("%s", error.message);
  return store;
}

static void refuse(const char *dir, int expected, const char *part) {
  lc_store *store = NULL;
  lc_error error = {0};
  int rc = lc_store_open(dir, &store, &error);
  if (rc != expected) fail_msg("%d: %s", rc, error.message);
  if (strstr(error.message, part) == NULL) fail_msg("no '%s' in: %s", part, error.message);
  if (strstr(error.message, "positions.db") == NULL) fail_msg("names no file: %s", error.message);
  assert_null(store);
}

/* One snapshot: every row says `value`. */
static void fill(lc_changes *changes, uint64_t rows, uint64_t value) {
  lc_stored_cursor cursor = {.position = value};
  char key[32];
  memset(cursor.mark.bytes, 0x5a, sizeof cursor.mark.bytes);
  for (uint64_t i = 1; i <= rows; i++) {
    snprintf(key, sizeof key, "key-%llu", (unsigned long long)i);
    lc_stored_output output = {.id = i, .sink_id = 2, .path = key, .length = value};
    assert_int_equal(lc_changes_source(changes, i, 1, key, key, 0), 0);
    assert_int_equal(lc_changes_cursor(changes, i, 2, &cursor), 0);
    assert_int_equal(lc_changes_output(changes, &output, true), 0);
    assert_int_equal(lc_changes_count(changes, key, value), 0);
  }
}

typedef struct tally {
  uint64_t rows, value;
  bool equal;
} tally;

static int same(tally *t, uint64_t value) {
  if (t->rows++ > 0 && value != t->value) t->equal = false;
  t->value = value;
  return 0;
}
static int see_cursor(void *arg, uint32_t sink, const lc_stored_cursor *cursor) {
  (void)sink;
  return same(arg, cursor->position);
}
static int see_known(void *arg, uint64_t id, const char *key, const char *name, int64_t seen_ns, uint32_t sink,
                     const lc_stored_cursor *cursor) {
  (void)arg, (void)id, (void)key, (void)name, (void)seen_ns, (void)sink, (void)cursor;
  return 0;
}
static int see_output(void *arg, const lc_stored_output *output) { return same(arg, output->length); }
static int see_count(void *arg, const char *key, uint64_t value) {
  (void)key;
  return same(arg, value);
}

/* All that is stored must be of one snapshot. */
static int look(lc_store *store, uint64_t rows, tally *t, lc_error *error) {
  *t = (tally){.equal = true};
  int rc = lc_store_each_output(store, 2, see_output, t, error);
  if (rc == 0) rc = lc_store_each_count(store, "", see_count, t, error);
  for (uint64_t i = 1; i <= rows && rc == 0; i++) rc = lc_store_each_cursor(store, i, see_cursor, t, error);
  return rc;
}

static void write_store(const char *dir, uint64_t rows, uint64_t value) {
  lc_store *store = open_store(dir);
  lc_changes changes = {0};
  uint32_t id = 0;
  assert_int_equal(lc_store_resource_id(store, "monitor", &id, NULL), 0);
  assert_int_equal(lc_store_resource_id(store, "sink", &id, NULL), 0);
  fill(&changes, rows, value);
  assert_int_equal(lc_store_apply(store, &changes, LC_STORE_NORMAL, NULL), 0);
  lc_changes_free(&changes);
  lc_store_close(store);
}


/* Bytes changed anywhere: it opens, or says what to do; reading never crashes. */
static void test_random_damage(void **state) {
  lc_test *test = *state;
  write_store(test->dir, 40, 7);
  size_t len = 0;
  char *good = lc_test_read(test, "positions.db", &len);
  unsigned seed = 11;
  int refused = 0;
  for (int i = 0; i < 300; i++) {
    char *bad = malloc(len);
    assert_non_null(bad);
    memcpy(bad, good, len);
    int flips = 1 + rand_r(&seed) % 40;
    for (int k = 0; k < flips; k++) bad[(size_t)rand_r(&seed) % len] = (char)rand_r(&seed);
    size_t cut = i % 5 == 4 ? (size_t)rand_r(&seed) % len : len;
    lc_test_write(test, "positions.db", bad, cut);
    free(bad);
    lc_store *store = NULL;
    lc_error error = {0};
    int rc = lc_store_open(test->dir, &store, &error);
    if (rc == 0) {
      tally t;
      lc_buf json = {0};
      lc_changes changes = {0};
      fill(&changes, 40, 8);
      int ignored = look(store, 40, &t, &error) | lc_store_positions_json(store, &json, &error) |
                    lc_store_ledger_json(store, &json, &error) |
                    lc_store_apply(store, &changes, LC_STORE_NORMAL, &error);
      (void)ignored; /* what a changed number means cannot be told; it must only not crash */
      lc_changes_free(&changes);
      lc_buf_free(&json);
    } else {
      refused++;
      assert_int_not_equal(rc, LC_ENOMEM);
      assert_non_null(strstr(error.message, "positions.db"));
      assert_true(rc != LC_ECORRUPT || strstr(error.message, "move") != NULL);
    }
    lc_store_close(store);
    unlink(lc_test_path(test, "positions.db-wal"));
    unlink(lc_test_path(test, "positions.db-journal"));
  }
  assert_true(refused > 100);
  free(good);
}

static void test_refused_files(void **state) {
  lc_test *test = *state;
  lc_store *store = NULL;
  assert_int_equal(lc_store_open_existing(test->dir, &store, NULL), LC_ENOENT);
  lc_test_write(test, "positions.db", "this is a text, and long enough to have a header's worth of bytes in it......"
                "..................................................................", 140);
  refuse(test->dir, LC_ECORRUPT, "move positions.db");
  lc_test_write(test, "positions.db", "", 0);
  lc_test_write(test, "positions.db-wal", "something", 9);
  refuse(test->dir, LC_ECORRUPT, "put positions.db back");
  unlink(lc_test_path(test, "positions.db"));
  refuse(test->dir, LC_ECORRUPT, "put positions.db back");
  unlink(lc_test_path(test, "positions.db-wal"));
  unlink(lc_test_path(test, "positions.db"));
  assert_int_equal(symlink("/tmp/nowhere", lc_test_path(test, "positions.db")), 0);
  refuse(test->dir, LC_ESYS, "symbolic link");
  unlink(lc_test_path(test, "positions.db"));
  assert_int_equal(mkdir(lc_test_path(test, "positions.db"), 0700), 0);
  refuse(test->dir, LC_ESYS, "directory");
  assert_int_equal(rmdir(lc_test_path(test, "positions.db")), 0);
  refuse(lc_test_path(test, "nowhere"), LC_ENOENT, "nowhere/positions.db");
}

static void run_sql(const char *path, const char *sql) {
  sqlite3 *db = NULL;
  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void test_other_schemas(void **state) {
  lc_test *test = *state;
  const char *path = lc_test_path(test, "positions.db");
  run_sql(path, "CREATE TABLE other (x)");
  refuse(test->dir, LC_ECORRUPT, "another program");
  assert_int_equal(unlink(path), 0);
  write_store(test->dir, 1, 1);
  run_sql(path, "PRAGMA user_version=99");
  refuse(test->dir, LC_ECORRUPT, "newer logcap (its schema is 99");
  run_sql(path, "PRAGMA user_version=1; DROP TABLE length");
  refuse(test->dir, LC_ECORRUPT, "length");
  /* a count that is a text, an output without a length: damage that no page check sees */
  assert_int_equal(unlink(path), 0);
  write_store(test->dir, 1, 1);
  run_sql(path, "DELETE FROM length; UPDATE cursor SET state = 77");
  lc_store *store = open_store(test->dir);
  tally t = {.equal = true};
  lc_error error = {0};
  assert_int_equal(lc_store_each_output(store, 2, see_output, &t, &error), LC_ECORRUPT);
  assert_non_null(strstr(error.message, "move positions.db"));
  assert_int_equal(lc_store_each_cursor(store, 1, see_cursor, &t, &error), LC_ECORRUPT);
  assert_int_equal(lc_store_each_known(store, 1, see_known, NULL, &error), LC_ECORRUPT);
  lc_store_close(store);
}

/* As another user, since root may write anywhere. */
static void test_unwritable(void **state) {
  lc_test *test = *state;
  if (geteuid() != 0) skip();
  write_store(test->dir, 1, 1);
  assert_int_equal(chmod(test->dir, 0755), 0);
  assert_int_equal(seteuid(65534), 0);
  refuse(test->dir, LC_ESYS, "must be able to write");
  assert_int_equal(seteuid(0), 0);
}

static void test_modes_and_own(void **state) {
  lc_test *test = *state;
  lc_inodes *own = NULL;
  assert_int_equal(lc_inodes_create(&own, NULL), 0);
  lc_test_write(test, "positions.db", "", 0);
  assert_int_equal(chmod(lc_test_path(test, "positions.db"), 0644), 0);
  lc_store *store = open_store(test->dir);
  assert_int_equal(lc_store_register(store, own, NULL), 0);
  const char *const names[] = {"positions.db", "positions.db-wal"};
  for (int i = 0; i < 2; i++) {
    struct stat st;
    assert_int_equal(stat(lc_test_path(test, names[i]), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_true(lc_inodes_has(own, st.st_dev, st.st_ino));
  }
  lc_store_close(store);
  lc_inodes_destroy(own);
}

static void test_second_owner(void **state) {
  lc_test *test = *state;
  lc_store *store = open_store(test->dir);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    lc_store *second = NULL;
    lc_error error = {0};
    int rc = lc_store_open(test->dir, &second, &error);
    _exit(rc == LC_EBUSY && strstr(error.message, "another process") != NULL ? 0 : 1);
  }
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  lc_store_close(store);
}

/* Commits as fast as it can, and tells each value once it is committed. */
/* In a process of its own, until it is killed; behind `most` commits it only waits for that. */
static _Noreturn void commit_for_ever(const char *dir, int tell, uint64_t value, uint64_t most) {
  lc_store *store = NULL;
  if (lc_store_open(dir, &store, NULL) != 0) _exit(1);
  lc_changes changes = {0};
  for (;;) {
    while (value >= most) pause();
    value++;
    lc_changes_clear(&changes);
    fill(&changes, 30, value);
    if (lc_store_apply(store, &changes, LC_STORE_NORMAL, NULL) != 0) _exit(2);
    if (write(tell, &value, sizeof value) != sizeof value) _exit(3);
  }
}

static void test_kills(void **state) {
  lc_test *test = *state;
  unsigned seed = 3;
  uint64_t told = 0;
  write_store(test->dir, 30, 0);
  for (int round = 0; round < 25; round++) {
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) commit_for_ever(test->dir, pipe_fds[1], told, UINT64_MAX);
    close(pipe_fds[1]);
    uint64_t value = 0;
    int commits = rand_r(&seed) % 60; /* the kill comes some time after that many */
    for (int i = 0; i <= commits; i++) assert_int_equal(read(pipe_fds[0], &value, sizeof value), sizeof value);
    assert_int_equal(kill(child, SIGKILL), 0);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    while (read(pipe_fds[0], &value, sizeof value) == sizeof value) continue;
    close(pipe_fds[0]);
    lc_store *store = open_store(test->dir);
    tally t;
    assert_int_equal(look(store, 30, &t, NULL), 0);
    assert_true(t.equal);
    assert_int_equal(t.rows, 90);
    assert_true(t.value == value || t.value == value + 1); /* committed, but not told any more */
    told = t.value;
    lc_store_close(store);
  }
}

/* A log with changed bytes or without its end: what is read is a snapshot, if an older one. */
static void test_damaged_log(void **state) {
  lc_test *test = *state;
  write_store(test->dir, 30, 0);
  int pipe_fds[2];
  assert_int_equal(pipe(pipe_fds), 0);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) commit_for_ever(test->dir, pipe_fds[1], 0, 20);
  close(pipe_fds[1]);
  uint64_t told = 0;
  while (told < 12) assert_int_equal(read(pipe_fds[0], &told, sizeof told), sizeof told);
  assert_int_equal(kill(child, SIGKILL), 0);
  assert_int_equal(waitpid(child, NULL, 0), child);
  while (read(pipe_fds[0], &told, sizeof told) == sizeof told) continue;
  close(pipe_fds[0]);
  size_t len = 0, log_len = 0;
  char *database = lc_test_read(test, "positions.db", &len);
  char *log = lc_test_read(test, "positions.db-wal", &log_len);
  unsigned seed = 5;
  bool older = false, newest = false;
  for (int i = 0; i < 150; i++) {
    char *bad = malloc(log_len);
    assert_non_null(bad);
    memcpy(bad, log, log_len);
    size_t keep = i % 2 == 0 ? log_len : (size_t)rand_r(&seed) % log_len;
    if (i % 2 == 0 && i > 0) bad[(size_t)rand_r(&seed) % log_len] ^= (char)(1 + rand_r(&seed) % 255);
    lc_test_write(test, "positions.db", database, len);
    lc_test_write(test, "positions.db-wal", bad, keep);
    free(bad);
    lc_store *store = open_store(test->dir);
    tally t;
    assert_int_equal(look(store, 30, &t, NULL), 0);
    assert_true(t.equal && t.rows == 90 && t.value <= told + 1);
    older = older || t.value < told;
    newest = newest || t.value >= told;
    lc_store_close(store);
  }
  assert_true(older && newest);
  free(database);
  free(log);
}

/* The disk fills while commits go on; each fails whole, and the same changes go in once there is room. */
static void test_disk_full(void **state) {
  lc_test *test = *state;
  const char *dir = lc_test_path(test, "small");
  assert_int_equal(mkdir(dir, 0700), 0);
  if (mount("tmpfs", dir, "tmpfs", 0, "size=512k") != 0) skip();
  write_store(dir, 10, 1);
  lc_store *store = open_store(dir);
  char *ballast = calloc(1, 400000);
  assert_non_null(ballast);
  int fd = open(lc_test_path(test, "small/ballast"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  ssize_t filled;
  while ((filled = write(fd, ballast, 4096)) > 0) continue;
  assert_int_equal(errno, ENOSPC);
  lc_changes changes = {0};
  fill(&changes, 300, 2);
  lc_error error = {0};
  tally t;
  for (int i = 0; i < 3; i++) {
    assert_int_equal(lc_store_apply(store, &changes, i == 1 ? LC_STORE_DURABLE : LC_STORE_NORMAL, &error), LC_ESYS);
    assert_int_equal(error.sys, ENOSPC);
    assert_int_equal(look(store, 300, &t, NULL), 0);
    assert_true(t.equal && t.value == 1 && t.rows == 30);
  }
  assert_int_equal(ftruncate(fd, 0), 0);
  assert_int_equal(lc_store_apply(store, &changes, LC_STORE_NORMAL, &error), 0);
  assert_int_equal(look(store, 300, &t, NULL), 0);
  assert_true(t.equal && t.value == 2 && t.rows == 900);
  close(fd);
  free(ballast);
  lc_changes_free(&changes);
  lc_store_close(store);
  store = open_store(dir);
  assert_int_equal(look(store, 300, &t, NULL), 0);
  assert_true(t.equal && t.value == 2 && t.rows == 900);
  lc_store_close(store);
  assert_int_equal(umount(dir), 0);
}

static void test_taken_away(void **state) {
  lc_test *test = *state;
  lc_store *store = open_store(test->dir);
  lc_changes changes = {0};
  fill(&changes, 1, 1);
  assert_int_equal(rename(lc_test_path(test, "positions.db"), lc_test_path(test, "gone")), 0);
  lc_error error = {0};
  assert_int_equal(lc_store_apply(store, &changes, LC_STORE_NORMAL, &error), LC_ESYS);
  assert_non_null(strstr(error.message, "moved, replaced or deleted"));
  assert_int_equal(rename(lc_test_path(test, "gone"), lc_test_path(test, "positions.db")), 0);
  assert_int_equal(lc_store_apply(store, &changes, LC_STORE_NORMAL, &error), 0);
  lc_changes_free(&changes);
  lc_store_close(store);
}

typedef struct worker {
  lc_store *store;
  uint64_t base;
  bool right;
} worker;

static void *work(void *arg) {
  worker *w = arg;
  lc_changes changes = {0};
  w->right = true;
  for (uint64_t i = 0; i < 60; i++) {
    char key[64];
    uint32_t resource = 0;
    uint64_t id = 0, found = 0;
    lc_error error = {0};
    snprintf(key, sizeof key, "k-%llu-%llu", (unsigned long long)w->base, (unsigned long long)i);
    lc_changes_clear(&changes);
    int rc = lc_store_resource_id(w->store, i % 2 == 0 ? "shared" : key, &resource, &error);
    id = lc_store_new_source_id(w->store);
    if (rc == 0) rc = lc_changes_source(&changes, id, 9, key, key, 0);
    if (rc == 0) rc = lc_store_apply(w->store, &changes, i % 8 == 0 ? LC_STORE_DURABLE : LC_STORE_NORMAL, &error);
    if (rc == 0) rc = lc_store_find_source(w->store, 9, key, &found, &error);
    if (rc != 0 || found != id) w->right = false;
  }
  lc_changes_free(&changes);
  return NULL;
}

static int count_source(void *arg, uint64_t id, const char *key, const char *name, int64_t seen_ns) {
  (void)id, (void)key, (void)name, (void)seen_ns;
  ++*(int *)arg;
  return 0;
}

static void test_threads(void **state) {
  lc_test *test = *state;
  lc_store *store = open_store(test->dir);
  worker workers[4];
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) {
    workers[i] = (worker){.store = store, .base = (uint64_t)i};
    assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
  }
  for (int i = 0; i < 4; i++) {
    assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(workers[i].right);
  }
  int sources = 0;
  assert_int_equal(lc_store_each_source(store, 9, count_source, &sources, NULL), 0);
  assert_int_equal(sources, 240);
  lc_store_close(store);
}

static off_t size_of(lc_test *test, const char *name) {
  struct stat st;
  return stat(lc_test_path(test, name), &st) == 0 ? st.st_size : 0;
}

/* Hours of commits: neither the log nor the database nor SQLite's memory grows. */
static void test_no_growth(void **state) {
  lc_test *test = *state;
  lc_store *store = open_store(test->dir);
  lc_changes changes = {0};
  off_t database = 0, log = 0;
  sqlite3_int64 memory = 0;
  for (uint64_t i = 1; i <= 4000; i++) {
    lc_changes_clear(&changes);
    for (uint64_t id = 1; id <= 50; id++) assert_int_equal(lc_changes_output_length(&changes, id * 97, i, i, 64), 0);
    assert_int_equal(lc_store_apply(store, &changes, LC_STORE_NORMAL, NULL), 0);
    if (i == 1500) {
      database = size_of(test, "positions.db");
      memory = sqlite3_memory_used();
    }
    if (size_of(test, "positions.db-wal") > log) log = size_of(test, "positions.db-wal");
  }
  assert_true(database > 0);
  assert_int_equal(size_of(test, "positions.db"), database);
  assert_true(log < 6 * 1024 * 1024);
  assert_true(sqlite3_memory_used() < memory + 65536);
  lc_changes_free(&changes);
  lc_store_close(store);
}

static void test_no_memory(void **state) {
  lc_test *test = *state;
  for (unsigned n = 1;; n++) {
    lc_store *store = NULL;
    lc_fault_after(n);
    int rc = lc_store_open(test->dir, &store, NULL);
    bool failed = lc_fault_off();
    if (failed) assert_int_equal(rc, LC_ENOMEM);
    lc_store_close(store);
    if (!failed) break;
  }
  lc_changes changes = {0};
  lc_stored_output output = {.path = "p", .pending = "q"};
  unsigned done = 0;
  lc_fault_from(2);
  while (lc_changes_output(&changes, &output, true) == 0) done++;
  assert_true(lc_fault_off());
  assert_int_equal(changes.n, done); /* a failed call adds nothing */
  assert_int_equal(lc_changes_output(&changes, &output, true), 0);
  lc_changes_free(&changes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_random_damage), lc_test_case(test_refused_files), lc_test_case(test_other_schemas),
      lc_test_case(test_unwritable),    lc_test_case(test_modes_and_own), lc_test_case(test_second_owner),
      lc_test_case(test_kills),         lc_test_case(test_damaged_log),   lc_test_case(test_disk_full),     lc_test_case(test_taken_away),
      lc_test_case(test_threads),       lc_test_case(test_no_growth),     lc_test_case(test_no_memory)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
