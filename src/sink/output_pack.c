#include "sink/output_pack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "io/durable.h"
#include "sink/output_recover.h"

typedef struct packing {
  lc_output_set *set;
  const lc_pack_rules *rules;
  lc_output *source; /* ours while source->packing */
  char *temporary, *final; /* owned */
  lc_stored_output row;    /* of the compressed file */
  lc_file_id file;
  bool renamed; /* the compressed file has its name */
} packing;

static bool is_waiting(const lc_output *output) {
  return !output->packing && !output->packed && !output->moved && !atomic_load(&output->listed);
}

bool lc_output_pack_waits(lc_output_set *set) {
  bool waits = false;
  uv_mutex_lock(&set->lock);
  for (const lc_output *one = set->closed; one != NULL && !waits; one = one->next_closed) waits = is_waiting(one);
  uv_mutex_unlock(&set->lock);
  return waits;
}

static lc_output *pick(lc_output_set *set) {
  lc_output *found = NULL; /* the oldest stands last */
  uv_mutex_lock(&set->lock);
  for (lc_output *one = set->closed; one != NULL; one = one->next_closed) {
    if (is_waiting(one)) found = one;
  }
  if (found != NULL) found->packing = true;
  uv_mutex_unlock(&set->lock);
  return found;
}

static void let_go(lc_output_set *set, lc_output *output, bool packed) {
  uv_mutex_lock(&set->lock);
  output->packing = false;
  output->packed = packed;
  uv_mutex_unlock(&set->lock);
}

static int commit(packing *self, bool with_length, bool drop_source, lc_store_safety safety, lc_error *error) {
  lc_changes changes = {0};
  int rc = lc_changes_output(&changes, &self->row, with_length);
  if (rc == 0 && drop_source) rc = lc_changes_forget_output(&changes, self->source->id);
  if (rc != 0) rc = lc_error_set(error, rc, "no memory for a row");
  if (rc == 0) rc = lc_store_apply(self->set->store, &changes, safety, error);
  lc_changes_free(&changes);
  return rc;
}

/* Makes the temporary file, known as ours and with a committed row. */
static int make_temporary(packing *self, int *ret_fd, lc_error *error) {
  lc_output_set *set = self->set;
  int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
  int fd = open(self->temporary, flags, (mode_t)self->rules->mode);
  if (fd < 0 && errno == EEXIST && unlink(self->temporary) == 0) { /* its name is ours; it never got its row */
    fd = open(self->temporary, flags, (mode_t)self->rules->mode);
  }
  if (fd < 0) return lc_error_sys(error, errno, "cannot create %s", self->temporary);
  int rc = lc_file_id_of_fd(fd, self->temporary, &self->file, error);
  if (rc == 0 && set->rules.own != NULL) rc = lc_inodes_add_fd(set->rules.own, fd, error);
  self->row = (lc_stored_output){.id = lc_store_new_output_id(set->store),
                                 .sink_id = set->sink_id,
                                 .path = self->temporary,
                                 .pending = self->final,
                                 .inode = self->file.inode,
                                 .birth_ns = self->file.birth_ns,
                                 .device = self->file.device,
                                 .tail_hash = lc_hash64("", 0),
                                 .made_ns = self->source->made_ns,
                                 .closed = true};
  const lc_store_safety safety = self->rules->durable ? LC_STORE_DURABLE : LC_STORE_NORMAL;
  if (rc == 0) rc = commit(self, true, false, safety, error);
  if (rc != 0) {
    (void)close(fd); /* empty, and removed by the caller */
    return rc;
  }
  *ret_fd = fd;
  return 0;
}

