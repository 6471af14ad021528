/* What discovery says, turned into files to look at. Events may come twice and late: each handler compares with what is
 * known, and a doubtful case only costs a look. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "monitor/file_inside.h"

static lc_file *out_of_memory(const char *path) {
  lc_log(LC_LOG_ERROR, LC_FILE_LOG, "cannot follow file: out of memory", LC_S("path", path));
  return NULL;
}

/* Sets the file to where an earlier run left it. */
static void resume(lc_file *file) {
  lc_file_mark mark;
  file->fresh = false;
  if (lc_file_mark_unpack(&file->source.resume, &mark) && mark.offset == file->source.resume_at) {
    file->mark = mark;
    return;
  }
  /* Not marked by this code: the position is all there is. */
  file->seek = file->source.resume_at > 0;
}

lc_file *lc_file_follow(lc_file_monitor *monitor, lc_file_id id, uint32_t generation, uint64_t device, const char *path,
                        uint64_t size, bool from_end) {
  lc_file *file = lc_file_create(id, generation, device, path, monitor->base.labels);
  if (file == NULL) return out_of_memory(path);
  if (from_end) file->source.resume_at = size;
  lc_error error = {0};
  if (lc_feed_attach(monitor->base.feed, &file->source, &error) != 0) {
    lc_log(LC_LOG_ERROR, LC_FILE_LOG, "cannot follow file", LC_S("path", path), LC_S("error", error.message));
    lc_source_release(&file->source);
    return NULL;
  }
  file->size = size;
  file->fresh = true;
  file->retry_ns = LC_FILE_RETRY_FIRST;
  if (file->source.known) resume(file);
  file->seek_end = file->fresh && from_end;
  lc_file *other = lc_file_table_by_path(&monitor->files, path);
  if (other != NULL && other != file) file->displaced = true; /* until the path is taken over below */
  lc_file_table_add(&monitor->files, file);
  lc_file_copies_add(monitor->copies, &file->mark);
  file->head_known = file->mark;
  monitor->stats.found++;
  return file;
}

void lc_file_wait_for(lc_file_monitor *monitor, lc_file *next, lc_file *file) {
  if (file->ended || file->after != NULL || next->before != NULL || next == file) return;
  lc_file_unqueue(monitor, next);
  lc_file_table_set_former(&monitor->files, file, 0);
  file->after = next;
  next->before = file;
}

void lc_file_let_next(lc_file_monitor *monitor, lc_file *file) {
  lc_file *next = file->after;
  if (next == NULL) return;
  file->after = NULL;
  next->before = NULL;
  lc_file_wake(monitor, next);
}

/* The file lost its path: from now on it is read to its end and let go. */
static void displace(lc_file_monitor *monitor, lc_file *file) {
  lc_file_table_displace(&monitor->files, file);
  file->quiet_ns = 0;
  lc_file_wake(monitor, file);
}

void lc_file_once_add(lc_file_monitor *monitor, lc_file *file) {
  if (!monitor->runtime->once || file->once_open) return;
  file->limit = file->size;
  file->once_open = true;
  monitor->once_left++;
}

void lc_file_appear(lc_file_monitor *monitor, const lc_found *found, uint32_t generation) {
  lc_file_id id = {found->inode, found->birth_ns};
  lc_file *former = lc_file_table_by_path(&monitor->files, found->path);
  bool from_end = !monitor->first_done && !monitor->options.from_beginning;
  lc_file *file = lc_file_follow(monitor, id, generation, found->device, found->path, found->size, from_end);
  if (file == NULL) {
    if (!monitor->first_done) monitor->once_unread++;
    return;
  }
  if (former != NULL) {
    displace(monitor, former);
    monitor->stats.rotated++;
  } else { /* it lost the path a while ago; its writer may have gone on since it was last at its end */
    former = lc_file_table_by_former(&monitor->files, found->path);
  }
  if (former != NULL) {
    lc_file_wait_for(monitor, file, former);
    lc_file_wake(monitor, former);
  }
  if (file->displaced && lc_file_table_rename(&monitor->files, file, found->path) != 0)
    (void)out_of_memory(found->path);
  if (!monitor->first_done) lc_file_once_add(monitor, file);
  lc_log(LC_LOG_DEBUG, LC_FILE_LOG, "following file", LC_S("path", found->path), LC_S("key", file->source.key),
         LC_I("offset", file->mark.offset));
  lc_file_wake(monitor, file);
}

/* Keeps a second name of a file for the time when the first is gone. */
static void keep_alias(lc_file *file, const char *path) {
  char *alias = strdup(path);
  if (alias == NULL) return; /* the file is found again by its inode */
  free(file->alias);
  file->alias = alias;
}

