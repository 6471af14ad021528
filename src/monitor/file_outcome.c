/* What a job found out about a file, and when the file is at its end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "monitor/file_inside.h"

#define LOOK_FIRST (10 * LC_MILLISECOND)
#define ONCE_FEW 8u /* all files are looked through when at most so many are left */

void lc_file_once_done(lc_file_monitor *monitor, lc_file *file, const char *unread) {
  if (!file->once_open) return;
  file->once_open = false;
  monitor->once_left--;
  if (unread == NULL) return;
  monitor->once_unread++;
  lc_log(LC_LOG_ERROR, LC_FILE_LOG, "file stayed unread", LC_S("path", lc_file_path(file)), LC_S("error", unread),
         LC_I("offset", file->mark.offset), LC_I("size", file->limit));
}

static void look_for_unopened(void *arg, lc_file *file) {
  bool *any = arg;
  if (file->once_open && (file->busy || file->fd < 0)) *any = true; /* busy: `fd` belongs to its job */
}

/* With once: when the last files are all open, none has to be found again under another name. The kernel takes 10 to
 * 20 ms to end the watching; it shall do so beside the reading, not when all wait for the end. */
static void rest_discovery(lc_file_monitor *monitor) {
  if (monitor->resting || monitor->once_left == 0 || monitor->once_left > ONCE_FEW) return;
  bool any = false;
  lc_file_table_each(&monitor->files, look_for_unopened, &any);
  if (!any) monitor->resting = lc_discovery_rest(monitor->discovery);
}

void lc_file_check_finished(lc_file_monitor *monitor) {
  if (!monitor->runtime->once || !monitor->running || monitor->finished || monitor->stopping) return;
  rest_discovery(monitor);
  if (monitor->once_left > 0 || monitor->jobs > 0 || monitor->urgent.n > 0) return;
  monitor->finished = true;
  lc_monitor_finished(&monitor->base, monitor->once_unread);
}

void lc_file_close(lc_file_monitor *monitor, lc_file *file) {
  lc_file_set_closable(monitor, file, false);
  if (file->fd < 0) return;
  int *fds = malloc(sizeof *fds);
  if (fds != NULL) {
    *fds = file->fd;
    lc_file_close_fds(monitor, fds, 1);
    file->fd = -1;
    monitor->permits_used--;
  } else {
    lc_file_set_closable(monitor, file, true); /* later, with the next job that needs one */
  }
}

void lc_file_drop(lc_file_monitor *monitor, lc_file *file) {
  lc_file_unrest(monitor, file);
  lc_file_unqueue(monitor, file);
  lc_file_wake_at(monitor, file, 0);
  lc_file_close(monitor, file);
  if (file->deleted && !file->ended) monitor->n_deleted--;
  if (file->held) monitor->n_held--;
  if (file->before != NULL) file->before->after = NULL;
  lc_file_let_next(monitor, file);
  lc_file_once_done(monitor, file, NULL);
  lc_file_copies_remove(monitor->copies, &file->head_known);
  lc_file_table_remove(&monitor->files, file);
  lc_source_release(&file->source);
}

void lc_file_give_up(lc_file_monitor *monitor, lc_file *file, uint64_t lost) {
  if (file->ending || file->ended) return;
  file->lost = lost;
  file->ending = true;
  if (file->before != NULL) file->before->after = NULL;
  file->before = NULL;
  lc_file_wake_at(monitor, file, 0);
  lc_file_unqueue(monitor, file);
  lc_file_close(monitor, file);
  lc_file_let_next(monitor, file);
  lc_file_wake(monitor, file);
}

void lc_file_settled(lc_monitor *base, lc_source *source) {
  lc_file_monitor *monitor = lc_file_monitor_of(base);
  lc_file *file = lc_file_of(source);
  if (!file->settled) monitor->stats.drained++;
  file->settled = true;
  if (!file->ended) return; /* it rests, or goes on again */
  lc_found found = {.path = file->alias,
                    .device = file->device,
                    .inode = file->id.inode,
                    .birth_ns = file->id.birth_ns,
                    .size = file->size};
  char *alias = file->alias;
  file->alias = NULL;
  bool again = file->again && alias != NULL && !monitor->stopping;
  uint32_t generation = file->generation;
  if (file->lost > 0) {
    monitor->stats.abandoned_files++;
    monitor->stats.abandoned_bytes += file->lost;
  }
  lc_feed_detach(monitor->base.feed, source);
  lc_feed_abandon(monitor->base.feed, source->key, lc_file_path(file), file->lost);
  lc_file_drop(monitor, file);
  if (again) lc_file_appear(monitor, &found, generation);
  free(alias);
}

