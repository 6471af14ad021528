/* What Prometheus is told: figures of the engine (src/pipeline/metrics.c), of the process, and of every resource. */
#include <stdlib.h>
#include <string.h>

#include "app/app.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/registry.h"
#include "base/usage.h"
#include "io/resource_monitor.h"

#define SERIES_MAX 2000u

/* Resources of one kind and name share a row: a stage that stands twice, or an old and a new one during a reload. */
typedef struct row {
  const char *kind;
  char *name; /* owned */
  int64_t descriptors, bytes;
  uint64_t in, out, errors;
} row;

typedef struct rows {
  row *items; /* owned */
  uint32_t n, cap;
} rows;

static int add_resource(void *arg, lc_resource *res) {
  rows *self = arg;
  if (self->n == self->cap) {
    uint32_t cap = self->cap == 0 ? 64 : 2 * self->cap;
    row *grown = realloc(self->items, cap * sizeof *grown);
    if (grown == NULL) return LC_ENOMEM;
    self->items = grown;
    self->cap = cap;
  }
  char *name = strdup(res->name);
  if (name == NULL) return LC_ENOMEM;
  self->items[self->n++] = (row){.kind = res->kind,
                                 .name = name,
                                 .descriptors = atomic_load(&res->descriptors),
                                 .bytes = atomic_load(&res->bytes),
                                 .in = atomic_load(&res->records_in),
                                 .out = atomic_load(&res->records_out),
                                 .errors = atomic_load(&res->errors)};
  return 0;
}

static int compare_rows(const void *a, const void *b) {
  const row *x = a, *y = b;
  int order = strcmp(x->kind, y->kind);
  return order != 0 ? order : strcmp(x->name, y->name);
}

static void merge_rows(rows *self) {
  uint32_t n = 0;
  if (self->n > 1) qsort(self->items, self->n, sizeof *self->items, compare_rows);
  for (uint32_t i = 0; i < self->n; i++) {
    row *from = &self->items[i], *to = n > 0 ? &self->items[n - 1] : NULL;
    if (to == NULL || compare_rows(to, from) != 0) {
      self->items[n++] = *from;
      continue;
    }
    to->descriptors += from->descriptors;
    to->bytes += from->bytes;
    to->in += from->in;
    to->out += from->out;
    to->errors += from->errors;
    free(from->name);
  }
  self->n = n;
}

static uint64_t descriptors(const row *item) { return item->descriptors > 0 ? (uint64_t)item->descriptors : 0; }
static uint64_t bytes(const row *item) { return item->bytes > 0 ? (uint64_t)item->bytes : 0; }
static uint64_t records_in(const row *item) { return item->in; }
static uint64_t records_out(const row *item) { return item->out; }
static uint64_t errors(const row *item) { return item->errors; }

static void write_rows(const rows *self, lc_metrics *out) {
  static const struct {
    const char *name, *type, *help;
    uint64_t (*get)(const row *item);
  } figures[] = {
      {"logcap_resource_descriptors", "gauge", "Descriptors that the resource holds.", descriptors},
      {"logcap_resource_bytes", "gauge", "Bytes that the resource holds.", bytes},
      {"logcap_resource_records_in_total", "counter", "Records that came into the resource.", records_in},
      {"logcap_resource_records_out_total", "counter", "Records that left the resource.", records_out},
      {"logcap_resource_errors_total", "counter", "Errors of the resource.", errors},
  };
  for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
    lc_metrics_family(out, figures[i].name, figures[i].type, figures[i].help);
    for (uint32_t r = 0; r < self->n; r++) {
      const row *item = &self->items[r];
      lc_metrics_count(out, LC_LABELS({"kind", item->kind}, {"name", item->name}), figures[i].get(item));
    }
  }
}

static int write_resources(lc_app *app, lc_metrics *out) {
  rows list = {0};
  int rc = lc_registry_each(app->registry, add_resource, &list);
  if (rc == 0) {
    merge_rows(&list);
    write_rows(&list, out);
  }
  for (uint32_t i = 0; i < list.n; i++) free(list.items[i].name);
  free(list.items);
  return rc;
}

