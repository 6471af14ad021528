#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "monitor/stdin_inside.h"

#define JOB_BYTES (16u << 20)

/* Reads behind the rest. Returns the bytes in the block, or -1: nothing to be had now. */
static int64_t read_block(stdin_job *job) {
  stdin_monitor *monitor = job->monitor;
  lc_batch *batch = job->batch;
  bool too_much = monitor->rest_len >= job->limit; /* batches were larger when it was read */
  memcpy(batch->base[0], monitor->rest, too_much ? job->limit : monitor->rest_len);
  if (too_much) return job->limit;
  if (job->rest) {
    job->eof = true;
    return monitor->rest_len;
  }
  for (;;) {
    ssize_t n = read(monitor->fd, batch->base[0] + monitor->rest_len, job->limit - monitor->rest_len);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return job->flush ? (int64_t)monitor->rest_len : -1;
    if (n < 0) job->error = errno;
    if (n <= 0) job->eof = true; /* an error ends it too: there is no way to read on */
    return n > 0 ? monitor->rest_len + n : monitor->rest_len;
  }
}

/* Cuts the block into records; what is not used becomes the rest. False: no memory. */
static bool frame_block(stdin_job *job, uint32_t len) {
  stdin_monitor *monitor = job->monitor;
  lc_batch *batch = job->batch;
  lc_range *range = batch->n_ranges > 0 ? &batch->ranges[batch->n_ranges - 1]
                                        : lc_batch_add_range(batch, monitor->source, monitor->position);
  if (range == NULL) return false;
  uint64_t before = range->end;
  uint32_t begin = (uint32_t)(before - range->begin);
  uint32_t at = lc_frame(&monitor->framing, batch, 0, len);
  if (job->eof && at < len && !lc_frame_full(batch))
    (void)lc_frame_rest(&monitor->framing, batch, at, len, LC_FRAME_ENDED);
  if (monitor->multiline != NULL && batch->n_records > 0) {
    bool full = len == job->limit || lc_frame_full(batch);
    uint32_t back = lc_multiline_join(monitor->multiline, &job->match, batch, 0, begin + batch->records[0].body,
                                      job->eof || job->flush, full);
    job->group_open = back > 0;
  }
  uint32_t used = (uint32_t)(range->end - before);
  monitor->position = range->end;
  if (monitor->rest_len > len) {
    monitor->rest_len -= used;
    memmove(monitor->rest, monitor->rest + used, monitor->rest_len);
  } else {
    monitor->rest_len = len - used;
    memcpy(monitor->rest, batch->base[0] + used, monitor->rest_len);
  }
  batch->data_len = used;
  if (job->eof && monitor->rest_len == 0) range->last = true;
  return true;
}

void lc_stdin_job_run(uv_work_t *request) {
  stdin_job *job = request->data;
  uint64_t start = job->monitor->position;
  for (;;) {
    int64_t len = read_block(job);
    if (len < 0) return;
    job->batch->read_ns = lc_clock_wall();
    if (!frame_block(job, (uint32_t)len)) {
      job->error = ENOMEM;
      job->eof = true;
      return;
    }
    job->flush = false;
    bool over = job->eof && job->monitor->rest_len == 0;
    if (job->batch->n_records > 0 && lc_carrier_process(&job->carrier, job->batch) != LC_CARRIER_REFILL) {
      job->filled = true;
      job->again = !over;
      job->eof = over;
      return;
    }
    if (over) return;
    job->again = job->monitor->position - start > JOB_BYTES || job->carrier.error.code != 0;
    if (job->again) return;
  }
}
