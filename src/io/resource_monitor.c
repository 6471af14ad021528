#include "io/resource_monitor.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/registry.h"
#include "base/usage.h"
#include "io/webhook.h"

#define OR(value, otherwise) ((value) != 0 ? (value) : (otherwise))
#define FIGURES 3

/* What is looked at, in the order of lc_cause from LC_CAUSE_DESCRIPTORS on, and again from ..._GROWTH on. */
typedef struct figures {
  double value[FIGURES]; /* open descriptors, resident bytes, bytes of the Lua heaps */
  lc_usage usage;
} figures;

static const char *const figure_names[FIGURES] = {"open descriptors", "resident memory", "the Lua heap"};

typedef struct resource_monitor {
  lc_service service; /* first */
  lc_resource_monitor_options options; /* with its defaults filled in; `webhook` is owned */
  lc_service_host host;
  uv_timer_t timer;
  lc_webhook *webhook; /* counted; NULL: none */
  lc_threshold thresholds[FIGURES];
  lc_trend trends[FIGURES];
  lc_alert_state alerts[LC_CAUSES];
  char said[LC_CAUSES][LC_ALERT_TEXT]; /* of the alerts that are active */
  uint64_t looks;
} resource_monitor;

/* --- telling --- */

static void tell_webhook(resource_monitor *self, const lc_alert *alert) {
  lc_buf body = {0};
  if (self->webhook == NULL) return;
  if (lc_alert_json(alert, &body) == 0) lc_webhook_send(self->webhook, &body);
  lc_buf_free(&body);
}

/* `message` says why it is raised; a cleared one says again what it was. */
static void tell(resource_monitor *self, lc_cause cause, bool raised, double value, double limit, const char *message) {
  lc_alert alert = {.cause = cause, .raised = raised, .value = value, .limit = limit, .time_ns = lc_clock_wall()};
  self->alerts[cause].active = raised;
  if (raised) {
    self->alerts[cause].raised++;
    (void)snprintf(self->said[cause], LC_ALERT_TEXT, "%s", message);
  }
  (void)snprintf(alert.message, sizeof alert.message, "%s", self->said[cause]);
  lc_log(raised ? LC_LOG_WARN : LC_LOG_INFO, "alert", raised ? "raised" : "cleared",
         LC_S("alert", lc_cause_name(cause)), LC_S("because", alert.message));
  tell_webhook(self, &alert);
  if (self->host.alert != NULL) self->host.alert(self->host.arg, &alert);
}

/* --- looking --- */

static figures look_at_process(const resource_monitor *self) {
  figures now = {.usage = lc_usage_now()};
  now.value[0] = (double)now.usage.descriptors;
  now.value[1] = (double)now.usage.resident_bytes;
  now.value[2] = self->host.lua_bytes != NULL ? (double)self->host.lua_bytes(self->host.arg) : 0;
  return now;
}

/* Which resource holds most of the descriptors, or bytes. */
typedef struct top {
  bool descriptors;
  int64_t held;
  char name[100];
} top;

static int note_top(void *arg, lc_resource *res) {
  top *self = arg;
  int64_t held = atomic_load(self->descriptors ? &res->descriptors : &res->bytes);
  if (held <= self->held) return 0;
  self->held = held;
  (void)snprintf(self->name, sizeof self->name, "%.20s \"%.70s\"", res->kind, res->name);
  return 0;
}

static void show(char ret[32], int figure, double value) {
  if (figure == 0) (void)snprintf(ret, 32, "%.0f", value);
  else (void)snprintf(ret, 32, "%.1f MiB", value / (1 << 20));
}

