#include "monitor/fed_monitor.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "record/framing.h"
#include "record/multiline.h"

typedef struct fed_source {
  lc_source source; /* first; the list has one reference */
  lc_framing framing;
  lc_buf text;       /* fed and not given out: lines that wait for room, an open group */
  uint64_t position; /* of the text's first byte */
  int64_t due_ns;    /* when the open group is closed; INT64_MAX: none is open */
  bool unseen;       /* some of the text was not looked at yet */
  bool flush;        /* the open group is to be closed */
  struct fed_source *next;
} fed_source;

typedef struct fed_monitor {
  lc_monitor base;            /* first */
  const lc_monitor *original; /* borrowed */
  lc_runtime *runtime;
  const lc_multiline *multiline; /* the original's; NULL: none */
  lc_multiline_match match;
  fed_source *sources; /* in the order in which they came */
  bool starved;
} fed_monitor;

static fed_monitor *of(const lc_monitor *monitor) { return (fed_monitor *)(uintptr_t)monitor; }

static void free_source(lc_source *source) {
  fed_source *self = (fed_source *)source;
  lc_source_deinit(source);
  lc_buf_free(&self->text);
  free(self);
}

/* --- giving out --- */

/* Cuts a line off that is longer than the block. Returns how many bytes are used: its line end may stand behind it. */
static uint32_t cut_long_line(fed_source *source, lc_batch *batch, uint32_t len) {
  bool ends = source->text.data[len] == '\n'; /* the text goes on: it ends with a newline */
  return lc_frame_rest(&source->framing, batch, 0, len, ends ? LC_FRAME_NEWLINE : LC_FRAME_LONG) ? len + ends : 0;
}

/* Fills a batch from the text. Returns the bytes that it took; 0: none, or no memory. */
static uint32_t fill(fed_monitor *self, fed_source *source, lc_batch *batch) {
  lc_range *range = lc_batch_add_range(batch, &source->source, source->position);
  if (range == NULL) return 0;
  bool whole = source->text.len <= batch->data_cap;
  uint32_t len = whole ? (uint32_t)source->text.len : batch->data_cap;
  memcpy(batch->base[0], source->text.data, len);
  if (lc_frame(&source->framing, batch, 0, len) == 0 && !whole) (void)cut_long_line(source, batch, len);
  uint32_t back = 0;
  if (self->multiline != NULL && batch->n_records > 0) {
    back = lc_multiline_join(self->multiline, &self->match, batch, 0, batch->records[0].body,
                             source->flush && whole, !whole || lc_frame_full(batch));
  }
  uint32_t used = (uint32_t)(range->end - range->begin);
  batch->data_len = used < len ? used : len;
  source->unseen = used + back < source->text.len;
  return used;
}

static void take_away(fed_source *source, uint32_t used) {
  source->text.len -= used;
  memmove(source->text.data, source->text.data + used, source->text.len);
  source->position += used;
}

static void deliver(fed_monitor *self, lc_batch *batch) {
  lc_carrier carrier;
  lc_carrier_begin(self->base.feed, &carrier);
  (void)lc_carrier_process(&carrier, batch); /* the sinks of tests are never lent: it goes to the loop */
  lc_feed_deliver(self->base.feed, &carrier, batch);
}

/* Gives out what there is room for. */
static void pump(fed_monitor *self, fed_source *source) {
  while (source->unseen || source->flush) {
    lc_batch *batch = lc_feed_take(self->base.feed);
    self->starved = batch == NULL;
    if (self->starved) return;
    batch->read_ns = *self->runtime->clock_ns;
    uint32_t used = fill(self, source, batch);
    take_away(source, used);
    if (used > 0) deliver(self, batch);
    else lc_feed_give_back(self->base.feed, batch);
    if (!source->unseen || used == 0) source->flush = false;
    if (used == 0) break;
  }
  source->due_ns = INT64_MAX;
  if (source->text.len > 0 && self->multiline != NULL) {
    source->due_ns = *self->runtime->clock_ns + lc_multiline_timeout(self->multiline);
  }
}

/* --- what tests call --- */

static int add_source(fed_monitor *self, const char *name, fed_source **ret, lc_error *error) {
  fed_source *source = calloc(1, sizeof *source);
  if (source == NULL || lc_source_init(&source->source, name, name, free_source) != 0) {
    free(source);
    return lc_error_set(error, LC_ENOMEM, "out of memory for source %.200s", name);
  }
  uint32_t block = lc_feed_block_size(self->base.feed);
  source->framing.max_line = self->base.line_max > 0 && self->base.line_max < block ? self->base.line_max : block;
  lc_source_label(&source->source, self->original->labels);
  source->due_ns = INT64_MAX;
  int rc = lc_feed_attach(self->base.feed, &source->source, error);
  if (rc != 0) {
    lc_source_release(&source->source);
    return rc;
  }
  fed_source **link = &self->sources;
  while (*link != NULL) link = &(*link)->next;
  *ret = *link = source;
  return 0;
}

