/* A monitor whose lines come from function calls: it stands in a test for one that would read files or pipes, and cuts
 * and joins lines as that one would.
 *
 *     lc_fed_monitor_create(file_monitor, registry, &fed, &error);
 *     ... the engine opens and starts it ...
 *     lc_fed_monitor_feed(fed, "shop.log", "one\n  two\n", 10, &error);    // whole lines
 *     now = lc_fed_monitor_due(fed);                                      // when the open group would be closed
 *     lc_fed_monitor_turn(fed, now);                                      // closes what is due by then
 *
 * The wall clock is lc_runtime.clock_ns. Thread: the loop thread; what a pool job would do is done on the spot. */
#ifndef LC_MONITOR_FED_MONITOR_H
#define LC_MONITOR_FED_MONITOR_H

#include "logcap/monitor.h"

/* Has the name, labels, longest line and multi-line groups of `original`, which must outlive it. */
int lc_fed_monitor_create(const lc_monitor *original, lc_registry *registry, lc_monitor **ret, lc_error *error)
    LC_CHECK;
/* Feeds the source of this name, which is made when it is new. `text` is copied and ends with a newline. */
int lc_fed_monitor_feed(lc_monitor *monitor, const char *source, const char *text, size_t len, lc_error *error)
    LC_CHECK;
/* Closes the groups whose time has come; INT64_MAX: all. */
void lc_fed_monitor_turn(lc_monitor *monitor, int64_t now_ns);
/* When the next group will be closed; INT64_MAX: none is open. */
int64_t lc_fed_monitor_due(const lc_monitor *monitor);
/* Whether there are lines that wait for room. */
bool lc_fed_monitor_waits(const lc_monitor *monitor);

#endif
