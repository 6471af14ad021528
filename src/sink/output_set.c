#include "sink/output_set.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "sink/output_idle.h"
#include "sink/output_search.h"

#define TABLE_LEAST 64u
#define LOG_EVERY (10 * LC_SECOND)

int lc_output_set_init(lc_output_set *set, lc_error *error) {
  set->table = calloc(TABLE_LEAST, sizeof *set->table);
  if (set->table == NULL) return lc_error_set(error, LC_ENOMEM, "no memory for outputs");
  set->cap = TABLE_LEAST;
  int rc = uv_mutex_init(&set->lock);
  if (rc != 0) {
    free(set->table);
    set->table = NULL;
    return lc_error_set(error, LC_ESYS, "cannot make a lock: %s", uv_strerror(rc));
  }
  set->ready = true;
  return 0;
}

static void free_list(lc_output *output, size_t link) {
  while (output != NULL) {
    lc_output *next = *(lc_output **)(void *)((char *)output + link);
    lc_output_destroy(output);
    output = next;
  }
}

void lc_output_set_deinit(lc_output_set *set) {
  if (!set->ready) return;
  set->ready = false;
  lc_output_set_close_down(set, 0);
  for (uint32_t i = 0; i < set->cap; i++) lc_output_destroy(set->table[i]);
  free(set->table);
  set->table = NULL;
  free_list(set->turned, offsetof(lc_output, next_closed));
  free_list(set->closed, offsetof(lc_output, next_closed));
  free_list(set->dead, offsetof(lc_output, next_dead));
  free_list(set->zombies, offsetof(lc_output, next_dead));
  uv_mutex_destroy(&set->lock);
}

/* The place of a path, or where it would stand. */
static uint32_t place_of(const lc_output_set *set, const char *path, size_t len, uint64_t hash) {
  uint32_t i = (uint32_t)hash & (set->cap - 1);
  for (; set->table[i] != NULL; i = (i + 1) & (set->cap - 1)) {
    const lc_output *one = set->table[i];
    if (one->hash == hash && strncmp(one->path, path, len) == 0 && one->path[len] == '\0') break;
  }
  return i;
}

static int grow(lc_output_set *set) {
  uint32_t n = atomic_load(&set->n);
  if ((n + 1) * 2 <= set->cap) return 0;
  lc_output **old = set->table;
  uint32_t old_cap = set->cap;
  lc_output **table = calloc((size_t)old_cap * 2, sizeof *table);
  if (table == NULL) return LC_ENOMEM;
  set->table = table;
  set->cap = old_cap * 2;
  for (uint32_t i = 0; i < old_cap; i++) {
    if (old[i] != NULL) table[place_of(set, old[i]->path, strlen(old[i]->path), old[i]->hash)] = old[i];
  }
  free(old);
  return 0;
}

int lc_output_set_enter(lc_output_set *set, lc_output *output) {
  if (grow(set) != 0) return LC_ENOMEM;
  uint32_t place = place_of(set, output->path, strlen(output->path), output->hash);
  if (set->table[place] != NULL) return LC_EBUSY;
  set->table[place] = output;
  atomic_fetch_add(&set->n, 1);
  return 0;
}

lc_output *lc_output_set_get(lc_output_set *set, const char *path, size_t len) {
  return set->table[place_of(set, path, len, lc_hash64(path, len))];
}

lc_output *lc_output_set_find(lc_output_set *set, const char *path, size_t len) {
  uint64_t hash = lc_hash64(path, len);
  lc_output *output = set->table[place_of(set, path, len, hash)];
  if (output != NULL) return output;
  output = lc_output_create(path, len, hash);
  if (output != NULL && lc_output_set_enter(set, output) != 0) {
    lc_output_destroy(output);
    output = NULL;
  }
  return output;
}

void lc_output_set_enter_closed(lc_output_set *set, lc_output *output) {
  uv_mutex_lock(&set->lock);
  output->next_closed = set->closed;
  set->closed = output;
  uv_mutex_unlock(&set->lock);
  atomic_fetch_add(&set->n_closed, 1);
}

static void take_out(lc_output_set *set, lc_output *output) {
  uint32_t hole = place_of(set, output->path, strlen(output->path), output->hash);
  lc_require(set->table[hole] == output);
  set->table[hole] = NULL;
  atomic_fetch_sub(&set->n, 1);
  /* Those behind it that it pushed away move up. */
  for (uint32_t i = (hole + 1) & (set->cap - 1); set->table[i] != NULL; i = (i + 1) & (set->cap - 1)) {
    lc_output *one = set->table[i];
    set->table[i] = NULL;
    set->table[place_of(set, one->path, strlen(one->path), one->hash)] = one;
  }
}

