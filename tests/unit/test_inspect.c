/* Looking into a running engine: samples of stages, names of stages, pauses. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/inspect.h"
#include "record/batch.h"
#include "support/run.h"

#define SECOND INT64_C(1000000000)

/* --- the sampler alone --- */

static lc_batch *plain_batch(uint32_t n, const char *format) {
  lc_batch *batch = lc_batch_create(1u << 20);
  assert_non_null(batch);
  for (uint32_t i = 0; i < n; i++) {
    lc_record *rec = lc_batch_add_record(batch);
    assert_non_null(rec);
    rec->body = batch->data_len;
    rec->body_len = (uint32_t)sprintf(batch->base[0] + batch->data_len, format, i);
    batch->data_len += rec->body_len;
  }
  return batch;
}

static void assert_text(const lc_buf *buf, const char *expected) {
  assert_int_equal(buf->len, strlen(expected));
  assert_memory_equal(buf->data, expected, buf->len);
}

static void test_sampler_before_and_after(void **state) {
  (void)state;
  lc_sampler *sampler = lc_sampler_create();
  lc_batch *batch = plain_batch(100, "line %u");
  lc_samples *samples = lc_sampler_begin(sampler, batch, 5 * SECOND);
  assert_non_null(samples);
  assert_int_equal(samples->n, LC_SAMPLER_RECORDS); /* spread over the batch */
  static const uint32_t places[] = {0, 13, 27, 40, 54, 67, 81, 94};
  for (uint32_t i = 0; i < samples->n; i++) assert_int_equal(samples->items[i].record, places[i]);
  assert_null(lc_sampler_begin(sampler, batch, 5 * SECOND + LC_SAMPLER_EVERY_NS - 1));
  lc_batch_drop(batch, &batch->records[13], LC_DROP_DUPLICATE);
  assert_int_equal(lc_batch_refuse(batch, &batch->records[27], "stage", "why not", 7), 0);
  batch->records[0].body_len = 4;
  lc_sampler_end(sampler, samples, batch);

  samples = lc_sampler_copy(sampler, 100);
  assert_int_equal(samples->n, LC_SAMPLER_RECORDS);
  assert_text(&samples->items[0].before, "{\"message\":\"line 0\"}");
  assert_text(&samples->items[0].after, "{\"message\":\"line\"}");
  assert_int_equal(samples->items[0].fate, LC_SAMPLE_KEPT);
  assert_int_equal(samples->items[1].fate, LC_SAMPLE_DROPPED);
  assert_text(&samples->items[1].after, "duplicate");
  assert_int_equal(samples->items[2].fate, LC_SAMPLE_DEAD);
  assert_text(&samples->items[2].after, "why not");
  lc_samples_destroy(samples);
  samples = lc_sampler_copy(sampler, 3);
  assert_int_equal(samples->n, 3);
  assert_int_equal(samples->items[2].record, 94);
  lc_samples_destroy(samples);
  lc_batch_destroy(batch);
  lc_sampler_destroy(sampler);
}

static void test_sampler_is_bounded(void **state) {
  (void)state;
  char format[LC_SAMPLER_TEXT + 100];
  memset(format, 'x', sizeof format);
  memcpy(format + sizeof format - 3, "%u", 3);
  lc_sampler *sampler = lc_sampler_create();
  lc_batch *batch = plain_batch(8, format);
  for (int i = 1; i <= 20; i++) {
    lc_samples *samples = lc_sampler_begin(sampler, batch, i * SECOND);
    assert_non_null(samples);
    lc_sampler_end(sampler, samples, batch);
  }
  lc_samples *samples = lc_sampler_copy(sampler, UINT32_MAX);
  assert_int_equal(samples->n, LC_SAMPLER_KEPT);
  assert_int_equal(samples->items[0].taken_ns, 13 * SECOND);
  assert_int_equal(samples->items[LC_SAMPLER_KEPT - 1].taken_ns, 20 * SECOND);
  for (uint32_t i = 0; i < samples->n; i++) {
    assert_true(samples->items[i].before_cut && samples->items[i].after_cut);
    assert_int_equal(samples->items[i].before.len, LC_SAMPLER_TEXT);
  }
  lc_samples_destroy(samples);
  for (uint32_t i = 0; i < 8; i++) lc_batch_drop(batch, &batch->records[i], LC_DROP_DUPLICATE);
  assert_null(lc_sampler_begin(sampler, batch, 30 * SECOND)); /* nobody lives */
  assert_null(lc_sampler_begin(sampler, batch, 0));
  lc_batch_destroy(batch);
  lc_sampler_destroy(sampler);
}