static void same_again(lc_file_monitor *monitor, lc_file *file, const lc_found *found) {
  if (!file->displaced && strcmp(lc_file_path(file), found->path) != 0) {
    keep_alias(file, found->path); /* a hard or symbolic link: one source is enough */
    return;
  }
  if (file->displaced) {
    lc_file *former = lc_file_table_by_path(&monitor->files, found->path);
    if (lc_file_table_rename(&monitor->files, file, found->path) != 0) {
      (void)out_of_memory(found->path);
      return;
    }
    file->quiet_ns = 0;
    file->rested = false;
    file->renamed = true;
    if (former != NULL) displace(monitor, former);
    lc_log(LC_LOG_DEBUG, LC_FILE_LOG, "file was renamed", LC_S("path", found->path), LC_S("key", file->source.key));
  } else if (found->size == file->size && !file->fresh && file->error == 0) {
    return; /* a sweep that saw nothing new */
  }
  if (!file->busy && !file->seek_end) file->size = found->size;
  lc_file_wake(monitor, file);
}

static void on_found(void *arg, const lc_found *found) {
  lc_file_monitor *monitor = arg;
  if (monitor->stopping || monitor->retiring) return;
  if (monitor->runtime->own != NULL &&
      lc_inodes_has_born(monitor->runtime->own, found->device, found->inode, found->birth_ns)) {
    monitor->stats.own++;
    return;
  }
  lc_file_id id = {found->inode, found->birth_ns};
  lc_file *file = lc_file_table_by_id(&monitor->files, id);
  if (file != NULL && !file->ended) {
    same_again(monitor, file, found);
    return;
  }
  if (file != NULL) { /* read to its final end and found again, before that was saved: followed anew once it is */
    if (found->size != file->mark.offset) {
      keep_alias(file, found->path);
      file->again = true;
    }
    return;
  }
  if (monitor->runtime->once && monitor->first_done) return; /* not there at the start */
  lc_file_stored *stored = lc_file_find_stored(monitor, id);
  if (stored != NULL) stored->taken = true;
  lc_file_appear(monitor, found, stored != NULL ? stored->generation : 0);
}

static void on_changed(void *arg, const char *path) {
  lc_file_monitor *monitor = arg;
  lc_file *file = monitor->stopping ? NULL : lc_file_table_by_path(&monitor->files, path);
  if (file != NULL) lc_file_wake(monitor, file);
}

static void on_gone(void *arg, const char *path, const char *to) {
  lc_file_monitor *monitor = arg;
  lc_file *file = monitor->stopping ? NULL : lc_file_table_by_path(&monitor->files, path);
  if (file == NULL) return;
  char *alias = file->alias;
  file->alias = NULL;
  if (alias != NULL && lc_file_table_by_path(&monitor->files, alias) == NULL) {
    if (lc_file_table_rename(&monitor->files, file, alias) != 0) (void)out_of_memory(alias);
    lc_file_wake(monitor, file);
  } else {
    /* A descriptor knows whether it was deleted; the look that follows may have to wait for room. */
    lc_file_stat now;
    if (!file->busy && file->fd >= 0 && lc_file_stat_fd(file->fd, &now) == 0) {
      file->size = now.size;
      lc_file_note_deleted(monitor, file, now.links == 0);
      lc_file_set_closable(monitor, file, now.links > 0);
    }
    displace(monitor, file);
    lc_file_check_deleted(monitor);
    /* Under its new name it can be opened again without a search. */
    file->renamed = to != NULL;
    if (to != NULL && lc_source_rename(&file->source, to) != 0) (void)out_of_memory(to);
  }
  free(alias);
}

static void on_other(void *arg) {
  lc_file_monitor *monitor = arg;
  lc_file_sweep_within(monitor, 0);
}

static void on_scanned(void *arg) {
  lc_file_monitor *monitor = arg;
  if (monitor->stopping || monitor->retiring || monitor->first_done) return;
  monitor->first_done = true;
  lc_file_count_descriptors(monitor); /* of the watching, should there be nothing to read */
  if (monitor->stats.found == 0) {
    lc_log(monitor->runtime->once ? LC_LOG_WARN : LC_LOG_INFO, LC_FILE_LOG, "no file matches yet: nothing to read",
           LC_S("name", monitor->base.resource.name), LC_S("first_pattern", monitor->options.paths[0]));
  }
  lc_file_resolve_start(monitor);
}

const lc_discovery_events lc_file_discovery_events = {
    .found = on_found, .changed = on_changed, .gone = on_gone, .scanned = on_scanned, .other = on_other};
