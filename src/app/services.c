#include "app/services.h"

#include <string.h>

#include "app/app.h"
#include "io/resource_monitor.h"

/* --- what services may use of the application --- */

static void add_health(void *arg, lc_health *health) { lc_app_health_of_delivery(arg, health); }

static uint64_t lua_bytes(void *arg) { return lc_generation_lua_bytes(((const lc_app *)arg)->generation); }

static void on_alert(void *arg, const lc_alert *alert) {
  lc_generation_alert(((const lc_app *)arg)->generation, alert);
}

static int open_service(lc_app *app, lc_service *service, lc_error *error) {
  const lc_service_host host = {.runtime = &app->runtime,
                                .request = lc_app_http,
                                .health = add_health,
                                .lua_bytes = lua_bytes,
                                .alert = on_alert,
                                .arg = app};
  return service->ops->open(service, &host, error);
}

/* --- exchanging them --- */

static lc_service *of_kind(lc_service *const *services, size_t n, const char *kind) {
  for (size_t i = 0; i < n; i++) {
    if (strcmp(services[i]->resource.kind, kind) == 0) return services[i];
  }
  return NULL;
}

static int gather(lc_app *app, const lc_generation *generation, lc_services_plan *plan, lc_error *error) {
  const lc_resource_monitor_options usual = {.growth = true};
  lc_service *const *described = lc_generation_services(generation, &plan->n);
  for (size_t i = 0; i < plan->n; i++) {
    plan->wanted[i] = described[i];
    lc_resource_retain(&described[i]->resource);
  }
  if (of_kind(plan->wanted, plan->n, "resource_monitor") != NULL) return 0;
  int rc = lc_resource_monitor_create(&usual, app->registry, NULL, &plan->wanted[plan->n], error);
  if (rc == 0) plan->n++;
  return rc;
}

/* Whether what runs can stay; else it is replaced. */
static void match(const lc_app *app, lc_services_plan *plan, size_t i) {
  const lc_resource *described = &plan->wanted[i]->resource;
  lc_service *live = of_kind(app->services, app->n_services, described->kind);
  if (live == NULL || atomic_load(&live->resource.close_asked)) return;
  plan->fit[i] = live->resource.ops->fit(&live->resource, described);
  if (plan->fit[i] != LC_FIT_REPLACE) plan->live[i] = live;
}

int lc_services_prepare(lc_app *app, const lc_generation *generation, lc_services_plan *plan, lc_error *error) {
  int rc = gather(app, generation, plan, error);
  for (size_t i = 0; i < plan->n && rc == 0; i++) {
    match(app, plan, i);
    if (plan->live[i] == NULL) rc = open_service(app, plan->wanted[i], error);
  }
  if (rc != 0) lc_services_cancel(plan);
  return rc;
}

void lc_services_cancel(lc_services_plan *plan) {
  for (size_t i = 0; i < plan->n; i++) lc_resource_release(&plan->wanted[i]->resource); /* the last one closes it */
  plan->n = 0;
}

static void adopt(lc_generation *generation, lc_services_plan *plan, size_t i) {
  lc_resource *live = &plan->live[i]->resource, *described = &plan->wanted[i]->resource;
  if (plan->fit[i] == LC_FIT_CHANGED) live->ops->adopt(live, described);
  lc_resource_take_place(live, described);
  lc_generation_adopt_service(generation, i, plan->live[i]);
  lc_resource_retain(live);
  lc_resource_release(described);
  plan->wanted[i] = plan->live[i];
}

void lc_services_commit(lc_app *app, lc_generation *generation, lc_services_plan *plan) {
  for (size_t i = 0; i < plan->n; i++) {
    if (plan->live[i] != NULL) adopt(generation, plan, i);
  }
  for (size_t i = 0; i < app->n_services; i++) {
    lc_service *former = app->services[i];
    if (of_kind(plan->wanted, plan->n, former->resource.kind) != former) lc_resource_close(&former->resource);
    lc_resource_release(&former->resource);
  }
  memcpy(app->services, plan->wanted, sizeof app->services);
  app->n_services = plan->n;
  app->resource_monitor = of_kind(app->services, app->n_services, "resource_monitor");
  plan->n = 0;
}

void lc_services_close(lc_app *app) {
  while (app->n_services > 0) {
    lc_resource *res = &app->services[--app->n_services]->resource;
    lc_resource_close(res);
    lc_resource_release(res);
  }
  app->resource_monitor = NULL;
}
