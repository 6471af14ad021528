#include "base/alert.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"

const char *lc_cause_name(lc_cause cause) {
  static const char *const names[LC_CAUSES] = {
      [LC_CAUSE_LEDGER] = "ledger",
      [LC_CAUSE_ABANDONED] = "abandoned",
      [LC_CAUSE_COMMITS] = "commits",
      [LC_CAUSE_DEAD_LETTERS] = "dead_letters",
      [LC_CAUSE_PIPELINE] = "pipeline_stopped",
      [LC_CAUSE_STAGE] = "stage_quarantined",
      [LC_CAUSE_SCRIPT] = "script_stuck",
      [LC_CAUSE_SINK] = "sink_stalled",
      [LC_CAUSE_DESCRIPTORS] = "descriptors",
      [LC_CAUSE_MEMORY] = "memory",
      [LC_CAUSE_LUA_MEMORY] = "lua_memory",
      [LC_CAUSE_DESCRIPTORS_GROWTH] = "descriptors_growth",
      [LC_CAUSE_MEMORY_GROWTH] = "memory_growth",
      [LC_CAUSE_LUA_MEMORY_GROWTH] = "lua_memory_growth",
      [LC_CAUSE_RELOAD] = "reload_failed",
  };
  return names[cause];
}

int lc_alert_json(const lc_alert *alert, lc_buf *ret) {
  char time[LC_TIME_TEXT];
  (void)lc_time_format(alert->time_ns, time);
  lc_buf_addf(ret, "{\"alert\":\"%s\",\"state\":\"%s\",\"message\":", lc_cause_name(alert->cause),
              alert->raised ? "raised" : "cleared");
  lc_buf_add_json_string(ret, alert->message, strlen(alert->message));
  if (alert->limit > 0) lc_buf_addf(ret, ",\"value\":%.17g,\"limit\":%.17g", alert->value, alert->limit);
  return lc_buf_addf(ret, ",\"time\":\"%s\"}", time);
}

static void add(lc_health *health, lc_buf *list, lc_cause cause, const char *text) {
  if (list->len > 0) lc_buf_addc(list, ',');
  lc_buf_add_json_string(list, text, strlen(text));
  if (health->first[cause][0] == '\0') (void)snprintf(health->first[cause], LC_ALERT_TEXT, "%s", text);
}

void lc_health_add(lc_health *health, lc_cause cause, const char *format, ...) {
  char text[LC_ALERT_TEXT];
  va_list args;
  va_start(args, format);
  (void)vsnprintf(text, sizeof text, format, args);
  va_end(args);
  health->causes |= 1u << cause;
  add(health, &health->reasons, cause, text);
}

void lc_health_warn(lc_health *health, lc_cause cause, const char *format, ...) {
  char text[LC_ALERT_TEXT];
  va_list args;
  va_start(args, format);
  (void)vsnprintf(text, sizeof text, format, args);
  va_end(args);
  health->noted |= 1u << cause;
  add(health, &health->warnings, cause, text);
}

void lc_health_free(lc_health *health) {
  lc_buf_free(&health->reasons);
  lc_buf_free(&health->warnings);
}
