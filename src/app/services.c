/* Opens and closes the services that pipeline files describe, and says what they may use of the application. */
#include <string.h>

#include "app/app.h"
#include "io/resource_monitor.h"

static void add_health(void *arg, lc_health *health) { lc_app_health_of_delivery(arg, health); }

static uint64_t lua_bytes(void *arg) { return lc_generation_lua_bytes(((const lc_app *)arg)->generation); }

static void on_alert(void *arg, const lc_alert *alert) {
  lc_generation_alert(((const lc_app *)arg)->generation, alert);
}

static lc_service_host host_of(lc_app *app) {
  return (lc_service_host){.runtime = &app->runtime,
                           .request = lc_app_http,
                           .health = add_health,
                           .lua_bytes = lua_bytes,
                           .alert = on_alert,
                           .arg = app};
}

static int open_service(lc_app *app, lc_service *service, lc_error *error) {
  const lc_service_host host = host_of(app);
  if (app->n_services == LC_APP_SERVICES_MAX) return lc_error_set(error, LC_ELIMIT, "too many services");
  int rc = service->ops->open(service, &host, error);
  if (rc != 0) return rc;
  lc_resource_retain(&service->resource);
  app->services[app->n_services++] = service;
  return 0;
}

/* The files may describe a resource monitor; without one there is one with its defaults. */
static int choose_monitor(lc_app *app, lc_service *const *services, size_t n, lc_error *error) {
  const lc_resource_monitor_options usual = {.growth = true};
  for (size_t i = 0; i < n; i++) {
    if (strcmp(services[i]->resource.kind, "resource_monitor") == 0) app->resource_monitor = services[i];
  }
  if (app->resource_monitor != NULL) return 0;
  int rc = lc_resource_monitor_create(&usual, app->registry, NULL, &app->own_monitor, error);
  if (rc == 0) rc = open_service(app, app->own_monitor, error);
  if (rc == 0) app->resource_monitor = app->own_monitor;
  return rc;
}

int lc_app_open_services(lc_app *app, lc_error *error) {
  size_t n = 0;
  lc_service *const *services = lc_generation_services(app->generation, &n);
  int rc = choose_monitor(app, services, n, error);
  for (size_t i = 0; i < n && rc == 0; i++) rc = open_service(app, services[i], error);
  return rc;
}

void lc_app_close_services(lc_app *app) {
  while (app->n_services > 0) {
    lc_resource *res = &app->services[--app->n_services]->resource;
    lc_resource_close(res);
    lc_resource_release(res);
  }
  if (app->own_monitor != NULL) lc_resource_release(&app->own_monitor->resource);
  app->own_monitor = app->resource_monitor = NULL;
}
