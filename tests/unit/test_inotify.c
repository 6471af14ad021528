/* inotify on the loop: events with names, overflow as an event of its own, limits by name, and a busy writer. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "io/inotify.h"
#include "support/support.h"

typedef struct seen {
  lc_test *test;
  lc_inotify *inotify;
  lc_buf log;
  unsigned events, rounds, overflows;
  bool close_on_event, closed;
} seen;

static void on_closed(void *arg) {
  seen *s = arg;
  s->closed = true;
}

static void on_event(void *arg, const lc_inotify_event *event) {
  seen *s = arg;
  s->events++;
  if ((event->mask & IN_Q_OVERFLOW) != 0) {
    assert_int_equal(event->wd, -1);
    s->overflows++;
  } else if (s->log.len < 4096) {
    lc_buf_addf(&s->log, "%d:%s%s%s%s%s ", event->wd, event->name, (event->mask & IN_CREATE) ? "+" : "",
                (event->mask & IN_MODIFY) ? "~" : "", (event->mask & IN_DELETE) ? "-" : "",
                (event->mask & IN_IGNORED) ? "!" : "");
  }
  if (s->close_on_event) lc_inotify_close(s->inotify, on_closed, s);
}

static void on_done(void *arg) {
  ((seen *)arg)->rounds++;
}

static const lc_inotify_callbacks callbacks = {on_event, on_done};

static void begin(seen *s, void **state) {
  lc_error error = {0};
  *s = (seen){.test = *state};
  assert_int_equal(lc_inotify_open(&s->test->loop, &callbacks, s, &s->inotify, &error), 0);
}

static void wait_for(seen *s, const char *text) {
  int64_t start = lc_clock_mono();
  while (strstr(lc_buf_cstr(&s->log), text) == NULL && lc_clock_mono() - start < 60 * LC_SECOND) {
    (void)uv_run(&s->test->loop, UV_RUN_NOWAIT);
  }
  if (strstr(lc_buf_cstr(&s->log), text) == NULL) print_error("seen: %s\n", s->log.data);
  assert_non_null(strstr(lc_buf_cstr(&s->log), text));
}

static void end(seen *s) {
  if (!s->close_on_event) lc_inotify_close(s->inotify, on_closed, s);
  while (!s->closed) (void)uv_run(&s->test->loop, UV_RUN_ONCE);
  lc_buf_free(&s->log);
}

static int watch(seen *s, const char *path) {
  lc_error error = {0};
  int wd = lc_inotify_add(s->inotify, path, IN_CREATE | IN_MODIFY | IN_DELETE, &error);
  assert_true(wd >= 0);
  return wd;
}

static void test_events(void **state) {
  seen s;
  begin(&s, state);
  int wd = watch(&s, s.test->dir);
  assert_int_equal(watch(&s, s.test->dir), wd); /* one watch for one file */
  lc_test_write(s.test, "a", "1", 1);
  assert_int_equal(unlink(lc_test_path(s.test, "a")), 0);
  char expected[64];
  (void)snprintf(expected, sizeof expected, "%d:a+ %d:a~ %d:a- ", wd, wd, wd);
  wait_for(&s, expected);
  assert_int_equal(s.rounds, 1);
  lc_inotify_remove(s.inotify, wd);
  (void)snprintf(expected, sizeof expected, "%d:! ", wd);
  wait_for(&s, expected);
  lc_inotify_remove(s.inotify, wd); /* harmless */
  end(&s);
}

/* What cannot be watched says why. */
static void test_errors(void **state) {
  seen s;
  begin(&s, state);
  lc_error error = {0};
  assert_int_equal(lc_inotify_add(s.inotify, lc_test_path(s.test, "none"), IN_CREATE, &error), LC_ENOENT);
  assert_non_null(strstr(error.message, "none"));
  struct rlimit limit, none;
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
  none = limit;
  none.rlim_cur = 3;
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
  lc_inotify *more = NULL;
  int rc = lc_inotify_open(&s.test->loop, &callbacks, &s, &more, &error);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
  assert_int_equal(rc, LC_ELIMIT);
  assert_non_null(strstr(error.message, "fs.inotify.max_user_instances"));
  lc_fault_after(1);
  rc = lc_inotify_open(&s.test->loop, &callbacks, &s, &more, &error);
  assert_true(lc_fault_off());
  assert_int_equal(rc, LC_ENOMEM);
  end(&s);
}

static void test_overflow(void **state) {
  seen s;
  begin(&s, state);
  (void)watch(&s, s.test->dir);
  for (unsigned i = 0; i < lc_test_inotify_queue() / 2 + 1000; i++) { /* two in turn, so that nothing is merged */
    lc_test_append(s.test, "a", "1", 1);
    lc_test_append(s.test, "b", "1", 1);
  }
  int64_t start = lc_clock_mono();
  while (s.overflows == 0 && lc_clock_mono() - start < 60 * LC_SECOND) (void)uv_run(&s.test->loop, UV_RUN_NOWAIT);
  assert_int_equal(s.overflows, 1);
  lc_test_write(s.test, "after", "1", 1);
  wait_for(&s, "");
  end(&s);
}

/* A writer that never rests: far fewer wake-ups than writes, and the first and last write are noticed. */
static void test_busy(void **state) {
  seen s;
  begin(&s, state);
  (void)watch(&s, s.test->dir);
  FILE *file = fopen(lc_test_path(s.test, "a"), "w");
  assert_non_null(file);
  setvbuf(file, NULL, _IONBF, 0);
  const unsigned writes = 20000;
  int64_t start = lc_clock_mono();
  for (unsigned i = 0; i < writes; i++) {
    assert_int_equal(fputc('x', file), 'x');
    (void)uv_run(&s.test->loop, UV_RUN_NOWAIT);
  }
  assert_int_equal(fclose(file), 0);
  int64_t took_ms = (lc_clock_mono() - start) / LC_MILLISECOND;
  assert_true(s.rounds > 0 && s.rounds < 100 + 2 * took_ms); /* one in two milliseconds, once it is seen to be busy */
  lc_test_write(s.test, "last", "", 0);
  wait_for(&s, "last+");
  end(&s);
}

static void test_close_in_event(void **state) {
  seen s;
  begin(&s, state);
  (void)watch(&s, s.test->dir);
  s.close_on_event = true;
  lc_test_write(s.test, "a", "1", 1);
  while (!s.closed) (void)uv_run(&s.test->loop, UV_RUN_ONCE);
  assert_int_equal(s.events, 1);
  assert_int_equal(s.rounds, 0);
  end(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {lc_test_case(test_events), lc_test_case(test_errors), lc_test_case(test_overflow),
                                     lc_test_case(test_busy), lc_test_case(test_close_in_event)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
