/* Discovery on a real loop and real folders: what is found, noticed, skipped and told, and that nothing is left. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "monitor/discovery.h"
#include "support/support.h"

#define DEADLINE (60 * LC_SECOND)

/* What was told: a line for each event, and the sums. */
typedef struct watcher {
  lc_test *test;
  lc_discovery *discovery;
  lc_buf log;
  unsigned found, changed, gone, scanned, other;
  bool quiet; /* count only */
  bool close_on_found, close_on_changed;
  bool closed;
  bool slow;               /* each file takes a while to be told of */
  unsigned write_at;       /* how many are found when the last one of them is written to; 0: never */
  unsigned found_at_write; /* how many were found when that was told */
} watcher;

static const char *short_path(const watcher *w, const char *path) {
  size_t len = strlen(w->test->dir);
  return strncmp(path, w->test->dir, len) == 0 ? path + len + 1 : path;
}

static void on_closed(void *arg) {
  watcher *w = arg;
  w->closed = true;
}

static void on_found(void *arg, const lc_found *found) {
  watcher *w = arg;
  w->found++;
  assert_true(found->inode != 0);
  if (!w->quiet) lc_buf_addf(&w->log, "found %s %u\n", short_path(w, found->path), (unsigned)found->size);
  for (int64_t until = lc_clock_mono() + LC_MILLISECOND / 5; w->slow && lc_clock_mono() < until;) continue;
  if (w->found == w->write_at) lc_test_write(w->test, short_path(w, found->path), "more", 4);
  if (w->close_on_found) lc_discovery_close(w->discovery, on_closed);
}

static void on_changed(void *arg, const char *path) {
  watcher *w = arg;
  if (w->changed++ == 0) w->found_at_write = w->found;
  if (!w->quiet) lc_buf_addf(&w->log, "changed %s\n", short_path(w, path));
  if (w->close_on_changed) lc_discovery_close(w->discovery, on_closed);
}

static void on_gone(void *arg, const char *path, const char *to) {
  watcher *w = arg;
  w->gone++;
  if (!w->quiet) lc_buf_addf(&w->log, "gone %s %s\n", short_path(w, path), to != NULL ? short_path(w, to) : "-");
}

static void on_scanned(void *arg) {
  watcher *w = arg;
  w->scanned++;
  if (!w->quiet) lc_buf_adds(&w->log, "scanned\n");
}

static void on_other(void *arg) {
  watcher *w = arg;
  w->other++;
}

static const lc_discovery_events events = {on_found, on_changed, on_gone, on_scanned, on_other};

static void on_wake(uv_timer_t *timer) {
  (void)timer;
}

/* Runs the loop until the condition holds; fails the test at the deadline. */
#define run_until(w, condition)                                                          \
  do {                                                                                   \
    uv_timer_t wake_;                                                                    \
    int64_t began_ = lc_clock_mono();                                                    \
    assert_int_equal(uv_timer_init(&(w)->test->loop, &wake_), 0);                        \
    assert_int_equal(uv_timer_start(&wake_, on_wake, 100, 100), 0);                      \
    while (!(condition) && lc_clock_mono() - began_ < DEADLINE) {                        \
      (void)uv_run(&(w)->test->loop, UV_RUN_ONCE);                                       \
    }                                                                                    \
    uv_close((uv_handle_t *)&wake_, NULL);                                               \
    (void)uv_run(&(w)->test->loop, UV_RUN_NOWAIT);                                       \
    if (!(condition)) print_error("deadline; told so far:\n%s", lc_buf_cstr(&(w)->log)); \
    assert_true(condition);                                                              \
  } while (0)

static bool told(watcher *w, const char *line) {
  return strstr(lc_buf_cstr(&w->log), line) != NULL;
}

static void expect_told(watcher *w, const char *line) {
  run_until(w, told(w, line));
}

