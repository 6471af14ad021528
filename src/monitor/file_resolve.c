/* The stored sources at the start. The first scan finds most of them by inode. The others may have been rotated, while
 * nobody looked, to a name that no pattern matches: they are looked for among all names of their folders. What is not
 * found is lost: counted when something of it may have been unread, forgotten when not. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>

#include "base/check.h"
#include "base/clock.h"
#include "monitor/file_inside.h"

static int compare_stored(const void *a, const void *b) {
  const lc_file_stored *left = a, *right = b;
  if (left->id.inode != right->id.inode) return left->id.inode < right->id.inode ? -1 : 1;
  if (left->id.birth_ns != right->id.birth_ns) return left->id.birth_ns < right->id.birth_ns ? -1 : 1;
  return left->generation > right->generation ? -1 : left->generation < right->generation;
}

static int load_one(void *arg, const lc_stored_source *stored) {
  lc_file_monitor *monitor = arg;
  if (monitor->n_stored == monitor->cap_stored) {
    uint32_t cap = monitor->cap_stored == 0 ? 64 : monitor->cap_stored * 2;
    lc_file_stored *grown = realloc(monitor->stored, cap * sizeof *grown);
    if (grown == NULL) return LC_ENOMEM;
    monitor->stored = grown;
    monitor->cap_stored = cap;
  }
  lc_file_stored *entry = &monitor->stored[monitor->n_stored];
  *entry = (lc_file_stored){.lowest = stored->lowest, .drained = stored->drained, .idle = stored->idle};
  if (!lc_file_key_parse(stored->key, &entry->id, &entry->generation)) return 0; /* of another kind of monitor */
  entry->marked = lc_file_mark_unpack(&stored->mark, &entry->mark) && entry->mark.offset == stored->lowest;
  entry->key = strdup(stored->key);
  entry->name = strdup(stored->name);
  monitor->n_stored++; /* now lc_file_free_stored frees both */
  return entry->key != NULL && entry->name != NULL ? 0 : LC_ENOMEM;
}

int lc_file_load_stored(lc_file_monitor *monitor, lc_error *error) {
  lc_file_free_stored(monitor);
  if (lc_feed_each_stored(monitor->base.feed, load_one, monitor) != 0) {
    lc_file_free_stored(monitor);
    return lc_error_set(error, LC_ENOMEM, "%s: out of memory for the stored positions", monitor->base.resource.name);
  }
  if (monitor->n_stored > 1) qsort(monitor->stored, monitor->n_stored, sizeof *monitor->stored, compare_stored);
  return 0;
}

void lc_file_free_stored(lc_file_monitor *monitor) {
  for (uint32_t i = 0; i < monitor->n_stored; i++) {
    free(monitor->stored[i].key);
    free(monitor->stored[i].name);
  }
  free(monitor->stored);
  monitor->stored = NULL;
  monitor->n_stored = monitor->cap_stored = 0;
}

lc_file_stored *lc_file_find_stored(lc_file_monitor *monitor, lc_file_id id) {
  uint32_t from = 0, to = monitor->n_stored;
  lc_file_stored wanted = {.id = id, .generation = UINT32_MAX}; /* sorts before all generations that there are */
  while (from < to) {
    uint32_t middle = from + (to - from) / 2;
    if (compare_stored(&monitor->stored[middle], &wanted) < 0) from = middle + 1;
    else to = middle;
  }
  return from < monitor->n_stored && lc_file_id_equal(monitor->stored[from].id, id) ? &monitor->stored[from] : NULL;
}

/* --- looking for those that the scan did not find --- */

typedef struct missing {
  const lc_file_stored *stored; /* of the monitor, which keeps them meanwhile */
  char *path;                   /* owned: where it is; NULL: nowhere */
  lc_file_stat stat;
  bool replaced; /* another file has its name: it was rotated, not deleted */
  int error;     /* errno: the folder could not be read, so nothing is known */
} missing;

struct lc_file_resolve {
  uv_work_t request;
  lc_file_monitor *monitor;
  uint32_t n;
  missing items[];
};

/* Where the file is: under its name, or another one of its folder. */
static void find_one(lc_file_folder **list, missing *item) {
  const lc_file_stored *stored = item->stored;
  item->replaced = lc_file_stat_at(AT_FDCWD, stored->name, &item->stat) == 0;
  if (item->replaced && item->stat.regular && lc_file_id_equal(item->stat.id, stored->id)) {
    item->path = strdup(stored->name);
    if (item->path == NULL) item->error = ENOMEM;
    return;
  }
  int rc = lc_file_folder_find(list, stored->name, stored->id, &item->path, &item->error);
  if (rc == 0 && lc_file_stat_at(AT_FDCWD, item->path, &item->stat) != 0) item->stat = (lc_file_stat){.id = stored->id};
}

