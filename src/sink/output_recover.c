#include "sink/output_recover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "io/durable.h"
#include "sink/output_idle.h"
#include "sink/output_rotate.h"
#include "sink/output_search.h"

/* A row, and what was found of it. */
typedef struct found_row {
  lc_stored_output row; /* its strings are ours */
  char *path, *pending; /* owned */
  lc_file_id file;
  enum { GONE, ABSENT, AT_PATH, AT_PENDING, ELSEWHERE } where; /* ABSENT: its folder cannot be read */
  bool drop;    /* forget the row */
  bool changed; /* write the row */
  bool packed;  /* a compressed file: never cut */
} found_row;

typedef struct recovery {
  lc_output_set *set;
  bool replayable;
  found_row *rows; /* owned */
  uint32_t n, cap;
  lc_output_folder folder;
} recovery;

static bool ends_with(const char *text, const char *end) {
  size_t len = strlen(text), n = strlen(end);
  return len >= n && memcmp(text + len - n, end, n) == 0;
}

static int collect(void *arg, const lc_stored_output *row) {
  recovery *self = arg;
  if (self->n == self->cap) {
    uint32_t cap = self->cap < 64 ? 64 : self->cap * 2;
    found_row *rows = realloc(self->rows, cap * sizeof *rows);
    if (rows == NULL) return LC_ENOMEM;
    self->rows = rows;
    self->cap = cap;
  }
  found_row *one = &self->rows[self->n];
  *one = (found_row){.row = *row, .path = strdup(row->path), .pending = row->pending ? strdup(row->pending) : NULL};
  self->n++;
  return one->path == NULL || (row->pending != NULL && one->pending == NULL) ? LC_ENOMEM : 0;
}

/* Whether the row's file stands at `path`. */
static bool stands_at(found_row *one, const char *path) {
  return lc_file_id_of(path, &one->file, NULL) == 0 && lc_file_id_is(&one->file, one->row.inode, one->row.birth_ns);
}

static void set_path(found_row *one, char *path) {
  free(one->path);
  one->path = path;
  one->changed = true;
}

/* A file is only gone when its folder can be read and does not have it. */
static void locate(recovery *self, found_row *one) {
  lc_error error = {0};
  char *path = NULL;
  if (one->drop) return;
  if (stands_at(one, one->path)) {
    one->where = AT_PATH;
  } else if (one->pending != NULL && stands_at(one, one->pending)) {
    one->where = AT_PENDING;
  } else {
    int rc = lc_output_folder_search(&self->folder, one->path, one->row.inode, one->row.birth_ns, &path, &error);
    one->where = rc == LC_ENOENT ? GONE : ABSENT;
    if (rc == 0 && stands_at(one, path)) {
      set_path(one, path);
      one->where = ELSEWHERE;
    } else {
      free(path);
    }
  }
  if (one->where != ABSENT) return;
  /* A disk that is not mounted comes back: its rows stay. */
  lc_log(LC_LOG_WARN, "file_sink", "the folder of an output cannot be read; the output is mended when it is back",
         LC_S("name", self->set->name), LC_S("path", one->path), LC_S("error", error.message));
}

static int by_file(const void *a, const void *b) {
  const found_row *x = *(found_row *const *)a, *y = *(found_row *const *)b;
  if (x->row.inode != y->row.inode) return x->row.inode < y->row.inode ? -1 : 1;
  return (x->row.id > y->row.id) - (x->row.id < y->row.id);
}

/* Of several rows of one file the latest counts: the file had been moved away, came back, and was taken for a new one.
 */
static int drop_doubles(recovery *self) {
  if (self->n < 2) return 0;
  found_row **sorted = calloc(self->n, sizeof(found_row *));
  if (sorted == NULL) return LC_ENOMEM;
  for (uint32_t i = 0; i < self->n; i++) sorted[i] = &self->rows[i];
  qsort(sorted, self->n, sizeof(found_row *), by_file);
  for (uint32_t i = 0; i + 1 < self->n; i++) {
    const lc_stored_output *row = &sorted[i]->row, *next = &sorted[i + 1]->row;
    if (row->inode == next->inode && row->birth_ns == next->birth_ns) sorted[i]->drop = true;
  }
  free(sorted);
  return 0;
}