static void expect_untold(watcher *w, const char *line) {
  if (told(w, line)) print_error("told:\n%s", lc_buf_cstr(&w->log));
  assert_false(told(w, line));
}

typedef struct setup {
  const char *paths[4], *exclude[4]; /* below the test's folder */
  bool hidden, no_links, once;
  int64_t sweep_ns;
} setup;

static void create(watcher *w, const setup *how) {
  char paths[4][256];
  const char *absolute[4];
  lc_discovery_options options = {.paths = absolute,
                                  .exclude = how->exclude,
                                  .hidden = how->hidden,
                                  .follow_symlinks = !how->no_links,
                                  .once = how->once,
                                  .sweep_ns = how->sweep_ns};
  for (; options.n_paths < 4 && how->paths[options.n_paths] != NULL; options.n_paths++) {
    (void)snprintf(paths[options.n_paths], sizeof paths[0], "%s/%s", w->test->dir, how->paths[options.n_paths]);
    absolute[options.n_paths] = paths[options.n_paths];
  }
  while (options.n_exclude < 4 && how->exclude[options.n_exclude] != NULL) options.n_exclude++;
  lc_error error = {0};
  assert_int_equal(lc_discovery_create(&options, &w->test->loop, &events, w, &w->discovery, &error), 0);
}

static void begin(watcher *w, void **state, const setup *how) {
  *w = (watcher){.test = *state};
  create(w, how);
  lc_discovery_start(w->discovery);
  run_until(w, w->scanned > 0);
}

static void end(watcher *w) {
  if (!w->close_on_found && !w->close_on_changed) lc_discovery_close(w->discovery, on_closed);
  run_until(w, w->closed);
  lc_buf_free(&w->log);
}

static void make_dir(watcher *w, const char *name) {
  assert_int_equal(mkdir(lc_test_path(w->test, name), 0755), 0);
}

static void touch(watcher *w, const char *name, const char *content) {
  lc_test_write(w->test, name, content, strlen(content));
}

static void move(watcher *w, const char *from, const char *to) {
  assert_int_equal(rename(lc_test_path(w->test, from), lc_test_path(w->test, to)), 0);
}

static void test_first_scan(void **state) {
  watcher w = {.test = *state};
  touch(&w, "a.log", "123");
  touch(&w, "b.txt", "");
  touch(&w, ".h.log", "");
  touch(&w, "c.log", "");
  make_dir(&w, "deep");
  make_dir(&w, "deep/er");
  touch(&w, "deep/er/d.log", "");
  begin(&w, state, &(setup){.paths = {"*.log", "deep/**/*.log"}, .exclude = {"c*"}});
  assert_int_equal(w.found, 2);
  assert_true(told(&w, "found a.log 3\n"));
  assert_true(told(&w, "found deep/er/d.log 0\n"));
  assert_int_equal(w.scanned, 1);
  end(&w);
}

static void test_follow_names(void **state) {
  watcher w = {.test = *state};
  touch(&w, "a.log", "1");
  begin(&w, state, &(setup){.paths = {"*.log"}});
  touch(&w, "b.log", "22");
  expect_told(&w, "found b.log");
  lc_test_append(w.test, "a.log", "2", 1);
  expect_told(&w, "changed a.log\n");
  w.other = 0;
  lc_test_append(w.test, "a.log", "3", 1);
  run_until(&w, w.changed > 1);
  assert_int_equal(w.other, 0);
  move(&w, "a.log", "a.log.1"); /* out of the pattern */
  expect_told(&w, "gone a.log a.log.1\n");
  w.other = 0;
  lc_test_append(w.test, "a.log.1", "2", 1);
  run_until(&w, w.other > 0);
  w.other = 0;
  assert_int_equal(unlink(lc_test_path(w.test, "a.log.1")), 0);
  run_until(&w, w.other > 0);
  touch(&w, "a.log", "new");
  expect_told(&w, "found a.log 3\n");
  move(&w, "b.log", "c.log"); /* within the pattern */
  expect_told(&w, "found c.log 2\n");
  assert_true(strstr(lc_buf_cstr(&w.log), "gone b.log c.log\n") < strstr(lc_buf_cstr(&w.log), "found c.log"));
  assert_int_equal(unlink(lc_test_path(w.test, "c.log")), 0);
  expect_told(&w, "gone c.log -\n");
  touch(&w, "d.log.tmp", "x");
  touch(&w, "e.log", "x");
  expect_told(&w, "found e.log");
  expect_untold(&w, "d.log");
  end(&w);
}

