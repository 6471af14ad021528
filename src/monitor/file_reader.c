#include "monitor/file_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "monitor/file_open.h"

/* A block smaller than this is not worth a read: the batch goes on its way first. */
#define ROOM_LEAST 4096u

lc_file_job *lc_file_job_create(const lc_file_how *how, uint32_t cap_works) {
  lc_file_job *job = calloc(1, sizeof *job + cap_works * sizeof(lc_file_work));
  if (job == NULL) return NULL;
  job->how = how;
  job->filled_end = &job->filled;
  job->framing.max_line = how->max_line;
  bool ok = lc_prefix_init(&job->prefix) == 0;
  if (ok && how->multiline != NULL) ok = lc_multiline_match_init(how->multiline, &job->match) == 0;
  if (ok) return job;
  lc_file_job_destroy(job);
  return NULL;
}

void lc_file_job_destroy(lc_file_job *job) {
  if (job == NULL) return;
  for (uint32_t i = 0; i < job->n_works; i++) {
    free(job->works[i].found_path);
    free(job->works[i].originals);
  }
  lc_prefix_deinit(&job->prefix);
  lc_multiline_match_deinit(&job->match);
  lc_file_folder_free(job->folder);
  free(job->close_fds);
  free(job->scratch);
  free(job);
}

/* The batch in hand, taking the next one when there is none. NULL: all are filled. */
static lc_batch *batch_in_hand(lc_file_job *job) {
  if (job->batch == NULL && job->empty != NULL) {
    job->batch = job->empty;
    job->empty = job->batch->next;
    job->batch->next = NULL;
    job->batch->read_ns = lc_clock_wall();
  }
  return job->batch;
}

static void put_filled(lc_file_job *job) {
  *job->filled_end = job->batch;
  job->filled_end = &job->batch->next;
  job->batch = NULL;
}

/* Sends the batch in hand through the stages of the pool. */
static void pass_batch(lc_file_job *job) {
  if (lc_carrier_process(&job->carrier, job->batch) == LC_CARRIER_REFILL) {
    job->batch->read_ns = lc_clock_wall();
    return;
  }
  put_filled(job);
}

/* The range of the batch in hand that goes on where the file's mark stands. NULL: no memory, or too many ranges. */
static lc_range *range_for(lc_file_job *job, lc_file *file) {
  lc_batch *batch = job->batch;
  if (batch->n_ranges > 0) {
    lc_range *last = &batch->ranges[batch->n_ranges - 1];
    if (last->source == &file->source && last->end == file->mark.offset) return last;
  }
  lc_range *range = lc_batch_add_range(batch, &file->source, file->mark.offset);
  if (range != NULL) lc_file_mark_pack(&file->mark, &range->resume);
  return range;
}

/* Takes a range that came to nothing out again. */
static void drop_empty_range(lc_batch *batch) {
  const lc_range *range = &batch->ranges[batch->n_ranges - 1];
  if (range->end != range->begin || range->last) return;
  lc_batch_drop_range(batch);
}

/* Moves the mark over what the range has used of the block: `used` bytes from `from`, of which those behind `to` are a
 * line end that was only peeked at. */
static void move_mark(lc_file_job *job, lc_file_work *work, lc_range *range, uint32_t from, uint32_t to,
                      uint32_t used) {
  lc_file *file = work->file;
  uint32_t here = used < to - from ? used : to - from;
  lc_prefix_add(&job->prefix, job->batch->base[0] + from, here);
  if (used > here) lc_prefix_add(&job->prefix, "\n", 1);
  lc_prefix_mark(&job->prefix, &file->mark);
  file->mark.flags = job->framing.skipping ? LC_FILE_MARK_SKIPPING : 0;
  file->mark.size = work->stat.size > file->mark.offset ? work->stat.size : file->mark.offset;
  /* An error here shows up again in the next read. */
  (void)lc_file_mark_head(&file->mark, file->fd);
  lc_file_mark_pack(&file->mark, &range->resume);
  work->consumed += used;
  job->consumed += used;
  job->batch->data_len = from + here;
}

