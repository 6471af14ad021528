/* The running program: what run.c puts together and requests.c answers from.
 *
 * Thread: the loop thread. */
#ifndef LC_APP_APP_H
#define LC_APP_APP_H

#include <uv.h>

#include "app/cli.h"
#include "app/control.h"
#include "app/reload.h"
#include "app/services.h"
#include "app/watch.h"
#include "base/alert.h"
#include "bind/generation.h"
#include "io/inodes.h"
#include "io/state_dir.h"
#include "io/store.h"
#include "logcap/runtime.h"
#include "pipeline/engine.h"

typedef struct lc_app {
  const lc_cli *cli; /* borrowed */
  uv_loop_t loop;
  bool loop_ready;
  lc_registry *registry;     /* owned, as all of these */
  lc_generation *generation;
  lc_inodes *own;
  lc_state_dir *state;
  lc_store *store;
  lc_engine *engine;
  lc_control *control; /* counted */
  lc_reloader *reloader;
  lc_watch *watch; /* NULL without --watch */
  struct lc_app_session *sessions; /* of the prompt; each owned by its client */
  lc_service *services[LC_APP_SERVICES_MAX]; /* counted: those that are open */
  size_t n_services;
  lc_service *resource_monitor; /* borrowed from them: there is always one */
  lc_runtime runtime;
  uv_async_t wake; /* the registry has something to do */
  uv_signal_t term, interrupt, hup;
  bool handles_open; /* the four above */
  bool on_terminal; /* it was started there: when the terminal is closed it stops, as any command does */
  bool started; /* the engine runs, or did */
  bool stopping;
  bool finished; /* the engine is done: `result` says how */
  lc_engine_result result;
  int64_t started_ns; /* monotonic */
} lc_app;

/* Asks the engine to stop within 30 seconds; asked again, it stops at once. */
void lc_app_stop(lc_app *app, const char *why);

/* Makes the client a session of the prompt (repl_sessions.c). */
void lc_app_begin_session(lc_app *app, lc_control_client *client);
/* Another generation takes the place of the live one, or none does: no session may refer to it any more. */
void lc_app_detach_sessions(lc_app *app);

/* Answers the control socket; `arg` is the lc_app. */
void lc_app_request(void *arg, lc_control_client *client, const char *verb);

/* Adds what is wrong: what delivery, stages and reloads say of themselves, and what the resource monitor has found. */
void lc_app_health(lc_app *app, lc_health *ret);
void lc_app_health_of_delivery(lc_app *app, lc_health *ret);
void lc_app_health_of_scripts(lc_registry *registry, lc_health *ret); /* a part of it */

/* JSON objects for the control socket and the admin server; 0 or LC_ENOMEM. */
int lc_app_status(lc_app *app, lc_buf *ret) LC_CHECK;
/* The text for Prometheus. */
int lc_app_metrics(lc_app *app, lc_buf *ret) LC_CHECK;

struct lc_http_request;
/* admin.c: answers what came over HTTP; `arg` is the lc_app. */
void lc_app_http(void *arg, struct lc_http_request *request);

#endif
