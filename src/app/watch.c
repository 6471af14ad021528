#include "app/watch.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "app/app.h"
#include "base/log.h"
#include "io/inotify.h"

#define SETTLE_MS 200u /* changes that come together */
#define FOLDERS_MOST 256u
#define EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_ATTRIB)

struct lc_watch {
  lc_resource resource; /* first */
  lc_app *app;          /* borrowed */
  lc_inotify *inotify;  /* owned */
  uv_timer_t settle;
  uint32_t to_close;
  struct {
    char *path; /* owned */
    int wd;
    bool used; /* by the newest generation */
  } folders[FOLDERS_MOST];
  uint32_t n_folders;
  bool full; /* said so */
};

static void on_settled(uv_timer_t *timer) {
  lc_watch *self = timer->data;
  lc_app_reload(self->app, "a file changed", NULL, NULL);
}

static bool is_lua(const char *name) {
  size_t len = strlen(name);
  return len > 4 && strcmp(name + len - 4, ".lua") == 0;
}

/* Files need not be called *.lua: those given on the command line count whatever their name is. */
static bool is_given(const lc_app *app, const char *name) {
  for (size_t i = 0; i < app->cli->n_files; i++) {
    const char *slash = strrchr(app->cli->files[i], '/');
    if (strcmp(slash != NULL ? slash + 1 : app->cli->files[i], name) == 0) return true;
  }
  return false;
}

static void on_event(void *arg, const lc_inotify_event *event) {
  lc_watch *self = arg;
  bool lost = (event->mask & IN_Q_OVERFLOW) != 0;
  if (!lost && !is_lua(event->name) && !is_given(self->app, event->name)) return;
  if (event->mask & IN_CREATE && !(event->mask & IN_ISDIR)) return; /* it is being written: the close tells */
  uv_timer_start(&self->settle, on_settled, SETTLE_MS, 0);
}

static const lc_inotify_callbacks callbacks = {.event = on_event};

static void watch_folder(lc_watch *self, const char *folder) {
  lc_error error = {0};
  for (uint32_t i = 0; i < self->n_folders; i++) {
    if (strcmp(self->folders[i].path, folder) != 0) continue;
    self->folders[i].used = true;
    return;
  }
  if (self->n_folders == FOLDERS_MOST) {
    if (!self->full) lc_log(LC_LOG_WARN, "watch", "too many folders of Lua files: some are not watched");
    self->full = true;
    return;
  }
  char *copy = strdup(folder);
  int wd = copy != NULL ? lc_inotify_add(self->inotify, folder, EVENTS, &error) : LC_ENOMEM;
  if (wd < 0) {
    lc_log(LC_LOG_WARN, "watch", "a folder of pipeline files cannot be watched", LC_S("folder", folder),
           LC_S("error", error.message));
    free(copy);
    return;
  }
  self->folders[self->n_folders].path = copy;
  self->folders[self->n_folders].wd = wd;
  self->folders[self->n_folders++].used = true;
}

static void each_file(void *arg, const char *path) {
  char folder[PATH_MAX];
  const char *slash = strrchr(path, '/');
  size_t len = slash != NULL ? (size_t)(slash - path) : 0;
  if (len >= sizeof folder) return;
  memcpy(folder, path, len);
  folder[len] = '\0';
  watch_folder(arg, slash == NULL ? "." : len == 0 ? "/" : folder);
}

void lc_watch_renew(lc_watch *self, lc_generation *generation) {
  if (self == NULL) return;
  for (uint32_t i = 0; i < self->n_folders; i++) self->folders[i].used = false;
  lc_generation_each_file(generation, each_file, self);
  for (uint32_t i = 0; i < self->n_folders;) {
    if (self->folders[i].used) {
      i++;
      continue;
    }
    lc_inotify_remove(self->inotify, self->folders[i].wd);
    free(self->folders[i].path);
    self->folders[i] = self->folders[--self->n_folders];
  }
}

static void part_closed(lc_watch *self) {
  if (--self->to_close == 0) lc_resource_closed(&self->resource);
}

static void timer_closed(uv_handle_t *handle) { part_closed(handle->data); }
static void inotify_closed(void *arg) { part_closed(arg); }

static void close_watch(lc_resource *res) {
  lc_watch *self = (lc_watch *)res;
  self->to_close = 2;
  uv_close((uv_handle_t *)&self->settle, timer_closed);
  lc_inotify_close(self->inotify, inotify_closed, self);
}

static void destroy_watch(lc_resource *res) {
  lc_watch *self = (lc_watch *)res;
  for (uint32_t i = 0; i < self->n_folders; i++) free(self->folders[i].path);
  free(self);
}

static const lc_resource_ops resource_ops = {.close = close_watch, .destroy = destroy_watch};

int lc_watch_create(lc_app *app, lc_watch **ret, lc_error *error) {
  lc_watch *self = calloc(1, sizeof *self);
  if (self == NULL) return lc_error_set(error, LC_ENOMEM, "out of memory");
  int rc = lc_resource_init(&self->resource, app->registry, &resource_ops, "watch", NULL, "watch", NULL, error);
  if (rc != 0) {
    free(self);
    return rc;
  }
  self->app = app;
  rc = lc_inotify_open(&app->loop, &callbacks, self, &self->inotify, error);
  if (rc != 0) {
    lc_resource_release(&self->resource);
    return rc;
  }
  (void)uv_timer_init(&app->loop, &self->settle); /* it cannot fail */
  self->settle.data = self;
  uv_unref((uv_handle_t *)&self->settle);
  atomic_store(&self->resource.descriptors, 1);
  rc = lc_resource_opened(&self->resource, error);
  lc_watch_renew(self, app->generation);
  *ret = self;
  return rc;
}

void lc_watch_close(lc_watch *self) {
  if (self == NULL) return;
  lc_resource_close(&self->resource);
  lc_resource_release(&self->resource);
}
