/* A reload: options taken over in place, and the end of a monitor that another one follows. */
#include <string.h>

#include "base/clock.h"
#include "monitor/file_inside.h"

/* --- what stays --- */

static bool same_strings(const char *const *a, uint32_t n_a, const char *const *b, uint32_t n_b) {
  if (n_a != n_b) return false;
  for (uint32_t i = 0; i < n_a; i++) {
    if (strcmp(a[i], b[i]) != 0) return false;
  }
  return true;
}

/* Which files are followed is another question than how. */
static bool same_files(const lc_file_monitor_options *a, const lc_file_monitor_options *b) {
  return same_strings(a->paths, a->n_paths, b->paths, b->n_paths) &&
         same_strings(a->exclude, a->n_exclude, b->exclude, b->n_exclude) && a->hidden == b->hidden &&
         a->follow_symlinks == b->follow_symlinks;
}

static const lc_multiline *newest_multiline(const lc_file_monitor *monitor) {
  return monitor->described != NULL ? monitor->described->multiline : monitor->multiline;
}

lc_fit lc_file_fit(const lc_resource *res, const lc_resource *described) {
  const lc_file_monitor *monitor = (const lc_file_monitor *)res, *other = (const lc_file_monitor *)described;
  const lc_file_monitor_options *a = &monitor->options, *b = &other->options;
  if (!same_files(a, b)) return LC_FIT_REPLACE;
  bool same = a->from_beginning == b->from_beginning && a->max_line == b->max_line &&
              a->max_open_files == b->max_open_files && a->rotated_wait_ns == b->rotated_wait_ns &&
              a->deleted_bytes == b->deleted_bytes && a->deleted_age_ns == b->deleted_age_ns &&
              lc_multiline_same(newest_multiline(monitor), other->multiline) &&
              lc_labels_same(monitor->base.labels, other->base.labels);
  return same ? LC_FIT_SAME : LC_FIT_CHANGED;
}

/* --- what changes --- */

static void renew_age(void *arg, lc_file *file) {
  lc_file_monitor *monitor = arg;
  if (file->deleted && !file->ended) {
    lc_file_wake_at(monitor, file, file->deleted_ns + monitor->options.deleted_age_ns);
  }
}

static void look_again(void *arg, lc_file *file) {
  if (file->size != file->mark.offset) lc_file_wake(arg, file);
}

/* Jobs read the patterns of groups: they change between two of them. An open group is looked at under the new ones. */
void lc_file_take_over(lc_file_monitor *monitor) {
  lc_file_monitor *other = monitor->described;
  if (other == NULL || monitor->jobs > 0) return;
  monitor->described = NULL;
  lc_multiline *multiline = monitor->multiline;
  monitor->multiline = other->multiline;
  other->multiline = multiline;
  monitor->how.multiline = monitor->multiline;
  lc_resource_release(&other->base.resource);
  if (monitor->running && !monitor->stopping) lc_file_table_each(&monitor->files, look_again, monitor);
}

void lc_file_adopt(lc_resource *res, lc_resource *described) {
  lc_file_monitor *monitor = (lc_file_monitor *)res, *other = (lc_file_monitor *)described;
  lc_file_monitor_options *to = &monitor->options;
  const lc_file_monitor_options *from = &other->options;
  to->from_beginning = from->from_beginning;
  to->max_line = from->max_line;
  to->max_open_files = monitor->max_open = from->max_open_files;
  to->rotated_wait_ns = from->rotated_wait_ns;
  to->deleted_bytes = from->deleted_bytes;
  to->deleted_age_ns = from->deleted_age_ns;
  monitor->base.line_max = other->base.line_max;
  lc_labels *labels = monitor->base.labels; /* each file gets the new ones with its next job */
  monitor->base.labels = other->base.labels;
  other->base.labels = labels;
  if (!lc_multiline_same(newest_multiline(monitor), other->multiline)) {
    lc_file_forget_described(monitor); /* the last one counts */
    lc_resource_retain(described);
    monitor->described = other;
  }
  if (!monitor->started || monitor->stopping) return;
  lc_file_table_each(&monitor->files, renew_age, monitor);
  lc_file_close_idle(monitor);
  lc_file_check_deleted(monitor);
  lc_file_take_over(monitor);
}

void lc_file_forget_described(lc_file_monitor *monitor) {
  if (monitor->described != NULL) lc_resource_release(&monitor->described->base.resource);
  monitor->described = NULL;
}

/* --- the end before a successor --- */

static void note_unread(void *arg, lc_file *file) {
  bool *any = arg;
  if (file->busy || (file->deleted && !file->ended && file->size > file->mark.offset)) *any = true;
}

/* The event may still be on its way. */
static void note_deleted(void *arg, lc_file *file) {
  lc_file_stat now;
  if (file->busy || file->fd < 0 || lc_file_stat_fd(file->fd, &now) != 0 || now.links > 0) return;
  file->size = now.size;
  lc_file_note_deleted(arg, file, true);
  lc_file_set_closable(arg, file, false);
  lc_file_unqueue(arg, file);
  lc_file_wake(arg, file); /* among the urgent ones */
}

/* A deleted file can be read through its descriptor alone, and that is ours: whoever follows finds the others. */
void lc_file_check_retired(lc_file_monitor *monitor) {
  bool any = false;
  if (!monitor->retiring || monitor->stop_asked) return;
  lc_file_table_each(&monitor->files, note_unread, &any);
  if (any) return;
  monitor->base.ops->stop(&monitor->base);
}

void lc_file_retire(lc_monitor *base) {
  lc_file_monitor *monitor = lc_file_monitor_of(base);
  monitor->retiring = true;
  lc_file_table_each(&monitor->files, note_deleted, monitor);
  lc_file_check_retired(monitor);
  lc_file_schedule(monitor);
}
