/* The admin server's answers. */
#include <string.h>

#include "app/app.h"
#include "base/clock.h"
#include "base/registry.h"
#include "io/http_server.h"

#define JSON "application/json"
#define TEXT "text/plain; version=0.0.4; charset=utf-8"

static void answer_json(lc_http_request *request, unsigned status, int rc, lc_buf *body) {
  lc_buf_addc(body, '\n');
  if (rc != 0) body->failed = true;
  lc_http_answer(request, status, JSON, body);
}

static void answer_error(lc_http_request *request, unsigned status, const char *message) {
  lc_buf body = {0};
  lc_buf_adds(&body, "{\"error\":");
  lc_buf_add_json_string(&body, message, strlen(message));
  lc_buf_addc(&body, '}');
  answer_json(request, status, 0, &body);
}

static void get_metrics(lc_app *app, lc_http_request *request) {
  lc_buf body = {0};
  if (lc_app_metrics(app, &body) != 0) body.failed = true;
  lc_http_answer(request, 200, TEXT, &body);
}

static void get_health(lc_app *app, lc_http_request *request) {
  lc_buf body = {0};
  lc_health health = {0};
  lc_app_health(app, &health);
  lc_buf_addf(&body, "{\"status\":\"%s\",\"reasons\":[", health.causes == 0 ? "healthy" : "unhealthy");
  lc_buf_add(&body, health.reasons.data, health.reasons.len);
  lc_buf_adds(&body, "],\"warnings\":[");
  lc_buf_add(&body, health.warnings.data, health.warnings.len);
  lc_buf_adds(&body, "]}");
  bool failed = health.reasons.failed || health.warnings.failed;
  answer_json(request, health.causes == 0 ? 200 : 503, failed ? LC_ENOMEM : 0, &body);
  lc_health_free(&health);
}

static void get_ready(lc_app *app, lc_http_request *request) {
  lc_buf body = {0};
  bool ready = app->started && !app->stopping && !app->finished;
  lc_buf_addf(&body, "{\"ready\":%s}", ready ? "true" : "false");
  answer_json(request, ready ? 200 : 503, 0, &body);
}

static void get_status(lc_app *app, lc_http_request *request) {
  lc_buf body = {0};
  int rc = lc_app_status(app, &body);
  answer_json(request, 200, rc, &body);
}

static void get_resources(lc_app *app, lc_http_request *request) {
  lc_buf body = {0};
  lc_buf_adds(&body, "{\"resources\":");
  int rc = lc_registry_json(app->registry, lc_clock_wall(), &body);
  lc_buf_addc(&body, '}');
  answer_json(request, 200, rc, &body);
}

static void reloaded(void *arg, const lc_reload_outcome *outcome) {
  lc_buf body = {0};
  if (!outcome->ok) {
    answer_error(arg, 422, outcome->message);
    return;
  }
  lc_buf_addf(&body, "{\"generation\":%u,\"load_us\":%lld,\"switch_us\":%lld}", outcome->generation,
              (long long)(outcome->load_ns / 1000), (long long)(outcome->switch_ns / 1000));
  answer_json(arg, 200, 0, &body);
}

/* A browser says where a page comes from: none has business here. */
static void post_reload(lc_app *app, lc_http_request *request) {
  if (lc_http_header(request, "Origin") != NULL) answer_error(request, 403, "not from a web page");
  else lc_app_reload(app, "POST /reload", reloaded, request);
}

static const struct {
  const char *path, *method;
  void (*answer)(lc_app *app, lc_http_request *request);
} routes[] = {
    {"/metrics", "GET", get_metrics}, {"/health", "GET", get_health},       {"/ready", "GET", get_ready},
    {"/status", "GET", get_status},   {"/resources", "GET", get_resources}, {"/reload", "POST", post_reload},
};

void lc_app_http(void *arg, lc_http_request *request) {
  lc_app *app = arg;
  lc_buf body = {0};
  if (!app->started || app->finished) { /* a client that came while all is closed */
    answer_error(request, 503, "logcap stops");
    return;
  }
  for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
    if (strcmp(request->path, routes[i].path) != 0) continue;
    bool get = routes[i].method[0] == 'G';
    if (strcmp(request->method, routes[i].method) == 0 || (get && strcmp(request->method, "HEAD") == 0)) {
      routes[i].answer(app, request);
      return;
    }
    lc_buf_addf(&body, "{\"error\":\"%s takes %s\"}\n", routes[i].path, routes[i].method);
    lc_http_answer_allow(request, 405, JSON, &body, get ? "GET, HEAD" : "POST");
    return;
  }
  answer_error(request, 404, "there are /metrics, /health, /ready, /status, /resources, and POST /reload");
}
