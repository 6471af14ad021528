/* Writes a delivery: group by group, so that each output is opened once, in pieces that refer into the batch where
 * nobody touched the records. Where it fails it stops, in the middle of a line if need be, and goes on there when it is
 * called again.
 *
 *     rc = lc_file_write(&writing, delivery, now_ns, &error);     // again and again, until it is 0
 *
 * Thread: the job that has the sink. */
#ifndef LC_SINK_FILE_WRITE_H
#define LC_SINK_FILE_WRITE_H

#include "record/encode.h"
#include "sink/file_plan.h"
#include "sink/output_rotate.h"

#define LC_FILE_WRITE_PIECES 64u

/* A place among the records of a group. */
typedef struct lc_file_place {
  uint32_t run, at;
} lc_file_place;

typedef struct lc_file_writing {
  /* Set by the owner. */
  const lc_path_template *template;
  lc_output_set *set;
  uint64_t min_free;
  lc_format format; /* of the deliveries that begin from now on, as the next one */
  bool metadata;
  bool redo; /* the template changed: what is half written is taken back and begun anew, for its old path may be why */
  /* Its own. */
  lc_rotation rotation; /* size and age are the owner's */
  lc_encoder encoder;   /* has the format of the delivery under way */
  lc_file_plan plan;
  const lc_batch *batch; /* under way; NULL: none */
  uint32_t group;
  bool begun;          /* this group's output is in use */
  lc_file_place place; /* the first record that is not encoded */
  lc_file_place start; /* the first that went into the group's present file */
  struct iovec iov[LC_FILE_WRITE_PIECES]; /* encoded, not written */
  size_t at, n;
  lc_extent tail; /* of the pieces: their end, once written */
  lc_buf gathered;
  uint64_t free_device; /* whose free space was looked at last, and when */
  int64_t free_ns;
} lc_file_writing;

int lc_file_write(lc_file_writing *self, const lc_delivery *delivery, int64_t now_ns, lc_error *error) LC_CHECK;
/* Makes it as if nothing of the delivery under way, if there is one, had been written. */
int lc_file_take_back(lc_file_writing *self, lc_error *error) LC_CHECK;
void lc_file_writing_deinit(lc_file_writing *self); /* may run twice */

#endif