/* A clock that was set back does not silence it for as long. */
static void test_sampler_and_a_clock_set_back(void **state) {
  (void)state;
  lc_sampler *sampler = lc_sampler_create();
  lc_batch *batch = plain_batch(1, "line %u");
  static const int64_t times[] = {5000 * SECOND, 1000 * SECOND, 1001 * SECOND};
  for (size_t i = 0; i < 3; i++) {
    lc_samples *samples = lc_sampler_begin(sampler, batch, times[i]);
    assert_non_null(samples);
    lc_sampler_end(sampler, samples, batch);
  }
  lc_batch_destroy(batch);
  lc_sampler_destroy(sampler);
}

static void test_sampler_without_memory(void **state) {
  (void)state;
  lc_sampler *sampler = lc_sampler_create();
  lc_batch *batch = plain_batch(3, "line %u");
  bool done = false;
  for (unsigned n = 1; !done; n++) {
    lc_fault_after(n);
    lc_samples *samples = lc_sampler_begin(sampler, batch, (int64_t)n * SECOND);
    lc_sampler_end(sampler, samples, batch);
    lc_samples *copy = lc_sampler_copy(sampler, 64);
    done = !lc_fault_off();
    lc_samples_destroy(copy);
  }
  lc_samples *copy = lc_sampler_copy(sampler, 3);
  assert_int_equal(copy->n, 3);
  assert_text(&copy->items[2].after, "{\"message\":\"line 2\"}");
  lc_samples_destroy(copy);
  lc_batch_destroy(batch);
  lc_sampler_destroy(sampler);
}

/* --- in an engine --- */

static int drop_odd(lc_stage *stage, lc_batch *batch, uint32_t *at, uint32_t to, int64_t now_ns, lc_error *error) {
  (void)stage;
  (void)now_ns;
  (void)error;
  for (; *at < to; (*at)++) {
    if (lc_record_live(&batch->records[*at]) && *at % 2 == 1) lc_batch_drop(batch, &batch->records[*at], LC_DROP_RATE);
  }
  return 0;
}

/* Breathes after each record. */
static int breathe(lc_stage *stage, lc_batch *batch, uint32_t *at, uint32_t to, int64_t now_ns, lc_error *error) {
  (void)stage;
  (void)batch;
  (void)now_ns;
  (void)error;
  if (*at < to) ++*at;
  return *at < to ? LC_EAGAIN : 0;
}

static void assert_samples(run *r, const char *name, uint32_t first, lc_sample_fate second) {
  lc_error error = {0};
  lc_sampler *sampler = lc_engine_find_sampler(r->engine, name, &error);
  if (sampler == NULL) fail_msg("%s", error.message);
  lc_samples *samples = lc_sampler_copy(sampler, 64);
  assert_in_range(samples->n, first + 1, 64);
  assert_text(&samples->items[0].before, "{\"message\":\"a 0\"}");
  assert_text(&samples->items[0].after, "{\"message\":\"a 0\"}");
  assert_string_equal(samples->items[0].source, "a");
  if (first > 0) assert_int_equal(samples->items[first].fate, second);
  lc_samples_destroy(samples);
}

static void assert_unknown(run *r, const char *name, const char *hint) {
  lc_error error = {0};
  assert_null(lc_engine_find_sampler(r->engine, name, &error));
  run_assert_in(error.message, hint);
}

static bool has_all(run *self) { return double_sink_count(self->sinks[0]) >= 5; }

static void test_stages_are_sampled_and_found(void **state) {
  for (unsigned flags = 0; flags <= LC_STAGE_STATELESS; flags++) { /* on the loop, in the pool */
    run r;
    run_begin(&r, *state, false);
    run_with_sink(&r, flags == 0 ? "sink" : "sink2", DOUBLE_AT_ONCE);
    double_monitor_partition(r.monitor, "a", 10);
    double_monitor_batch(r.monitor, 10);
    r.stages[r.n_stages++] = double_stage_create(r.test->registry, "odd", flags, drop_odd);
    r.stages[r.n_stages++] = double_stage_create(r.test->registry, "function at /x/t.lua:7", flags, breathe);
    r.stages[r.n_stages++] = double_stage_create(r.test->registry, "same", flags, breathe);
    r.stages[r.n_stages++] = double_stage_create(r.test->registry, "same", flags, breathe);
    run_start(&r, 0);
    run_until(&r, has_all);
    assert_samples(&r, "odd", 1, LC_SAMPLE_DROPPED);
    assert_samples(&r, "shop", 1, LC_SAMPLE_DROPPED);
    assert_samples(&r, "shop:1", 1, LC_SAMPLE_DROPPED);
    assert_samples(&r, "shop:2", 1, LC_SAMPLE_KEPT);
    assert_samples(&r, "t.lua:7", 1, LC_SAMPLE_KEPT);
    assert_samples(&r, "/x/t.lua:7", 1, LC_SAMPLE_KEPT);
    assert_unknown(&r, "same", "several stages are called \"same\"; name one by its pipeline, as in shop:4");
    assert_unknown(&r, "shop:5", "there are shop:1 (odd), shop:2 (function at /x/t.lua:7), shop:3 (same)");
    assert_unknown(&r, "shop:0", "no stage");
    assert_unknown(&r, "shop:1x", "no stage");
    assert_unknown(&r, "", "no stage");
    assert_unknown(&r, "dd", "no stage");
    bool healthy;
    char *text = run_audit(&r, &healthy);
    assert_true(healthy);
    free(text);
    run_end(&r);
    assert_int_equal(lc_remove_tree(lc_test_path(r.test, "positions.db")), 0);
  }
}