void lc_file_note_deleted(lc_file_monitor *monitor, lc_file *file, bool deleted) {
  if (deleted == file->deleted) return;
  file->deleted = deleted;
  file->deleted_ns = lc_clock_mono();
  if (deleted) {
    monitor->n_deleted++;
    monitor->stats.deleted++;
    lc_file_wake_at(monitor, file, file->deleted_ns + monitor->options.deleted_age_ns);
  } else {
    monitor->n_deleted--;
  }
}

/* Takes over what the look has seen of the file itself. */
static void note_stat(lc_file_monitor *monitor, lc_file *file, const lc_file_work *work) {
  if (work->stat.id.inode == 0) return;
  file->former_size = file->size;
  file->size = work->stat.size;
  if (file->mark.offset > file->size && work->look == LC_LOOK_DONE)
    file->size = file->mark.offset; /* it grew meanwhile */
  bool deleted = work->stat.links == 0;
  /* Its name went while the job was under way; the next look may have to wait for room. */
  lc_file_stat now;
  if (file->dirty && file->displaced && file->fd >= 0 && lc_file_stat_fd(file->fd, &now) == 0) {
    file->size = now.size > file->mark.offset ? now.size : file->mark.offset;
    deleted = now.links == 0;
  }
  lc_file_note_deleted(monitor, file, deleted);
}

static void note_head(lc_file_monitor *monitor, lc_file *file) {
  if (file->mark.head_len == file->head_known.head_len && file->mark.head == file->head_known.head) return;
  lc_file_copies_remove(monitor->copies, &file->head_known);
  lc_file_copies_add(monitor->copies, &file->mark);
  file->head_known = file->mark;
}

/* It was found under another name of its folder. */
static void note_path(lc_file_monitor *monitor, lc_file *file, const char *path) {
  if (path == NULL || strcmp(path, lc_file_path(file)) == 0) return;
  lc_file_table_displace(&monitor->files, file);
  if (lc_source_rename(&file->source, path) != 0) return; /* it will be searched for again */
  file->renamed = true;
  lc_log(LC_LOG_DEBUG, LC_FILE_LOG, "file was renamed", LC_S("path", path), LC_S("key", file->source.key));
}

/* At its end, and its name is gone: the first of the two looks, or one too early. The second one ends it. */
static void look_twice(lc_file_monitor *monitor, lc_file *file, const lc_file_work *work, int64_t now) {
  if (file->quiet_ns == 0 || work->stat.size != file->quiet_size || work->consumed > 0) {
    file->quiet_ns = now;
    file->quiet_size = work->stat.size;
  }
  if (monitor->runtime->once) {
    lc_file_wake(monitor, file);
    return;
  }
  /* No event tells of writes to a file that has no name of ours: look often at first, for its writer's last lines. */
  int64_t last = file->quiet_ns + monitor->options.rotated_wait_ns;
  if (last <= now) last = now + monitor->options.rotated_wait_ns; /* the second look could not end it */
  int64_t next = now + (now - file->quiet_ns > LOOK_FIRST ? now - file->quiet_ns : LOOK_FIRST);
  lc_file_wake_at(monitor, file, next < last ? next : last);
}

static void note_group(lc_file_monitor *monitor, lc_file *file, const lc_file_work *work, int64_t now) {
  file->flush = false;
  if (!work->group_open) {
    file->group_ns = 0;
    return;
  }
  if (file->group_ns == 0 || work->consumed > 0 || work->stat.size != file->group_size) {
    file->group_ns = now;
    file->group_size = work->stat.size;
  }
  lc_file_wake_at(monitor, file, file->group_ns + lc_multiline_timeout(monitor->multiline));
}

/* All that was there is read. */
static void at_end(lc_file_monitor *monitor, lc_file *file, const lc_file_work *work) {
  int64_t now = lc_clock_mono();
  lc_file_let_next(monitor, file);
  note_group(monitor, file, work, now);
  /* With once, a renamed file gets its second look at once, and no third: its writer may go on for ever. */
  bool twice = file->displaced && (!monitor->runtime->once || file->quiet_ns == 0);
  if (file->deleted || twice) {
    look_twice(monitor, file, work, now);
    return;
  }
  file->quiet_ns = 0;
  lc_file_once_done(monitor, file, NULL);
}

