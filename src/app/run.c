#include "app/run.h"

#include <signal.h>
#include <string.h>

#include "app/app.h"
#include "app/last_resort.h"
#include "app/process.h"
#include "app/summary.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/registry.h"

#define STOP_WITHIN_S 30

/* --- stopping --- */

void lc_app_stop(lc_app *app, const char *why) {
  if (app->finished) return;
  lc_log(LC_LOG_INFO, "run", app->stopping ? "asked again to stop" : "stopping", LC_S("because", why));
  app->stopping = true;
  lc_engine_stop(app->engine, STOP_WITHIN_S * LC_SECOND);
}

static void on_signal(uv_signal_t *handle, int number) {
  lc_app_stop(handle->data, number == SIGINT ? "SIGINT" : "SIGTERM");
}

static void on_hangup(uv_signal_t *handle, int number) {
  lc_app *app = handle->data;
  (void)number;
  if (app->on_terminal && !lc_process_on_terminal()) {
    lc_app_stop(handle->data, "its terminal was closed");
    return;
  }
  lc_app_reload(app, "SIGHUP", NULL, NULL);
}

/* --- the loop's own handles --- */

static void on_wake(uv_async_t *handle) {
  lc_app *app = handle->data;
  (void)lc_registry_run(app->registry);
  if (app->engine != NULL) lc_engine_wake(app->engine);
}

/* Any thread, with the registry locked. */
static void wake(void *arg) {
  lc_app *app = arg;
  (void)uv_async_send(&app->wake); /* fails only when it is closing: then teardown runs what is pending */
}

static int loop_failed(int uv, const char *what, lc_error *error) {
  return lc_error_set(error, uv == UV_ENOMEM ? LC_ENOMEM : LC_ESYS, "cannot %s: %s", what, uv_strerror(uv));
}

static int open_handles(lc_app *app, lc_error *error) {
  int uv = uv_async_init(&app->loop, &app->wake, on_wake);
  if (uv != 0) return loop_failed(uv, "make the loop's wake-up", error);
  (void)uv_signal_init(&app->loop, &app->term); /* these cannot fail once the loop has its signal pipe */
  (void)uv_signal_init(&app->loop, &app->interrupt);
  (void)uv_signal_init(&app->loop, &app->hup);
  app->wake.data = app->term.data = app->interrupt.data = app->hup.data = app;
  app->handles_open = true;
  uv_unref((uv_handle_t *)&app->wake);
  uv_unref((uv_handle_t *)&app->interrupt); /* `term` keeps the loop until the engine is done, whatever else waits */
  uv_unref((uv_handle_t *)&app->hup);
  lc_registry_set_wake(app->registry, wake, app);
  uv = uv_signal_start(&app->term, on_signal, SIGTERM);
  if (uv == 0) uv = uv_signal_start(&app->interrupt, on_signal, SIGINT);
  if (uv == 0) uv = uv_signal_start(&app->hup, on_hangup, SIGHUP);
  if (uv != 0) return loop_failed(uv, "take signals", error);
  int rc = lc_last_resort_arm(SIGTERM, STOP_WITHIN_S, error);
  return rc != 0 ? rc : lc_last_resort_arm(SIGINT, STOP_WITHIN_S, error);
}

static void let_loop_end(lc_app *app) {
  if (app->handles_open) uv_unref((uv_handle_t *)&app->term);
}

static void close_handles(lc_app *app) {
  if (!app->handles_open) return;
  app->handles_open = false;
  lc_registry_set_wake(app->registry, NULL, NULL);
  uv_close((uv_handle_t *)&app->wake, NULL);
  uv_close((uv_handle_t *)&app->term, NULL);
  uv_close((uv_handle_t *)&app->interrupt, NULL);
  uv_close((uv_handle_t *)&app->hup, NULL);
}

/* --- starting --- */

static int load_files(lc_app *app, lc_error *error) {
  const lc_cli *cli = app->cli;
  const lc_generation_options options = {.allow = cli->allow, .n_allow = cli->n_allow};
  int rc = lc_registry_create(&app->registry, error);
  if (rc == 0) rc = lc_generation_load(cli->files, cli->n_files, app->registry, &options, &app->generation, error);
  return rc;
}

static int open_state(lc_app *app, lc_error *error) {
  int rc = lc_inodes_create(&app->own, error);
  if (rc == 0) rc = lc_process_register_output(app->own, error);
  if (rc == 0) rc = lc_state_dir_open(app->cli->state_dir, LC_STATE_CREATE, &app->state, error);
  if (rc == 0) rc = lc_state_dir_register(app->state, app->own, error);
  if (rc == 0) rc = lc_store_open(lc_state_dir_path(app->state), &app->store, error);
  if (rc == 0) rc = lc_store_register(app->store, app->own, error);
  return rc;
}

static int open_loop(lc_app *app, lc_error *error) {
  int uv = uv_loop_init(&app->loop);
  if (uv != 0) return loop_failed(uv, "make the event loop", error);
  app->loop_ready = true;
  lc_generation_use_loop(app->generation, &app->loop);
  app->runtime = (lc_runtime){.loop = &app->loop,
                              .registry = app->registry,
                              .store = app->store,
                              .own = app->own,
                              .state_dir = lc_state_dir_path(app->state),
                              .once = app->cli->once};
  return open_handles(app, error);
}

static int open_reload(lc_app *app, lc_error *error) {
  int rc = lc_reloader_create(app, &app->reloader, error);
  if (rc == 0 && app->cli->watch) rc = lc_watch_create(app, &app->watch, error);
  return rc;
}

