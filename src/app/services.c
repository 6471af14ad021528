/* Opens and closes the services that pipeline files describe, and says what they may use of the application. */
#include "app/app.h"

static void add_health(void *arg, lc_health *health) { lc_app_health(arg, health); }

static lc_service_host host_of(lc_app *app) {
  return (lc_service_host){.runtime = &app->runtime, .request = lc_app_http, .health = add_health, .arg = app};
}

static int open_service(lc_app *app, lc_service *service, lc_error *error) {
  const lc_service_host host = host_of(app);
  int rc = service->ops->open(service, &host, error);
  if (rc != 0) return rc;
  lc_resource_retain(&service->resource);
  app->services[app->n_services++] = service;
  return 0;
}

int lc_app_open_services(lc_app *app, lc_error *error) {
  size_t n = 0;
  lc_service *const *services = lc_generation_services(app->generation, &n);
  int rc = 0;
  for (size_t i = 0; i < n && rc == 0; i++) rc = open_service(app, services[i], error);
  return rc;
}

void lc_app_close_services(lc_app *app) {
  while (app->n_services > 0) {
    lc_resource *res = &app->services[--app->n_services]->resource;
    lc_resource_close(res);
    lc_resource_release(res);
  }
}
