/* The services that pipeline files describe: opened at the start, exchanged by a reload, closed at the end.
 *
 *     lc_services_plan plan = {0};
 *     rc = lc_services_prepare(app, generation, &plan, &error);   // opens what is new; may fail, and has taken it back
 *     if (rc == 0) lc_services_commit(app, generation, &plan);    // cannot fail; or lc_services_cancel(&plan)
 *     ...
 *     lc_services_close(app);
 *
 * A service that runs is adopted by kind. There is always a resource monitor: one with its defaults when no file
 * describes one.
 *
 * Thread: the loop thread. */
#ifndef LC_APP_SERVICES_H
#define LC_APP_SERVICES_H

#include "bind/generation.h"
#include "io/service.h"

#define LC_APP_SERVICES_MAX 9 /* as many as a generation may have, and the resource monitor */

struct lc_app;

typedef struct lc_services_plan {
  lc_service *wanted[LC_APP_SERVICES_MAX]; /* counted: as described, those of the generation first */
  lc_service *live[LC_APP_SERVICES_MAX];   /* borrowed: what runs in its place; NULL: it is new */
  lc_fit fit[LC_APP_SERVICES_MAX];
  size_t n;
} lc_services_plan;

int lc_services_prepare(struct lc_app *app, const lc_generation *generation, lc_services_plan *plan, lc_error *error)
    LC_CHECK;
void lc_services_commit(struct lc_app *app, lc_generation *generation, lc_services_plan *plan);
void lc_services_cancel(lc_services_plan *plan);
void lc_services_close(struct lc_app *app);

#endif
