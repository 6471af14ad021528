/* The outputs of a file sink: found by path, few of them open, and what of them must be saved with the cursors.
 *
 *     lc_output *output = lc_output_set_find(set, path, len);        // in memory only
 *     rc = lc_output_set_commit_new(set, outputs, n, &error);        // rows of new files: before their first byte
 *     rc = lc_output_set_use(set, &output, &replaced, &error);       // open, locked, in its place
 *     ... lc_output_write ...; lc_output_set_touch(set, output);
 *     lc_output_set_settle(set);                                     // a delivery is written whole
 *
 * Each output has three ends: where its file ends, where it ended after the last whole delivery (settled), and what the
 * loop thread may save (shown). A job moves the first two; lc_output_set_publish moves the third, in the turn of the
 * loop in which the deliveries are settled; so cursors and lengths in a snapshot always match.
 *
 * Files that are finished (rotated) go to a list of their own, under a lock, from which they are compressed and
 * removed.
 *
 * Thread: the job that has the sink, but for publish, snapshot and committed: the loop thread. */
#ifndef LC_SINK_OUTPUT_SET_H
#define LC_SINK_OUTPUT_SET_H

#include <uv.h>

#include "base/buf.h"
#include "base/log.h"
#include "sink/output.h"

/* What is counted. The names stand in the sink's figures. */
#define LC_OUTPUT_COUNTS(X) \
  X(created) X(adopted) X(rotated) X(compressed) X(removed) X(lost) X(shorter) X(longer) X(cut) X(cut_bytes) \
  X(overflowed) \
  X(possible_duplicates) X(close_failures) X(sync_failures) X(rename_failures) X(compress_failures) X(remove_failures)

typedef enum lc_output_count {
#define X(name) LC_COUNT_##name,
  LC_OUTPUT_COUNTS(X)
#undef X
  LC_OUTPUT_COUNTS_N
} lc_output_count;

typedef struct lc_output_set {
  /* Set by the owner. */
  const char *name; /* of the sink, for messages; borrowed */
  uint32_t sink_id, max_open;
  uint32_t most;      /* outputs in memory; beyond that idle ones are let go, and then there is no room for others */
  bool keep_finished; /* retention needs to know the finished ones */
  bool packs;         /* finished ones are to be compressed */
  lc_output_rules rules;
  lc_store *store;               /* borrowed */
  _Atomic int64_t *descriptors;  /* counts open files; borrowed; may be NULL */
  _Atomic int64_t *memory;       /* what the outputs take, bytes; borrowed; may be NULL */
  /* The job's. */
  lc_output **table; /* owned; by path; open addressing */
  uint32_t cap;
  lc_output *newest, *oldest; /* open ones, by use */
  lc_output *touched;         /* written by the delivery under way */
  lc_output *dirty;           /* settled moved; with fsync: not synced yet */
  lc_output *synced;          /* settled moved and synced */
  lc_output *turned;          /* finished, not handed over yet */
  lc_output *dead;            /* forgotten, not handed over yet */
  lc_log_limit log_limit;
  int64_t sought_ns; /* wall clock: when idle ones were last looked for */
  _Atomic bool sync_due; /* what was written before the sink was durable has to be synced, see output_sync.h */
  /* The loop thread's. */
  lc_output *changed, *sent, *zombies;
  /* Under the lock. */
  uv_mutex_t lock;
  lc_output *closed;
  /* Anybody's. */
  _Atomic uint32_t n, n_open, n_closed;
  _Atomic uint64_t let_go; /* outputs that are not in memory any more */
  _Atomic uint64_t bytes, counts[LC_OUTPUT_COUNTS_N];
  bool ready; /* initialised */
} lc_output_set;

/* Zero the set and fill the owner's part first. */
int lc_output_set_init(lc_output_set *set, lc_error *error) LC_CHECK;
/* Closes and frees everything. No job is under way. May run twice. */
void lc_output_set_deinit(lc_output_set *set);

/* The output at a path, or NULL. */
lc_output *lc_output_set_get(lc_output_set *set, const char *path, size_t len);
/* Whether another output may be made. Lets go of idle ones when it must, but not of those that delivery `seen` looked
 * up: their files and rows stay. */
bool lc_output_set_has_room(lc_output_set *set, uint32_t seen, int64_t now_ns);
/* The output at a path; made when there is none. NULL when out of memory. */
lc_output *lc_output_set_find(lc_output_set *set, const char *path, size_t len);
/* Enters one that was recovered; takes it over. On failure it stays the caller's: LC_ENOMEM, or LC_EBUSY when there is
 * one of this path. */
int lc_output_set_enter(lc_output_set *set, lc_output *output) LC_CHECK;
void lc_output_set_enter_closed(lc_output_set *set, lc_output *output);

/* Opens the files among these that have no row yet and commits their rows, all in one transaction. */
int lc_output_set_commit_new(lc_output_set *set, lc_output **outputs, uint32_t n, lc_error *error) LC_CHECK;
/* Makes an output writable. Where its file was moved away or removed, *output becomes a new one, *ret_replaced is true,
 * and what was written to the old one went with it. */
int lc_output_set_use(lc_output_set *set, lc_output **output, bool *ret_replaced, lc_error *error) LC_CHECK;
void lc_output_set_touch(lc_output_set *set, lc_output *output);
/* The delivery under way is written whole. */
void lc_output_set_settle(lc_output_set *set);
/* Takes back what the delivery under way has written, as far as the files are still there. What could not be taken back
 * yet is with the next call. */
int lc_output_set_take_back(lc_output_set *set, lc_error *error) LC_CHECK;
/* Syncs all that is settled. On failure it stays unshown. */
int lc_output_set_sync(lc_output_set *set, lc_error *error) LC_CHECK;
/* Closes the file; a failure is counted and logged. */
void lc_output_set_close(lc_output_set *set, lc_output *output);
/* Takes an output out of the table, to be finished under another path, or (forget) to be freed. Closes it. */
void lc_output_set_remove(lc_output_set *set, lc_output *output, bool forget);
/* Removes a file of ours from the disk, when it still stands at its path, and from the table of our inodes: in this
 * order, with its inode held meanwhile. LC_ENOENT when another file or none stands there: then nothing is done. */
int lc_output_set_unlink(lc_output_set *set, const lc_output *output, lc_error *error) LC_CHECK;
/* Closes all files but the `keep` that were used last. */
void lc_output_set_close_down(lc_output_set *set, uint32_t keep);

/* Loop thread. */
void lc_output_set_publish(lc_output_set *set);
int lc_output_set_snapshot(lc_output_set *set, struct lc_changes *changes, lc_error *error) LC_CHECK;
void lc_output_set_committed(lc_output_set *set, bool ok);
/* Whether something that was published is in no commit yet. */
bool lc_output_set_unsaved(const lc_output_set *set);
/* Any thread. */
int lc_output_set_stats(lc_output_set *set, lc_buf *ret);

static inline void lc_output_set_count(lc_output_set *set, lc_output_count what, uint64_t n) {
  atomic_fetch_add_explicit(&set->counts[what], n, memory_order_relaxed);
}
/* How safely a row must stand. */
static inline lc_store_safety lc_output_set_safety(const lc_output_set *set) {
  return set->rules.durable ? LC_STORE_DURABLE : LC_STORE_NORMAL;
}

#endif