static void done(lc_file_monitor *monitor, lc_file *file, lc_file_work *work) {
  if (file->error != 0) lc_log(LC_LOG_INFO, LC_FILE_LOG, "file can be read again", LC_S("path", lc_file_path(file)));
  file->error = 0;
  file->tries = 0;
  file->retry_ns = LC_FILE_RETRY_FIRST;
  file->fresh = file->seek_end = file->seek = false;
  if (work->copy) lc_file_is_copy(monitor, file);
  if (work->ended && !file->ending && !file->deleted) {
    lc_file_let_next(monitor, file);
    lc_file_once_done(monitor, file, NULL);
    lc_file_rest(monitor, file);
    return;
  }
  if (work->ended) {
    file->ended = true;
    if (file->deleted) monitor->n_deleted--;
    lc_file_wake_at(monitor, file, 0);
    lc_file_once_done(monitor, file, NULL);
    lc_file_let_next(monitor, file);
    lc_file_close(monitor, file);
    return;
  }
  lc_file_set_closable(monitor, file, !file->deleted);
  if (work->more) {
    if (monitor->runtime->once && file->mark.offset >= file->limit) {
      lc_file_let_next(monitor, file);
      lc_file_once_done(monitor, file, NULL);
    } else {
      if (file->deleted) lc_file_wake_at(monitor, file, file->deleted_ns + monitor->options.deleted_age_ns);
      lc_file_wake(monitor, file);
    }
    return;
  }
  at_end(monitor, file, work);
  if (file->dirty) lc_file_wake(monitor, file);
}

static void gone(lc_file_monitor *monitor, lc_file *file) {
  if (file->dirty) { /* renamed while the job looked for it */
    lc_file_wake(monitor, file);
    return;
  }
  uint64_t lost = file->size > file->mark.offset ? file->size - file->mark.offset : 0;
  if (lost > 0) {
    lc_log(LC_LOG_ERROR, LC_FILE_LOG, "file is gone before it was read to its end", LC_S("path", lc_file_path(file)),
           LC_I("unread_bytes", lost));
  }
  lc_file_once_done(monitor, file, lost > 0 ? "it is gone" : NULL);
  lc_file_give_up(monitor, file, lost);
}

static void own(lc_file_monitor *monitor, lc_file *file) {
  monitor->stats.own++;
  lc_file_once_done(monitor, file, NULL);
  lc_feed_detach(monitor->base.feed, &file->source);
  lc_feed_abandon(monitor->base.feed, file->source.key, lc_file_path(file), 0);
  lc_file_drop(monitor, file);
}

static bool worth_retrying(int error) { return error != EACCES && error != EPERM && error != EISDIR; }

static void failed(lc_file_monitor *monitor, lc_file *file, int error) {
  monitor->stats.failures++;
  atomic_fetch_add(&monitor->base.resource.errors, 1);
  if (file->error != error) {
    lc_log(LC_LOG_ERROR, LC_FILE_LOG, "cannot read file: it will be tried again", LC_S("path", lc_file_path(file)),
           LC_S("error", strerror(error)));
  }
  file->error = error;
  if (file->tries < UINT8_MAX) file->tries++;
  /* A descriptor that fails may be stale; a file without a name has no other. */
  if (!file->deleted) lc_file_close(monitor, file);
  lc_file_let_next(monitor, file);
  if (monitor->runtime->once && (file->tries >= LC_FILE_ONCE_TRIES || !worth_retrying(error))) {
    lc_file_once_done(monitor, file, strerror(error));
    return;
  }
  lc_file_wake_at(monitor, file, lc_clock_mono() + (monitor->runtime->once ? LC_FILE_RETRY_FIRST / 4 : file->retry_ns));
  file->retry_ns = file->retry_ns * 2 < LC_FILE_RETRY_MOST ? file->retry_ns * 2 : LC_FILE_RETRY_MOST;
}

void lc_file_looked(lc_file_monitor *monitor, lc_file_work *work, bool later) {
  lc_file *file = work->file;
  note_path(monitor, file, work->found_path);
  note_stat(monitor, file, work);
  note_head(monitor, file);
  if (work->look != LC_LOOK_DONE || work->more) lc_file_set_closable(monitor, file, !file->deleted);
  switch (work->look) {
    case LC_LOOK_DONE:
      done(monitor, file, work);
      break;
    case LC_LOOK_SKIPPED:
      if (later) lc_file_wake_at(monitor, file, lc_clock_mono() + LC_FILE_RETRY_DESCRIPTORS);
      else lc_file_wake(monitor, file);
      break;
    case LC_LOOK_GONE:
      gone(monitor, file);
      break;
    case LC_LOOK_REPLACED:
      lc_file_replaced(monitor, file);
      break;
    case LC_LOOK_OWN:
      own(monitor, file);
      break;
    case LC_LOOK_SUSPECT:
      lc_file_hold(monitor, file);
      break;
    case LC_LOOK_FAILED:
      failed(monitor, file, work->error);
      break;
  }
}
