#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "io/store.h"
#include "support/doubles.h"

struct double_lender {
  lc_sink base; /* first */
  lc_buf text;
  uint32_t count, shown, on_the_spot;
  _Atomic uint32_t fail_at;
  bool lent;
  lc_delivery *first, *last; /* what waits */
};

/* Pool thread while lent, else the loop thread. */
static int write_it(lc_sink *sink, lc_delivery *delivery, lc_error *error) {
  double_lender *self = (double_lender *)sink;
  for (; delivery->at < delivery->batch->n_records; delivery->at++) {
    if (!lc_delivery_wants(delivery, delivery->at)) continue;
    if (self->fail_at > 0 && self->count + 1 >= self->fail_at) return lc_error_set(error, LC_ESYS, "full");
    const lc_record *rec = &delivery->batch->records[delivery->at];
    lc_buf_add(&self->text, lc_batch_at(delivery->batch, rec->body), rec->body_len);
    lc_buf_addc(&self->text, '\n');
    self->count++;
    self->on_the_spot += self->lent;
  }
  return 0;
}

/* What is written whole is shown, then settled. A delivery that fails stays in front. */
static void write_queue(double_lender *self) {
  while (self->first != NULL && !self->lent) {
    lc_delivery *delivery = self->first;
    if (write_it(&self->base, delivery, NULL) != 0) return;
    self->first = delivery->next;
    if (self->first == NULL) self->last = NULL;
    self->shown = self->count;
    lc_delivery_settle_all(delivery, LC_DELIVERED, NULL);
  }
}

static int open_it(lc_sink *sink, lc_runtime *runtime, lc_error *error) {
  (void)sink;
  (void)runtime;
  (void)error;
  return 0;
}

static void submit(lc_sink *sink, lc_delivery *delivery) {
  double_lender *self = (double_lender *)sink;
  delivery->next = NULL;
  if (self->last != NULL) {
    self->last->next = delivery;
  } else {
    self->first = delivery;
  }
  self->last = delivery;
  write_queue(self);
}

static void flush(lc_sink *sink) { write_queue((double_lender *)sink); }

static bool lend(lc_sink *sink) {
  double_lender *self = (double_lender *)sink;
  if (self->lent || self->first != NULL) return false;
  self->lent = true;
  return true;
}

static void unlend(lc_sink *sink, lc_delivery *stuck) {
  double_lender *self = (double_lender *)sink;
  self->lent = false;
  self->shown = self->count;
  if (stuck != NULL) {
    for (uint32_t i = 0; i < stuck->at; i++) self->shown -= lc_delivery_wants(stuck, i); /* not whole */
    stuck->next = self->first;
    self->first = stuck;
    if (self->last == NULL) self->last = stuck;
  }
  write_queue(self);
}

static int snapshot(lc_sink *sink, struct lc_changes *changes, lc_error *error) {
  double_lender *self = (double_lender *)sink;
  (void)error;
  return lc_changes_count(changes, DOUBLE_LENDER_SHOWN, self->shown);
}

static const lc_sink_ops ops = {.open = open_it,
                                .submit = submit,
                                .flush = flush,
                                .lend = lend,
                                .write = write_it,
                                .unlend = unlend,
                                .snapshot = snapshot};

static void close_it(lc_resource *res) {
  double_lender *self = (double_lender *)res;
  while (self->first != NULL) {
    lc_delivery *delivery = self->first;
    self->first = delivery->next;
    lc_delivery_discard(delivery);
  }
  lc_resource_closed(res);
}

static void destroy(lc_resource *res) {
  double_lender *self = (double_lender *)res;
  lc_buf_free(&self->text);
  free(self);
}

static const lc_resource_ops resource_ops = {.close = close_it, .destroy = destroy};

double_lender *double_lender_create(lc_registry *registry, const char *name) {
  double_lender *self = calloc(1, sizeof *self);
  lc_error error = {0};
  lc_require(self != NULL);
  lc_require(lc_resource_init(&self->base.resource, registry, &resource_ops, "double_lender", name, name, "t:4",
                              &error) == 0);
  self->base.ops = &ops;
  return self;
}

lc_sink *double_lender_base(double_lender *sink) { return &sink->base; }
void double_lender_fail_at(double_lender *sink, uint32_t n) {
  sink->fail_at = n;
  if (n == 0) write_queue(sink);
}
const char *double_lender_text(double_lender *sink) { return lc_buf_cstr(&sink->text); }
uint32_t double_lender_count(double_lender *sink) { return sink->count; }
uint32_t double_lender_on_the_spot(double_lender *sink) { return sink->on_the_spot; }
