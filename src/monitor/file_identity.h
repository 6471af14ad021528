/* Who a file is, and how far it was read: inode and birth time identify it, content confirms it.
 *
 * The mark of a position holds hashes of what lies before it: a chain over full blocks of 64 KiB, the hash of the part
 * behind them, and the hash of the head. So a file that was truncated and written again is told from one that grew,
 * however long it is by now, and a copy of a file from a file with the same beginning.
 *
 *     lc_prefix_start(&prefix, &mark);                     // at the mark's position
 *     if (!lc_prefix_check(&prefix, &mark, part, len)) ... // its last part is not in the file: another file
 *     lc_prefix_add(&prefix, bytes, len);                  // what was read on
 *     lc_prefix_mark(&prefix, &mark);                      // the mark of the new position
 *
 * Thread: any; a prefix belongs to one thread at a time. */
#ifndef LC_MONITOR_FILE_IDENTITY_H
#define LC_MONITOR_FILE_IDENTITY_H

#include <stddef.h>
#include <stdint.h>

#include "logcap/record.h"

typedef struct lc_file_id {
  uint64_t inode;
  int64_t birth_ns; /* 0: the file system does not say */
} lc_file_id;

static inline bool lc_file_id_equal(lc_file_id a, lc_file_id b) {
  return a.inode == b.inode && a.birth_ns == b.birth_ns;
}

/* A source's key: "INODE:BIRTH" or, from the second generation in the same inode on, "INODE:BIRTH:GENERATION". */
#define LC_FILE_KEY_TEXT 64
void lc_file_key(lc_file_id id, uint32_t generation, char ret[LC_FILE_KEY_TEXT]);
bool lc_file_key_parse(const char *key, lc_file_id *ret_id, uint32_t *ret_generation);

typedef struct lc_file_stat {
  lc_file_id id;
  uint64_t device, size;
  int64_t mtime_ns;
  uint32_t links;
  bool regular;
} lc_file_stat;

/* 0 or -errno. */
int lc_file_stat_fd(int fd, lc_file_stat *ret);
int lc_file_stat_at(int folder, const char *name, lc_file_stat *ret);

/* pread until `len` bytes, the end or an error: the number read, or -errno. */
int64_t lc_file_read_at(int fd, void *bytes, size_t len, uint64_t offset);

#define LC_FILE_BLOCK 65536u
#define LC_FILE_HEAD 4096u

#define LC_FILE_MARK_SKIPPING 0x1u /* the next bytes are the rest of a line that was cut */

/* The unpacked lc_mark of a file source. Its position is the offset. */
typedef struct lc_file_mark {
  uint64_t offset;
  uint64_t base;     /* where the chain begins: not 0 when the file was first read from its end */
  uint64_t chain;    /* of the full blocks from base to the part */
  uint64_t part;     /* hash of [lc_file_part_start, offset) */
  uint64_t head;     /* hash of [0, head_len) */
  uint64_t size;     /* of the file, when it was last seen before this mark was made */
  uint32_t head_len;
  uint32_t flags; /* LC_FILE_MARK_* */
} lc_file_mark;

void lc_file_mark_pack(const lc_file_mark *mark, lc_mark *ret);
/* False when it was not written by this code. */
bool lc_file_mark_unpack(const lc_mark *packed, lc_file_mark *ret);

/* Where the part before the mark's position begins. It holds 1 to 64 Ki bytes, or none at `base`. */
static inline uint64_t lc_file_part_start(const lc_file_mark *mark) {
  if (mark->offset == mark->base) return mark->base;
  return mark->base + (mark->offset - mark->base - 1) / LC_FILE_BLOCK * LC_FILE_BLOCK;
}

/* The hashes of what lies before a position that moves. */
typedef struct lc_prefix {
  void *state; /* owned; the part's */
  uint64_t chain;
  uint64_t base, offset;
  uint32_t part_len;
} lc_prefix;

int lc_prefix_init(lc_prefix *prefix) LC_CHECK;
void lc_prefix_deinit(lc_prefix *prefix);
/* Sets out at the start of the mark's part. */
void lc_prefix_start(lc_prefix *prefix, const lc_file_mark *mark);
void lc_prefix_add(lc_prefix *prefix, const void *bytes, size_t len);
/* Adds the part's bytes and says whether they are those of the mark. */
bool lc_prefix_check(lc_prefix *prefix, const lc_file_mark *mark, const void *part, size_t len);
/* Writes offset, chain and part. */
void lc_prefix_mark(const lc_prefix *prefix, lc_file_mark *mark);

/* Reads the file's head again when it has grown (`mark->offset` says how far it may be trusted). 0 or -errno. */
int lc_file_mark_head(lc_file_mark *mark, int fd);
/* Whether the head of the open file is the mark's. `buf` holds LC_FILE_HEAD bytes. Negative: -errno. */
int lc_file_head_matches(const lc_file_mark *mark, int fd);
/* Whether all bytes of the open file before the mark's offset are those that it was made from: reads them all. 1, 0, or
 * -errno. `scratch` holds LC_FILE_BLOCK bytes. */
int lc_file_prefix_matches(const lc_file_mark *mark, int fd, lc_prefix *prefix, char *scratch);
/* The mark of a file that is to be read from `offset` on, without having read what lies before. 0 or -errno. */
int lc_file_mark_at(lc_file_mark *mark, int fd, uint64_t offset, lc_prefix *prefix, char *scratch);

#endif