/* What to do with an unfinished line that fills the whole block: its end may be the very next byte. */
static void end_full_block(lc_file_job *job, lc_file_work *work, uint32_t to) {
  char next = 0;
  int64_t n = lc_file_read_at(work->file->fd, &next, 1, work->file->mark.offset + to);
  if (n < 0 || (n == 0 && !work->flush)) return; /* an error shows up again; or nothing follows yet */
  lc_frame_end end = n == 0 ? LC_FRAME_ENDED : next == '\n' ? LC_FRAME_NEWLINE : LC_FRAME_LONG;
  (void)lc_frame_rest(&job->framing, job->batch, 0, to, end);
}

/* Joins the lines framed from record `first` on, the first of which stands at `from` in the block. */
static void join_lines(lc_file_job *job, lc_file_work *work, uint32_t first, uint32_t from, uint32_t begin, bool eof,
                       bool full) {
  lc_batch *batch = job->batch;
  if (job->how->multiline == NULL || batch->n_records == first) return;
  bool flush = eof && (work->flush || work->flush_group);
  uint32_t first_begin = begin + (batch->records[first].body - from);
  uint32_t back = lc_multiline_join(job->how->multiline, &job->match, batch, first, first_begin, flush, full);
  work->group_open = back > 0;
}

/* Cuts the bytes [from, to) of the block, which stand at the file's mark, into records. Returns the bytes used, or -1
 * when memory is short. */
static int64_t frame_block(lc_file_job *job, lc_file_work *work, uint32_t from, uint32_t to, bool eof) {
  lc_batch *batch = job->batch;
  uint32_t n_ranges = batch->n_ranges;
  lc_range *range = range_for(job, work->file);
  if (range == NULL) return -1;
  uint64_t before = range->end;
  uint32_t first = batch->n_records, begin = (uint32_t)(before - range->begin);
  job->framing.skipping = (work->file->mark.flags & LC_FILE_MARK_SKIPPING) != 0;
  uint32_t at = lc_frame(&job->framing, batch, from, to);
  bool block_full = from == 0 && to == batch->data_cap;
  bool no_memory = false;
  if (at < to && !lc_frame_full(batch)) {
    no_memory = memchr(batch->base[0] + at, '\n', to - at) != NULL; /* a whole line, and no record for it */
    if (!no_memory && eof && work->flush) {
      no_memory = !lc_frame_rest(&job->framing, batch, at, to, LC_FRAME_ENDED);
    } else if (!no_memory && block_full && at == 0) {
      end_full_block(job, work, to);
    }
  }
  bool alone = first == 0 && from == 0 && (block_full || lc_frame_full(batch));
  join_lines(job, work, first, from, begin, eof, alone);
  uint32_t used = (uint32_t)(range->end - before);
  if (used > 0) move_mark(job, work, range, from, to, used);
  if (no_memory) {
    work->look = LC_LOOK_FAILED;
    work->error = ENOMEM;
  } else if (eof && work->final && used >= to - from) {
    range->last = true;
    work->ended = true;
  }
  if (batch->n_ranges > n_ranges) drop_empty_range(batch);
  return used;
}

/* What is to be read next: where, and how many of the bytes are there already, to be compared with the mark. */
typedef struct block_plan {
  uint64_t offset;
  uint32_t part;
} block_plan;

static block_plan plan_block(const lc_file *file, bool checked) {
  if (checked) return (block_plan){file->mark.offset, 0};
  uint64_t start = lc_file_part_start(&file->mark);
  return (block_plan){start, (uint32_t)(file->mark.offset - start)};
}

/* Makes room for the plan in the batch in hand. False: all batches are filled. */
static bool make_room(lc_file_job *job, const block_plan *plan) {
  lc_batch *batch = batch_in_hand(job);
  if (batch == NULL) return false;
  uint32_t need = plan->part + ROOM_LEAST;
  bool tight = batch->data_cap - batch->data_len < need || lc_frame_full(batch) ||
               batch->n_ranges >= LC_BATCH_RANGES_MAX;
  if (!tight || (batch->data_len == 0 && batch->n_ranges == 0)) return true;
  pass_batch(job);
  return batch_in_hand(job) != NULL;
}

