#include "monitor/file_identity.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#ifdef LC_XXHASH_DISPATCH
#include <xxh_x86dispatch.h> /* the widest instructions that the processor has: the same hashes in half the time */
#else
#include <xxhash.h>
#endif

#include "base/check.h"
#include "base/hash.h"

#define MARK_MAGIC 0x31464d4cu /* "LMF1" */

void lc_file_key(lc_file_id id, uint32_t generation, char ret[LC_FILE_KEY_TEXT]) {
  int n = snprintf(ret, LC_FILE_KEY_TEXT, "%" PRIu64 ":%" PRId64, id.inode, id.birth_ns);
  if (generation > 0) snprintf(ret + n, LC_FILE_KEY_TEXT - (size_t)n, ":%" PRIu32, generation);
}

bool lc_file_key_parse(const char *key, lc_file_id *ret_id, uint32_t *ret_generation) {
  char *inode_end, *birth_end, *end;
  lc_file_id id = {.inode = strtoull(key, &inode_end, 10)};
  if (inode_end == key || *inode_end != ':') return false;
  id.birth_ns = strtoll(inode_end + 1, &birth_end, 10);
  if (birth_end == inode_end + 1) return false;
  end = birth_end;
  unsigned long generation = *birth_end == ':' ? strtoul(birth_end + 1, &end, 10) : 0;
  if (end == birth_end + 1 || *end != '\0' || generation > UINT32_MAX) return false;
  *ret_id = id;
  *ret_generation = (uint32_t)generation;
  return true;
}

static int stat_into(int folder, const char *name, int flags, lc_file_stat *ret) {
  struct statx stx;
  unsigned mask = STATX_TYPE | STATX_MODE | STATX_INO | STATX_SIZE | STATX_MTIME | STATX_NLINK | STATX_BTIME;
  if (statx(folder, name, flags | AT_STATX_SYNC_AS_STAT, mask, &stx) != 0) return -errno;
  int64_t birth = 0;
  if ((stx.stx_mask & STATX_BTIME) != 0) birth = stx.stx_btime.tv_sec * INT64_C(1000000000) + stx.stx_btime.tv_nsec;
  *ret = (lc_file_stat){
      .id = {stx.stx_ino, birth},
      .device = makedev(stx.stx_dev_major, stx.stx_dev_minor),
      .size = stx.stx_size,
      .mtime_ns = stx.stx_mtime.tv_sec * INT64_C(1000000000) + stx.stx_mtime.tv_nsec,
      .links = stx.stx_nlink,
      .regular = S_ISREG(stx.stx_mode),
  };
  return 0;
}

int lc_file_stat_fd(int fd, lc_file_stat *ret) { return stat_into(fd, "", AT_EMPTY_PATH, ret); }

int lc_file_stat_at(int folder, const char *name, lc_file_stat *ret) { return stat_into(folder, name, 0, ret); }

int64_t lc_file_read_at(int fd, void *bytes, size_t len, uint64_t offset) {
  size_t done = 0;
  while (done < len) {
    ssize_t n = pread(fd, (char *)bytes + done, len - done, (off_t)(offset + done));
    if (n == 0) break;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return done > 0 ? (int64_t)done : -errno;
    done += (size_t)n;
  }
  return (int64_t)done;
}

/* What stands in the 64 bytes of a mark. Positions are only read on the machine that wrote them. */
typedef struct packed_mark {
  uint32_t magic, flags;
  uint64_t offset, base, chain, part, head, size;
  uint32_t head_len, reserved;
} packed_mark;
_Static_assert(sizeof(packed_mark) == sizeof(lc_mark), "a mark is 64 bytes");

void lc_file_mark_pack(const lc_file_mark *mark, lc_mark *ret) {
  packed_mark packed = {.magic = MARK_MAGIC,
                        .flags = mark->flags,
                        .offset = mark->offset,
                        .base = mark->base,
                        .chain = mark->chain,
                        .part = mark->part,
                        .head = mark->head,
                        .size = mark->size,
                        .head_len = mark->head_len};
  memcpy(ret->bytes, &packed, sizeof packed);
}

bool lc_file_mark_unpack(const lc_mark *from, lc_file_mark *ret) {
  packed_mark packed;
  memcpy(&packed, from->bytes, sizeof packed);
  if (packed.magic != MARK_MAGIC || packed.base > packed.offset || packed.head_len > LC_FILE_HEAD ||
      packed.head_len > packed.offset) {
    return false;
  }
  *ret = (lc_file_mark){.offset = packed.offset,
                        .base = packed.base,
                        .chain = packed.chain,
                        .part = packed.part,
                        .head = packed.head,
                        .size = packed.size,
                        .head_len = packed.head_len,
                        .flags = packed.flags};
  return true;
}