static void one(lc_metrics *out, const char *name, const char *type, const char *help, double value) {
  lc_metrics_family(out, name, type, help);
  lc_metrics_value(out, NULL, value);
}

static double seconds(int64_t ns) {
  int64_t ms = ns / LC_MILLISECOND;
  return (double)ms / 1e3;
}

static void write_process(lc_app *app, lc_metrics *out) {
  lc_usage usage = lc_usage_now();
  int64_t up_ns = lc_clock_mono() - app->started_ns;
  lc_metrics_family(out, "logcap_build_info", "gauge", "Always 1; the version is a label.");
  lc_metrics_value(out, LC_LABELS({"version", LC_VERSION}), 1);
  one(out, "logcap_process_start_time_seconds", "gauge", "When logcap started, in seconds since 1970.",
      seconds(lc_clock_wall() - up_ns));
  one(out, "logcap_process_cpu_seconds_total", "counter", "CPU time, user and system.", usage.cpu_seconds);
  one(out, "logcap_process_resident_memory_bytes", "gauge", "Resident memory.", (double)usage.resident_bytes);
  one(out, "logcap_process_open_descriptors", "gauge", "Open descriptors.", (double)usage.descriptors);
  one(out, "logcap_process_max_descriptors", "gauge", "The limit of open descriptors.",
      (double)usage.descriptors_limit);
  one(out, "logcap_process_threads", "gauge", "Threads.", usage.threads);
  one(out, "logcap_lua_heap_bytes", "gauge", "Memory that Lua has in use.",
      (double)lc_generation_lua_bytes(app->generation));
}

static void write_reloads(const lc_app *app, lc_metrics *out) {
  const lc_reload_stats *reloads = lc_reloader_stats(app->reloader);
  lc_metrics_family(out, "logcap_reloads_total", "counter", "Reloads of the pipeline files, by result.");
  lc_metrics_count(out, LC_LABELS({"result", "success"}), reloads->succeeded);
  lc_metrics_count(out, LC_LABELS({"result", "failure"}), reloads->failed);
  one(out, "logcap_last_load_timestamp_seconds", "gauge", "When the pipeline files that run were loaded.",
      seconds(reloads->last_ok_ns));
  one(out, "logcap_generation", "gauge", "Counts the versions of the pipeline files that ran.",
      reloads->generation);
}

static void write_health(lc_app *app, lc_metrics *out) {
  lc_health health = {0};
  lc_app_health(app, &health);
  one(out, "logcap_healthy", "gauge", "1 when /health says so, 0 when not.", health.causes == 0);
  lc_health_free(&health);
  lc_metrics_family(out, "logcap_alert_active", "gauge", "1 while the alert is raised.");
  for (int i = 0; i < LC_CAUSES; i++) {
    lc_metrics_count(out, LC_LABELS({"alert", lc_cause_name((lc_cause)i)}),
                     lc_resource_monitor_alert(app->resource_monitor, (lc_cause)i).active);
  }
  lc_metrics_family(out, "logcap_alerts_raised_total", "counter", "How often the alert was raised.");
  for (int i = 0; i < LC_CAUSES; i++) {
    lc_metrics_count(out, LC_LABELS({"alert", lc_cause_name((lc_cause)i)}),
                     lc_resource_monitor_alert(app->resource_monitor, (lc_cause)i).raised);
  }
}

/* The most important first: what is beyond the bound of series is left out. */
int lc_app_metrics(lc_app *app, lc_buf *ret) {
  lc_metrics out = {.most = SERIES_MAX};
  write_process(app, &out);
  write_health(app, &out);
  write_reloads(app, &out);
  int rc = lc_engine_metrics(app->engine, lc_clock_mono(), &out);
  if (rc == 0) rc = write_resources(app, &out);
  if (rc == 0) rc = lc_metrics_end(&out);
  if (rc == 0) *ret = out.text;
  else lc_buf_free(&out.text);
  return rc;
}