/* ": 1012, the limit is 1000; most hold file_sink "out": 812" */
static void describe(const resource_monitor *self, int figure, const char *what, double value, double limit,
                     char ret[LC_ALERT_TEXT]) {
  char shown[32], shown_limit[32], held[32];
  top most = {.descriptors = figure == 0};
  (void)lc_registry_each(self->service.resource.registry, note_top, &most); /* out of memory: nobody is named */
  show(shown, figure, value);
  show(shown_limit, figure, limit);
  show(held, figure, (double)most.held);
  int len = snprintf(ret, LC_ALERT_TEXT, "%s %s %s, the limit is %s", figure_names[figure], what, shown, shown_limit);
  if (most.held == 0 || figure == 2 || len < 0 || len >= LC_ALERT_TEXT) return;
  (void)snprintf(ret + len, LC_ALERT_TEXT - (size_t)len, "; most is held by %s: %s", most.name, held);
}

static void step_threshold(resource_monitor *self, int figure, double value) {
  char message[LC_ALERT_TEXT];
  double limit = (double)(figure == 0 ? self->options.descriptors : self->options.memory);
  lc_crossing change = lc_threshold_step(&self->thresholds[figure], value, limit);
  if (change == LC_CROSSING_NONE) return;
  describe(self, figure, "at", value, limit, message);
  tell(self, (lc_cause)(LC_CAUSE_DESCRIPTORS + figure), change == LC_CROSSING_RAISED, value, limit, message);
}

static void step_trend(resource_monitor *self, int figure, double value) {
  char message[LC_ALERT_TEXT], what[60];
  const lc_resource_monitor_options *options = &self->options;
  lc_trend *trend = &self->trends[figure];
  double floor = (double)(figure == 0 ? options->growth_descriptors : options->growth_memory);
  lc_crossing change = lc_trend_step(trend, options->growth_samples, options->growth ? floor : 0, value);
  if (change == LC_CROSSING_NONE) return;
  (void)snprintf(what, sizeof what, "grew within %.4g s by",
                 (double)(options->growth_samples - 1) * (double)options->interval_ns / 1e9);
  describe(self, figure, what, trend->growth, floor, message);
  lc_cause cause = (lc_cause)(LC_CAUSE_DESCRIPTORS_GROWTH + figure);
  tell(self, cause, change == LC_CROSSING_RAISED, trend->growth, floor, message);
}

/* What delivery, stages and reloads say of themselves. */
static void step_health(resource_monitor *self) {
  lc_health health = {0};
  if (self->host.health == NULL) return;
  self->host.health(self->host.arg, &health);
  for (int i = 0; i < LC_CAUSES; i++) {
    if (i >= LC_CAUSE_DESCRIPTORS && i <= LC_CAUSE_LUA_MEMORY_GROWTH) continue; /* our own */
    bool now = ((health.causes | health.noted) & (1u << i)) != 0;
    if (now != self->alerts[i].active) tell(self, (lc_cause)i, now, 0, 0, health.first[i]);
  }
  lc_health_free(&health);
}

static int log_resource(void *arg, lc_resource *res) {
  int64_t descriptors = atomic_load(&res->descriptors), bytes = atomic_load(&res->bytes);
  (void)arg;
  if (descriptors == 0 && bytes == 0) return 0;
  lc_log(LC_LOG_DEBUG, "resources", "holds", LC_S("kind", res->kind), LC_S("name", res->name),
         LC_I("descriptors", descriptors), LC_I("bytes", bytes));
  return 0;
}

static void log_figures(const resource_monitor *self, const figures *now) {
  lc_registry *registry = self->service.resource.registry;
  if (!lc_log_enabled(LC_LOG_DEBUG)) return;
  lc_registry_totals held = lc_registry_sum(registry);
  lc_log(LC_LOG_DEBUG, "resources", "process", LC_I("descriptors", now->usage.descriptors),
         LC_I("threads", now->usage.threads), LC_I("resident_bytes", now->usage.resident_bytes),
         LC_I("lua_bytes", now->value[2]), LC_I("cpu_ms", now->usage.cpu_seconds * 1e3),
         LC_I("resources", held.resources), LC_I("held_descriptors", held.descriptors), LC_I("held_bytes", held.bytes));
  (void)lc_registry_each(registry, log_resource, NULL); /* out of memory: the line above is all */
}

