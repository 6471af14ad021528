/* Truncation: a file whose read bytes are gone begins anew as the next generation. And the copies that copytruncate
 * leaves beside it: a file is one only if it has the whole prefix that was read of a file that shrank; until then, a
 * new file with a followed one's head waits a moment, and is read whole if nothing shrinks. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "monitor/file_inside.h"

/* Bytes that the file had when it was last seen in its former state, and that were not read. */
static uint64_t lost_bytes(const lc_file *file) {
  uint64_t size = file->mark.size > file->former_size ? file->mark.size : file->former_size;
  return size > file->mark.offset ? size - file->mark.offset : 0;
}

static void remember_shrunk(lc_file_monitor *monitor, const lc_file *file) {
  if (file->mark.head_len < LC_FILE_HEAD_LEAST) return;
  struct lc_file_shrunk *place = &monitor->shrunk[monitor->n_shrunk++ % LC_FILE_SHRUNK];
  place->mark = file->mark;
  place->id = file->id;
  place->generation = file->generation;
}

/* Lets a file be compared with those that shrank since it was last. Returns whether there are any. */
static bool give_originals(lc_file_monitor *monitor, lc_file *file) {
  uint32_t n = monitor->n_shrunk - file->originals_seen;
  if (n > LC_FILE_SHRUNK) n = LC_FILE_SHRUNK;
  if (n == 0) return false;
  lc_file_mark *marks = malloc(n * sizeof *marks);
  if (marks == NULL) return false;
  for (uint32_t i = 0; i < n; i++) marks[i] = monitor->shrunk[(monitor->n_shrunk - 1 - i) % LC_FILE_SHRUNK].mark;
  free(file->originals);
  file->originals = marks;
  file->n_originals = n;
  file->originals_seen = monitor->n_shrunk;
  return true;
}

static void unhold(lc_file_monitor *monitor, lc_file *file) {
  if (file->held) monitor->n_held--;
  file->held = false;
  lc_file_wake_at(monitor, file, 0);
}

static void compare_held(void *arg, lc_file *file) {
  lc_file_monitor *monitor = arg;
  if (!file->held || !give_originals(monitor, file)) return;
  unhold(monitor, file);
  lc_file_wake(monitor, file);
}

void lc_file_hold(lc_file_monitor *monitor, lc_file *file) {
  if (give_originals(monitor, file)) {
    lc_file_wake(monitor, file);
    return;
  }
  file->held = true;
  file->held_size = file->size;
  monitor->n_held++;
  lc_file_wake_at(monitor, file, lc_clock_mono() + LC_FILE_HOLD);
}

void lc_file_hold_over(lc_file_monitor *monitor, lc_file *file) {
  unhold(monitor, file);
  /* While it is still being written it is looked at again; else nothing shrank, and it is no copy. */
  file->cleared = file->size == file->held_size && !file->dirty;
  lc_file_wake(monitor, file);
}

void lc_file_is_copy(lc_file_monitor *monitor, lc_file *file) {
  lc_log(LC_LOG_INFO, LC_FILE_LOG, "file is the copy of one that was truncated: reading on where that one was read to",
         LC_S("path", lc_file_path(file)), LC_I("offset", file->mark.offset));
  monitor->stats.copies++;
  for (uint32_t i = 0; i < LC_FILE_SHRUNK && i < monitor->n_shrunk; i++) {
    struct lc_file_shrunk *shrunk = &monitor->shrunk[i];
    if (shrunk->mark.head != file->copy_of.head || shrunk->mark.chain != file->copy_of.chain ||
        shrunk->mark.part != file->copy_of.part || shrunk->mark.offset != file->copy_of.offset) {
      continue;
    }
    lc_file *original = lc_file_table_find(&monitor->files, shrunk->id, shrunk->generation);
    if (original != NULL) original->lost = 0; /* the copy has it */
  }
}

/* Moves what belongs to the file under the path from one generation to the next. */
static void hand_over(lc_file_monitor *monitor, lc_file *from, lc_file *to) {
  to->fd = from->fd;
  from->fd = -1;
  to->displaced = from->displaced;
  lc_file_note_deleted(monitor, to, from->deleted);
  to->cleared = true;
  to->size = from->size;
  to->alias = from->alias;
  from->alias = NULL;
  to->after = from->after;
  from->after = NULL;
  if (to->after != NULL) to->after->before = to;
  if (from->once_open) {
    lc_file_once_add(monitor, to);
    lc_file_once_done(monitor, from, NULL);
  }
}

void lc_file_replaced(lc_file_monitor *monitor, lc_file *file) {
  if (file->rested) { /* out of the patterns, and read to its end before: nobody awaits what is written over it */
    lc_file_give_up(monitor, file, file->mark.size > file->mark.offset ? file->mark.size - file->mark.offset : 0);
    return;
  }
  uint64_t lost = lost_bytes(file);
  lc_log(LC_LOG_WARN, LC_FILE_LOG, "file was truncated: reading it from its beginning",
         LC_S("path", lc_file_path(file)), LC_I("offset", file->mark.offset), LC_I("size", file->size),
         LC_I("unread_bytes", lost));
  monitor->stats.truncated++;
  remember_shrunk(monitor, file);
  bool displaced = file->displaced;
  uint64_t former = file->former;
  lc_file_table_displace(&monitor->files, file);
  lc_file *next = lc_file_follow(monitor, file->id, file->generation + 1, file->device, lc_file_path(file), file->size,
                                 false);
  if (next != NULL) {
    file->displaced = displaced;
    hand_over(monitor, file, next);
    if (displaced) lc_file_table_displace(&monitor->files, next);
    lc_file_table_set_former(&monitor->files, next, former);
    file->displaced = true;
    lc_file_wake(monitor, next);
  }
  lc_file_give_up(monitor, file, lost);
  if (monitor->n_held > 0) lc_file_table_each(&monitor->files, compare_held, monitor);
}
