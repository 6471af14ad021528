/* What the control socket is asked, and the answers. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/app.h"
#include "base/clock.h"
#include "base/registry.h"
#include "base/usage.h"
#include "io/store_report.h"

/* Answers and frees what is in `answer`. */
static void finish(lc_control_client *client, lc_buf *answer, int rc) {
  if (rc == 0 && !answer->failed) lc_control_answer(client, answer);
  else lc_control_refuse(client, "out of memory for an answer");
  lc_buf_free(answer);
}

/* Appends the members of the JSON object that stands in `object`, and the closing brace. */
static int add_members(lc_buf *ret, const lc_buf *object) {
  if (object->failed || object->len < 2) return LC_ENOMEM;
  return lc_buf_add(ret, object->data + 1, object->len - 1);
}

int lc_app_status(lc_app *app, lc_buf *ret) {
  lc_buf engine = {0};
  lc_registry_totals held = lc_registry_sum(app->registry);
  lc_usage usage = lc_usage_now();
  lc_buf_addf(ret, "{\"version\":\"%s\",\"pid\":%ld,\"uptime_s\":%lld,\"stopping\":%s,\"once\":%s,\"state_dir\":",
              LC_VERSION, (long)getpid(), (long long)((lc_clock_mono() - app->started_ns) / LC_SECOND),
              app->stopping ? "true" : "false", app->cli->once ? "true" : "false");
  lc_buf_add_json_string(ret, app->runtime.state_dir, strlen(app->runtime.state_dir));
  lc_buf_addf(ret,
              ",\"resident_bytes\":%llu,\"open_descriptors\":%llu,\"threads\":%u,\"held\":{\"resources\":%u,"
              "\"descriptors\":%lld,\"bytes\":%lld},",
              (unsigned long long)usage.resident_bytes, (unsigned long long)usage.descriptors, usage.threads,
              held.resources, (long long)held.descriptors, (long long)held.bytes);
  int rc = lc_engine_status(app->engine, &engine);
  if (rc == 0) rc = add_members(ret, &engine);
  lc_buf_free(&engine);
  return rc != 0 ? rc : ret->failed ? LC_ENOMEM : 0;
}

static void answer_status(lc_app *app, lc_control_client *client) {
  lc_buf answer = {0};
  int rc = lc_app_status(app, &answer);
  finish(client, &answer, rc);
}

static void answer_audit(lc_app *app, lc_control_client *client) {
  lc_buf answer = {0}, engine = {0};
  bool balanced = false;
  lc_buf_adds(&answer, "{\"running\":true,");
  int rc = lc_engine_audit(app->engine, &engine, &balanced);
  if (rc == 0) rc = add_members(&answer, &engine);
  lc_buf_free(&engine);
  finish(client, &answer, rc);
}

/* Reads the committed positions in the pool: they are on disk. */
typedef struct positions_job {
  uv_work_t work;
  lc_app *app;
  lc_control_client *client;
  lc_buf stored;
  int rc;
  lc_error error;
} positions_job;

static void read_positions(uv_work_t *work) {
  positions_job *job = work->data;
  job->rc = lc_store_positions_json(job->app->store, &job->stored, &job->error);
}

static void positions_read(uv_work_t *work, int status) {
  positions_job *job = work->data;
  lc_buf answer = {0}, live = {0};
  if (status != 0 || job->rc != 0) {
    lc_control_refuse(job->client, status != 0 ? "the request was cancelled" : job->error.message);
  } else {
    int rc = lc_engine_positions(job->app->engine, &live);
    lc_buf_adds(&answer, "{\"running\":true,\"live\":");
    lc_buf_add(&answer, live.data, live.len);
    lc_buf_addc(&answer, ',');
    if (rc == 0) rc = add_members(&answer, &job->stored);
    finish(job->client, &answer, rc);
  }
  lc_buf_free(&live);
  lc_buf_free(&job->stored);
  free(job);
}

static void answer_positions(lc_app *app, lc_control_client *client) {
  positions_job *job = calloc(1, sizeof *job);
  if (!job) {
    lc_control_refuse(client, "out of memory for an answer");
    return;
  }
  job->work.data = job;
  job->app = app;
  job->client = client;
  if (uv_queue_work(&app->loop, &job->work, read_positions, positions_read) == 0) return;
  free(job);
  lc_control_refuse(client, "no thread can be had");
}

static void answer_stop(lc_app *app, lc_control_client *client) {
  lc_buf answer = {0};
  lc_buf_addf(&answer, "{\"pid\":%ld,\"already\":%s}", (long)getpid(), app->stopping ? "true" : "false");
  finish(client, &answer, 0);
  if (!app->stopping) lc_app_stop(app, "logcap stop"); /* asked twice is no second signal */
}

static void reloaded(void *arg, const lc_reload_outcome *outcome) {
  lc_control_client *client = arg;
  lc_buf answer = {0};
  if (!outcome->ok) {
    lc_control_refuse(client, outcome->message);
    return;
  }
  lc_buf_addf(&answer, "{\"generation\":%u,\"load_us\":%lld,\"switch_us\":%lld}", outcome->generation,
              (long long)(outcome->load_ns / 1000), (long long)(outcome->switch_ns / 1000));
  finish(client, &answer, 0);
}

void lc_app_request(void *arg, lc_control_client *client, const char *verb) {
  lc_app *app = arg;
  if (strcmp(verb, "status") == 0) answer_status(app, client);
  else if (strcmp(verb, "audit") == 0) answer_audit(app, client);
  else if (strcmp(verb, "positions") == 0) answer_positions(app, client);
  else if (strcmp(verb, "stop") == 0) answer_stop(app, client);
  else if (strcmp(verb, "reload") == 0) lc_app_reload(app, "logcap reload", reloaded, client);
  else if (strcmp(verb, "repl") == 0) lc_app_begin_session(app, client);
  else lc_control_refuse(client, "unknown request; known are status, audit, positions, reload, stop and repl");
}