static bool has_ten(run *self) { return double_sink_count(self->sinks[0]) >= 10; }

static void test_what_passes_without_stages(void **state) {
  run r;
  run_begin(&r, *state, false);
  run_with_sink(&r, "sink", DOUBLE_AT_ONCE);
  double_monitor_partition(r.monitor, "a", 10);
  run_start(&r, 0);
  run_until(&r, has_ten);
  assert_samples(&r, "shop", 1, LC_SAMPLE_KEPT);
  run_end(&r);
}

/* --- pauses --- */

static char *status(run *r) {
  lc_buf buf = {0};
  assert_int_equal(lc_engine_status(r->engine, &buf), 0);
  char *text = strdup(lc_buf_cstr(&buf));
  lc_buf_free(&buf);
  return text;
}

static bool after_a_while(run *self) { return self->polls >= 30; }
static bool has_forty(run *self) { return double_sink_count(self->sinks[0]) >= 40; }

static void test_pause_and_resume(void **state) {
  run r;
  lc_error error = {0};
  run_begin(&r, *state, false);
  double_sink *sink = run_with_sink(&r, "sink", DOUBLE_AT_ONCE);
  double_monitor_partition(r.monitor, "a", 10);
  run_start(&r, 0);
  run_until(&r, has_ten);
  assert_int_equal(lc_engine_pause(r.engine, "shop", true, &error), 0);
  assert_int_equal(lc_engine_pause(r.engine, "shop", true, &error), 0); /* twice is fine */
  char *text = status(&r);
  run_assert_in(text, "\"name\":\"shop\",\"state\":\"paused\"");
  free(text);
  double_monitor_partition(r.monitor, "b", 30);
  double_monitor_assign(r.monitor, "b");
  run_until(&r, after_a_while);
  assert_int_equal(double_sink_count(sink), 10);
  assert_int_equal(lc_engine_pause(r.engine, "shop", false, &error), 0);
  run_until(&r, has_forty);
  text = status(&r);
  run_assert_in(text, "\"name\":\"shop\",\"state\":\"running\"");
  free(text);
  assert_int_equal(lc_engine_pause(r.engine, "shops", true, &error), LC_ENOENT);
  assert_string_equal(error.message, "no pipeline is called \"shops\"");
  run_end(&r);
}

static void test_a_paused_pipeline_stops(void **state) {
  run r;
  lc_error error = {0};
  run_begin(&r, *state, false);
  run_with_sink(&r, "sink", DOUBLE_AT_ONCE);
  double_monitor_partition(r.monitor, "a", 10);
  run_start(&r, 0);
  run_until(&r, has_ten);
  assert_int_equal(lc_engine_pause(r.engine, "shop", true, &error), 0);
  double_monitor_partition(r.monitor, "b", 30);
  double_monitor_assign(r.monitor, "b");
  lc_engine_stop(r.engine, 20 * SECOND);
  run_until(&r, run_has_finished);
  assert_false(r.result.failed);
  run_end(&r);
}

static void test_once_is_not_paused(void **state) {
  run r;
  lc_error error = {0};
  run_begin(&r, *state, true);
  run_with_sink(&r, "sink", DOUBLE_AT_ONCE);
  double_monitor_partition(r.monitor, "a", 10);
  run_start(&r, 0);
  assert_int_equal(lc_engine_pause(r.engine, "shop", true, &error), LC_EINVAL);
  run_until(&r, run_has_finished);
  assert_int_equal(double_sink_count(r.sinks[0]), 10);
  run_end(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sampler_before_and_after),
      cmocka_unit_test(test_sampler_is_bounded),
      cmocka_unit_test(test_sampler_and_a_clock_set_back),
      cmocka_unit_test(test_sampler_without_memory),
      lc_test_case(test_stages_are_sampled_and_found),
      lc_test_case(test_what_passes_without_stages),
      lc_test_case(test_pause_and_resume),
      lc_test_case(test_a_paused_pipeline_stops),
      lc_test_case(test_once_is_not_paused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
