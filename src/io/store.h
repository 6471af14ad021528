/* The cursor store: positions.db in the state directory (SQLite, WAL, exclusive).
 *
 * Holds sources and their cursors per sink, output files and their lengths, and the ledger. Changes are collected on
 * the loop thread into an lc_changes, which one pool job applies in one transaction; so a snapshot of cursors and
 * output lengths is saved whole or not at all.
 *
 *     lc_changes changes = {0};
 *     lc_changes_cursor(&changes, source_id, sink_id, &cursor);
 *     lc_changes_output_length(&changes, output_id, &length);
 *     rc = lc_store_apply(store, &changes, LC_STORE_NORMAL, &error);   // pool thread
 *     lc_changes_free(&changes);
 *
 * Thread: lc_store_* from any thread (one mutex inside); an lc_changes belongs to whoever holds it. */
#ifndef LC_IO_STORE_H
#define LC_IO_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "logcap/error.h"
#include "logcap/record.h"

typedef struct lc_store lc_store;
struct lc_inodes;

/* Opens or creates `directory`/positions.db (0600). LC_ECORRUPT when it fails its integrity check or its schema is
 * newer than this program: the message says what to do. LC_EBUSY when another process has it. The caller holds the
 * state directory's lock. */
int lc_store_open(const char *directory, lc_store **ret, lc_error *error) LC_CHECK;
/* The same for one that must be there already: LC_ENOENT when it is not. For commands that only look. */
int lc_store_open_existing(const char *directory, lc_store **ret, lc_error *error) LC_CHECK;
void lc_store_close(lc_store *store); /* NULL is allowed */

/* Ids are given by the store at once, without a disk access; the row is written with the next changes that carry it.
 * The same text always gets the same id. */
int lc_store_resource_id(lc_store *store, const char *identity, uint32_t *ret_id, lc_error *error) LC_CHECK;
uint64_t lc_store_new_source_id(lc_store *store);
uint64_t lc_store_new_output_id(lc_store *store);

typedef enum lc_cursor_state {
  LC_CURSOR_ACTIVE, /* what lies behind the position may have been read and written already */
  LC_CURSOR_IDLE,   /* nothing behind the position was ever given to the sink */
  LC_CURSOR_DRAINED /* acked to the source's final end */
} lc_cursor_state;

typedef struct lc_stored_cursor {
  uint64_t position;
  lc_mark mark;
  lc_cursor_state state;
} lc_stored_cursor;

typedef struct lc_stored_output {
  uint64_t id;
  uint32_t sink_id;
  const char *path;    /* where it stands */
  const char *pending; /* where a rename that may have happened puts it; NULL: none */
  uint64_t inode;
  int64_t birth_ns; /* 0: unknown */
  uint64_t device;  /* a hint: changes over reboots */
  uint64_t length;  /* committed */
  uint64_t tail_hash; /* XXH3-64 of the last tail_len bytes before `length` */
  uint32_t tail_len;
  int64_t made_ns;   /* wall clock of its creation, for rotation by age */
  bool closed;       /* rotated: never written again */
} lc_stored_output;

/* Reading back, at start. `each` returns non-zero to stop, which is returned; it may read from the store, not apply. */
int lc_store_each_source(lc_store *store, uint32_t monitor_id,
                         int (*each)(void *arg, uint64_t id, const char *key, const char *name, int64_t seen_ns),
                         void *arg, lc_error *error) LC_CHECK;
/* The same with their cursors: each call has one cursor, or NULL for a source without any; those of a source follow one
 * another. One statement: a store of 10,000 sources is read in a few milliseconds. */
int lc_store_each_known(lc_store *store, uint32_t monitor_id,
                        int (*each)(void *arg, uint64_t id, const char *key, const char *name, int64_t seen_ns,
                                    uint32_t sink_id, const lc_stored_cursor *cursor),
                        void *arg, lc_error *error) LC_CHECK;
/* Looks one source up by its key: *ret_id is 0 when there is none. */
int lc_store_find_source(lc_store *store, uint32_t monitor_id, const char *key, uint64_t *ret_id, lc_error *error)
    LC_CHECK;
int lc_store_each_cursor(lc_store *store, uint64_t source_id,
                         int (*each)(void *arg, uint32_t sink_id, const lc_stored_cursor *cursor), void *arg,
                         lc_error *error) LC_CHECK;
/* The cursors of one sink that are LC_CURSOR_ACTIVE, of whatever monitor. */
int lc_store_each_active(lc_store *store, uint32_t sink_id,
                         int (*each)(void *arg, uint64_t source_id, uint32_t monitor_id, const char *name,
                                     const lc_stored_cursor *cursor),
                         void *arg, lc_error *error) LC_CHECK;
int lc_store_each_output(lc_store *store, uint32_t sink_id, int (*each)(void *arg, const lc_stored_output *output),
                         void *arg, lc_error *error) LC_CHECK;
/* The ledger: a value for a text key such as "shop/file_sink:out/read". */
int lc_store_each_count(lc_store *store, const char *prefix, int (*each)(void *arg, const char *key, uint64_t value),
                        void *arg, lc_error *error) LC_CHECK;

/* Enters the store's files among logcap's own, and all outputs that it knows, also those of sinks of earlier runs. */
int lc_store_register(lc_store *store, struct lc_inodes *own, lc_error *error) LC_CHECK;

/* A set of changes. Zero it to start. Each call returns 0 or LC_ENOMEM and copies what it is given. */
typedef struct lc_changes {
  struct lc_change *items; /* owned */
  uint32_t n, cap;
  char *text; /* owned: the strings of all items */
  size_t text_len, text_cap;
} lc_changes;

/* A new source, or a new name of a known one. An older source with the same key gives way. */
int lc_changes_source(lc_changes *changes, uint64_t id, uint32_t monitor_id, const char *key, const char *name,
                      int64_t seen_ns) LC_CHECK;
int lc_changes_forget_source(lc_changes *changes, uint64_t id) LC_CHECK; /* with its cursors */
int lc_changes_cursor(lc_changes *changes, uint64_t source_id, uint32_t sink_id, const lc_stored_cursor *cursor)
    LC_CHECK;
/* The whole row of an output: new, renamed, or closed. Keeps a length that is saved already unless `with_length`. */
int lc_changes_output(lc_changes *changes, const lc_stored_output *output, bool with_length) LC_CHECK;
int lc_changes_output_length(lc_changes *changes, uint64_t id, uint64_t length, uint64_t tail_hash, uint32_t tail_len)
    LC_CHECK;
int lc_changes_forget_output(lc_changes *changes, uint64_t id) LC_CHECK;
int lc_changes_count(lc_changes *changes, const char *key, uint64_t value) LC_CHECK;
void lc_changes_clear(lc_changes *changes); /* keeps the memory */
void lc_changes_free(lc_changes *changes);

/* How safely a commit must stand when apply returns. */
typedef enum lc_store_safety {
  LC_STORE_NORMAL, /* survives the death of the process */
  LC_STORE_DURABLE /* survives power loss */
} lc_store_safety;

/* Applies all changes in one transaction. On failure nothing is changed and `changes` is as it was. Pool thread. */
int lc_store_apply(lc_store *store, const lc_changes *changes, lc_store_safety safety, lc_error *error) LC_CHECK;

#endif
