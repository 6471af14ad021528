#include "sink/stdout_sink.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "io/inodes.h"
#include "record/encode.h"
#include "sink/writer.h"

#define PIECES 64u
#define WAIT_MS 1000 /* for a reader that is slow, before it is called an error */

typedef struct stdout_sink {
  lc_writer writer; /* first */
  lc_stdout_sink_options options;
  lc_encoder encoder;    /* keeps the options of the batch that is half written */
  const lc_batch *batch; /* half written; NULL: none */
  struct iovec iov[PIECES];
  size_t at, n;
  uint32_t record; /* the first that is not encoded */
  bool careful; /* a pipe or socket: a write may wait for ever for a reader that sleeps, so write what surely fits */
  _Atomic uint64_t bytes;
} stdout_sink;

static int write_error(lc_error *error, int sys) {
  if (sys != EPIPE) return lc_error_sys(error, sys, "cannot write to standard output");
  int rc = lc_error_set(error, LC_ESYS,
                        "standard output has no reader any more (broken pipe): what reads it has ended; "
                        "lines wait, and are read again by the next run");
  if (error != NULL) error->sys = sys;
  return rc;
}

/* The other end may have made the descriptor non-blocking. */
static int wait_writable(lc_error *error) {
  struct pollfd poll_fd = {.fd = STDOUT_FILENO, .events = POLLOUT};
  int n = poll(&poll_fd, 1, WAIT_MS);
  if (n > 0 || (n < 0 && errno == EINTR)) return 0;
  return n == 0 ? write_error(error, EAGAIN) : write_error(error, errno);
}

/* POLLOUT promises PIPE_BUF bytes. */
static ssize_t write_some(stdout_sink *self) {
  const struct iovec *piece = &self->iov[self->at];
  if (!self->careful) return writev(STDOUT_FILENO, piece, (int)(self->n - self->at));
  return write(STDOUT_FILENO, piece->iov_base, piece->iov_len < PIPE_BUF ? piece->iov_len : PIPE_BUF);
}

static int write_pieces(stdout_sink *self, lc_error *error) {
  while (self->at < self->n) {
    int wait_rc = self->careful ? wait_writable(error) : 0;
    if (wait_rc != 0) return wait_rc;
    ssize_t done = write_some(self);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0 && errno == EAGAIN) {
      int rc = wait_writable(error);
      if (rc != 0) return rc;
      continue;
    }
    if (done < 0) return write_error(error, errno);
    atomic_fetch_add(&self->bytes, (uint64_t)done);
    size_t left = (size_t)done;
    while (self->at < self->n && left >= self->iov[self->at].iov_len) left -= self->iov[self->at++].iov_len;
    if (self->at == self->n) break;
    self->iov[self->at].iov_base = (char *)self->iov[self->at].iov_base + left;
    self->iov[self->at].iov_len -= left;
  }
  return 0;
}

/* The end of the wanted records that begin at `from`; records that are not live are skipped by the encoder. */
static uint32_t wanted_end(const lc_delivery *delivery, uint32_t from) {
  const lc_batch *batch = delivery->batch;
  if (!delivery->skips) return batch->n_records;
  uint32_t to = from;
  while (to < batch->n_records && (!lc_record_live(&batch->records[to]) || lc_delivery_wants(delivery, to))) to++;
  return to;
}

static int stdout_write(lc_writer *writer, lc_delivery *delivery, lc_error *error) {
  stdout_sink *self = (stdout_sink *)(void *)writer;
  if (self->batch == NULL) {
    self->record = delivery->at;
    self->encoder.format = self->options.format;
    self->encoder.metadata = self->options.metadata;
  }
  self->batch = delivery->batch;
  for (;;) {
    int rc = write_pieces(self, error);
    if (rc != 0) return rc;
    self->at = self->n = 0;
    if (self->record >= delivery->batch->n_records) break;
    uint32_t to = wanted_end(delivery, self->record);
    size_t bytes = 0;
    if (to == self->record) {
      self->record++; /* not wanted */
      continue;
    }
    rc = lc_encode(&self->encoder, delivery->batch, &self->record, to, UINT64_MAX, self->iov, PIECES, &self->n, &bytes);
    if (rc != 0) return lc_error_set(error, rc, "no memory to encode records");
  }
  self->batch = NULL;
  delivery->at = delivery->batch->n_records;
  return 0;
}

