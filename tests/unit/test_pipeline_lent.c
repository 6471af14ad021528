/* What read jobs write on the spot: order, and that each commit has both its cursor and its output, or neither. */
#include "support/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* In batches of a hundred of "a", refuses record 250. */
static int refuse_one(lc_stage *stage, lc_batch *batch, uint32_t *at, uint32_t to, int64_t now_ns, lc_error *error) {
  (void)now_ns;
  (void)error;
  for (; *at < to; (*at)++) {
    lc_record *rec = &batch->records[*at];
    if (rec->body_len == 5 && memcmp(lc_batch_at(batch, rec->body), "a 250", 5) == 0 &&
        lc_batch_refuse(batch, rec, stage->resource.name, "no", 2) != 0) {
      return LC_ENOMEM;
    }
  }
  return 0;
}

static int take_count(void *arg, const char *key, uint64_t value) {
  if (strcmp(key, DOUBLE_LENDER_SHOWN) == 0) *(uint64_t *)arg = value;
  return 0;
}

static int take_cursor(void *arg, uint32_t sink_id, const lc_stored_cursor *cursor) {
  (void)sink_id;
  *(uint64_t *)arg += (cursor->position - 500000) / DOUBLE_STEP;
  return 0;
}

typedef struct saved {
  lc_store *store;
  uint64_t shown, passed;
} saved;

static int take_source(void *arg, uint64_t id, const char *key, const char *name, int64_t seen_ns) {
  saved *self = arg;
  (void)key;
  (void)name;
  (void)seen_ns;
  return lc_store_each_cursor(self->store, id, take_cursor, &self->passed, NULL);
}

/* What the last commit says: records shown by the sink, and records that the cursors have passed. */
static saved read_store(run *self) {
  uint32_t monitor = 0;
  saved ret = {.store = self->runtime.store};
  assert_int_equal(lc_store_resource_id(ret.store, "monitor", &monitor, NULL), 0);
  assert_int_equal(lc_store_each_source(ret.store, monitor, take_source, &ret, NULL), 0);
  assert_int_equal(lc_store_each_count(ret.store, "lender", take_count, &ret.shown, NULL), 0);
  return ret;
}

static bool saved_200(run *self) {
  saved now = read_store(self), again = read_store(self);
  if (now.shown != again.shown || now.passed != again.passed) return false; /* a commit came between the two halves */
  assert_int_equal(now.shown, now.passed); /* in every commit that we see */
  return now.shown >= 200;
}

static void in_the_way_of_dead_letters(run *self, bool on) {
  if (on) {
    lc_test_write(self->test, "dlq", "", 0);
  } else {
    assert_int_equal(unlink(lc_test_path(self->test, "dlq")), 0);
  }
}

static void assert_in_order(run *self, uint32_t n, uint32_t without) {
  uint32_t next = 0;
  for (const char *at = double_lender_text(self->lender); *at != '\0'; at = strchr(at, '\n') + 1, next++) {
    uint32_t index;
    if (next == without) next++;
    assert_int_equal(sscanf(at, "a %u", &index), 1);
    assert_int_equal(index, next);
  }
  assert_int_equal(next, n);
}

static bool has_100(run *self) { return double_lender_count(self->lender) == 100; }

/* The first hundred take the way over the loop, since their source is new. From then on the sink is lent. */
static void start_lent(run *self, uint32_t train, uint32_t refills, bool block_dead) {
  double_monitor_partition(self->monitor, "a", 1000);
  double_monitor_batch(self->monitor, 200); /* a partition has half of a batch */
  double_monitor_jobs(self->monitor, 1);
  run_start(self, 0);
  run_until(self, has_100);
  if (block_dead) in_the_way_of_dead_letters(self, true);
  double_monitor_train(self->monitor, train, refills);
  double_monitor_jobs(self->monitor, UINT32_MAX);
}

static void begin_refusing(run *r, lc_test *test) {
  run_begin(r, test, true);
  run_with_lender(r, "lender");
  r->stages[r->n_stages++] = double_stage_create(test->registry, "refuse", LC_STAGE_STATELESS, refuse_one);
}

static void test_a_batch_that_waits_holds_back_no_cursor_of_what_is_shown(void **state) {
  run r;
  begin_refusing(&r, *state);
  start_lent(&r, 1, 8, true);
  run_until(&r, saved_200); /* the third hundred, with the dead letter, waits in the same batch */
  in_the_way_of_dead_letters(&r, false);
  run_until(&r, run_has_finished);
  assert_false(r.result.failed);
  assert_true(double_lender_on_the_spot(r.lender) > 0);
  assert_in_order(&r, 1000, 250);
  bool healthy;
  free(run_audit(&r, &healthy));
  assert_true(healthy);
  run_end(&r);
}

static void test_nothing_overtakes_a_batch_that_goes_to_the_loop(void **state) {
  run r;
  begin_refusing(&r, *state);
  start_lent(&r, 6, 1, false);
  run_until(&r, run_has_finished);
  assert_false(r.result.failed);
  assert_true(double_lender_on_the_spot(r.lender) > 0);
  assert_in_order(&r, 1000, 250);
  run_end(&r);
}

static void test_a_sink_that_fails_while_lent_goes_on_where_it_stopped(void **state) {
  run r;
  run_begin(&r, *state, true);
  run_with_lender(&r, "lender");
  double_lender_fail_at(r.lender, 250);
  start_lent(&r, 2, 8, false);
  run_until(&r, saved_200);
  assert_int_equal(double_lender_count(r.lender), 249);
  double_lender_fail_at(r.lender, 0);
  run_until(&r, run_has_finished);
  assert_false(r.result.failed);
  assert_in_order(&r, 1000, UINT32_MAX);
  saved last = read_store(&r);
  assert_int_equal(last.shown, 1000);
  assert_int_equal(last.passed, 1000);
  run_end(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_a_batch_that_waits_holds_back_no_cursor_of_what_is_shown),
      lc_test_case(test_nothing_overtakes_a_batch_that_goes_to_the_loop),
      lc_test_case(test_a_sink_that_fails_while_lent_goes_on_where_it_stopped),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
