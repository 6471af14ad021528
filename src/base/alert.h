/* What can be wrong with a running logcap: a fixed list of causes, each with a name that stands in metrics, alerts and
 * docs/operations.md; and the report that collects them.
 *
 *     lc_health health = {0};
 *     lc_health_add(&health, LC_CAUSE_COMMITS, "%llu commits of positions failed", n);
 *     if (health.causes != 0) ...                              // unhealthy: health.reasons are JSON strings
 *     lc_health_free(&health);
 *
 * Thread: its owner's. */
#ifndef LC_BASE_ALERT_H
#define LC_BASE_ALERT_H

#include "base/buf.h"

typedef enum lc_cause {
  /* what delivery says of itself: each makes /health red */
  LC_CAUSE_LEDGER,       /* a record was lost or counted twice */
  LC_CAUSE_ABANDONED,    /* sources vanished before they were read */
  LC_CAUSE_COMMITS,      /* positions cannot be saved */
  LC_CAUSE_DEAD_LETTERS, /* dead letters cannot be written */
  LC_CAUSE_PIPELINE,     /* a pipeline stopped */
  LC_CAUSE_STAGE,        /* a stage is quarantined */
  LC_CAUSE_SCRIPT,       /* a script could not be interrupted */
  LC_CAUSE_SINK,         /* a sink takes nothing while deliveries wait */
  /* thresholds of the resource monitor: red, too */
  LC_CAUSE_DESCRIPTORS,
  LC_CAUSE_MEMORY,
  LC_CAUSE_LUA_MEMORY,
  /* its trends: warnings */
  LC_CAUSE_DESCRIPTORS_GROWTH,
  LC_CAUSE_MEMORY_GROWTH,
  LC_CAUSE_LUA_MEMORY_GROWTH,
  /* the files on disk are not those that run: a warning */
  LC_CAUSE_RELOAD,
  LC_CAUSES
} lc_cause;

const char *lc_cause_name(lc_cause cause); /* "ledger", "memory_growth", ... */

#define LC_ALERT_TEXT 240

/* One cause came up, or went away. */
typedef struct lc_alert {
  lc_cause cause;
  bool raised;
  char message[LC_ALERT_TEXT];
  double value, limit; /* of thresholds and trends; 0 where there is none */
  int64_t time_ns;     /* wall clock */
} lc_alert;

/* A JSON object, appended to `ret`: alert, state ("raised" or "cleared"), message, time, and value and limit where
 * there is a limit. */
int lc_alert_json(const lc_alert *alert, lc_buf *ret);

typedef struct lc_health {
  lc_buf reasons, warnings;            /* JSON strings, apart by commas */
  uint32_t causes, noted;              /* bits by lc_cause: those that make it red, and the warnings */
  char first[LC_CAUSES][LC_ALERT_TEXT]; /* the first reason of each cause */
} lc_health;

void lc_health_add(lc_health *health, lc_cause cause, const char *format, ...) __attribute__((format(printf, 3, 4)));
void lc_health_warn(lc_health *health, lc_cause cause, const char *format, ...) __attribute__((format(printf, 3, 4)));
void lc_health_free(lc_health *health);

#endif