static int fill(packing *self, int to, bool (*stop)(void *), void *arg, lc_error *error) {
  const lc_output *source = self->source;
  lc_file_id file = {0};
  int from = open(source->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (from < 0) return lc_error_sys(error, errno, "cannot open %s to compress it", source->path);
  uint64_t bytes = 0;
  int rc = lc_file_id_of_fd(from, source->path, &file, error);
  if (rc == 0 && !lc_file_id_is(&file, source->inode, source->birth_ns)) {
    rc = lc_error_set(error, LC_EBUSY, "%s was replaced by somebody else", source->path);
  }
  if (rc == 0) rc = lc_compress_file(self->rules->kind, from, to, stop, arg, &bytes, error);
  if (rc == 0 && bytes < source->end.length) {
    rc = lc_error_set(error, LC_ECORRUPT, "%s ended early while it was compressed", source->path);
  }
  (void)close(from); /* only read */
  return rc;
}

static int finish_temporary(packing *self, int fd, lc_error *error) {
  struct stat st;
  if (fsync(fd) != 0) return lc_error_sys(error, errno, "cannot sync %s", self->temporary);
  if (fstat(fd, &st) != 0) return lc_error_sys(error, errno, "cannot look at %s", self->temporary);
  self->row.length = (uint64_t)st.st_size;
  return 0;
}

/* The compressed file takes the place of the original. */
static int replace(packing *self, lc_error *error) {
  lc_output_set *set = self->set;
  int rc = lc_durable_rename(self->temporary, self->final, error);
  if (rc != 0) return rc;
  self->renamed = true;
  rc = lc_output_set_unlink(set, self->source, error);
  if (rc != 0 && rc != LC_ENOENT) return rc;
  if (self->rules->durable) {
    rc = lc_durable_sync_parent(self->final, error);
    if (rc != 0) return rc;
  }
  self->row.path = self->final;
  self->row.pending = NULL;
  return commit(self, true, true, LC_STORE_NORMAL, error);
}

/* The finished file is now the compressed one. */
static void adopt(packing *self) {
  lc_output *output = self->source;
  uv_mutex_lock(&self->set->lock);
  free(output->path);
  output->path = self->final;
  self->final = NULL;
  output->id = self->row.id;
  output->device = self->file.device;
  output->inode = self->file.inode;
  output->birth_ns = self->file.birth_ns;
  output->end = output->settled = (lc_extent){.length = self->row.length};
  output->packing = false;
  output->packed = true;
  uv_mutex_unlock(&self->set->lock);
}

/* Undoes what was begun: the original stands as it was. */
static void undo(packing *self) {
  if (self->row.id == 0 || self->temporary == NULL) return;
  lc_changes changes = {0};
  lc_error ignored;
  if (unlink(self->temporary) == 0 && self->set->rules.own != NULL) {
    lc_inodes_remove(self->set->rules.own, self->file.device, self->file.inode);
  }
  /* Should the row stay: the next start finds its file gone and forgets it. */
  if (lc_changes_forget_output(&changes, self->row.id) == 0) {
    (void)!lc_store_apply(self->set->store, &changes, LC_STORE_NORMAL, &ignored);
  }
  lc_changes_free(&changes);
}

static int pack(packing *self, bool (*stop)(void *), void *arg, lc_error *error) {
  const char *ending = lc_compress_ending(self->rules->kind);
  if (asprintf(&self->final, "%s%s", self->source->path, ending) < 0) self->final = NULL;
  if (self->final == NULL || asprintf(&self->temporary, "%s%s", self->final, LC_PACK_TEMPORARY) < 0) {
    self->temporary = NULL;
    return lc_error_set(error, LC_ENOMEM, "no memory to compress %s", self->source->path);
  }
  int fd = -1;
  int rc = make_temporary(self, &fd, error);
  if (rc != 0) return rc;
  rc = fill(self, fd, stop, arg, error);
  if (rc == 0) rc = finish_temporary(self, fd, error);
  if (close(fd) != 0 && rc == 0) rc = lc_error_sys(error, errno, "cannot close %s", self->temporary);
  return rc == 0 ? replace(self, error) : rc;
}

int lc_output_pack_next(lc_output_set *set, const lc_pack_rules *rules, bool (*stop)(void *arg), void *arg,
                        lc_error *error) {
  packing self = {.set = set, .rules = rules, .source = pick(set)};
  if (self.source == NULL) return LC_ENOENT;
  int rc = pack(&self, stop, arg, error);
  if (self.renamed) {
    adopt(&self); /* also when the last commit failed: the next start finds it renamed */
  } else {
    undo(&self);
    let_go(set, self.source, rc == LC_ENOENT || rc == LC_EBUSY); /* gone: not to be tried again */
  }
  if (rc == 0) lc_output_set_count(set, LC_COUNT_compressed, 1);
  if (rc != 0 && rc != LC_ECANCELED) {
    lc_output_set_count(set, LC_COUNT_compress_failures, 1);
    rc = lc_error_context(error, "cannot compress %s", self.renamed ? "a finished output" : self.source->path);
    if (rc == LC_ENOENT) rc = LC_ESYS; /* the original is gone, not the work */
  }
  free(self.temporary);
  free(self.final);
  return rc;
}
