#include "app/reload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/app.h"
#include "base/clock.h"
#include "base/log.h"
#include "pipeline/reload.h"

#define DRAIN_POLL_MS 5u
#define DRAIN_PATIENCE (40 * LC_SECOND) /* a sink that was removed before gives up after 30 */

/* Somebody who wants to hear how it went. */
typedef struct waiter {
  lc_reload_done done;
  void *arg;
  struct waiter *next;
} waiter;

struct lc_reloader {
  lc_resource resource; /* first */
  lc_app *app;          /* borrowed */
  uv_async_t loaded;    /* the thread is done */
  uv_timer_t again;     /* something of a former generation still drains */
  uint32_t handles;     /* open */
  uv_thread_t thread;
  bool running; /* a reload is under way; the thread may be done already */
  bool joined;
  _Atomic bool cancelled; /* logcap stops: the load shall end */
  bool wanted; /* and another one was asked for meanwhile */
  waiter *now, *next; /* owned: of the reload under way, and of the one after it */
  lc_reload_stats stats;

  /* The thread's, until it is joined. */
  lc_generation *generation;
  lc_error error;
  lc_buf tried; /* owned: paths of the files that a load which failed had read, each with a NUL */
  int rc;
  int64_t began_ns, load_ns;
  int64_t prepared_since_ns; /* first try to exchange the generations */
};

static void start_load(lc_reloader *self);

/* --- telling --- */

static void tell(waiter **list, const lc_reload_outcome *outcome) {
  while (*list != NULL) {
    waiter *first = *list;
    *list = first->next;
    first->done(first->arg, outcome);
    free(first);
  }
}

static void finish(lc_reloader *self, int rc, const lc_error *error, int64_t switch_ns) {
  lc_reload_stats *stats = &self->stats;
  const lc_reload_outcome outcome = {.ok = rc == 0, .message = rc == 0 ? "" : error->message,
                                     .generation = stats->generation + (rc == 0), .load_ns = self->load_ns,
                                     .switch_ns = switch_ns};
  stats->last_failed = rc != 0;
  if (rc == 0) {
    stats->succeeded++;
    stats->generation++;
    stats->last_ok_ns = lc_clock_wall();
    stats->last_message[0] = '\0';
    lc_log(LC_LOG_INFO, "reload", "done", LC_I("generation", stats->generation),
           LC_I("load_ms", self->load_ns / LC_MILLISECOND), LC_I("switch_us", switch_ns / 1000));
  } else {
    stats->failed++;
    atomic_fetch_add(&self->resource.errors, 1);
    snprintf(stats->last_message, sizeof stats->last_message, "%s", error->message);
    lc_log(LC_LOG_ERROR, "reload", "failed; what ran before goes on", LC_S("error", error->message));
  }
  self->running = false;
  tell(&self->now, &outcome);
  if (!self->wanted) return;
  self->wanted = false;
  start_load(self);
}

/* --- exchanging the generations --- */

static void on_again(uv_timer_t *timer);

static void drop_generation(lc_reloader *self) {
  lc_generation_destroy(self->generation);
  self->generation = NULL;
}

static void exchange(lc_reloader *self, lc_reload *reload, lc_services_plan *services) {
  lc_app *app = self->app;
  lc_generation *former = app->generation;
  lc_generation_adopt(self->generation, reload);
  lc_reload_commit(reload);
  lc_app_detach_sessions(app);
  lc_services_commit(app, self->generation, services);
  app->generation = self->generation;
  self->generation = NULL;
  lc_error error = {0};
  if (lc_generation_own_budget(app->generation, &error) != 0) {
    lc_log(LC_LOG_ERROR, "reload", "Lua functions run without machine code, several times slower; restart logcap",
           LC_S("error", error.message));
  }
  lc_generation_destroy(former);
  lc_watch_renew(app->watch, app->generation);
}

static void watch_file(void *arg, const char *path) { lc_watch_add(arg, path); }

/* Exchanges them, or says why not, or tries again when something of an earlier generation is still closing. */
static void try_exchange(lc_reloader *self) {
  size_t n = 0;
  lc_error error = {0};
  lc_reload *reload = NULL;
  lc_services_plan services = {0};
  int64_t now_ns = lc_clock_mono();
  lc_pipeline *const *pipelines = lc_generation_pipelines(self->generation, &n);
  int rc = lc_reload_prepare(self->app->engine, pipelines, (uint32_t)n, &reload, &error);
  if (rc == LC_EAGAIN && now_ns - self->prepared_since_ns < DRAIN_PATIENCE) {
    uv_timer_start(&self->again, on_again, DRAIN_POLL_MS, 0);
    return;
  }
  if (rc == 0) {
    rc = lc_services_prepare(self->app, self->generation, &services, &error);
    if (rc != 0) lc_reload_cancel(reload);
  }
  if (rc == 0) {
    exchange(self, reload, &services);
  } else {
    lc_generation_each_file(self->generation, watch_file, self->app->watch);
    drop_generation(self);
  }
  finish(self, rc, &error, lc_clock_mono() - now_ns);
}

static void on_again(uv_timer_t *timer) { try_exchange(timer->data); }

/* --- loading --- */

static void note_tried(void *arg, const char *path) { (void)lc_buf_add(arg, path, strlen(path) + 1); }