static int open_services(lc_app *app, lc_error *error) {
  lc_services_plan plan = {0};
  int rc = lc_services_prepare(app, app->generation, &plan, error);
  if (rc == 0) lc_services_commit(app, app->generation, &plan);
  return rc;
}

static int open_control(lc_app *app, lc_error *error) {
  const lc_control_handler handler = {.request = lc_app_request, .arg = app};
  return lc_control_create(&app->loop, app->registry, app->runtime.state_dir, &handler, &app->control, error);
}

static int open_engine(lc_app *app, lc_error *error) {
  size_t n = 0;
  lc_pipeline *const *pipelines = lc_generation_pipelines(app->generation, &n);
  int rc = lc_engine_create(&app->runtime, &app->engine, error);
  for (size_t i = 0; i < n && rc == 0; i++) rc = lc_engine_add(app->engine, pipelines[i], error);
  if (rc == 0) rc = lc_engine_open(app->engine, error);
  return rc;
}

/* --- ending --- */

static void close_reload(lc_app *app) {
  lc_watch_close(app->watch);
  lc_reloader_close(app->reloader);
  app->watch = NULL;
  app->reloader = NULL;
}

static void close_control(lc_app *app) {
  if (!app->control) return;
  lc_resource *res = lc_control_resource(app->control);
  app->control = NULL;
  lc_resource_close(res);
  lc_resource_release(res);
}

static void on_finished(void *arg, const lc_engine_result *result) {
  lc_app *app = arg;
  app->result = *result;
  app->finished = true;
  close_reload(app);
  lc_app_detach_sessions(app);
  close_control(app);
  lc_services_close(app);
  let_loop_end(app);
}

/* Whatever was opened is closed again, in order; false when something did not let go. */
static bool tear_down(lc_app *app) {
  bool clean = true;
  let_loop_end(app);
  close_reload(app);
  lc_app_detach_sessions(app);
  close_control(app);
  lc_services_close(app);
  if (app->registry) (void)lc_registry_run(app->registry);
  if (app->loop_ready) (void)uv_run(&app->loop, UV_RUN_DEFAULT); /* handles of the control socket and of services */
  lc_engine_destroy(app->engine);
  lc_generation_destroy(app->generation);
  close_handles(app);
  for (int i = 0; i < 2 && app->registry; i++) { /* what destroys may close handles, and the other way round */
    (void)lc_registry_run(app->registry);
    if (app->loop_ready) (void)uv_run(&app->loop, UV_RUN_DEFAULT);
  }
  if (app->registry && lc_registry_destroy(app->registry) != 0) clean = false; /* it named what is left */
  if (app->loop_ready && uv_loop_close(&app->loop) != 0) {
    lc_log(LC_LOG_ERROR, "run", "the event loop still has handles at the end");
    clean = false;
  }
  lc_store_close(app->store);
  lc_state_dir_close(app->state);
  lc_inodes_destroy(app->own);
  return clean;
}

static void log_result(const lc_app *app) {
  const lc_engine_result *result = &app->result;
  if (!result->failed) return;
  lc_log(LC_LOG_ERROR, "run", "not everything was delivered",
         LC_S("because", result->message[0] ? result->message : "the run ended before all was read and acked"),
         LC_I("unread_sources", result->unread), LC_I("unacked_records", result->unacked));
}

/* Runs what is open until the engine is done. */
static int run_engine(lc_app *app) {
  size_t n = 0;
  lc_summary summary = {0};
  (void)lc_generation_pipelines(app->generation, &n);
  lc_log(LC_LOG_INFO, "run", "started", LC_S("version", LC_VERSION), LC_S("state_dir", app->runtime.state_dir),
         LC_I("pipelines", n));
  if (lc_summary_begin(&summary, app->engine) != 0) lc_log(LC_LOG_WARN, "run", "out of memory for the summary");
  app->started = true;
  lc_engine_start(app->engine, on_finished, app);
  (void)uv_run(&app->loop, UV_RUN_DEFAULT);
  log_result(app);
  bool balanced = lc_summary_end(&summary, app->engine);
  if (!app->finished) lc_log(LC_LOG_ERROR, "run", "the loop ended before the engine was done");
  return app->finished && !app->result.failed && balanced ? LC_EXIT_FINE : LC_EXIT_FAILED;
}

int lc_run(const lc_cli *cli) {
  lc_app app = {.cli = cli, .started_ns = lc_clock_mono()};
  lc_error error = {0};
  int code = LC_EXIT_FAILED;
  lc_log_setup(STDERR_FILENO, (lc_log_level)cli->log_level, (lc_log_format)cli->log_format);
  lc_process_setup();
  app.on_terminal = lc_process_on_terminal();
  int rc = load_files(&app, &error); /* until here nothing is made on disk */
  if (rc == 0) rc = open_state(&app, &error);
  if (rc == 0) rc = open_loop(&app, &error);
  if (rc == 0) rc = open_control(&app, &error); /* it answers once the loop runs */
  if (rc == 0) rc = open_engine(&app, &error);
  if (rc == 0) rc = lc_generation_own_budget(app.generation, &error);
  if (rc == 0) rc = open_reload(&app, &error);
  if (rc == 0) rc = open_services(&app, &error);
  if (rc == 0) code = run_engine(&app);
  else fprintf(stderr, "logcap: %s\n", error.message);
  if (!tear_down(&app)) code = LC_EXIT_FAILED;
  return code;
}