/* The open files, by use. */

static void unlink_open(lc_output_set *set, lc_output *output) {
  *(output->newer != NULL ? &output->newer->older : &set->newest) = output->older;
  *(output->older != NULL ? &output->older->newer : &set->oldest) = output->newer;
  output->newer = output->older = NULL;
}

static void link_newest(lc_output_set *set, lc_output *output) {
  output->older = set->newest;
  output->newer = NULL;
  *(set->newest != NULL ? &set->newest->newer : &set->oldest) = output;
  set->newest = output;
}

static void count_open(lc_output_set *set, int by) {
  atomic_fetch_add(&set->n_open, (uint32_t)by);
  if (set->descriptors != NULL) atomic_fetch_add(set->descriptors, by);
}

static void complain(lc_output_set *set, const char *what, const lc_output *output, const char *error) {
  uint64_t held = 0;
  if (!lc_log_limit_pass(&set->log_limit, lc_clock_mono(), LOG_EVERY, &held)) return;
  lc_log(LC_LOG_ERROR, "file_sink", what, LC_S("name", set->name), LC_S("path", output->path), LC_S("error", error),
         LC_I("not_logged", held));
}

void lc_output_set_close(lc_output_set *set, lc_output *output) {
  if (output->fd < 0) return;
  lc_error error = {0};
  unlink_open(set, output);
  int rc = lc_output_close(output, &error);
  count_open(set, -1);
  if (rc == 0) return;
  lc_output_set_count(set, LC_COUNT_close_failures, 1);
  complain(set, "an output did not close well: its last bytes may be lost", output, error.message);
}

void lc_output_set_close_down(lc_output_set *set, uint32_t keep) {
  while (set->oldest != NULL && atomic_load(&set->n_open) > keep) lc_output_set_close(set, set->oldest);
}

static int open_output(lc_output_set *set, lc_output *output, lc_output_found *ret, lc_error *error) {
  if (output->id == 0 && atomic_load(&set->let_go) > 0) {
    int recalled = lc_output_set_recall(set, output, error);
    if (recalled != 0) return recalled;
  }
  lc_output_set_close_down(set, set->max_open - 1);
  int rc = lc_output_open(output, &set->rules, ret, error);
  while (rc != 0 && (error->sys == EMFILE || error->sys == ENFILE) && set->oldest != NULL) {
    lc_output_set_close(set, set->oldest); /* others hold them: make do with fewer */
    rc = lc_output_open(output, &set->rules, ret, error);
  }
  if (rc != 0 || *ret == LC_OUTPUT_REPLACED) return rc;
  link_newest(set, output);
  count_open(set, 1);
  if (*ret == LC_OUTPUT_CREATED) lc_output_set_count(set, LC_COUNT_created, 1);
  if (*ret == LC_OUTPUT_ADOPTED) lc_output_set_count(set, LC_COUNT_adopted, 1);
  return 0;
}

/* Rows. */

/* Opens a new output, which makes its file, and adds its row. */
static int add_row(lc_output_set *set, lc_output *output, lc_changes *changes, lc_error *error) {
  lc_output_found found;
  int rc = output->id == 0 && output->fd < 0 ? open_output(set, output, &found, error) : 0;
  if (rc != 0) return rc;
  lc_stored_output row = lc_output_row(output, set->sink_id);
  if (row.id == 0) row.id = lc_store_new_output_id(set->store);
  if (lc_changes_output(changes, &row, true) != 0) {
    return lc_error_set(error, LC_ENOMEM, "no memory for the rows of outputs");
  }
  output->id = row.id; /* row_due says that it is not written yet */
  return 0;
}

int lc_output_set_commit_new(lc_output_set *set, lc_output **outputs, uint32_t n, lc_error *error) {
  lc_changes changes = {0};
  int rc = 0;
  uint32_t done = 0;
  for (; rc == 0 && done < n; done++) {
    if (outputs[done]->id == 0 || outputs[done]->row_due) rc = add_row(set, outputs[done], &changes, error);
  }
  if (rc != 0) done--;
  if (changes.n > 0) { /* also when one of many could not be opened: the others need not wait for it */
    lc_error apply_error = {0};
    int applied = lc_store_apply(set->store, &changes, lc_output_set_safety(set), &apply_error);
    for (uint32_t i = 0; applied == 0 && i < done; i++) outputs[i]->row_due = false;
    if (applied != 0 && rc == 0) {
      if (error != NULL) *error = apply_error;
      rc = applied;
      lc_error_context(error, "cannot save the outputs' rows");
    }
  }
  lc_changes_free(&changes);
  return rc;
}