static bool is_open(const resource_monitor *self) {
  return lc_resource_state_of(&self->service.resource) == LC_RES_OPEN;
}

static void look(resource_monitor *self, bool trends) {
  if (!is_open(self)) return;
  figures now = look_at_process(self);
  self->looks++;
  for (int i = 0; i < FIGURES; i++) {
    step_threshold(self, i, now.value[i]);
    if (trends) step_trend(self, i, now.value[i]);
  }
  step_health(self);
  if (trends) log_figures(self, &now);
}

static void on_timer(uv_timer_t *timer) { look(timer->data, true); }

void lc_resource_monitor_look(lc_service *monitor) { look((resource_monitor *)monitor, false); }

int64_t lc_resource_monitor_stall_ns(const lc_service *monitor) {
  return ((const resource_monitor *)monitor)->options.stall_ns;
}

void lc_resource_monitor_health(const lc_service *monitor, lc_health *ret) {
  const resource_monitor *self = (const resource_monitor *)monitor;
  for (int i = LC_CAUSE_DESCRIPTORS; i <= LC_CAUSE_LUA_MEMORY_GROWTH; i++) {
    if (!self->alerts[i].active) continue;
    if (i < LC_CAUSE_DESCRIPTORS_GROWTH) lc_health_add(ret, (lc_cause)i, "%s", self->said[i]);
    else lc_health_warn(ret, (lc_cause)i, "%s", self->said[i]);
  }
}

lc_alert_state lc_resource_monitor_alert(const lc_service *monitor, lc_cause cause) {
  return ((const resource_monitor *)monitor)->alerts[cause];
}

/* --- the service --- */

static uint64_t interval_ms(const resource_monitor *self) {
  return (uint64_t)(self->options.interval_ns / LC_MILLISECOND);
}

static int open_webhook(const resource_monitor *self, lc_webhook **ret, lc_error *error) {
  const lc_resource *res = &self->service.resource;
  if (self->options.webhook == NULL) return 0;
  return lc_webhook_create(self->options.webhook, self->host.runtime->loop, res->registry, res->made_at, ret, error);
}

static void close_webhook(resource_monitor *self) {
  if (self->webhook == NULL) return;
  lc_resource_close(&self->webhook->resource);
  lc_resource_release(&self->webhook->resource);
  self->webhook = NULL;
}

static int monitor_open(lc_service *service, const lc_service_host *host, lc_error *error) {
  resource_monitor *self = (resource_monitor *)service;
  self->host = *host;
  int rc = open_webhook(self, &self->webhook, error);
  if (rc == 0) rc = lc_resource_opened(&service->resource, error);
  if (rc != 0) {
    close_webhook(self);
    return rc;
  }
  (void)uv_timer_init(host->runtime->loop, &self->timer);
  self->timer.data = self;
  uv_unref((uv_handle_t *)&self->timer);
  (void)uv_timer_start(&self->timer, on_timer, interval_ms(self), interval_ms(self));
  return 0;
}

static void on_closed(uv_handle_t *handle) {
  resource_monitor *self = handle->data;
  lc_resource_closed(&self->service.resource);
}

static void monitor_close(lc_resource *res) {
  resource_monitor *self = (resource_monitor *)res;
  close_webhook(self);
  uv_close((uv_handle_t *)&self->timer, on_closed);
}

static void monitor_destroy(lc_resource *res) {
  resource_monitor *self = (resource_monitor *)res;
  free((char *)(uintptr_t)self->options.webhook);
  free(self);
}

static int monitor_stats(lc_resource *res, lc_buf *ret) {
  const resource_monitor *self = (const resource_monitor *)res;
  uint32_t active = 0;
  for (int i = 0; i < LC_CAUSES; i++) active += self->alerts[i].active;
  return lc_buf_addf(ret, "{\"looks\":%llu,\"active_alerts\":%u}", (unsigned long long)self->looks, active);
}