/* Where standard output is a file, logcap must not read it. */
static int stdout_open(lc_writer *writer, lc_runtime *runtime, lc_error *error) {
  stdout_sink *self = (stdout_sink *)(void *)writer;
  struct stat st;
  if (fstat(STDOUT_FILENO, &st) != 0) {
    return lc_error_sys(error, errno, "stdout_sink: standard output is not open");
  }
  self->careful = S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode);
  if (!S_ISREG(st.st_mode) || runtime->own == NULL) return 0;
  return lc_inodes_add_fd(runtime->own, STDOUT_FILENO, error);
}

static void stdout_destroy(lc_writer *writer) {
  stdout_sink *self = (stdout_sink *)(void *)writer;
  lc_encoder_deinit(&self->encoder);
  free(self);
}

static int stdout_stats(lc_writer *writer, lc_buf *ret) {
  stdout_sink *self = (stdout_sink *)(void *)writer;
  return lc_buf_addf(ret, ",\"bytes\":%llu", (unsigned long long)atomic_load(&self->bytes));
}

static lc_fit stdout_fit(const lc_writer *writer, const lc_writer *described) {
  const lc_stdout_sink_options *now = &((const stdout_sink *)(const void *)writer)->options;
  const lc_stdout_sink_options *wanted = &((const stdout_sink *)(const void *)described)->options;
  return now->format == wanted->format && now->metadata == wanted->metadata ? LC_FIT_SAME : LC_FIT_CHANGED;
}

static void stdout_adopt(lc_writer *writer, lc_writer *described) {
  ((stdout_sink *)(void *)writer)->options = ((stdout_sink *)(void *)described)->options;
}

static int stdout_show(lc_sink *sink, const lc_batch *batch, const lc_record *rec, lc_buf *line, lc_buf *place) {
  const stdout_sink *self = (const stdout_sink *)(const void *)sink;
  lc_encoder encoder = {.format = self->options.format, .metadata = self->options.metadata};
  (void)place;
  int rc = lc_encode_record(&encoder, batch, rec, line);
  lc_encoder_deinit(&encoder);
  return rc;
}

static const lc_writer_ops stdout_ops = {.open = stdout_open,
                                         .write = stdout_write,
                                         .destroy = stdout_destroy,
                                         .fit = stdout_fit,
                                         .adopt = stdout_adopt,
                                         .stats = stdout_stats,
                                         .show = stdout_show};

int lc_stdout_sink_create(const lc_stdout_sink_options *options, lc_registry *registry, const char *name,
                          const char *made_at, lc_sink **ret, lc_error *error) {
  if (options->metadata && options->format != LC_SINK_JSON) {
    return lc_error_set(error, LC_EINVAL, "metadata needs format = \"json\": raw output is the message alone");
  }
  stdout_sink *self = calloc(1, sizeof *self);
  char *identity = NULL;
  if (self == NULL || asprintf(&identity, name != NULL ? "stdout_sink:%s" : "stdout_sink", name) < 0) {
    free(self);
    return lc_error_set(error, LC_ENOMEM, "no memory for a stdout_sink");
  }
  self->options = *options;
  int rc = lc_writer_init(&self->writer, &stdout_ops, registry, "stdout_sink", name, identity, made_at, error);
  free(identity);
  if (rc != 0) {
    free(self);
    return rc;
  }
  *ret = &self->writer.sink;
  return 0;
}