/* Rename and create before discovery can look: the path leads to another file now. */
static void test_quick_rotation(void **state) {
  watcher w = {.test = *state};
  touch(&w, "a.log", "first");
  begin(&w, state, &(setup){.paths = {"a.log*"}});
  move(&w, "a.log", "a.log.1");
  touch(&w, "a.log", "second");
  expect_told(&w, "found a.log 6\n");
  expect_told(&w, "found a.log.1 5\n");
  expect_untold(&w, "gone");
  end(&w);
}

static void test_folders_come_and_go(void **state) {
  watcher w = {.test = *state};
  begin(&w, state, &(setup){.paths = {"no/where/yet/*.log", "tree/**/x.log", "srv/*/log/*.log"}});
  make_dir(&w, "no");
  make_dir(&w, "no/where");
  make_dir(&w, "no/where/yet");
  touch(&w, "no/where/yet/a.log", "");
  expect_told(&w, "found no/where/yet/a.log");
  make_dir(&w, "tree");
  expect_untold(&w, "tree");
  make_dir(&w, "tree/a");
  make_dir(&w, "tree/a/b");
  touch(&w, "tree/a/b/x.log", "");
  expect_told(&w, "found tree/a/b/x.log");
  move(&w, "tree/a", "tree/c");
  expect_told(&w, "gone tree/a/b/x.log -\n");
  expect_told(&w, "found tree/c/b/x.log");
  lc_test_append(w.test, "tree/c/b/x.log", "1", 1); /* the watch went along */
  expect_told(&w, "changed tree/c/b/x.log\n");
  assert_int_equal(lc_remove_tree(lc_test_path(w.test, "no")), 0);
  expect_told(&w, "gone no/where/yet/a.log");
  make_dir(&w, "srv");
  make_dir(&w, "srv/one");
  make_dir(&w, "srv/one/log");
  touch(&w, "srv/one/log/a.log", "");
  expect_told(&w, "found srv/one/log/a.log");
  make_dir(&w, "no");
  make_dir(&w, "no/where");
  make_dir(&w, "no/where/yet");
  touch(&w, "no/where/yet/b.log", "");
  expect_told(&w, "found no/where/yet/b.log");
  end(&w);
}

/* A folder on the way is renamed: none of its files has an event. */
static void test_parent_moves(void **state) {
  watcher w = {.test = *state};
  make_dir(&w, "p");
  make_dir(&w, "p/q");
  make_dir(&w, "p/q/r");
  touch(&w, "p/q/r/a.log", "");
  begin(&w, state, &(setup){.paths = {"p/q/r/*.log"}});
  for (int i = 0; i < 3; i++) {
    lc_buf_clear(&w.log);
    move(&w, "p", "elsewhere");
    expect_told(&w, "gone p/q/r/a.log -\n");
    lc_buf_clear(&w.log);
    move(&w, "elsewhere", "p");
    expect_told(&w, "found p/q/r/a.log");
    lc_test_append(w.test, "p/q/r/a.log", "1", 1);
    expect_told(&w, "changed p/q/r/a.log\n");
    lc_buf_clear(&w.log);
    move(&w, "p/q/r", "r");
    expect_told(&w, "gone p/q/r/a.log -\n");
    move(&w, "r", "p/q/r");
    expect_told(&w, "found p/q/r/a.log");
  }
  end(&w);
}

