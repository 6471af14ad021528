#include "app/watch.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "app/app.h"
#include "base/hash.h"
#include "base/log.h"
#include "io/inotify.h"

#define SETTLE_MS 200u /* changes that come together */
#define FOLDERS_MOST 256u
#define LOST_MS 1000u  /* between looks whether a folder that went is there again */
#define EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_ATTRIB | IN_MOVE_SELF)

struct lc_watch {
  lc_resource resource; /* first */
  lc_app *app;          /* borrowed */
  lc_inotify *inotify;  /* owned */
  uv_timer_t settle;
  uint32_t to_close;
  struct {
    char *path; /* owned */
    int wd;    /* -1: the folder is gone */
    bool used; /* by the newest generation */
  } folders[FOLDERS_MOST];
  uint32_t n_folders;
  bool full; /* said so */
  bool saved; /* a file of Lua text changed */
  uint64_t seen; /* what the loaded files were, behind all links */
};

/* Folders of links are exchanged as a whole, as Kubernetes does with its ..data: only the files behind them tell. */
static void add_to_seen(void *arg, const char *path) {
  uint64_t *sum = arg;
  struct stat st = {0};
  if (stat(path, &st) != 0) st = (struct stat){0};
  const int64_t own[] = {(int64_t)st.st_dev, (int64_t)st.st_ino, st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec};
  *sum += lc_hash64(own, sizeof own); /* in whatever order they come */
}

static uint64_t look(const lc_watch *self) {
  uint64_t sum = 0;
  lc_generation_each_file(self->app->generation, add_to_seen, &sum);
  return sum;
}

/* Returns whether one that was gone is there again. */
static bool find_lost(lc_watch *self, bool *ret_left) {
  bool found = false;
  for (uint32_t i = 0; i < self->n_folders; i++) {
    lc_error error = {0};
    if (self->folders[i].wd >= 0) continue;
    int wd = lc_inotify_add(self->inotify, self->folders[i].path, EVENTS, &error);
    if (wd < 0) *ret_left = true;
    else self->folders[i].wd = wd;
    found = found || wd >= 0;
  }
  return found;
}

static void on_settled(uv_timer_t *timer) {
  lc_watch *self = timer->data;
  bool left = false, found = find_lost(self, &left);
  uint64_t seen = look(self);
  bool changed = self->saved || found || seen != self->seen;
  self->saved = false;
  self->seen = seen;
  if (left) uv_timer_start(&self->settle, on_settled, LOST_MS, 0);
  if (changed) lc_app_reload(self->app, "a file changed", NULL, NULL);
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

/* The folder that was watched is not at its path any more. */
static void lose_folder(lc_watch *self, const lc_inotify_event *event) {
  for (uint32_t i = 0; i < self->n_folders; i++) {
    if (self->folders[i].wd != event->wd) continue;
    if (event->mask & IN_MOVE_SELF) lc_inotify_remove(self->inotify, event->wd);
    self->folders[i].wd = -1;
  }
}

/* A save may be one of several. What else happens in a folder may never end: it does not put the look off. */
static void settle(lc_watch *self, bool anew) {
  bool soon = uv_is_active((uv_handle_t *)&self->settle) && uv_timer_get_due_in(&self->settle) <= SETTLE_MS;
  if (anew || !soon) uv_timer_start(&self->settle, on_settled, SETTLE_MS, 0);
}

static void on_event(void *arg, const lc_inotify_event *event) {
  lc_watch *self = arg;
  bool text = is_lua(event->name) || is_given(self->app, event->name);
  bool fresh = (event->mask & IN_CREATE) != 0 && (event->mask & IN_ISDIR) == 0;
  if (fresh && text) return; /* it is being written: the close tells */
  if (event->mask & (IN_IGNORED | IN_MOVE_SELF)) lose_folder(self, event);
  if (text || (event->mask & IN_Q_OVERFLOW) != 0) self->saved = true;
  settle(self, text);
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

static void watch_folder_of(lc_watch *self, const char *path) {
  char folder[PATH_MAX];
  const char *slash = strrchr(path, '/');
  size_t len = slash != NULL ? (size_t)(slash - path) : 0;
  if (len >= sizeof folder) return;
  memcpy(folder, path, len);
  folder[len] = '\0';
  watch_folder(self, slash == NULL ? "." : len == 0 ? "/" : folder);
}

/* Where its name stands, and where a link leads to. */
static void each_file(void *arg, const char *path) {
  char *real = realpath(path, NULL);
  watch_folder_of(arg, path);
  if (real != NULL) watch_folder_of(arg, real);
  free(real);
}

void lc_watch_add(lc_watch *self, const char *path) {
  if (self != NULL) each_file(self, path);
}

void lc_watch_renew(lc_watch *self, lc_generation *generation) {
  if (self == NULL) return;
  for (uint32_t i = 0; i < self->n_folders; i++) self->folders[i].used = false;
  lc_generation_each_file(generation, each_file, self);
  self->seen = 0;
  lc_generation_each_file(generation, add_to_seen, &self->seen);
  for (uint32_t i = 0; i < self->n_folders;) {
    if (self->folders[i].used) {
      i++;
      continue;
    }
    if (self->folders[i].wd >= 0) lc_inotify_remove(self->inotify, self->folders[i].wd);
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
