/* What the files of the cursor store share: store.c opens and gives ids, store_schema.c knows the tables and what is
 * wrong with a file, store_apply.c writes, store_read.c reads. Nobody else includes this.
 *
 * Locks: `lock` guards the SQLite connection and is held during disk I/O; `names_lock` guards the list of resource
 * names and is never held during I/O, so that giving an id never waits for a disk. */
#ifndef LC_IO_STORE_IMPL_H
#define LC_IO_STORE_IMPL_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

#include "base/log.h"
#include "io/store.h"

typedef enum lc_store_sql {
  LC_SQL_BEGIN,
  LC_SQL_COMMIT,
  LC_SQL_ROLLBACK,
  LC_SQL_FULL,
  LC_SQL_NORMAL,
  LC_SQL_PUT_RESOURCE,
  LC_SQL_TOUCH_SOURCE,
  LC_SQL_PUT_SOURCE,
  LC_SQL_FREE_KEY_CURSORS,
  LC_SQL_FREE_KEY,
  LC_SQL_FORGET_SOURCE,
  LC_SQL_FORGET_CURSORS,
  LC_SQL_PUT_CURSOR,
  LC_SQL_PUT_OUTPUT,
  LC_SQL_PUT_LENGTH,
  LC_SQL_KEEP_LENGTH,
  LC_SQL_FORGET_OUTPUT,
  LC_SQL_FORGET_LENGTH,
  LC_SQL_PUT_COUNT,
  LC_SQL_FIND_SOURCE,
  LC_SQL_EACH_SOURCE,
  LC_SQL_EACH_CURSOR,
  LC_SQL_EACH_KNOWN,
  LC_SQL_EACH_ACTIVE,
  LC_SQL_EACH_OUTPUT,
  LC_SQL_EACH_COUNT,
  LC_SQL_STATEMENTS
} lc_store_sql;

/* A monitor or a sink that has an id. Never changes and lives as long as the store, but for `saved`. */
typedef struct lc_store_resource {
  struct lc_store_resource *next;
  uint32_t id;
  bool saved; /* its row is committed; under lc_store.lock */
  char identity[];
} lc_store_resource;

struct lc_store {
  sqlite3 *db;
  char *path; /* owned; of positions.db */
  sqlite3_stmt *statements[LC_SQL_STATEMENTS];
  pthread_mutex_t lock; /* recursive: a callback that reads may read on */
  int wal_pages;        /* pages in the write-ahead log after the last commit */
  bool undurable;       /* something was committed that a power loss may take */
  lc_log_limit log_limit; /* for checkpoints that fail */

  pthread_mutex_t names_lock;
  lc_store_resource *resources; /* newest first */
  uint32_t last_resource_id;

  _Atomic uint64_t last_source_id, last_output_id;
};

/* Turns an SQLite result into an lc_err with a message that names the file, what was tried, and what to do. */
int lc_store_failed(lc_store *store, int sqlite_rc, const char *doing, lc_error *error);

/* Checks the file's pages, makes or verifies the tables, prepares all statements. */
int lc_store_prepare(lc_store *store, lc_error *error) LC_CHECK;
void lc_store_finalize(lc_store *store);

/* Copies the write-ahead log into the database and starts it anew. Under `lock`. */
int lc_store_checkpoint(lc_store *store, lc_error *error) LC_CHECK;

/* A statement that is not in use: the prepared one, or a copy when a caller further up is still reading from it. Hand
 * it back with lc_store_put_back. NULL: *ret_rc says why. */
sqlite3_stmt *lc_store_take(lc_store *store, lc_store_sql which, int *ret_rc);
void lc_store_put_back(lc_store *store, lc_store_sql which, sqlite3_stmt *statement);

#endif