/* A file is made at every moment between the making of its folder and its first scan. */
static void test_new_folder_race(void **state) {
  watcher w = {.test = *state};
  begin(&w, state, &(setup){.paths = {"*/deep/*.log"}});
  w.quiet = true;
  char name[64];
  for (unsigned i = 0; i < 400; i++) {
    (void)snprintf(name, sizeof name, "%u", i);
    make_dir(&w, name);
    for (unsigned k = 0; k < i % 10; k++) (void)uv_run(&w.test->loop, UV_RUN_NOWAIT);
    (void)snprintf(name, sizeof name, "%u/deep", i);
    make_dir(&w, name);
    for (unsigned k = 0; k < i % 40; k++) (void)uv_run(&w.test->loop, UV_RUN_NOWAIT);
    (void)snprintf(name, sizeof name, "%u/deep/a.log", i);
    touch(&w, name, "");
    if (i % 3 == 0) run_until(&w, w.found == i + 1);
  }
  run_until(&w, w.found == 400);
  end(&w);
}

/* Events of a folder whose first scan is not back yet: nobody knows the watch. */
static void test_events_during_scan(void **state) {
  watcher w = {.test = *state};
  char name[64];
  const unsigned before = 2000, during = 400;
  make_dir(&w, "prepared");
  for (unsigned i = 0; i < before; i++) {
    (void)snprintf(name, sizeof name, "prepared/%u.log", i);
    touch(&w, name, "");
  }
  begin(&w, state, &(setup){.paths = {"in*/*.log"}});
  w.quiet = true;
  move(&w, "prepared", "in");
  for (unsigned i = 0; i < during; i++) {
    (void)snprintf(name, sizeof name, "in/late-%u.log", i);
    touch(&w, name, "");
    (void)uv_run(&w.test->loop, UV_RUN_NOWAIT);
  }
  run_until(&w, w.found == before + during);
  end(&w);
}

static void make_socket(watcher *w, const char *name) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", lc_test_path(w->test, name));
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_true(fd >= 0);
  assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
  assert_int_equal(close(fd), 0);
}

static void expect_stats(watcher *w, const char *part) {
  lc_buf stats = {0};
  assert_int_equal(lc_discovery_stats(w->discovery, &stats), 0);
  if (strstr(lc_buf_cstr(&stats), part) == NULL) print_error("stats: %s\n", stats.data);
  assert_non_null(strstr(lc_buf_cstr(&stats), part));
  lc_buf_free(&stats);
}

static void test_skips(void **state) {
  watcher w = {.test = *state};
  make_dir(&w, "dir.log");
  make_socket(&w, "socket.log");
  assert_int_equal(mkfifo(lc_test_path(w.test, "fifo.log"), 0600), 0);
  assert_int_equal(symlink("loop.log", lc_test_path(w.test, "loop.log")), 0);
  assert_int_equal(symlink("nothing", lc_test_path(w.test, "dangling.log")), 0);
  assert_int_equal(symlink("/dev/null", lc_test_path(w.test, "device.log")), 0);
  touch(&w, "a.log", "");
  begin(&w, state, &(setup){.paths = {"*.log"}, .sweep_ns = 50 * LC_MILLISECOND});
  assert_int_equal(w.found, 1);
  for (int i = 0; i < 3; i++) { /* sweeps do not say it again */
    char name[16];
    (void)snprintf(name, sizeof name, "%d.log", i);
    touch(&w, name, "");
    expect_told(&w, name);
  }
  expect_stats(
      &w, "\"skipped\":{\"folder\":1,\"fifo\":1,\"socket\":1,\"device\":1,\"symlink\":0,\"dangling\":1,\"loop\":1}");
  assert_int_equal(unlink(lc_test_path(w.test, "fifo.log")), 0);
  touch(&w, "fifo.log", "1");
  expect_told(&w, "found fifo.log 1\n");
  touch(&w, "nothing", "1"); /* outside the pattern: polled */
  expect_told(&w, "found dangling.log 1\n");
  end(&w);
}

