#include "sink/null_sink.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"

typedef struct null_sink {
  lc_sink sink; /* first */
} null_sink;

static int null_open(lc_sink *sink, lc_runtime *runtime, lc_error *error) {
  (void)runtime;
  return lc_resource_state_of(&sink->resource) == LC_RES_DESCRIBED ? lc_resource_opened(&sink->resource, error) : 0;
}

static void null_submit(lc_sink *sink, lc_delivery *delivery) {
  (void)sink;
  lc_delivery_settle_all(delivery, LC_DELIVERED, NULL);
}

static void null_flush(lc_sink *sink) { (void)sink; }

static bool null_lend(lc_sink *sink) { return lc_resource_state_of(&sink->resource) == LC_RES_OPEN; }

static int null_write(lc_sink *sink, lc_delivery *delivery, lc_error *error) {
  (void)sink;
  (void)error;
  delivery->at = delivery->batch->n_records;
  return 0;
}

/* Nothing is ever stuck. */
static void null_unlend(lc_sink *sink, lc_delivery *stuck) {
  if (stuck != NULL) null_submit(sink, stuck);
}

static void null_close(lc_resource *resource) { lc_resource_closed(resource); }

static void null_destroy(lc_resource *resource) { free(resource); }

static int null_stats(lc_resource *resource, struct lc_buf *ret) {
  return lc_buf_addf(ret, "{\"records\":%llu}", (unsigned long long)atomic_load(&resource->records_out));
}

/* There is nothing to set. */
static lc_fit null_fit(const lc_resource *resource, const lc_resource *described) {
  (void)resource;
  (void)described;
  return LC_FIT_SAME;
}

static const lc_sink_ops null_ops = {.open = null_open,
                                     .submit = null_submit,
                                     .flush = null_flush,
                                     .lend = null_lend,
                                     .write = null_write,
                                     .unlend = null_unlend};
static const lc_resource_ops resource_ops = {
    .close = null_close, .destroy = null_destroy, .stats = null_stats, .fit = null_fit};

int lc_null_sink_create(lc_registry *registry, const char *name, const char *made_at, lc_sink **ret, lc_error *error) {
  null_sink *self = calloc(1, sizeof *self);
  char *identity = NULL;
  if (self == NULL || asprintf(&identity, name != NULL ? "null_sink:%s" : "null_sink", name) < 0) {
    free(self);
    return lc_error_set(error, LC_ENOMEM, "no memory for a null_sink");
  }
  self->sink.ops = &null_ops;
  int rc = lc_resource_init(&self->sink.resource, registry, &resource_ops, "null_sink", name, identity, made_at, error);
  free(identity);
  if (rc != 0) {
    free(self);
    return rc;
  }
  *ret = &self->sink;
  return 0;
}