static void find_all(uv_work_t *request) {
  struct lc_file_resolve *resolve = request->data;
  lc_file_folder *list = NULL;
  for (uint32_t i = 0; i < resolve->n; i++) find_one(&list, &resolve->items[i]);
  lc_file_folder_free(list);
}

/* Forgets a stored source. `least`: the bytes that must be taken for lost when it was read as far as it was seen. */
static void abandon(lc_file_monitor *monitor, const lc_file_stored *stored, uint64_t least, const char *why) {
  uint64_t lost = stored->marked && stored->mark.size > stored->lowest ? stored->mark.size - stored->lowest : least;
  if (stored->drained) lost = 0;
  if (lost > 0) {
    lc_log(LC_LOG_ERROR, LC_FILE_LOG, why, LC_S("path", stored->name), LC_S("key", stored->key),
           LC_I("offset", stored->lowest), LC_I("unread_bytes_at_least", lost));
    monitor->stats.abandoned_files++;
    monitor->stats.abandoned_bytes += lost;
  }
  if (lost == 0 && !stored->drained) {
    lc_log(LC_LOG_INFO, LC_FILE_LOG, "file is gone; all that was ever seen of it was read", LC_S("path", stored->name));
  }
  lc_feed_abandon(monitor->base.feed, stored->key, stored->name, lost);
}

/* It was read to its end before: it rests, or is read on when it has grown. */
static void take_up_drained(lc_file_monitor *monitor, const missing *item) {
  const lc_file_stored *stored = item->stored;
  if (item->stat.size < stored->lowest) { /* it was written over: nobody awaits that */
    abandon(monitor, stored, 0, "file was truncated after it was read to its end");
    return;
  }
  if (monitor->runtime->once && item->stat.size == stored->lowest) return;
  lc_file *file = lc_file_follow(monitor, stored->id, stored->generation, item->stat.device, item->path,
                                 item->stat.size, false);
  if (file == NULL) return;
  lc_file_table_displace(&monitor->files, file);
  lc_file_rest(monitor, file);
  if (item->stat.size == stored->lowest) return;
  lc_log(LC_LOG_INFO, LC_FILE_LOG, "file was written to after it was renamed and read: reading on",
         LC_S("path", item->path), LC_I("offset", stored->lowest));
  lc_file_once_add(monitor, file);
  lc_file_wake(monitor, file);
}

/* The file has another name now, or one that is not followed any more: it is read to its end. */
static void take_up(lc_file_monitor *monitor, const missing *item) {
  const lc_file_stored *stored = item->stored;
  lc_file *next = lc_file_table_by_path(&monitor->files, stored->name); /* took its name */
  lc_file *file = lc_file_follow(monitor, stored->id, stored->generation, item->stat.device, item->path,
                                 item->stat.size, false);
  if (file == NULL) return;
  lc_file_table_displace(&monitor->files, file);
  lc_file_once_add(monitor, file);
  if (next != NULL && next->fresh) lc_file_wait_for(monitor, next, file);
  monitor->stats.rotated++;
  lc_log(LC_LOG_INFO, LC_FILE_LOG, "file was renamed while nobody looked: reading it to its end",
         LC_S("path", item->path), LC_S("former", stored->name), LC_I("offset", stored->lowest));
  lc_file_wake(monitor, file);
}

static void resolve_one(lc_file_monitor *monitor, missing *item) {
  const lc_file_stored *stored = item->stored;
  if (item->error != 0) {
    /* Nothing is known, so nothing is forgotten: the next start looks again. */
    lc_log(LC_LOG_ERROR, LC_FILE_LOG, "cannot look for a file", LC_S("path", stored->name),
           LC_S("error", strerror(item->error)));
    if (!stored->drained) monitor->once_unread++;
  } else if (item->path == NULL) {
    /* Deleted after it was read as far as it was ever seen; or rotated to who knows where, with who knows what. */
    bool read = stored->idle && stored->marked && !item->replaced;
    abandon(monitor, stored, read ? 0 : 1, "file is gone, and may not have been read to its end");
  } else if (stored->drained) {
    take_up_drained(monitor, item);
  } else {
    take_up(monitor, item);
  }
  free(item->path);
}