static void test_links_off(void **state) {
  watcher w = {.test = *state};
  touch(&w, "target", "1");
  make_dir(&w, "real");
  touch(&w, "real/x.log", "1");
  assert_int_equal(symlink("target", lc_test_path(w.test, "a.log")), 0);
  assert_int_equal(symlink("real", lc_test_path(w.test, "linked")), 0);
  begin(&w, state, &(setup){.paths = {"*.log", "link*/x.log"}, .no_links = true});
  assert_int_equal(w.found, 0);
  expect_stats(&w, "\"symlink\":1");
  end(&w);
}

/* The target of a link lies elsewhere: it is watched itself. */
static void test_link_target(void **state) {
  watcher w = {.test = *state};
  make_dir(&w, "pods");
  make_dir(&w, "logs");
  touch(&w, "pods/1", "1");
  assert_int_equal(symlink("../pods/1", lc_test_path(w.test, "logs/a.log")), 0);
  begin(&w, state, &(setup){.paths = {"logs/*.log"}});
  assert_true(told(&w, "found logs/a.log 1\n"));
  lc_test_append(w.test, "pods/1", "2", 1);
  expect_told(&w, "changed logs/a.log\n");
  move(&w, "pods/1", "pods/1.old");
  touch(&w, "pods/1", "new one");
  expect_told(&w, "found logs/a.log 7\n");
  lc_buf_clear(&w.log);
  lc_test_append(w.test, "pods/1", "2", 1);
  expect_told(&w, "changed logs/a.log\n");
  end(&w);
}

/* A file under two names is told once, and under the other one when the first is gone. */
static void test_aliases(void **state) {
  watcher w = {.test = *state};
  touch(&w, "a.log", "1");
  begin(&w, state, &(setup){.paths = {"*.log"}});
  assert_int_equal(link(lc_test_path(w.test, "a.log"), lc_test_path(w.test, "b.log")), 0);
  assert_int_equal(symlink("a.log", lc_test_path(w.test, "c.log")), 0);
  touch(&w, "z.log", "");
  expect_told(&w, "found z.log");
  assert_int_equal(w.found, 2);
  lc_test_append(w.test, "b.log", "1", 1);
  expect_told(&w, "changed a.log\n");
  expect_untold(&w, "changed b.log");
  assert_int_equal(unlink(lc_test_path(w.test, "a.log")), 0);
  expect_told(&w, "gone a.log -\nfound b.log");
  end(&w);
}

static void test_link_swap(void **state) {
  watcher w = {.test = *state};
  make_dir(&w, "r1");
  make_dir(&w, "r2");
  touch(&w, "r1/a.log", "1");
  touch(&w, "r2/b.log", "22");
  assert_int_equal(symlink("r1", lc_test_path(w.test, "current")), 0);
  begin(&w, state, &(setup){.paths = {"current/*.log"}});
  assert_true(told(&w, "found current/a.log 1\n"));
  assert_int_equal(symlink("r2", lc_test_path(w.test, "next")), 0);
  move(&w, "next", "current");
  expect_told(&w, "gone current/a.log");
  expect_told(&w, "found current/b.log 2\n");
  lc_test_append(w.test, "r2/b.log", "2", 1);
  expect_told(&w, "changed current/b.log\n");
  end(&w);
}

