/* The common part of blocking sinks: options that a reload brings while a job, or a borrower, writes. */
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/inside.h"
#include "sink/writer.h"
#include "support/run.h"

/* A sink that notes its option once for each record, and whose writes wait at a gate. */
typedef struct gate {
  lc_writer writer; /* first */
  char option;
  sem_t entered, pass; /* posted by each write / by the test, while `shut` */
  _Atomic bool shut, fails;
  lc_buf noted;
  uint32_t adoptions, tended;
} gate;

static int gate_write(lc_writer *writer, lc_delivery *delivery, lc_error *error) {
  gate *self = (gate *)(void *)writer;
  sem_post(&self->entered);
  for (uint32_t i = 0; i < delivery->batch->n_records; i++) {
    if (i == delivery->batch->n_records / 2 && self->shut) sem_wait(&self->pass);
    if (self->fails) return lc_error_set(error, LC_ESYS, "the gate is jammed");
    lc_buf_addc(&self->noted, self->option);
  }
  return 0;
}

static void gate_tend(lc_writer *writer) { ((gate *)(void *)writer)->tended++; }

static void gate_destroy(lc_writer *writer) {
  gate *self = (gate *)(void *)writer;
  sem_destroy(&self->entered);
  sem_destroy(&self->pass);
  lc_buf_free(&self->noted);
  free(self);
}

static lc_fit gate_fit(const lc_writer *writer, const lc_writer *described) {
  const gate *self = (const gate *)(const void *)writer, *other = (const gate *)(const void *)described;
  return self->option == other->option ? LC_FIT_SAME : LC_FIT_CHANGED;
}

static void gate_adopt(lc_writer *writer, lc_writer *described) {
  gate *self = (gate *)(void *)writer;
  self->option = ((gate *)(void *)described)->option;
  self->adoptions++;
}

static const lc_writer_ops gate_ops = {
    .write = gate_write, .tend = gate_tend, .destroy = gate_destroy, .fit = gate_fit, .adopt = gate_adopt};

static gate *describe(lc_test *test, char option) {
  lc_error error = {0};
  gate *self = calloc(1, sizeof *self);
  assert_non_null(self);
  self->option = option;
  assert_int_equal(sem_init(&self->entered, 0, 0) | sem_init(&self->pass, 0, 0), 0);
  assert_int_equal(lc_writer_init(&self->writer, &gate_ops, test->registry, "gate", NULL, "gate", "t:1", &error), 0);
  return self;
}

typedef struct gated {
  run run; /* first */
  gate *gate;
} gated;

static void begin(gated *self, lc_test *test, bool lent) {
  run_begin(&self->run, test, true);
  self->gate = describe(test, 'a');
  self->run.bases[self->run.n_sinks++] = &self->gate->writer.sink;
  if (!lent) run_with_sink(&self->run, "sink", DOUBLE_AT_ONCE); /* with two sinks none is lent */
  double_monitor_partition(self->run.monitor, "p", 400);
}

/* A reload: asks, and lets go of what it described. */
static void offer(gated *self, char option, lc_fit fit) {
  gate *described = describe(self->run.test, option);
  lc_resource *live = &self->gate->writer.sink.resource, *res = &described->writer.sink.resource;
  assert_int_equal(live->ops->fit(live, res), fit);
  if (fit == LC_FIT_CHANGED) live->ops->adopt(live, res);
  lc_resource_release(res);
  lc_registry_run(self->run.test->registry);
}

static bool is_inside(run *r) { return sem_trywait(&((gated *)r)->gate->entered) == 0; }

static bool is_settled(run *r) { return r->engine->pipelines[0]->edges[0]->in_flight == 0; }

static bool is_inside_lent(run *r) {
  return r->engine->pipelines[0]->lent != NULL && sem_trywait(&((gated *)r)->gate->entered) == 0;
}

static void open_gate(gate *self) {
  self->shut = false;
  for (int i = 0; i < 8; i++) sem_post(&self->pass);
}

/* So many records under the options of the beginning, the others under the last ones. A delivery has 50. */
static void assert_noted(const gate *self, uint32_t before, char after) {
  const char *noted = lc_buf_cstr((lc_buf *)(uintptr_t)&self->noted);
  assert_int_equal(strlen(noted), 400);
  for (uint32_t i = 0; i < 400; i++) assert_int_equal(noted[i], i < before ? 'a' : after);
}

