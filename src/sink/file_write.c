#include "sink/file_write.h"

#include <errno.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/hash.h"

#define LONG_RUN 16u                        /* records that are worth a write of their own */
#define GATHER ((size_t)256 << 10)          /* bytes gathered from short runs for one write */
#define LOOK_AT_FREE (100 * LC_MILLISECOND) /* how often the free space is looked at */

static void begin_group(lc_file_writing *self) {
  self->begun = false;
  self->at = self->n = 0;
  if (self->group == self->plan.n_groups) return;
  uint32_t run = self->plan.groups[self->group].first;
  self->place = self->start = (lc_file_place){run, self->plan.runs[run].from};
}

/* The whole of a run, as the encoder hands it out. */
static int encode_run(lc_file_writing *self, uint64_t limit, size_t *ret_bytes, lc_error *error) {
  const lc_file_run *run = &self->plan.runs[self->place.run];
  int rc = lc_encode(&self->encoder, self->batch, &self->place.at, run->to, limit, self->iov, LC_FILE_WRITE_PIECES,
                     &self->n, ret_bytes);
  return rc == 0 ? 0 : lc_error_set(error, rc, "no memory to encode records");
}

static void next_run(lc_file_writing *self) {
  const lc_file_plan *plan = &self->plan;
  self->place.run = plan->runs[self->place.run].next;
  if (self->place.run != LC_FILE_PLAN_END) self->place.at = plan->runs[self->place.run].from;
}

/* Short runs of records between those of other outputs: copied together. */
static int gather_runs(lc_file_writing *self, uint64_t limit, size_t *ret_bytes, lc_error *error) {
  const lc_batch *batch = self->batch;
  lc_buf *buf = &self->gathered;
  lc_file_place before = self->place;
  lc_buf_clear(buf);
  size_t most = limit < GATHER ? (size_t)limit : GATHER;
  while (self->place.run != LC_FILE_PLAN_END && buf->len < most) {
    const lc_file_run *run = &self->plan.runs[self->place.run];
    for (; self->place.at < run->to && buf->len < most; self->place.at++) {
      const lc_record *rec = &batch->records[self->place.at];
      if (lc_record_live(rec) && lc_encode_record(&self->encoder, batch, rec, buf) != 0) buf->failed = true;
    }
    if (buf->failed) {
      lc_buf_free(buf);
      self->place = before;
      return lc_error_set(error, LC_ENOMEM, "no memory to encode records");
    }
    if (self->place.at == run->to) next_run(self);
  }
  self->iov[0] = (struct iovec){buf->data, buf->len};
  self->n = 1;
  *ret_bytes = buf->len;
  return 0;
}

/* What is remembered of the pieces' end. */
static void note_tail(lc_file_writing *self) {
  char tail[LC_OUTPUT_TAIL];
  size_t len = 0;
  for (size_t i = self->n; i > 0 && len < sizeof tail; i--) {
    const struct iovec *piece = &self->iov[i - 1];
    size_t take = piece->iov_len < sizeof tail - len ? piece->iov_len : sizeof tail - len;
    len += take;
    memcpy(tail + sizeof tail - len, (const char *)piece->iov_base + piece->iov_len - take, take);
  }
  self->tail.tail_len = (uint32_t)len;
  self->tail.tail_hash = lc_hash64(tail + sizeof tail - len, len);
}

/* Ends the half line that the file ends with, so that none of ours is glued to it. */
static void end_line(lc_file_writing *self) {
  static char newline[] = "\n";
  self->iov[0] = (struct iovec){newline, 1};
  self->n = 1;
  note_tail(self);
}

/* Encodes the next pieces of the group; none when it has no more records. */
static int encode(lc_file_writing *self, uint64_t limit, lc_error *error) {
  size_t bytes = 0;
  int rc = 0;
  self->at = self->n = 0;
  if (self->plan.outputs[self->group]->mid_line && self->place.run != LC_FILE_PLAN_END) {
    end_line(self);
    return 0;
  }
  while (rc == 0 && bytes == 0 && self->place.run != LC_FILE_PLAN_END) {
    const lc_file_run *run = &self->plan.runs[self->place.run];
    if (run->to - self->place.at >= LONG_RUN) {
      rc = encode_run(self, limit, &bytes, error);
      if (rc == 0 && self->place.at == run->to) next_run(self);
    } else {
      rc = gather_runs(self, limit, &bytes, error);
    }
  }
  if (rc != 0 || bytes == 0) self->n = 0;
  if (self->n > 0) note_tail(self);
  return rc;
}

/* Below min_free writing pauses, as on a full disk. */
static int check_free(lc_file_writing *self, const lc_output *output, lc_error *error) {
  if (self->min_free == 0) return 0;
  int64_t now = lc_clock_mono();
  if (self->free_device == output->device && now - self->free_ns < LOOK_AT_FREE) return 0;
  struct statvfs vfs;
  if (fstatvfs(output->fd, &vfs) != 0) {
    return lc_error_sys(error, errno, "cannot look at the free space for %s", output->path);
  }
  uint64_t left = (uint64_t)vfs.f_bavail * vfs.f_frsize;
  if (left < self->min_free) {
    lc_error_set(error, LC_ESYS, "%s waits: %llu bytes are free on its disk, min_free is %llu; free some space",
                 output->path, (unsigned long long)left, (unsigned long long)self->min_free);
    if (error != NULL) error->sys = ENOSPC;
    return LC_ESYS;
  }
  self->free_device = output->device;
  self->free_ns = now;
  return 0;
}

