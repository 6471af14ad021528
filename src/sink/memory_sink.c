#include "sink/memory_sink.h"

#include <stdlib.h>

#include "base/buf.h"
#include "record/encode.h"

/* Where the strings of an entry begin in `text`; each ends where the next begins. */
typedef struct kept_record {
  size_t object, line, place, end;
} kept_record;

typedef struct memory_sink {
  lc_sink base;      /* first */
  lc_sink *original; /* borrowed */
  lc_buf text;
  lc_buf place;
  lc_buf records; /* kept_record after kept_record */
  bool failed;
} memory_sink;

static memory_sink *of(const lc_sink *sink) { return (memory_sink *)(uintptr_t)sink; }

static int spell(memory_sink *self, const lc_batch *batch, const lc_record *rec) {
  const lc_sink_ops *ops = self->original->ops;
  lc_buf_clear(&self->place);
  if (ops->show != NULL) return ops->show(self->original, batch, rec, &self->text, &self->place);
  int rc = lc_encode_json(batch, rec, &self->text);
  return rc != 0 ? rc : lc_buf_addc(&self->text, '\n');
}

static int keep(memory_sink *self, const lc_batch *batch, const lc_record *rec) {
  kept_record kept = {.object = self->text.len};
  int rc = lc_encode_json(batch, rec, &self->text);
  kept.line = self->text.len;
  if (rc == 0) rc = spell(self, batch, rec);
  kept.place = self->text.len - 1; /* without the newline */
  if (rc != 0) return rc;
  self->text.len--;
  if (self->place.len > 0) (void)lc_buf_add(&self->text, self->place.data, self->place.len);
  kept.end = self->text.len;
  return self->text.failed ? LC_ENOMEM : lc_buf_add(&self->records, &kept, sizeof kept);
}

size_t lc_memory_sink_count(const lc_sink *sink) { return of(sink)->records.len / sizeof(kept_record); }

lc_memory_entry lc_memory_sink_entry(const lc_sink *sink, size_t index) {
  const memory_sink *self = of(sink);
  kept_record kept;
  memcpy(&kept, self->records.data + index * sizeof kept, sizeof kept);
  const char *text = self->text.data;
  return (lc_memory_entry){.object = text + kept.object,
                           .object_len = kept.line - kept.object,
                           .line = text + kept.line,
                           .line_len = kept.place - kept.line,
                           .place = text + kept.place,
                           .place_len = kept.end - kept.place};
}

void lc_memory_sink_clear(lc_sink *sink) {
  lc_buf_clear(&of(sink)->text);
  lc_buf_clear(&of(sink)->records);
}

bool lc_memory_sink_failed(const lc_sink *sink) { return of(sink)->failed; }

/* --- the sink --- */

static int open_sink(lc_sink *sink, lc_runtime *runtime, lc_error *error) {
  (void)sink;
  (void)runtime;
  (void)error;
  return 0;
}

static void submit(lc_sink *sink, lc_delivery *delivery) {
  memory_sink *self = of(sink);
  const lc_batch *batch = delivery->batch;
  for (uint32_t i = 0; i < batch->n_records; i++) {
    if (!lc_delivery_wants(delivery, i)) continue;
    if (keep(self, batch, &batch->records[i]) != 0) self->failed = true;
  }
  lc_delivery_settle_all(delivery, LC_DELIVERED, NULL);
}

static const lc_sink_ops sink_ops = {.open = open_sink, .submit = submit};

static void close_sink(lc_resource *res) { lc_resource_closed(res); }

static void destroy_sink(lc_resource *res) {
  memory_sink *self = (memory_sink *)res;
  lc_buf_free(&self->text);
  lc_buf_free(&self->place);
  lc_buf_free(&self->records);
  free(self);
}

static const lc_resource_ops resource_ops = {.close = close_sink, .destroy = destroy_sink};

int lc_memory_sink_create(lc_sink *original, lc_registry *registry, lc_sink **ret, lc_error *error) {
  const lc_resource *res = &original->resource;
  memory_sink *self = calloc(1, sizeof *self);
  if (self == NULL) return lc_error_set(error, LC_ENOMEM, "out of memory for a double of %s", res->name);
  int rc = lc_resource_init(&self->base.resource, registry, &resource_ops, res->kind, res->name, res->identity,
                            res->made_at, error);
  if (rc != 0) {
    free(self);
    return rc;
  }
  self->original = original;
  self->base.ops = &sink_ops;
  *ret = &self->base;
  return 0;
}