static void test_waits_for_the_job_and_the_last_one_counts(void **state) {
  gated self;
  begin(&self, *state, false);
  self.gate->shut = true;
  run_start(&self.run, 0);
  run_until(&self.run, is_inside);
  offer(&self, 'b', LC_FIT_CHANGED);
  offer(&self, 'c', LC_FIT_CHANGED);
  offer(&self, 'c', LC_FIT_SAME); /* as the job will leave it */
  offer(&self, 'a', LC_FIT_CHANGED);
  offer(&self, 'd', LC_FIT_CHANGED);
  assert_int_equal(self.gate->option, 'a');
  assert_int_equal(self.gate->adoptions, 0);
  open_gate(self.gate);
  run_until(&self.run, run_has_finished);
  assert_int_equal(self.gate->adoptions, 1);
  assert_true(self.gate->tended > 0);
  const char *first_d = strchr(lc_buf_cstr(&self.gate->noted), 'd');
  assert_non_null(first_d);
  uint32_t before = (uint32_t)(first_d - lc_buf_cstr(&self.gate->noted));
  assert_int_equal(before % 50, 0); /* whole deliveries */
  assert_noted(self.gate, before, 'd');
  run_end(&self.run);
}

static void test_waits_for_the_borrower(void **state) {
  gated self;
  begin(&self, *state, true);
  double_monitor_jobs(self.run.monitor, 1);
  run_start(&self.run, 0);
  run_until(&self.run, is_inside); /* the first one, through the queue: the source is live from now on */
  run_until(&self.run, is_settled);
  self.gate->shut = true;
  double_monitor_train(self.run.monitor, 1, 1); /* the second job refills once: two deliveries on the spot */
  double_monitor_jobs(self.run.monitor, UINT32_MAX);
  run_until(&self.run, is_inside_lent);
  offer(&self, 'b', LC_FIT_CHANGED);
  assert_int_equal(self.gate->option, 'a');
  open_gate(self.gate);
  run_until(&self.run, run_has_finished);
  assert_int_equal(self.gate->adoptions, 1);
  assert_noted(self.gate, 150, 'b');
  run_end(&self.run);
}

static void test_is_at_once_when_idle(void **state) {
  gated self;
  begin(&self, *state, true);
  double_monitor_jobs(self.run.monitor, 0);
  run_start(&self.run, 0);
  offer(&self, 'a', LC_FIT_SAME);
  offer(&self, 'b', LC_FIT_CHANGED);
  assert_int_equal(self.gate->option, 'b');
  double_monitor_jobs(self.run.monitor, UINT32_MAX);
  run_until(&self.run, run_has_finished);
  assert_noted(self.gate, 0, 'b');
  run_end(&self.run);
}

static bool has_failed(run *r) { return atomic_load(&((gated *)r)->gate->writer.sink.resource.errors) >= 2; }

/* What could not be written under the old options is tried as soon as the new ones are there. */
static void test_what_failed_is_tried_at_once(void **state) {
  gated self;
  begin(&self, *state, false);
  self.gate->fails = true;
  run_start(&self.run, 0);
  run_until(&self.run, has_failed); /* and waits for its timer now */
  while (sem_trywait(&self.gate->entered) == 0) continue;
  self.gate->fails = false;
  offer(&self, 'b', LC_FIT_CHANGED);
  assert_int_equal(sem_wait(&self.gate->entered), 0); /* without a turn of the loop */
  run_until(&self.run, run_has_finished);
  assert_noted(self.gate, 0, 'b');
  run_end(&self.run);
}

static void test_closes_while_options_wait(void **state) {
  gated self;
  begin(&self, *state, false);
  self.gate->shut = true;
  run_start(&self.run, 0);
  run_until(&self.run, is_inside);
  offer(&self, 'b', LC_FIT_CHANGED);
  lc_resource_close(&self.gate->writer.sink.resource);
  lc_registry_run(self.run.test->registry);
  offer(&self, 'c', LC_FIT_CHANGED);
  lc_engine_stop(self.run.engine, 1);
  open_gate(self.gate);
  run_until(&self.run, run_has_finished);
  assert_int_equal(self.gate->adoptions, 0);
  offer(&self, 'd', LC_FIT_CHANGED); /* it writes no more: nothing is kept */
  run_end(&self.run);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_waits_for_the_job_and_the_last_one_counts),
      lc_test_case(test_waits_for_the_borrower),
      lc_test_case(test_is_at_once_when_idle),
      lc_test_case(test_what_failed_is_tried_at_once),
      lc_test_case(test_closes_while_options_wait),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