static bool same_text(const char *a, const char *b) {
  return (a == NULL) == (b == NULL) && (a == NULL || strcmp(a, b) == 0);
}

static bool same_options(const lc_resource_monitor_options *a, const lc_resource_monitor_options *b) {
  return a->interval_ns == b->interval_ns && a->descriptors == b->descriptors && a->memory == b->memory &&
         a->stall_ns == b->stall_ns && a->growth == b->growth && a->growth_samples == b->growth_samples &&
         a->growth_descriptors == b->growth_descriptors && a->growth_memory == b->growth_memory &&
         same_text(a->webhook, b->webhook);
}

static lc_fit monitor_fit(const lc_resource *res, const lc_resource *described) {
  const resource_monitor *self = (const resource_monitor *)res, *wanted = (const resource_monitor *)described;
  if (same_options(&self->options, &wanted->options)) return LC_FIT_SAME;
  return LC_FIT_CHANGED;
}

/* Active alerts stay so until they clear by the new limits. A webhook that cannot be had is logged: alerts go to the
 * log then. */
static void monitor_adopt(lc_resource *res, lc_resource *described) {
  resource_monitor *self = (resource_monitor *)res, *wanted = (resource_monitor *)described;
  lc_resource_monitor_options before = self->options;
  lc_error error = {0};
  self->options = wanted->options;
  wanted->options = before;
  if (self->options.interval_ns != before.interval_ns) {
    for (int i = 0; i < FIGURES; i++) self->trends[i].n = 0;
    (void)uv_timer_start(&self->timer, on_timer, interval_ms(self), interval_ms(self));
  }
  if (same_text(self->options.webhook, before.webhook)) return;
  close_webhook(self);
  if (open_webhook(self, &self->webhook, &error) != 0) {
    lc_log(LC_LOG_ERROR, "alert", "cannot use the webhook", LC_S("error", error.message));
  }
}

static const lc_resource_ops resource_ops = {.close = monitor_close,
                                             .destroy = monitor_destroy,
                                             .stats = monitor_stats,
                                             .fit = monitor_fit,
                                             .adopt = monitor_adopt};
static const lc_service_ops service_ops = {.open = monitor_open};

static void fill_in(lc_resource_monitor_options *options) {
  options->interval_ns = OR(options->interval_ns, 10 * LC_SECOND);
  options->descriptors = OR(options->descriptors, 1000);
  options->memory = OR(options->memory, UINT64_C(1) << 30);
  options->stall_ns = OR(options->stall_ns, 60 * LC_SECOND);
  options->growth_samples = OR(options->growth_samples, 30);
  options->growth_descriptors = OR(options->growth_descriptors, 50);
  options->growth_memory = OR(options->growth_memory, UINT64_C(32) << 20);
}

int lc_resource_monitor_create(const lc_resource_monitor_options *options, lc_registry *registry, const char *made_at,
                               lc_service **ret, lc_error *error) {
  int rc = options->webhook != NULL ? lc_webhook_check(options->webhook, error) : 0;
  if (rc != 0) return rc;
  resource_monitor *self = calloc(1, sizeof *self);
  char *webhook = self != NULL && options->webhook != NULL ? strdup(options->webhook) : NULL;
  if (self == NULL || (options->webhook != NULL && webhook == NULL)) {
    free(self);
    return lc_error_set(error, LC_ENOMEM, "out of memory");
  }
  self->options = *options;
  self->options.webhook = webhook;
  fill_in(&self->options);
  self->service.ops = &service_ops;
  rc = lc_resource_init(&self->service.resource, registry, &resource_ops, "resource_monitor", NULL, "resource_monitor",
                        made_at, error);
  if (rc != 0) {
    free(webhook);
    free(self);
    return rc;
  }
  *ret = &self->service;
  return 0;
}
