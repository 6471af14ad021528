#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "support/doubles.h"

#define PACK 5
#define HELD 4096

struct double_sink {
  lc_sink base; /* first */
  uv_idle_t idle;
  bool open, flushing, fail_open, refuses_first;
  lc_fit fit;
  double_policy policy;
  lc_delivery *held[HELD];
  uint32_t n_held;
  uint32_t refused[8], n_refused;
  const char *label; /* shown behind each line; NULL: none */
  lc_buf text, *into; /* where it writes: its own, or one of the test's */
  uint32_t count;
};

static bool is_refused(const double_sink *self, uint32_t number) {
  for (uint32_t i = 0; i < self->n_refused; i++) {
    if (self->refused[i] == number) return true;
  }
  return false;
}

static void add_label(double_sink *self, const lc_batch *batch, const lc_record *rec) {
  const lc_labels *labels = rec->range < batch->n_ranges ? batch->ranges[rec->range].labels : NULL;
  for (uint32_t i = 0; self->label != NULL && labels != NULL && i < labels->n; i++) {
    if (strcmp(labels->items[i].name, self->label) == 0) lc_buf_addf(self->into, " %s", labels->items[i].value);
  }
}

/* Answers for one delivery, whose first record has `number` in the request: record by record, since a server's answer
 * comes so. Returns the number behind its last. */
static uint32_t answer(double_sink *self, lc_delivery *delivery, uint32_t number) {
  uint32_t n = delivery->batch->n_records, wanted = 0, left = 0;
  for (uint32_t i = 0; i < n; i++) left += lc_delivery_wants(delivery, i);
  for (uint32_t i = 0; i < n && left > 0; i++) {
    if (!lc_delivery_wants(delivery, i)) continue;
    const lc_record *rec = &delivery->batch->records[i];
    bool refused = is_refused(self, number + wanted);
    if (!refused) {
      lc_buf_add(self->into, lc_batch_at(delivery->batch, rec->body), rec->body_len);
      add_label(self, delivery->batch, rec);
      lc_buf_addc(self->into, '\n');
      self->count++;
    }
    wanted++;
    left--;
    lc_delivery_settle(delivery, i, 1, refused ? LC_REFUSED : LC_DELIVERED, "number refused");
  }
  return number + wanted;
}

static void answer_request(double_sink *self, uint32_t n) {
  lc_delivery *request[PACK];
  uint32_t numbers[PACK], number = 0;
  memcpy(request, self->held, n * sizeof *request);
  self->n_held -= n;
  memmove(self->held, self->held + n, self->n_held * sizeof *self->held);
  for (uint32_t i = 0; i < n; i++) {
    numbers[i] = number;
    for (uint32_t r = 0; r < request[i]->batch->n_records; r++) number += lc_delivery_wants(request[i], r);
  }
  for (uint32_t i = n; i-- > 0;) answer(self, request[i], numbers[i]);
}

static void turn(uv_idle_t *idle) {
  double_sink *self = idle->data;
  uv_idle_stop(idle);
  if (self->policy == DOUBLE_HOLD) return;
  uint32_t pack = self->policy == DOUBLE_REVERSE ? PACK : 1;
  while (self->n_held >= pack) answer_request(self, pack);
  if (self->flushing && self->n_held > 0) answer_request(self, self->n_held);
  self->flushing = false;
}

static int open_it(lc_sink *sink, lc_runtime *runtime, lc_error *error) {
  double_sink *self = (double_sink *)sink;
  if (self->fail_open) return lc_error_set(error, LC_ESYS, "it cannot be opened");
  uv_idle_init(runtime->loop, &self->idle);
  self->idle.data = self;
  self->open = true;
  return 0;
}

static void submit(lc_sink *sink, lc_delivery *delivery) {
  double_sink *self = (double_sink *)sink;
  if (!self->open) { /* somebody closed it */
    lc_delivery_discard(delivery);
    return;
  }
  lc_require(self->n_held < HELD);
  self->held[self->n_held++] = delivery;
  uint32_t first = 0;
  while (self->refuses_first && !lc_delivery_wants(delivery, first)) first++;
  if (self->refuses_first) lc_delivery_settle(delivery, first, 1, LC_REFUSED, "the first one refused");
  uv_idle_start(&self->idle, turn);
}