/* The row's names are now what was found. */
static void settle_names(found_row *one) {
  if (one->where == AT_PENDING) {
    set_path(one, one->pending);
    one->pending = NULL;
  }
  if (one->where != AT_PATH) one->row.closed = one->changed = true;
  if (one->pending != NULL) {
    free(one->pending);
    one->pending = NULL;
    one->changed = true;
  }
}

/* Removes a file that must not be there twice: of an unfinished compression, or one that is finished. */
static int remove_file(recovery *self, found_row *one, lc_error *error) {
  if (unlink(one->path) != 0 && errno != ENOENT) return lc_error_sys(error, errno, "cannot remove %s", one->path);
  if (self->set->rules.durable) {
    int rc = lc_durable_sync_parent(one->path, error);
    if (rc != 0) return rc;
  }
  one->where = GONE;
  one->drop = true;
  return 0;
}

static bool is_packed(const found_row *one) {
  return one->row.closed &&
         (ends_with(one->path, ".gz") || ends_with(one->path, ".zst") || ends_with(one->path, LC_PACK_TEMPORARY));
}

/* Brings compressions to their end, or undoes them: a temporary name is an unfinished one. */
static int mend_packs(recovery *self, lc_error *error) {
  for (uint32_t i = 0; i < self->n; i++) {
    found_row *one = &self->rows[i];
    one->packed = is_packed(one);
    if (!one->packed || one->where == GONE || one->where == ABSENT) continue;
    if (one->where == AT_PATH && ends_with(one->path, LC_PACK_TEMPORARY)) {
      int rc = remove_file(self, one, error);
      if (rc != 0) return rc;
    }
    if (one->where != AT_PENDING) continue;
    for (uint32_t j = 0; j < self->n; j++) { /* the file that it was made of */
      found_row *other = &self->rows[j];
      size_t len = strlen(other->path);
      if (other->where != AT_PATH || strncmp(other->path, one->pending, len) != 0) continue;
      if (strcmp(one->pending + len, ".gz") != 0 && strcmp(one->pending + len, ".zst") != 0) continue;
      int rc = remove_file(self, other, error);
      if (rc != 0) return rc;
    }
  }
  return 0;
}

/* Lines in [from, to). */
static uint64_t count_lines(const char *path, uint64_t from, uint64_t to) {
  char block[65536];
  uint64_t lines = 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  while (fd >= 0 && from < to) {
    size_t want = to - from < sizeof block ? (size_t)(to - from) : sizeof block;
    ssize_t n = pread(fd, block, want, (off_t)from);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    for (ssize_t i = 0; i < n; i++) lines += block[i] == '\n';
    from += (uint64_t)n;
  }
  if (fd >= 0) (void)close(fd);
  return lines;
}

