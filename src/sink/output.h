/* One output file, or one that it was rotated to: its identity, its lengths, its descriptor.
 *
 *     rc = lc_output_open(output, &context, &error);          // creates, or finds again and locks
 *     rc = lc_output_write(output, iov, &at, n, &error);      // appends
 *
 * Files are appended to (O_APPEND), never written at an offset: when somebody else cuts or extends a file of ours, no
 * hole is padded with zeroes and no foreign byte is overwritten; where the file then ends is what the kernel says.
 *
 * Thread: the job that has the sink, but for `shown`, `listed` and the list of changes, which are the loop thread's. */
#ifndef LC_SINK_OUTPUT_H
#define LC_SINK_OUTPUT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "io/inodes.h"
#include "io/store.h"
#include "logcap/error.h"

#define LC_OUTPUT_TAIL 4096u /* bytes before the end that are remembered by their hash, at most */

/* How far a file goes, and what stands before that. */
typedef struct lc_extent {
  uint64_t length;
  uint64_t tail_hash;
  uint32_t tail_len;
  bool mid_line; /* when read back: it does not end with a newline */
} lc_extent;

typedef struct lc_file_id {
  uint64_t device, inode;
  int64_t birth_ns; /* 0: the file system does not say */
  uint64_t size;
  uint64_t links;
  int64_t changed_ns; /* mtime */
  bool regular;
} lc_file_id;

typedef struct lc_output lc_output;

struct lc_output {
  char *path;  /* owned */
  uint64_t id; /* of its row; 0: has none yet */
  uint64_t hash; /* of the path, for the table */
  uint64_t device, inode;
  int64_t birth_ns, made_ns;
  int64_t wrote_ns;  /* wall clock of the last write; of finished ones: when they were finished */
  lc_extent end;     /* in the file */
  lc_extent settled; /* after the last delivery that was written whole */
  int fd;            /* -1: not open */
  uint32_t plan, group; /* the delivery that it is part of, and where */
  uint32_t seen;        /* the delivery that looked it up last */
  bool closed;   /* rotated: never written again */
  bool mid_line; /* its last byte is no newline, and not ours to finish: the next line begins with one */
  bool unread;   /* of an earlier run: its last byte was not looked at yet */
  bool touched;  /* in the list of the delivery under way */
  bool dirty;    /* settled has moved since it was shown */
  bool unsynced; /* written since the last fsync */
  bool row_due;  /* its row must be written before its next byte */
  int8_t disturbed; /* -1: somebody cut it, 1: somebody else writes to it, too; not told yet */
  bool cut_late;    /* recovery could not reach it: what lies beyond `end` is cut when it is opened */
  lc_output *next_touched, *next_dirty;
  lc_output *newer, *older; /* among the open ones */
  lc_output *next_closed, *next_dead;
  bool moved;   /* finished because somebody else renamed it: neither compressed nor removed by us */
  bool packing; /* finished: a job compresses it; under the set's lock */
  bool packed;  /* finished: compressed, or not to be */
  /* The loop thread's. */
  lc_extent shown;
  _Atomic bool listed; /* what it shows is not committed yet */
  bool in_changed, in_sent; /* in these lists */
  bool dead;           /* freed once no list has it */
  lc_output *next_changed, *next_sent;
};

/* What opening needs to know. */
typedef struct lc_output_rules {
  uint32_t mode, folder_mode;
  bool durable;       /* folders are synced after an entry was made in them */
  lc_inodes *own;     /* may be NULL in tests */
} lc_output_rules;

/* What lc_output_open found. */
typedef enum lc_output_found {
  LC_OUTPUT_CREATED,  /* a new file of ours; its row is due */
  LC_OUTPUT_ADOPTED,  /* a file that was there: appended to from its end on; its row is due */
  LC_OUTPUT_AGAIN,    /* the file that it was, as long as it was */
  LC_OUTPUT_SHORTER,  /* the same file, but somebody cut it */
  LC_OUTPUT_LONGER,   /* the same file, but somebody appended to it */
  LC_OUTPUT_REPLACED  /* another file, or none, stands there now: nothing was opened */
} lc_output_found;

/* NULL when out of memory. */
lc_output *lc_output_create(const char *path, size_t len, uint64_t hash);
void lc_output_destroy(lc_output *output); /* must not be open; NULL is allowed */

/* Opens the file for appending and locks it. LC_EBUSY when another process or sink has it. */
int lc_output_open(lc_output *output, const lc_output_rules *rules, lc_output_found *ret, lc_error *error) LC_CHECK;
/* Whether the open file still stands at its path. */
bool lc_output_in_place(const lc_output *output);
/* Closes it if it is open. A failure is reported and leaves it closed. */
int lc_output_close(lc_output *output, lc_error *error) LC_CHECK;
/* Appends the pieces [*at, n), moving *at and cutting what is written off the pieces: after a failure the same call
 * goes on where it stopped. */
int lc_output_write(lc_output *output, struct iovec *iov, size_t *at, size_t n, lc_error *error) LC_CHECK;
int lc_output_sync(lc_output *output, lc_error *error) LC_CHECK;

/* Its row as it is now. */
lc_stored_output lc_output_row(const lc_output *output, uint32_t sink_id);

/* Files by name. Symbolic links are not followed. LC_ENOENT when there is none. */
int lc_file_id_of(const char *path, lc_file_id *ret, lc_error *error) LC_CHECK;
int lc_file_id_of_fd(int fd, const char *path, lc_file_id *ret, lc_error *error) LC_CHECK;
/* Whether a stored identity is that of a file. */
bool lc_file_id_is(const lc_file_id *file, uint64_t inode, int64_t birth_ns);
/* Whether the bytes before `saved->length` are those that were saved. */
int lc_file_tail_matches(const char *path, const lc_extent *saved, bool *ret, lc_error *error) LC_CHECK;
/* The extent [0, length) of a file, read back, with a tail of at most `tail_len` bytes (at most LC_OUTPUT_TAIL). */
int lc_file_extent(const char *path, uint64_t length, uint32_t tail_len, lc_extent *ret, lc_error *error) LC_CHECK;

#endif