static void flush(lc_sink *sink) {
  double_sink *self = (double_sink *)sink;
  if (!self->open) return;
  self->flushing = true;
  uv_idle_start(&self->idle, turn);
}

static const lc_sink_ops ops = {.open = open_it, .submit = submit, .flush = flush};

static void idle_closed(uv_handle_t *handle) { lc_resource_closed(&((double_sink *)handle->data)->base.resource); }

static void close_it(lc_resource *res) {
  double_sink *self = (double_sink *)res;
  self->open = false;
  while (self->n_held > 0) lc_delivery_discard(self->held[--self->n_held]);
  uv_close((uv_handle_t *)&self->idle, idle_closed);
}

static void destroy(lc_resource *res) {
  double_sink *self = (double_sink *)res;
  lc_buf_free(&self->text);
  free(self);
}

static lc_fit fit(const lc_resource *res, const lc_resource *described) {
  (void)described;
  return ((const double_sink *)res)->fit;
}

static void adopt(lc_resource *res, lc_resource *described) {
  double_sink_release((double_sink *)res, ((double_sink *)described)->policy);
}

static const lc_resource_ops resource_ops = {.close = close_it, .destroy = destroy, .fit = fit, .adopt = adopt};

double_sink *double_sink_create(lc_registry *registry, const char *name, double_policy policy) {
  double_sink *self = calloc(1, sizeof *self);
  lc_error error = {0};
  lc_require(self != NULL);
  lc_require(lc_resource_init(&self->base.resource, registry, &resource_ops, "double_sink", name, name, "t:2", &error) == 0);
  self->base.ops = &ops;
  self->policy = policy;
  self->into = &self->text;
  return self;
}

lc_sink *double_sink_base(double_sink *sink) { return &sink->base; }

void double_sink_show_label(double_sink *sink, const char *name) { sink->label = name; }

void double_sink_refuse(double_sink *sink, uint32_t number) {
  lc_require(sink->n_refused < 8);
  sink->refused[sink->n_refused++] = number;
}

void double_sink_refuse_first(double_sink *sink) { sink->refuses_first = true; }

void double_sink_release(double_sink *sink, double_policy policy) {
  sink->policy = policy;
  flush(&sink->base);
}

void double_sink_into(double_sink *sink, lc_buf *text) { sink->into = text; }

const char *double_sink_text(double_sink *sink) { return lc_buf_cstr(&sink->text); }
uint32_t double_sink_count(double_sink *sink) { return sink->count; }
uint32_t double_sink_held(double_sink *sink) { return sink->n_held; }
void double_sink_fit(double_sink *sink, lc_fit wanted) { sink->fit = wanted; }
void double_sink_fail_open(double_sink *sink) { sink->fail_open = true; }

/* --- stages --- */

typedef struct double_stage {
  lc_stage base; /* first */
  lc_stage_ops ops;
} double_stage;

static void close_stage(lc_resource *res) { lc_resource_closed(res); }
static void destroy_stage(lc_resource *res) { free(res); }
static const lc_resource_ops stage_resource_ops = {.close = close_stage, .destroy = destroy_stage};

lc_stage *double_stage_create(lc_registry *registry, const char *name, unsigned flags,
                              int (*process)(lc_stage *, lc_batch *, uint32_t *, uint32_t, int64_t, lc_error *)) {
  double_stage *self = calloc(1, sizeof *self);
  lc_error error = {0};
  lc_require(self != NULL);
  lc_require(lc_resource_init(&self->base.resource, registry, &stage_resource_ops, "double_stage", name, name, "t:3", &error) == 0);
  self->ops = (lc_stage_ops){.flags = flags, .process = process};
  self->base.ops = &self->ops;
  return &self->base;
}