static int cut(const recovery *self, const found_row *one, lc_error *error) {
  int fd = open(one->path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return lc_error_sys(error, errno, "cannot open %s to cut what will be written again", one->path);
  int rc = 0;
  lc_file_id file = {0};
  rc = lc_file_id_of_fd(fd, one->path, &file, error);
  if (rc == 0 && !lc_file_id_is(&file, one->row.inode, one->row.birth_ns)) {
    rc = lc_error_set(error, LC_EBUSY, "%s was replaced while it was recovered", one->path);
  }
  if (rc == 0 && ftruncate(fd, (off_t)one->row.length) != 0)
    rc = lc_error_sys(error, errno, "cannot cut %s", one->path);
  if (rc == 0 && self->set->rules.durable && fsync(fd) != 0)
    rc = lc_error_sys(error, errno, "cannot sync %s", one->path);
  if (close(fd) != 0 && rc == 0) rc = lc_error_sys(error, errno, "cannot close %s", one->path);
  return rc;
}

/* From now on the file's length is what it is. */
static int accept_length(found_row *one, lc_error *error) {
  lc_extent extent;
  int rc = lc_file_extent(one->path, one->file.size, LC_OUTPUT_TAIL, &extent, error);
  if (rc != 0) return rc;
  one->row.length = extent.length;
  one->row.tail_hash = extent.tail_hash;
  one->row.tail_len = extent.tail_len;
  one->changed = true;
  return 0;
}

static int keep_rest(recovery *self, found_row *one, const char *why, lc_error *error) {
  uint64_t lines = count_lines(one->path, one->row.length, one->file.size);
  lc_output_set_count(self->set, LC_COUNT_possible_duplicates, lines);
  lc_log(LC_LOG_WARN, "file_sink", "an output is longer than saved; the rest stays, its lines may be there twice",
         LC_S("name", self->set->name), LC_S("path", one->path), LC_S("why", why), LC_I("lines", lines),
         LC_I("saved", one->row.length), LC_I("size", one->file.size));
  return accept_length(one, error);
}

static int mend_longer(recovery *self, found_row *one, lc_error *error) {
  const lc_extent saved = {
      .length = one->row.length, .tail_hash = one->row.tail_hash, .tail_len = one->row.tail_len};
  bool matches = false;
  if (!self->replayable) return keep_rest(self, one, "its sources cannot be read again", error);
  int rc = lc_file_tail_matches(one->path, &saved, &matches, error);
  if (rc != 0) return rc;
  if (!matches) {
    return keep_rest(self, one, "what was saved last does not stand there", error);
  }
  rc = cut(self, one, error);
  if (rc != 0) return rc;
  lc_output_set_count(self->set, LC_COUNT_cut, 1);
  lc_output_set_count(self->set, LC_COUNT_cut_bytes, one->file.size - one->row.length);
  one->file.size = one->row.length;
  return 0;
}

static int mend_length(recovery *self, found_row *one, lc_error *error) {
  if (one->packed || one->file.size == one->row.length) return 0;
  if (one->file.size > one->row.length) return mend_longer(self, one, error);
  lc_output_set_count(self->set, LC_COUNT_shorter, 1);
  lc_log(LC_LOG_ERROR, "file_sink",
         "an output is shorter than saved: lines that were delivered are missing from it; it "
         "goes on at its end",
         LC_S("name", self->set->name), LC_S("path", one->path), LC_I("saved", one->row.length),
         LC_I("size", one->file.size));
  return accept_length(one, error);
}

static int know(const recovery *self, const found_row *one, uint64_t device, lc_error *error) {
  if (self->set->rules.own == NULL) return 0;
  int rc = lc_inodes_add_born(self->set->rules.own, device, one->row.inode, one->row.birth_ns);
  return rc == 0 ? 0 : lc_error_set(error, rc, "no memory for the outputs' identities");
}

static int mend(recovery *self, found_row *one, lc_error *error) {
  if (one->drop) return 0;
  if (one->where == ABSENT) return know(self, one, one->row.device, error);
  if (one->where == GONE) {
    if (!one->packed) {
      lc_output_set_count(self->set, LC_COUNT_lost, 1);
      lc_log(LC_LOG_WARN, "file_sink", "an output is gone; it is forgotten", LC_S("name", self->set->name),
             LC_S("path", one->path));
    }
    one->drop = true;
    return 0;
  }
  settle_names(one);
  int rc = mend_length(self, one, error);
  return rc == 0 ? know(self, one, one->file.device, error) : rc;
}

static int save(recovery *self, lc_error *error) {
  lc_changes changes = {0};
  int rc = 0;
  for (uint32_t i = 0; rc == 0 && i < self->n; i++) {
    found_row *one = &self->rows[i];
    one->row.path = one->path;
    one->row.pending = one->pending;
    if (one->drop) {
      rc = lc_changes_forget_output(&changes, one->row.id);
    } else if (one->changed) {
      rc = lc_changes_output(&changes, &one->row, true);
    }
  }
  if (rc != 0) rc = lc_error_set(error, rc, "no memory for the outputs' rows");
  if (rc == 0 && changes.n > 0) rc = lc_store_apply(self->set->store, &changes, lc_output_set_safety(self->set), error);
  lc_changes_free(&changes);
  return rc;
}

static lc_output *make_output(const found_row *one, bool replayable) {
  size_t len = strlen(one->path);
  lc_output *output = lc_output_create(one->path, len, lc_hash64(one->path, len));
  if (output == NULL) return NULL;
  const lc_stored_output *row = &one->row;
  output->id = row->id;
  output->device = one->where == ABSENT ? row->device : one->file.device;
  output->inode = row->inode;
  output->birth_ns = row->birth_ns;
  output->made_ns = row->made_ns;
  output->wrote_ns = one->file.changed_ns;
  output->closed = row->closed;
  output->moved = row->closed && !lc_rotation_gave(one->path);
  output->unread = true;
  output->packed = one->packed;
  output->end = (lc_extent){.length = row->length, .tail_hash = row->tail_hash, .tail_len = row->tail_len};
  if (one->packed && one->where != ABSENT) output->end.length = one->file.size;
  output->settled = output->shown = output->end;
  output->cut_late = one->where == ABSENT && replayable;
  return output;
}

static int enter(recovery *self, lc_error *error) {
  for (uint32_t i = self->n; i > 0; i--) { /* the latest first: of two for one path it has it */
    const found_row *one = &self->rows[i - 1];
    if (one->drop || (one->where == ABSENT && one->row.closed)) continue;
    bool full = self->set->most > 0 && atomic_load(&self->set->n) >= self->set->most;
    if (!one->row.closed && full) {
      atomic_fetch_add(&self->set->let_go, 1);
      continue;
    }
    lc_output *output = make_output(one, self->replayable);
    int rc = output != NULL ? 0 : LC_ENOMEM;
    if (rc == 0 && output->closed && !lc_output_set_needs(self->set, output)) {
      lc_output_destroy(output);
    } else if (rc == 0 && output->closed) {
      lc_output_set_enter_closed(self->set, output);
    } else if (rc == 0) {
      rc = lc_output_set_enter(self->set, output);
    }
    if (rc == 0) continue;
    lc_output_destroy(output);
    if (rc == LC_EBUSY) continue; /* an earlier file of that path, which cannot be reached: its row stays */
    return lc_error_set(error, rc, "no memory for outputs");
  }
  return 0;
}

static void free_rows(recovery *self) {
  for (uint32_t i = 0; i < self->n; i++) {
    free(self->rows[i].path);
    free(self->rows[i].pending);
  }
  free(self->rows);
  lc_output_folder_free(&self->folder);
}

static bool in_list(const lc_output *output, uint64_t id) {
  while (output != NULL && output->id != id) output = output->next_closed;
  return output != NULL;
}

/* Whether a finished file is in memory. */
static bool is_known(lc_output_set *set, uint64_t id) {
  uv_mutex_lock(&set->lock);
  bool known = in_list(set->closed, id) || in_list(set->turned, id);
  uv_mutex_unlock(&set->lock);
  return known;
}

int lc_outputs_remember(lc_output_set *set, lc_error *error) {
  recovery self = {.set = set};
  int rc = lc_store_each_output(set->store, set->sink_id, collect, &self, error);
  for (uint32_t i = 0; rc == 0 && i < self.n; i++) {
    found_row *one = &self.rows[i];
    if (!one->row.closed || is_known(set, one->row.id) || !stands_at(one, one->path)) continue;
    one->where = AT_PATH;
    one->packed = is_packed(one);
    lc_output *output = make_output(one, false);
    rc = output != NULL ? 0 : LC_ENOMEM;
    if (rc == 0) lc_output_set_enter_closed(set, output);
  }
  free_rows(&self);
  return rc == LC_ENOMEM ? lc_error_set(error, rc, "no memory for finished outputs") : rc;
}

int lc_outputs_recover(lc_output_set *set, bool replayable, lc_error *error) {
  recovery self = {.set = set, .replayable = replayable};
  int rc = lc_store_each_output(set->store, set->sink_id, collect, &self, error);
  if (rc == LC_ENOMEM) rc = lc_error_set(error, rc, "no memory for the outputs' rows");
  if (rc == 0 && drop_doubles(&self) != 0) rc = lc_error_set(error, LC_ENOMEM, "no memory for the outputs' rows");
  for (uint32_t i = 0; rc == 0 && i < self.n; i++) locate(&self, &self.rows[i]);
  if (rc == 0) rc = mend_packs(&self, error);
  for (uint32_t i = 0; rc == 0 && i < self.n; i++) rc = mend(&self, &self.rows[i], error);
  if (rc == 0) rc = save(&self, error);
  if (rc == 0) rc = enter(&self, error);
  free_rows(&self);
  return rc;
}