int lc_fed_monitor_feed(lc_monitor *monitor, const char *name, const char *text, size_t len, lc_error *error) {
  fed_monitor *self = of(monitor);
  fed_source *source = self->sources;
  while (source != NULL && strcmp(source->source.key, name) != 0) source = source->next;
  int rc = source == NULL ? add_source(self, name, &source, error) : 0;
  if (rc != 0 || len == 0) return rc;
  if (lc_buf_add(&source->text, text, len) != 0) {
    return lc_error_set(error, LC_ENOMEM, "out of memory for the lines of %.200s", name);
  }
  source->unseen = true;
  pump(self, source);
  return 0;
}

void lc_fed_monitor_turn(lc_monitor *monitor, int64_t now_ns) {
  fed_monitor *self = of(monitor);
  for (fed_source *source = self->sources; source != NULL; source = source->next) {
    bool due = source->text.len > 0 && (source->due_ns <= now_ns || now_ns == INT64_MAX);
    if (!due) continue;
    source->flush = true;
    pump(self, source);
  }
}

int64_t lc_fed_monitor_due(const lc_monitor *monitor) {
  int64_t due = INT64_MAX;
  for (const fed_source *source = of(monitor)->sources; source != NULL; source = source->next) {
    if (source->due_ns < due) due = source->due_ns;
  }
  return due;
}

bool lc_fed_monitor_waits(const lc_monitor *monitor) { return of(monitor)->starved; }

/* --- the monitor --- */

static int open_monitor(lc_monitor *monitor, lc_runtime *runtime, lc_feed *feed, lc_error *error) {
  (void)error;
  monitor->feed = feed;
  of(monitor)->runtime = runtime;
  return 0;
}

static void start_monitor(lc_monitor *monitor) { (void)monitor; }

static void room_again(lc_monitor *monitor) {
  fed_monitor *self = of(monitor);
  self->starved = false;
  for (fed_source *source = self->sources; source != NULL && !self->starved; source = source->next) {
    pump(self, source);
  }
}

static void settled(lc_monitor *monitor, lc_source *source) {
  (void)monitor; /* none ends */
  (void)source;
}

static void stop_monitor(lc_monitor *monitor) { lc_monitor_stopped(monitor); }

static const lc_monitor_ops monitor_ops = {
    .open = open_monitor, .start = start_monitor, .room = room_again, .settled = settled, .stop = stop_monitor};

/* --- the resource --- */

static void close_monitor(lc_resource *res) {
  fed_monitor *self = (fed_monitor *)res;
  while (self->sources != NULL) {
    fed_source *source = self->sources;
    self->sources = source->next;
    lc_source_release(&source->source);
  }
  lc_resource_closed(res);
}

static void destroy_monitor(lc_resource *res) {
  fed_monitor *self = (fed_monitor *)res;
  if (self->multiline != NULL) lc_multiline_match_deinit(&self->match);
  free(self);
}

static const lc_resource_ops resource_ops = {.close = close_monitor, .destroy = destroy_monitor};

int lc_fed_monitor_create(const lc_monitor *original, lc_registry *registry, lc_monitor **ret, lc_error *error) {
  const lc_resource *res = &original->resource;
  fed_monitor *self = calloc(1, sizeof *self);
  if (self == NULL) return lc_error_set(error, LC_ENOMEM, "out of memory for a double of %s", res->name);
  int rc = 0;
  if (original->ops->multiline != NULL) self->multiline = original->ops->multiline(original);
  if (self->multiline != NULL && lc_multiline_match_init(self->multiline, &self->match) != 0) {
    rc = lc_error_set(error, LC_ENOMEM, "out of memory for a double of %s", res->name);
  }
  if (rc == 0) {
    rc = lc_resource_init(&self->base.resource, registry, &resource_ops, res->kind, res->name, res->identity,
                          res->made_at, error);
    if (rc != 0 && self->multiline != NULL) lc_multiline_match_deinit(&self->match);
  }
  if (rc != 0) {
    free(self);
    return rc;
  }
  self->original = original;
  self->base.ops = &monitor_ops;
  self->base.line_max = original->line_max;
  *ret = &self->base;
  return 0;
}
