/* The resource monitor: looks every ten seconds at what the process holds and at what is wrong, and tells of each
 * change once: to the log, to the application (which tells Lua), and to a webhook. A service of kind
 * "resource_monitor".
 *
 *     lc_resource_monitor_create(&(lc_resource_monitor_options){.growth = true}, registry, made_at, &monitor, &error);
 *     monitor->ops->open(monitor, &host, &error);
 *     lc_resource_monitor_look(monitor);                    // on demand: now, too
 *     lc_resource_monitor_health(monitor, &health);         // adds the alerts that are active
 *
 * Thread: the loop thread. */
#ifndef LC_IO_RESOURCE_MONITOR_H
#define LC_IO_RESOURCE_MONITOR_H

#include "base/trend.h"
#include "io/service.h"

typedef struct lc_resource_monitor_options {
  int64_t interval_ns;  /* 0: 10 s */
  uint64_t descriptors; /* threshold; 0: 1000 */
  uint64_t memory;      /* threshold of resident memory, and of the Lua heap, bytes; 0: 1 GiB */
  int64_t stall_ns;     /* so long may a sink take nothing while deliveries wait; 0: 60 s */
  bool growth;          /* whether trends are looked at */
  uint32_t growth_samples;     /* 0: 30 */
  uint64_t growth_descriptors; /* 0: 50 */
  uint64_t growth_memory;      /* bytes; 0: 32 MiB */
  const char *webhook;         /* URL; NULL: none */
} lc_resource_monitor_options;

int lc_resource_monitor_create(const lc_resource_monitor_options *options, lc_registry *registry, const char *made_at,
                               lc_service **ret, lc_error *error) LC_CHECK;

int64_t lc_resource_monitor_stall_ns(const lc_service *monitor);
/* Looks now: thresholds, and what delivery says of itself. Trends move with the interval only. */
void lc_resource_monitor_look(lc_service *monitor);
/* Adds thresholds that are exceeded, and warnings of trends. */
void lc_resource_monitor_health(const lc_service *monitor, lc_health *ret);

typedef struct lc_alert_state {
  bool active;
  uint64_t raised; /* how often, in this run */
} lc_alert_state;
lc_alert_state lc_resource_monitor_alert(const lc_service *monitor, lc_cause cause);

#endif