/* Files by the thousand: told soon, each looked at about once. */
static void test_many(void **state) {
  watcher w = {.test = *state};
  begin(&w, state, &(setup){.paths = {"*.log"}});
  w.quiet = true;
  char name[32];
  const unsigned n = 10000;
  int64_t start = lc_clock_mono();
  for (unsigned i = 0; i < n; i++) {
    (void)snprintf(name, sizeof name, "%u.log", i);
    touch(&w, name, "x");
    if (i % 100 == 0) (void)uv_run(&w.test->loop, UV_RUN_NOWAIT);
  }
  int64_t created = lc_clock_mono();
  run_until(&w, w.found >= n);
  print_message("%u files made in %d ms, all found %d ms later\n", n, (int)((created - start) / LC_MILLISECOND),
                (int)((lc_clock_mono() - created) / LC_MILLISECOND));
  assert_int_equal(w.found, n);
  for (unsigned i = 0; i < n; i++) {
    (void)snprintf(name, sizeof name, "%u.log", i);
    assert_int_equal(unlink(lc_test_path(w.test, name)), 0);
  }
  run_until(&w, w.gone >= n);
  end(&w);
}

#define SLOW_FILES 320u

static void begin_slowly(watcher *w) {
  for (unsigned i = 0; i < SLOW_FILES; i++) {
    char name[32];
    (void)snprintf(name, sizeof name, "%u.log", i);
    touch(w, name, "x");
  }
  w->slow = true;
  w->write_at = 40;
  create(w, &(setup){.paths = {"*.log"}});
  lc_discovery_start(w->discovery);
}

/* What takes long to be told of does not hold the loop: other things happen in between. */
static void test_turns(void **state) {
  watcher w = {.test = *state};
  begin_slowly(&w);
  run_until(&w, w.changed > 0);
  assert_in_range(w.found_at_write, w.write_at, SLOW_FILES / 2);
  assert_int_equal(w.scanned, 0);
  assert_int_equal(unlink(lc_test_path(w.test, "0.log")), 0);
  touch(&w, "new.log", "x");
  run_until(&w, w.scanned > 0);
  expect_told(&w, "found new.log");
  run_until(&w, !told(&w, "found 0.log") || told(&w, "gone 0.log"));
  for (unsigned i = 1; i < SLOW_FILES; i++) {
    char line[32];
    (void)snprintf(line, sizeof line, "found %u.log", i);
    assert_true(told(&w, line));
  }
  end(&w);
}

static void test_close_between_turns(void **state) {
  watcher w = {.test = *state, .close_on_changed = true};
  begin_slowly(&w);
  run_until(&w, w.closed);
  assert_in_range(w.found, w.write_at, SLOW_FILES / 2);
  assert_int_equal(w.scanned, 0);
  end(&w);
}

/* More than the kernel queues, while nobody reads it. */
static void test_overflow(void **state) {
  watcher w = {.test = *state};
  touch(&w, "a.log", "");
  touch(&w, "b.log", "");
  begin(&w, state, &(setup){.paths = {"*.log"}});
  lc_test_append(w.test, "a.log", "1", 1);
  for (unsigned i = 0; i < lc_test_inotify_queue() / 2 + 1000; i++) {
    lc_test_append(w.test, "b.log", "1", 1);
    lc_test_append(w.test, "a.log", "1", 1);
  }
  touch(&w, "c.log", "");
  expect_told(&w, "found c.log");
  expect_stats(&w, "\"overflows\":1");
  end(&w);
}

/* Written without an event: through a hard link in a folder that is not watched. */
static void test_sweep(void **state) {
  watcher w = {.test = *state};
  make_dir(&w, "logs");
  touch(&w, "logs/a.log", "1");
  begin(&w, state, &(setup){.paths = {"logs/*.log"}, .sweep_ns = 20 * LC_MILLISECOND});
  assert_int_equal(link(lc_test_path(w.test, "logs/a.log"), lc_test_path(w.test, "elsewhere")), 0);
  lc_test_append(w.test, "elsewhere", "22", 2);
  expect_told(&w, "found logs/a.log 3\n");
  end(&w);
}