static void load(void *arg) {
  lc_reloader *self = arg;
  const lc_cli *cli = self->app->cli;
  const lc_generation_options options = {.allow = cli->allow, .n_allow = cli->n_allow, .loop = &self->app->loop,
                                         .cancel = &self->cancelled, .tried = note_tried, .arg = &self->tried};
  int64_t began_ns = lc_clock_mono();
  self->rc = lc_generation_load(cli->files, cli->n_files, self->app->registry, &options, &self->generation,
                                &self->error);
  self->load_ns = lc_clock_mono() - began_ns;
  (void)uv_async_send(&self->loaded); /* it is not closed before we are joined */
}

static void on_loaded(uv_async_t *async) {
  lc_reloader *self = async->data;
  if (!self->running || self->joined) return;
  (void)uv_thread_join(&self->thread);
  self->joined = true;
  if (self->rc == 0) {
    self->prepared_since_ns = lc_clock_mono();
    try_exchange(self);
    return;
  }
  for (size_t at = 0; at < self->tried.len; at += strlen(self->tried.data + at) + 1) {
    lc_watch_add(self->app->watch, self->tried.data + at);
  }
  lc_buf_free(&self->tried);
  finish(self, self->rc, &self->error, 0);
}

static void start_load(lc_reloader *self) {
  self->now = self->next;
  self->next = NULL;
  self->error = (lc_error){0};
  self->load_ns = 0;
  self->joined = false;
  self->running = true;
  int uv = uv_thread_create(&self->thread, load, self);
  if (uv == 0) return;
  self->joined = true;
  int rc = lc_error_set(&self->error, LC_ESYS, "cannot start a thread to load the files: %s", uv_strerror(uv));
  finish(self, rc, &self->error, 0);
}

void lc_app_reload(lc_app *app, const char *why, lc_reload_done done, void *arg) {
  lc_reloader *self = app->reloader;
  lc_reload_outcome refused = {.message = "logcap is stopping"};
  waiter *entry = done != NULL ? calloc(1, sizeof *entry) : NULL;
  if (app->cli->once) refused.message = "a run with --once cannot reload";
  else if (done != NULL && entry == NULL) refused.message = "out of memory";
  if (self == NULL || app->stopping || app->finished || app->cli->once || (done != NULL && entry == NULL)) {
    lc_log(LC_LOG_WARN, "reload", refused.message, LC_S("because", why));
    free(entry);
    if (done != NULL) done(arg, &refused);
    return;
  }
  lc_log(LC_LOG_INFO, "reload", "loading the pipeline files", LC_S("because", why));
  if (entry != NULL) {
    *entry = (waiter){done, arg, self->next};
    self->next = entry;
  }
  if (self->running) self->wanted = true;
  else start_load(self);
}

/* --- the resource --- */

static void handle_gone(uv_handle_t *handle) {
  lc_reloader *self = handle->data;
  if (--self->handles == 0) lc_resource_closed(&self->resource);
}

/* A load that is under way ends at once, but for a long call of a C function. */
static void close_reloader(lc_resource *res) {
  lc_reloader *self = (lc_reloader *)res;
  const lc_reload_outcome refused = {.message = "logcap is stopping", .generation = self->stats.generation};
  atomic_store(&self->cancelled, true);
  if (self->running && !self->joined) (void)uv_thread_join(&self->thread);
  if (self->generation != NULL) drop_generation(self);
  self->running = false;
  tell(&self->now, &refused);
  tell(&self->next, &refused);
  uv_close((uv_handle_t *)&self->loaded, handle_gone);
  uv_close((uv_handle_t *)&self->again, handle_gone);
}

static void destroy_reloader(lc_resource *res) {
  lc_buf_free(&((lc_reloader *)res)->tried);
  free(res);
}

static int reloader_stats(lc_resource *res, lc_buf *ret) {
  const lc_reload_stats *stats = &((const lc_reloader *)res)->stats;
  return lc_buf_addf(ret, "{\"generation\":%u,\"succeeded\":%llu,\"failed\":%llu}", stats->generation,
                     (unsigned long long)stats->succeeded, (unsigned long long)stats->failed);
}

static const lc_resource_ops resource_ops = {
    .close = close_reloader, .destroy = destroy_reloader, .stats = reloader_stats};

int lc_reloader_create(lc_app *app, lc_reloader **ret, lc_error *error) {
  lc_reloader *self = calloc(1, sizeof *self);
  if (self == NULL) return lc_error_set(error, LC_ENOMEM, "out of memory");
  int rc = lc_resource_init(&self->resource, app->registry, &resource_ops, "reloader", NULL, "reloader", NULL, error);
  if (rc != 0) {
    free(self);
    return rc;
  }
  self->app = app;
  self->stats.generation = 1;
  self->stats.last_ok_ns = lc_clock_wall();
  int uv = uv_async_init(&app->loop, &self->loaded, on_loaded);
  if (uv != 0) {
    rc = lc_error_set(error, LC_ESYS, "cannot make the wake-up of reloads: %s", uv_strerror(uv));
    lc_resource_release(&self->resource);
    return rc;
  }
  (void)uv_timer_init(&app->loop, &self->again); /* it cannot fail */
  self->loaded.data = self->again.data = self;
  self->handles = 2;
  uv_unref((uv_handle_t *)&self->loaded); /* waiting for reloads keeps nobody */
  rc = lc_resource_opened(&self->resource, error);
  if (rc == 0) *ret = self;
  return rc;
}

void lc_reloader_close(lc_reloader *reloader) {
  if (reloader == NULL) return;
  lc_resource_close(&reloader->resource);
  lc_resource_release(&reloader->resource);
}

const lc_reload_stats *lc_reloader_stats(const lc_reloader *reloader) { return &reloader->stats; }
