/* Whether logcap is well: /health, and what the resource monitor raises alerts for. */
#include "app/app.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/registry.h"
#include "io/resource_monitor.h"
#include "record/json_text.h"

/* The text of a member of the resource's figures; "" when it has none. */
static void figure(lc_resource *res, const char *key, char ret[24]) {
  const lc_json_step step = {.key = key, .key_len = strlen(key)};
  lc_buf stats = {0};
  const char *value = NULL;
  size_t len = 0;
  lc_json_type type;
  ret[0] = '\0';
  if (res->ops->stats != NULL && res->ops->stats(res, &stats) == 0 && !stats.failed &&
      lc_json_path(stats.data, stats.len, &step, 1, &value, &len, &type) == 0 && len < 24) {
    memcpy(ret, value, len);
    ret[len] = '\0';
  }
  lc_buf_free(&stats);
}

/* What the limits of scripts have to say stands in the figures of stages and states. */
static int script_health(void *arg, lc_resource *res) {
  lc_health *ret = arg;
  char value[24];
  if (strcmp(res->kind, "lua") == 0) {
    figure(res, "quarantined", value);
    if (strcmp(value, "true") == 0) lc_health_add(ret, LC_CAUSE_STAGE, "%.160s: the stage is quarantined", res->name);
  } else if (strcmp(res->kind, "lua_state") == 0) {
    figure(res, "retired", value);
    if (strcmp(value, "true") == 0) return 0; /* its files were replaced */
    figure(res, "stuck", value);
    if (strtoull(value, NULL, 10) == 0) return 0;
    lc_health_add(ret, LC_CAUSE_SCRIPT, "scripts held up the process %.20s times and could not be interrupted", value);
  }
  return 0;
}

void lc_app_health_of_scripts(lc_registry *registry, lc_health *ret) {
  (void)lc_registry_each(registry, script_health, ret); /* out of memory: nothing is said of them this time */
}

void lc_app_health_of_delivery(lc_app *app, lc_health *ret) {
  lc_engine_health(app->engine, lc_clock_mono(), lc_resource_monitor_stall_ns(app->resource_monitor), ret);
  lc_app_health_of_scripts(app->registry, ret);
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