int lc_prefix_init(lc_prefix *prefix) {
  *prefix = (lc_prefix){.state = XXH3_createState()};
  return prefix->state == NULL ? LC_ENOMEM : 0;
}

void lc_prefix_deinit(lc_prefix *prefix) {
  XXH3_freeState(prefix->state);
  prefix->state = NULL;
}

void lc_prefix_start(lc_prefix *prefix, const lc_file_mark *mark) {
  prefix->chain = mark->chain;
  prefix->base = mark->base;
  prefix->offset = lc_file_part_start(mark);
  prefix->part_len = 0;
  XXH3_64bits_reset(prefix->state);
}

/* The part is a full block and more bytes come: it joins the chain. */
static void fold_part(lc_prefix *prefix) {
  uint64_t link[2] = {prefix->chain, XXH3_64bits_digest(prefix->state)};
  prefix->chain = lc_hash64(link, sizeof link);
  prefix->part_len = 0;
  XXH3_64bits_reset(prefix->state);
}

void lc_prefix_add(lc_prefix *prefix, const void *bytes, size_t len) {
  const char *at = bytes;
  while (len > 0) {
    if (prefix->part_len == LC_FILE_BLOCK) fold_part(prefix);
    size_t room = LC_FILE_BLOCK - prefix->part_len;
    size_t step = len < room ? len : room;
    XXH3_64bits_update(prefix->state, at, step);
    prefix->part_len += (uint32_t)step;
    prefix->offset += step;
    at += step;
    len -= step;
  }
}

bool lc_prefix_check(lc_prefix *prefix, const lc_file_mark *mark, const void *part, size_t len) {
  lc_assert(prefix->part_len == 0);
  lc_prefix_add(prefix, part, len);
  if (prefix->offset != mark->offset) return false;
  return len == 0 || XXH3_64bits_digest(prefix->state) == mark->part;
}

void lc_prefix_mark(const lc_prefix *prefix, lc_file_mark *mark) {
  mark->offset = prefix->offset;
  mark->base = prefix->base;
  mark->chain = prefix->chain;
  mark->part = prefix->part_len == 0 ? 0 : XXH3_64bits_digest(prefix->state);
}

int lc_file_mark_head(lc_file_mark *mark, int fd) {
  uint32_t len = mark->offset < LC_FILE_HEAD ? (uint32_t)mark->offset : LC_FILE_HEAD;
  if (len <= mark->head_len) return 0;
  char head[LC_FILE_HEAD];
  int64_t n = lc_file_read_at(fd, head, len, 0);
  if (n < 0) return (int)n;
  if (n < len) return 0; /* truncated just now: the next look sees it */
  mark->head = lc_hash64(head, len);
  mark->head_len = len;
  return 0;
}

int lc_file_head_matches(const lc_file_mark *mark, int fd) {
  if (mark->head_len == 0) return 1;
  char head[LC_FILE_HEAD];
  int64_t n = lc_file_read_at(fd, head, mark->head_len, 0);
  if (n < 0) return (int)n;
  return n == mark->head_len && lc_hash64(head, mark->head_len) == mark->head;
}

/* Adds the bytes up to `to` from the file: 1, 0 when the file is shorter, or -errno. */
static int add_from_file(lc_prefix *prefix, int fd, uint64_t to, char *scratch) {
  while (prefix->offset < to) {
    uint64_t left = to - prefix->offset;
    size_t want = left < LC_FILE_BLOCK ? (size_t)left : LC_FILE_BLOCK;
    int64_t n = lc_file_read_at(fd, scratch, want, prefix->offset);
    if (n < 0) return (int)n;
    if (n == 0) return 0;
    lc_prefix_add(prefix, scratch, (size_t)n);
  }
  return 1;
}

int lc_file_prefix_matches(const lc_file_mark *mark, int fd, lc_prefix *prefix, char *scratch) {
  int rc = lc_file_head_matches(mark, fd);
  if (rc <= 0) return rc;
  lc_prefix_start(prefix, &(lc_file_mark){.base = mark->base, .offset = mark->base});
  rc = add_from_file(prefix, fd, mark->offset, scratch);
  if (rc <= 0) return rc;
  lc_file_mark now = {0};
  lc_prefix_mark(prefix, &now);
  return now.chain == mark->chain && now.part == mark->part;
}

int lc_file_mark_at(lc_file_mark *mark, int fd, uint64_t offset, lc_prefix *prefix, char *scratch) {
  uint64_t base = offset == 0 ? 0 : (offset - 1) / LC_FILE_BLOCK * LC_FILE_BLOCK;
  *mark = (lc_file_mark){.base = base, .offset = base};
  lc_prefix_start(prefix, mark);
  int rc = add_from_file(prefix, fd, offset, scratch);
  if (rc < 0) return rc;
  lc_prefix_mark(prefix, mark);
  return lc_file_mark_head(mark, fd);
}