/* Makes the group's output ready to take bytes. */
static int use_output(lc_file_writing *self, int64_t now_ns, lc_error *error) {
  lc_output **output = &self->plan.outputs[self->group];
  bool replaced = false;
  int rc = lc_output_set_use(self->set, output, &replaced, error);
  if (replaced) { /* what went into the old file of this delivery went with it; also while the new one is not ready */
    self->place = self->start;
    self->at = self->n = 0;
  }
  if (rc != 0) return rc;
  bool fresh = self->at == self->n && (*output)->end.length == (*output)->settled.length;
  if (fresh && lc_rotation_due(&self->rotation, *output, now_ns)) {
    lc_rotation_turn(&self->rotation, self->set, output, now_ns);
    rc = lc_output_set_use(self->set, output, &replaced, error);
  }
  return rc == 0 ? check_free(self, *output, error) : rc;
}

static int write_pieces(lc_file_writing *self, int64_t now_ns, lc_error *error) {
  lc_output *output = self->plan.outputs[self->group];
  uint64_t before = output->end.length;
  lc_output_set_touch(self->set, output);
  int rc = lc_output_write(output, self->iov, &self->at, self->n, error);
  atomic_fetch_add(&self->set->bytes, output->end.length - before);
  if (rc != 0) return rc;
  output->end.tail_hash = self->tail.tail_hash;
  output->end.tail_len = self->tail.tail_len;
  output->wrote_ns = now_ns;
  output->mid_line = false;
  self->at = self->n = 0;
  return 0;
}

static uint64_t room_of(const lc_file_writing *self) {
  const lc_output *output = self->plan.outputs[self->group];
  if (self->rotation.size == 0 || output->end.length >= self->rotation.size) return UINT64_MAX;
  return self->rotation.size - output->end.length;
}

static int write_group(lc_file_writing *self, int64_t now_ns, lc_error *error) {
  int rc = use_output(self, now_ns, error);
  while (rc == 0) {
    lc_output **output = &self->plan.outputs[self->group];
    if (self->at == self->n && self->place.run != LC_FILE_PLAN_END &&
        lc_rotation_due(&self->rotation, *output, now_ns)) {
      const lc_output *before = *output;
      lc_rotation_turn(&self->rotation, self->set, output, now_ns);
      /* Where it could not be rotated, what went into it is still this delivery's. */
      if (*output != before) self->start = self->place;
      rc = use_output(self, now_ns, error);
      if (rc != 0) break;
    }
    if (self->at == self->n) rc = encode(self, room_of(self), error);
    if (rc != 0 || self->n == 0) break;
    rc = write_pieces(self, now_ns, error);
  }
  return rc;
}

/* Rows of new outputs, many in one transaction, but no more than can stay open until they are written. */
static int commit_rows(lc_file_writing *self, lc_error *error) {
  const lc_output *output = self->plan.outputs[self->group];
  if (output->id != 0 && !output->row_due) return 0;
  uint32_t n = self->plan.n_groups - self->group;
  if (n > self->set->max_open) n = self->set->max_open;
  return lc_output_set_commit_new(self->set, self->plan.outputs + self->group, n, error);
}

static int begin_delivery(lc_file_writing *self, const lc_delivery *delivery, lc_error *error) {
  int rc = lc_file_plan_make(&self->plan, self->template, self->set, delivery, error);
  if (rc != 0) return rc;
  self->batch = delivery->batch;
  self->group = 0;
  self->encoder.format = self->format;
  self->encoder.metadata = self->metadata;
  lc_encoder_begin(&self->encoder);
  begin_group(self);
  return 0;
}

int lc_file_take_back(lc_file_writing *self, lc_error *error) {
  int rc = self->batch != NULL ? lc_output_set_take_back(self->set, error) : 0;
  if (rc != 0) return rc;
  self->batch = NULL;
  self->redo = false;
  return 0;
}

int lc_file_write(lc_file_writing *self, const lc_delivery *delivery, int64_t now_ns, lc_error *error) {
  int rc = self->redo ? lc_file_take_back(self, error) : 0;
  if (rc == 0 && self->batch == NULL) rc = begin_delivery(self, delivery, error);
  if (rc != 0) return rc;
  if (self->batch != delivery->batch) {
    return lc_error_set(error, LC_EINVAL, "another batch came while one is half written");
  }
  while (self->group < self->plan.n_groups) {
    rc = commit_rows(self, error);
    if (rc == 0) rc = write_group(self, now_ns, error);
    if (rc != 0) return rc;
    self->group++;
    begin_group(self);
  }
  self->batch = NULL;
  lc_output_set_settle(self->set);
  return 0;
}

void lc_file_writing_deinit(lc_file_writing *self) {
  lc_file_plan_deinit(&self->plan);
  lc_encoder_deinit(&self->encoder);
  lc_buf_free(&self->gathered);
}
