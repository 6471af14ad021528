#include "sink/compress.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "io/durable.h"

#define BLOCK ((size_t)128 << 10)
#define ZSTD_LEVEL 3
#define GZIP_LEVEL 6

typedef struct compressor {
  lc_file_compression kind;
  int to;
  z_stream zlib;
  ZSTD_CCtx *zstd; /* owned */
  char *in, *out;  /* owned; BLOCK bytes each */
} compressor;

const char *lc_compress_ending(lc_file_compression kind) {
  switch (kind) {
    case LC_FILE_GZIP: return ".gz";
    case LC_FILE_ZSTD: return ".zst";
    default: return "";
  }
}

static int begin(compressor *self, lc_error *error) {
  self->in = malloc(BLOCK);
  self->out = malloc(BLOCK);
  bool ok = self->in != NULL && self->out != NULL;
  if (ok && self->kind == LC_FILE_GZIP) {
    ok = deflateInit2(&self->zlib, GZIP_LEVEL, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK;
  } else if (ok) {
    self->zstd = ZSTD_createCCtx();
    ok = self->zstd != NULL && !ZSTD_isError(ZSTD_CCtx_setParameter(self->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL)) &&
         !ZSTD_isError(ZSTD_CCtx_setParameter(self->zstd, ZSTD_c_checksumFlag, 1));
  }
  return ok ? 0 : lc_error_set(error, LC_ENOMEM, "no memory to compress");
}

static void end(compressor *self) {
  if (self->kind == LC_FILE_GZIP) (void)deflateEnd(&self->zlib);
  ZSTD_freeCCtx(self->zstd);
  free(self->in);
  free(self->out);
}

static int put_gzip(compressor *self, size_t len, bool last, lc_error *error) {
  self->zlib.next_in = (Bytef *)self->in;
  self->zlib.avail_in = (uInt)len;
  do {
    self->zlib.next_out = (Bytef *)self->out;
    self->zlib.avail_out = (uInt)BLOCK;
    if (deflate(&self->zlib, last ? Z_FINISH : Z_NO_FLUSH) == Z_STREAM_ERROR) {
      return lc_error_set(error, LC_EINVAL, "gzip failed");
    }
    int rc = lc_durable_write_all(self->to, self->out, BLOCK - self->zlib.avail_out, NULL, "compressed output", error);
    if (rc != 0) return rc;
  } while (self->zlib.avail_out == 0);
  return 0;
}

static int put_zstd(compressor *self, size_t len, bool last, lc_error *error) {
  ZSTD_inBuffer in = {self->in, len, 0};
  size_t left;
  do {
    ZSTD_outBuffer out = {self->out, BLOCK, 0};
    left = ZSTD_compressStream2(self->zstd, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
    if (ZSTD_isError(left)) return lc_error_set(error, LC_EINVAL, "zstd failed: %s", ZSTD_getErrorName(left));
    int rc = lc_durable_write_all(self->to, self->out, out.pos, NULL, "compressed output", error);
    if (rc != 0) return rc;
  } while (last ? left > 0 : in.pos < in.size);
  return 0;
}

static int put(compressor *self, size_t len, bool last, lc_error *error) {
  return self->kind == LC_FILE_GZIP ? put_gzip(self, len, last, error) : put_zstd(self, len, last, error);
}

int lc_compress_file(lc_file_compression kind, int from, int to, bool (*stop)(void *arg), void *arg,
                     uint64_t *ret_read, lc_error *error) {
  compressor self = {.kind = kind, .to = to};
  uint64_t total = 0;
  int rc = begin(&self, error);
  bool last = false;
  while (rc == 0 && !last) {
    if (stop != NULL && stop(arg)) {
      rc = lc_error_set(error, LC_ECANCELED, "compression was stopped");
      break;
    }
    ssize_t n = read(from, self.in, BLOCK);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      rc = lc_error_sys(error, errno, "cannot read what is to be compressed");
      break;
    }
    last = n == 0;
    total += (uint64_t)n;
    rc = put(&self, (size_t)n, last, error);
  }
  end(&self);
  if (rc == 0) *ret_read = total;
  return rc;
}