/* Without descriptors nothing is told to be gone, and all goes on when there are some again. */
static void test_no_descriptors(void **state) {
  watcher w = {.test = *state};
  touch(&w, "a.log", "");
  begin(&w, state, &(setup){.paths = {"*.log"}, .sweep_ns = 10 * LC_MILLISECOND});
  struct rlimit limit, none;
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
  none = limit;
  none.rlim_cur = 3;
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
  int64_t start = lc_clock_mono();
  run_until(&w, lc_clock_mono() - start > 300 * LC_MILLISECOND);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
  assert_int_equal(w.gone, 0);
  lc_buf stats = {0};
  assert_int_equal(lc_discovery_stats(w.discovery, &stats), 0);
  assert_null(strstr(lc_buf_cstr(&stats), "\"failed\":0"));
  lc_buf_free(&stats);
  touch(&w, "b.log", "");
  expect_told(&w, "found b.log");
  assert_int_equal(w.gone, 0);
  end(&w);
}

/* inotify cannot be had: everything is polled; and sweeps try again. */
static void test_no_inotify(void **state) {
  watcher w = {.test = *state};
  lc_test *test = *state;
  char pattern[128];
  (void)snprintf(pattern, sizeof pattern, "%s/*.log", test->dir);
  touch(&w, "a.log", "");
  const char *paths[] = {pattern};
  lc_discovery_options options = {.paths = paths, .n_paths = 1, .follow_symlinks = true};
  lc_error error = {0};
  assert_int_equal(lc_discovery_create(&options, &test->loop, &events, &w, &w.discovery, &error), 0);
  struct rlimit limit, none;
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
  none = limit;
  none.rlim_cur = 3;
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
  lc_discovery_start(w.discovery);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
  run_until(&w, w.scanned > 0);
  assert_true(lc_discovery_descriptors(w.discovery) <= 1);
  lc_test_append(test, "a.log", "1", 1);
  touch(&w, "b.log", "");
  expect_told(&w, "found a.log 1\n");
  expect_told(&w, "found b.log 0\n");
  assert_int_equal(unlink(lc_test_path(test, "a.log")), 0);
  expect_told(&w, "gone a.log");
  end(&w);
}

static void test_unreadable(void **state) {
  if (geteuid() == 0) skip(); /* root may read everything */
  watcher w = {.test = *state};
  make_dir(&w, "closed");
  touch(&w, "closed/a.log", "");
  assert_int_equal(chmod(lc_test_path(w.test, "closed"), 0), 0);
  begin(&w, state, &(setup){.paths = {"closed/*.log"}});
  assert_int_equal(w.found, 0);
  assert_int_equal(chmod(lc_test_path(w.test, "closed"), 0755), 0);
  expect_told(&w, "found closed/a.log");
  assert_int_equal(chmod(lc_test_path(w.test, "closed"), 0), 0);
  run_until(&w, lc_discovery_descriptors(w.discovery) <= 1);
  expect_untold(&w, "gone");
  assert_int_equal(chmod(lc_test_path(w.test, "closed"), 0755), 0);
  end(&w);
}

static void test_close(void **state) {
  watcher w = {.test = *state};
  touch(&w, "a.log", "");
  touch(&w, "b.log", "");
  const char *paths[1];
  char pattern[128];
  (void)snprintf(pattern, sizeof pattern, "%s/*.log", w.test->dir);
  paths[0] = pattern;
  lc_discovery_options options = {.paths = paths, .n_paths = 1};
  lc_error error = {0};
  /* Never started. */
  assert_int_equal(lc_discovery_create(&options, &w.test->loop, &events, &w, &w.discovery, &error), 0);
  lc_discovery_close(w.discovery, on_closed);
  lc_discovery_close(w.discovery, on_closed);
  run_until(&w, w.closed);
  /* A job under way. */
  w.closed = false;
  assert_int_equal(lc_discovery_create(&options, &w.test->loop, &events, &w, &w.discovery, &error), 0);
  lc_discovery_start(w.discovery);
  lc_discovery_close(w.discovery, on_closed);
  run_until(&w, w.closed);
  assert_int_equal(w.found, 0);
  /* From a callback. */
  w.closed = false;
  w.close_on_found = true;
  assert_int_equal(lc_discovery_create(&options, &w.test->loop, &events, &w, &w.discovery, &error), 0);
  lc_discovery_start(w.discovery);
  run_until(&w, w.closed);
  assert_int_equal(w.found, 1);
  assert_int_equal(w.scanned, 0);
  lc_buf_free(&w.log);
}

