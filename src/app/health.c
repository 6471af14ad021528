/* Whether logcap is well: /health, and what the resource monitor raises alerts for. */
#include "app/app.h"

#include <string.h>

#include "base/clock.h"
#include "base/registry.h"
#include "io/resource_monitor.h"
#include "record/json_text.h"

/* A Lua stage that its limits took out of the way says so in its figures. */
static int stage_health(void *arg, lc_resource *res) {
  static const lc_json_step quarantined = {.key = "quarantined", .key_len = 11};
  lc_health *ret = arg;
  lc_buf stats = {0};
  const char *value = NULL;
  size_t len = 0;
  lc_json_type type;
  if (strcmp(res->kind, "lua") != 0 || res->ops->stats == NULL) return 0;
  if (res->ops->stats(res, &stats) == 0 && !stats.failed &&
      lc_json_path(stats.data, stats.len, &quarantined, 1, &value, &len, &type) == 0 && type == LC_JSON_TRUE) {
    lc_health_add(ret, LC_CAUSE_STAGE, "%.160s: the stage is quarantined", res->name);
  }
  lc_buf_free(&stats);
  return 0;
}

void lc_app_health_of_delivery(lc_app *app, lc_health *ret) {
  lc_engine_health(app->engine, lc_clock_mono(), lc_resource_monitor_stall_ns(app->resource_monitor), ret);
  (void)lc_registry_each(app->registry, stage_health, ret); /* out of memory: nothing is said of stages this time */
  const lc_reload_stats *reloads = lc_reloader_stats(app->reloader);
  if (reloads->last_failed) {
    lc_health_warn(ret, LC_CAUSE_RELOAD, "the last reload failed, generation %u runs on: %.160s", reloads->generation,
                   reloads->last_message);
  }
}

void lc_app_health(lc_app *app, lc_health *ret) {
  lc_resource_monitor_look(app->resource_monitor);
  lc_app_health_of_delivery(app, ret);
  lc_resource_monitor_health(app->resource_monitor, ret);
}