static void found_all(uv_work_t *request, int status) {
  struct lc_file_resolve *resolve = request->data;
  lc_file_monitor *monitor = resolve->monitor;
  lc_require(status == 0);
  monitor->resolve = NULL;
  for (uint32_t i = 0; i < resolve->n; i++) {
    if (monitor->stopping) {
      free(resolve->items[i].path);
    } else {
      resolve_one(monitor, &resolve->items[i]);
    }
  }
  free(resolve);
  lc_file_free_stored(monitor);
  if (!monitor->stopping) lc_file_run(monitor);
  lc_file_check_stopped(monitor);
}

/* Whether this generation can still be met: not when a newer one of the same inode is known. */
static bool is_newest(const lc_file_monitor *monitor, uint32_t i) {
  return i == 0 || !lc_file_id_equal(monitor->stored[i - 1].id, monitor->stored[i].id);
}

/* A file under the name of a stored one that is not this one waits for it. */
static void wait_for_renamed(lc_file_monitor *monitor) {
  for (uint32_t i = 0; i < monitor->n_stored; i++) {
    lc_file *former = monitor->stored[i].taken ? lc_file_table_by_id(&monitor->files, monitor->stored[i].id) : NULL;
    lc_file *next = former == NULL ? NULL : lc_file_table_by_path(&monitor->files, monitor->stored[i].name);
    if (next != NULL && next != former && next->fresh && !former->fresh) {
      lc_file_wait_for(monitor, next, former);
      lc_file_wake(monitor, former);
    }
  }
}

void lc_file_resolve_start(lc_file_monitor *monitor) {
  struct lc_file_resolve *resolve = calloc(1, sizeof *resolve + monitor->n_stored * sizeof(missing));
  if (resolve == NULL) {
    /* Reading goes on; the sources that were not found stay stored for the next start. */
    lc_log(LC_LOG_ERROR, LC_FILE_LOG, "cannot look for renamed files: out of memory");
    lc_file_run(monitor);
    return;
  }
  resolve->monitor = monitor;
  resolve->request.data = resolve;
  wait_for_renamed(monitor);
  for (uint32_t i = 0; i < monitor->n_stored; i++) {
    const lc_file_stored *stored = &monitor->stored[i];
    if (!is_newest(monitor, i)) {
      abandon(monitor, stored, 0, "file was truncated before it was read to its end");
    } else if (!stored->taken) {
      resolve->items[resolve->n++].stored = stored;
    }
  }
  if (resolve->n > 0 && uv_queue_work(monitor->runtime->loop, &resolve->request, find_all, found_all) == 0) {
    monitor->resolve = resolve;
    return;
  }
  free(resolve);
  lc_file_free_stored(monitor);
  lc_file_run(monitor);
}

/* --- before the start --- */

static bool same_content(const char *path, const lc_file_mark *mark) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return false;
  bool same = false;
  lc_file_stat now;
  lc_prefix prefix;
  char *scratch = malloc(LC_FILE_BLOCK);
  if (scratch != NULL && lc_prefix_init(&prefix) == 0) {
    if (lc_file_stat_fd(fd, &now) == 0 && now.regular && now.size >= mark->offset) {
      uint64_t start = lc_file_part_start(mark);
      int64_t n = lc_file_read_at(fd, scratch, (size_t)(mark->offset - start), start);
      lc_prefix_start(&prefix, mark);
      same = n >= 0 && lc_prefix_check(&prefix, mark, scratch, (size_t)n) && lc_file_head_matches(mark, fd) == 1;
    }
    lc_prefix_deinit(&prefix);
  }
  free(scratch);
  (void)close(fd); /* nothing was written through it */
  return same;
}

static bool still_there(const char *path, lc_file_id id) {
  lc_file_stat now;
  return lc_file_stat_at(AT_FDCWD, path, &now) == 0 && lc_file_id_equal(now.id, id);
}

bool lc_file_replayable(lc_monitor *base, const lc_stored_source *source) {
  lc_file_monitor *monitor = lc_file_monitor_of(base);
  lc_file_stored stored = {.key = (char *)(uintptr_t)source->key, .name = (char *)(uintptr_t)source->name};
  lc_file_mark mark;
  if (!lc_file_key_parse(source->key, &stored.id, &stored.generation)) return false;
  bool marked = lc_file_mark_unpack(&source->mark, &mark);
  for (int tries = 0; tries < 10; tries++) { /* it may be renamed between the search and the look */
    missing item = {.stored = &stored};
    find_one(&monitor->folder, &item);
    if (item.path == NULL) return false;
    bool same = source->lowest == 0 || (marked && same_content(item.path, &mark));
    bool there = same || still_there(item.path, stored.id);
    free(item.path);
    if (there) return same;
  }
  return false;
}
