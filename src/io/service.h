/* A service: a resource that a pipeline file describes and that is part of no pipeline, such as the admin server. A
 * generation has at most one of a kind; the application opens it with what it offers to services, and closes it as any
 * resource.
 *
 * Thread: the loop thread. */
#ifndef LC_IO_SERVICE_H
#define LC_IO_SERVICE_H

#include "base/alert.h"
#include "logcap/resource.h"
#include "logcap/runtime.h"

typedef struct lc_service lc_service;
struct lc_http_request;

/* What the application offers to services. */
typedef struct lc_service_host {
  lc_runtime *runtime;
  void (*request)(void *arg, struct lc_http_request *request); /* answers what came over HTTP */
  void (*health)(void *arg, lc_health *health);                /* adds what delivery says of itself */
  uint64_t (*lua_bytes)(void *arg);                            /* the Lua heaps */
  void (*alert)(void *arg, const lc_alert *alert);             /* a cause came up or went away */
  void *arg;
} lc_service_host;

typedef struct lc_service_ops {
  /* Opens what may fail; then it works. `host` is copied. On failure the service holds nothing. */
  int (*open)(lc_service *service, const lc_service_host *host, lc_error *error);
} lc_service_ops;

struct lc_service {
  lc_resource resource; /* first: a service is a resource */
  const lc_service_ops *ops;
};

#endif