/* Reads one block. Returns 1: go on; 0: this look is over, and `work` says why. */
static int read_block(lc_file_job *job, lc_file_work *work, bool *checked) {
  lc_file *file = work->file;
  block_plan plan = plan_block(file, *checked);
  if (job->consumed >= job->how->job_bytes || job->carrier.error.code != 0 || !make_room(job, &plan)) {
    work->more = true;
    return 0;
  }
  lc_batch *batch = job->batch;
  uint32_t at = batch->data_len, room = batch->data_cap - at;
  int64_t n = lc_file_read_at(file->fd, batch->base[0] + at, room, plan.offset);
  if (n < 0) {
    work->look = LC_LOOK_FAILED;
    work->error = (int)-n;
    return 0;
  }
  if (!*checked && (n < plan.part || !lc_prefix_check(&job->prefix, &file->mark, batch->base[0] + at, plan.part))) {
    work->look = LC_LOOK_REPLACED;
    return 0;
  }
  *checked = true;
  uint32_t from = at + plan.part, to = at + (uint32_t)n;
  work->eof = n < room;
  int64_t used = frame_block(job, work, from, to, work->eof);
  if (used < 0) {
    work->look = LC_LOOK_FAILED;
    work->error = ENOMEM;
    return 0;
  }
  if (work->look != LC_LOOK_DONE) return 0;
  if (work->eof && (used >= to - from || !lc_frame_full(batch))) return 0;
  if (used > 0 || plan.part > 0) return 1;
  if (at == 0 && batch->n_records == 0) { /* a full block without a line end, and nothing follows yet */
    work->eof = true;
    return 0;
  }
  pass_batch(job);
  return 1;
}

static void read_file(lc_file_job *job, lc_file_work *work) {
  lc_file *file = work->file;
  lc_prefix_start(&job->prefix, &file->mark);
  bool checked = file->mark.offset == file->mark.base;
  work->look = LC_LOOK_DONE;
  while (read_block(job, work, &checked) != 0) continue;
}

/* Delivers where the file begins, when that is not its first byte: from now on the cursor is stored. */
static void deliver_start(lc_file_job *job, lc_file_work *work) {
  block_plan plan = {0};
  lc_range *range = make_room(job, &plan) ? range_for(job, work->file) : NULL;
  work->look = range == NULL ? LC_LOOK_SKIPPED : LC_LOOK_DONE;
}

static void deliver_end(lc_file_job *job, lc_file_work *work) {
  deliver_start(job, work);
  if (work->look != LC_LOOK_DONE) return;
  job->batch->ranges[job->batch->n_ranges - 1].last = true;
  work->ended = true;
}

static void look_at(lc_file_job *job, lc_file_work *work) {
  lc_file *file = work->file;
  if (work->end) {
    deliver_end(job, work);
    return;
  }
  if (!lc_file_open_for(job, work)) return;
  if (work->seek_end) {
    if (!lc_file_seek(job, work, work->seek_to)) return;
    deliver_start(job, work);
    if (work->look != LC_LOOK_DONE) return;
  }
  if (work->stat.size < file->mark.offset) {
    work->look = LC_LOOK_REPLACED;
  } else {
    if (work->stat.size != work->quiet_size) work->final = false;
    work->flush |= work->final;
    read_file(job, work);
    bool nothing = work->look == LC_LOOK_DONE && work->consumed == 0 && !work->ended;
    if (work->ended && work->stat.links > 0) lc_file_find_name(work);
    if (work->announce && nothing && !work->more) deliver_start(job, work);
  }
}

void lc_file_job_run(lc_file_job *job) {
  for (uint32_t i = 0; i < job->n_close; i++) {
    /* The descriptor is gone whatever close says; nothing was written through it. */
    (void)close(job->close_fds[i]);
    job->permits++;
  }
  for (uint32_t i = 0; i < job->n_works; i++) {
    lc_file_work *work = &job->works[i];
    bool had = work->file->fd >= 0;
    look_at(job, work);
    bool others = i + 1 < job->n_works;
    lc_file_close_after(job, work, had, others);
    if (batch_in_hand(job) == NULL) break; /* the rest stays LC_LOOK_SKIPPED */
  }
  if (job->batch == NULL) return;
  if (job->batch->n_records > 0) pass_batch(job);
  if (job->batch != NULL && job->batch->n_ranges > 0) put_filled(job);
}