/* Whatever allocation fails on the loop: in the end every file is told, once, and none is told to be gone. */
static void test_out_of_memory(void **state) {
  bool failed = true;
  for (unsigned n = 1; failed; n++) {
    watcher w = {.test = *state, .quiet = true};
    char pattern[128];
    (void)snprintf(pattern, sizeof pattern, "%s/d*/*.log", w.test->dir);
    const char *paths[] = {pattern};
    if (n == 1) {
      make_dir(&w, "d1");
      make_dir(&w, "d2");
      touch(&w, "d1/a.log", "");
      touch(&w, "d2/b.log", "");
    }
    lc_discovery_options options = {.paths = paths, .n_paths = 1, .sweep_ns = 100 * LC_MILLISECOND};
    lc_error error = {0};
    assert_int_equal(lc_discovery_create(&options, &w.test->loop, &events, &w, &w.discovery, &error), 0);
    lc_fault_after(n);
    lc_discovery_start(w.discovery);
    run_until(&w, w.scanned > 0);
    failed = lc_fault_off();
    run_until(&w, w.found >= 2);
    assert_int_equal(w.gone, 0);
    assert_int_equal(w.found, 2);
    end(&w);
  }
}

static void test_bad_options(void **state) {
  lc_test *test = *state;
  const char *paths[] = {"/a/[b"};
  lc_discovery_options options = {.paths = paths, .n_paths = 1};
  lc_error error = {0};
  lc_discovery *discovery = NULL;
  assert_int_equal(lc_discovery_create(&options, &test->loop, &events, NULL, &discovery, &error), LC_EINVAL);
  assert_non_null(strstr(error.message, "/a/[b"));
  paths[0] = "/a/*";
  for (unsigned n = 1;; n++) {
    lc_fault_after(n);
    int rc = lc_discovery_create(&options, &test->loop, &events, NULL, &discovery, &error);
    if (!lc_fault_off()) {
      assert_int_equal(rc, 0);
      break;
    }
    assert_int_equal(rc, LC_ENOMEM);
  }
  lc_discovery_close(discovery, NULL);
  (void)uv_run(&test->loop, UV_RUN_DEFAULT);
}

int main(void) {
  lc_log_setup(open("/dev/null", O_WRONLY | O_CLOEXEC), LC_LOG_DEBUG, LC_LOG_JSON);
  const struct CMUnitTest tests[] = {lc_test_case(test_first_scan),
                                     lc_test_case(test_follow_names),
                                     lc_test_case(test_quick_rotation),
                                     lc_test_case(test_folders_come_and_go),
                                     lc_test_case(test_parent_moves),
                                     lc_test_case(test_new_folder_race),
                                     lc_test_case(test_events_during_scan),
                                     lc_test_case(test_skips),
                                     lc_test_case(test_links_off),
                                     lc_test_case(test_link_target),
                                     lc_test_case(test_aliases),
                                     lc_test_case(test_link_swap),
                                     lc_test_case(test_many),
                                     lc_test_case(test_turns),
                                     lc_test_case(test_close_between_turns),
                                     lc_test_case(test_overflow),
                                     lc_test_case(test_sweep),
                                     lc_test_case(test_no_descriptors),
                                     lc_test_case(test_no_inotify),
                                     lc_test_case(test_unreadable),
                                     lc_test_case(test_out_of_memory),
                                     lc_test_case(test_close),
                                     lc_test_case(test_bad_options)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