static int forget_row(lc_output_set *set, const lc_output *output, lc_error *error) {
  lc_changes changes = {0};
  int rc = lc_changes_forget_output(&changes, output->id);
  if (rc != 0) rc = lc_error_set(error, rc, "no memory for a row");
  if (rc == 0) rc = lc_store_apply(set->store, &changes, LC_STORE_NORMAL, error);
  lc_changes_free(&changes);
  return rc;
}

void lc_output_set_remove(lc_output_set *set, lc_output *output, bool forget) {
  lc_output_set_close(set, output);
  take_out(set, output);
  if (!forget) {
    output->closed = true;
    output->wrote_ns = lc_clock_wall();
    output->next_closed = set->turned;
    set->turned = output;
    return;
  }
  output->next_dead = set->dead;
  set->dead = output;
}

int lc_output_set_unlink(lc_output_set *set, const lc_output *output, lc_error *error) {
  lc_file_id file = {0};
  int fd = open(output->path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return lc_error_sys(error, errno, "cannot open %s", output->path);
  int rc = lc_file_id_of_fd(fd, output->path, &file, error);
  if (rc == 0 && !lc_file_id_is(&file, output->inode, output->birth_ns)) {
    rc = lc_error_set(error, LC_ENOENT, "another file stands at %s", output->path);
  }
  if (rc == 0 && unlink(output->path) != 0) rc = lc_error_sys(error, errno, "cannot remove %s", output->path);
  if (rc == 0 && set->rules.own != NULL) lc_inodes_remove(set->rules.own, file.device, file.inode);
  (void)close(fd);
  return rc;
}

/* Somebody moved the file within its folder: it stays ours, finished, under its new name. Takes `path` over. */
static int follow(lc_output_set *set, lc_output *output, char *path, lc_error *error) {
  /* What is not settled is written again to the new file. */
  if (output->end.length > output->settled.length && truncate(path, (off_t)output->settled.length) != 0) {
    return lc_error_sys(error, errno, "cannot cut %s back", path);
  }
  output->end = output->settled;
  lc_changes changes = {0};
  lc_stored_output row = lc_output_row(output, set->sink_id);
  row.path = path;
  row.closed = true;
  int rc = lc_changes_output(&changes, &row, false);
  if (rc != 0) rc = lc_error_set(error, rc, "no memory for a row");
  if (rc == 0) rc = lc_store_apply(set->store, &changes, lc_output_set_safety(set), error);
  lc_changes_free(&changes);
  if (rc != 0) return rc;
  lc_output_set_remove(set, output, false);
  output->moved = true;
  free(output->path);
  output->path = path;
  return 0;
}

/* Whether the open file has no name any more. */
static bool is_deleted(const lc_output *output) {
  lc_file_id file = {0};
  return output->fd >= 0 && lc_file_id_of_fd(output->fd, output->path, &file, NULL) == 0 && file.links == 0;
}

/* Another file, or none, stands at the path. */
static int retire(lc_output_set *set, lc_output *output, lc_error *error) {
  char *path = NULL;
  int rc = lc_output_search(output->path, output->inode, output->birth_ns, &path, error);
  if (rc == 0) {
    lc_log(LC_LOG_WARN, "file_sink", "an output was renamed by somebody else; a new file is begun",
           LC_S("name", set->name), LC_S("path", output->path), LC_S("now", path));
    rc = follow(set, output, path, error);
    if (rc != 0) free(path);
    return rc;
  }
  /* A file that was only moved away, perhaps with its folder, may come back: its row stays until the next start has
   * looked for it. */
  if (is_deleted(output)) {
    rc = forget_row(set, output, error);
    if (rc != 0) return rc;
  }
  lc_output_set_count(set, LC_COUNT_lost, 1);
  complain(set, "an output was removed or moved away by somebody else; a new file is begun", output, "");
  if (set->rules.own != NULL) lc_inodes_remove(set->rules.own, output->device, output->inode);
  lc_output_set_remove(set, output, true);
  return 0;
}

static void note_disturbed(lc_output_set *set, lc_output *output) {
  bool shorter = output->disturbed < 0;
  output->disturbed = 0;
  lc_output_set_count(set, shorter ? LC_COUNT_shorter : LC_COUNT_longer, 1);
  complain(set, shorter ? "an output is shorter than what was written to it: somebody cut it; it goes on at its end"
                        : "an output is longer than what was written to it: somebody else writes to it, too",
           output, "");
}

/* Another output takes the place of one whose file went. */
static int begin_anew(lc_output_set *set, lc_output **output, lc_error *error) {
  const lc_output *old = *output;
  lc_output *fresh = lc_output_create(old->path, strlen(old->path), old->hash);
  if (fresh == NULL) return lc_error_set(error, LC_ENOMEM, "no memory for an output");
  int rc = retire(set, *output, error);
  if (rc == 0) rc = lc_output_set_enter(set, fresh); /* there is room: the old one just left */
  if (rc == 0) {
    *output = fresh;
  } else {
    lc_output_destroy(fresh);
  }
  return rc;
}

int lc_output_set_use(lc_output_set *set, lc_output **output, bool *ret_replaced, lc_error *error) {
  *ret_replaced = false;
  for (int attempt = 0; attempt < 3; attempt++) {
    lc_output *one = *output;
    lc_output_found found = LC_OUTPUT_AGAIN;
    int rc = 0;
    if (one->fd >= 0 && !lc_output_in_place(one)) {
      found = LC_OUTPUT_REPLACED;
    } else if (one->fd >= 0) {
      unlink_open(set, one);
      link_newest(set, one);
    } else {
      rc = open_output(set, one, &found, error);
    }
    if (rc != 0) return rc;
    if (one->disturbed != 0) note_disturbed(set, one);
    if (found != LC_OUTPUT_REPLACED) return one->row_due ? lc_output_set_commit_new(set, &one, 1, error) : 0;
    rc = begin_anew(set, output, error);
    if (rc != 0) return rc;
    *ret_replaced = true;
  }
  return lc_error_set(error, LC_EBUSY, "cannot keep %s open: somebody keeps replacing it", (*output)->path);
}

void lc_output_set_touch(lc_output_set *set, lc_output *output) {
  if (output->touched) return;
  output->touched = true;
  output->next_touched = set->touched;
  set->touched = output;
}

void lc_output_set_settle(lc_output_set *set) {
  while (set->touched != NULL) {
    lc_output *output = set->touched;
    set->touched = output->next_touched;
    output->touched = false;
    output->settled = output->end;
    if (output->dirty) continue;
    output->dirty = true;
    output->next_dirty = set->dirty;
    set->dirty = output;
  }
}

static int cut_back(const lc_output *output, lc_error *error) {
  lc_file_id file = {0};
  bool opened = output->fd < 0;
  int fd = opened ? open(output->path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : output->fd;
  if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) return 0; /* what was written went with the file */
  if (fd < 0) return lc_error_sys(error, errno, "cannot open %s to take back what is half written", output->path);
  int rc = lc_file_id_of_fd(fd, output->path, &file, error);
  bool longer = rc == 0 && lc_file_id_is(&file, output->inode, output->birth_ns) &&
                file.size > output->settled.length;
  if (longer && ftruncate(fd, (off_t)output->settled.length) != 0) {
    rc = lc_error_sys(error, errno, "cannot cut %s back", output->path);
  }
  if (opened) (void)close(fd); /* nothing was written through it */
  return rc;
}

int lc_output_set_take_back(lc_output_set *set, lc_error *error) {
  while (set->touched != NULL) {
    lc_output *output = set->touched;
    int rc = output->end.length > output->settled.length ? cut_back(output, error) : 0;
    if (rc != 0) return rc;
    set->touched = output->next_touched;
    output->touched = false;
    output->end = output->settled;
    output->unread = true; /* its end is looked at again when it is opened */
    lc_output_set_close(set, output);
  }
  return 0;
}

int lc_output_set_sync(lc_output_set *set, lc_error *error) {
  for (lc_output *output = set->dirty; output != NULL; output = output->next_dirty) {
    int rc = output->unsynced ? lc_output_sync(output, error) : 0;
    if (rc == 0) continue;
    lc_output_set_count(set, LC_COUNT_sync_failures, 1);
    return rc;
  }
  lc_require(set->synced == NULL); /* publish follows each sync */
  set->synced = set->dirty;
  set->dirty = NULL;
  return 0;
}
