#include <errno.h>
#include <string.h>

#include "io/store_impl.h"

#define SCHEMA_VERSION 1
#define APPLICATION_ID 0x6c636170 /* "lcap" */

/* Lengths change every second and stand apart from the paths, so that a commit touches few pages. STRICT makes the
 * integrity check verify types too. */
static const char schema_sql[] =
    "CREATE TABLE resource (id INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE) STRICT;"
    "CREATE TABLE source (id INTEGER PRIMARY KEY, monitor INTEGER NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL,"
    " seen INTEGER NOT NULL) STRICT;"
    "CREATE UNIQUE INDEX source_key ON source (monitor, key);"
    "CREATE TABLE cursor (source INTEGER NOT NULL, sink INTEGER NOT NULL, position INTEGER NOT NULL,"
    " mark BLOB NOT NULL, state INTEGER NOT NULL, PRIMARY KEY (source, sink)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE output (id INTEGER PRIMARY KEY, sink INTEGER NOT NULL, path TEXT NOT NULL, pending TEXT,"
    " inode INTEGER NOT NULL, birth INTEGER NOT NULL, device INTEGER NOT NULL, made INTEGER NOT NULL,"
    " closed INTEGER NOT NULL) STRICT;"
    "CREATE INDEX output_sink ON output (sink);"
    "CREATE TABLE length (output INTEGER PRIMARY KEY, length INTEGER NOT NULL, tail_hash INTEGER NOT NULL,"
    " tail_len INTEGER NOT NULL) STRICT;"
    "CREATE TABLE count (key TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;";

static const char *const statement_sql[LC_SQL_STATEMENTS] = {
    [LC_SQL_BEGIN] = "BEGIN IMMEDIATE",
    [LC_SQL_COMMIT] = "COMMIT",
    [LC_SQL_ROLLBACK] = "ROLLBACK",
    [LC_SQL_FULL] = "PRAGMA synchronous=FULL",
    [LC_SQL_NORMAL] = "PRAGMA synchronous=NORMAL",
    [LC_SQL_PUT_RESOURCE] = "INSERT INTO resource (id, identity) VALUES (?1, ?2)",
    [LC_SQL_TOUCH_SOURCE] = "UPDATE source SET name = ?4, seen = ?5 WHERE id = ?1 AND monitor = ?2 AND key = ?3",
    [LC_SQL_PUT_SOURCE] = "INSERT OR REPLACE INTO source (id, monitor, key, name, seen) VALUES (?1, ?2, ?3, ?4, ?5)",
    [LC_SQL_FREE_KEY_CURSORS] =
        "DELETE FROM cursor WHERE source IN (SELECT id FROM source WHERE monitor = ?1 AND key = ?2 AND id <> ?3)",
    [LC_SQL_FREE_KEY] = "DELETE FROM source WHERE monitor = ?1 AND key = ?2 AND id <> ?3",
    [LC_SQL_FORGET_SOURCE] = "DELETE FROM source WHERE id = ?1",
    [LC_SQL_FORGET_CURSORS] = "DELETE FROM cursor WHERE source = ?1",
    [LC_SQL_PUT_CURSOR] = "INSERT OR REPLACE INTO cursor (source, sink, position, mark, state)"
                          " VALUES (?1, ?2, ?3, ?4, ?5)",
    [LC_SQL_PUT_OUTPUT] =
        "INSERT INTO output (id, sink, path, pending, inode, birth, device, made, closed)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO UPDATE SET sink = excluded.sink,"
        " path = excluded.path, pending = excluded.pending, inode = excluded.inode, birth = excluded.birth,"
        " device = excluded.device, made = excluded.made, closed = excluded.closed",
    [LC_SQL_PUT_LENGTH] = "INSERT OR REPLACE INTO length (output, length, tail_hash, tail_len)"
                          " VALUES (?1, ?2, ?3, ?4)",
    [LC_SQL_KEEP_LENGTH] = "INSERT OR IGNORE INTO length (output, length, tail_hash, tail_len)"
                           " VALUES (?1, ?2, ?3, ?4)",
    [LC_SQL_FORGET_OUTPUT] = "DELETE FROM output WHERE id = ?1",
    [LC_SQL_FORGET_LENGTH] = "DELETE FROM length WHERE output = ?1",
    [LC_SQL_PUT_COUNT] = "INSERT OR REPLACE INTO count (key, value) VALUES (?1, ?2)",
    [LC_SQL_FIND_SOURCE] = "SELECT id FROM source WHERE monitor = ?1 AND key = ?2",
    [LC_SQL_EACH_SOURCE] = "SELECT id, key, name, seen FROM source WHERE monitor = ?1 ORDER BY id",
    [LC_SQL_EACH_ACTIVE] = "SELECT source, position, mark, state, monitor, name FROM cursor JOIN source ON id = source"
                           " WHERE sink = ?1 AND state = 0",
    [LC_SQL_EACH_CURSOR] = "SELECT sink, position, mark, state FROM cursor WHERE source = ?1",
    [LC_SQL_EACH_KNOWN] = "SELECT id, position, mark, state, key, name, seen, sink FROM source"
                          " LEFT JOIN cursor ON source = id WHERE monitor = ?1",
    [LC_SQL_EACH_OUTPUT] =
        "SELECT output.id, path, pending, inode, birth, device, made, closed, length, tail_hash, tail_len"
        " FROM output LEFT JOIN length ON length.output = output.id WHERE sink = ?1 ORDER BY output.id",
    [LC_SQL_EACH_COUNT] = "SELECT key, value FROM count WHERE key >= ?1 ORDER BY key",
};

#define MOVE_AWAY \
  "move positions.db, positions.db-wal and positions.db-journal away to start anew; files are then read as their " \
  "`start` option says"

int lc_store_failed(lc_store *store, int sqlite_rc, const char *doing, lc_error *error) {
  const char *why = store->db != NULL ? sqlite3_errmsg(store->db) : sqlite3_errstr(sqlite_rc);
  int sys = store->db != NULL ? sqlite3_system_errno(store->db) : 0;
  switch (sqlite_rc & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_SCHEMA:
    case SQLITE_MISMATCH:
    case SQLITE_FORMAT:
      return lc_error_set(error, LC_ECORRUPT, "%s is damaged (cannot %s: %s): " MOVE_AWAY, store->path, doing, why);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return lc_error_set(error, LC_EBUSY, "%s is in use by another process: stop it and try again", store->path);
    case SQLITE_NOMEM:
      return lc_error_set(error, LC_ENOMEM, "out of memory: cannot %s in %s", doing, store->path);
    case SQLITE_FULL:
      return lc_error_sys(error, ENOSPC, "cannot %s in %s", doing, store->path);
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return lc_error_sys(error, EACCES, "cannot %s in %s: it must be writable, and so must its folder", doing,
                          store->path);
    default:
      if (sys != 0) return lc_error_sys(error, sys, "cannot %s in %s (%s)", doing, store->path, why);
      lc_error_set(error, LC_ESYS, "cannot %s in %s: %s", doing, store->path, why);
      return LC_ESYS;
  }
}

static int run(lc_store *store, const char *sql, const char *doing, lc_error *error) {
  int rc = sqlite3_exec(store->db, sql, NULL, NULL, NULL);
  return rc == SQLITE_OK ? 0 : lc_store_failed(store, rc, doing, error);
}

static int read_number(lc_store *store, const char *sql, int64_t *ret, lc_error *error) {
  sqlite3_stmt *statement = NULL;
  int rc = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);
  if (rc != SQLITE_OK) return lc_store_failed(store, rc, "read the tables", error);
  rc = sqlite3_step(statement);
  int64_t value = rc == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
  int final_rc = sqlite3_finalize(statement);
  if (rc != SQLITE_ROW) return lc_store_failed(store, final_rc, "read the tables", error);
  *ret = value;
  return 0;
}

/* Reads every page: 1 ms a megabyte. */
static int check_integrity(lc_store *store, lc_error *error) {
  sqlite3_stmt *statement = NULL;
  int rc = sqlite3_prepare_v2(store->db, "PRAGMA quick_check(1)", -1, &statement, NULL);
  if (rc != SQLITE_OK) return lc_store_failed(store, rc, "check it", error);
  rc = sqlite3_step(statement);
  int result = 0;
  if (rc == SQLITE_ROW) {
    const char *text = (const char *)sqlite3_column_text(statement, 0);
    if (text == NULL || strcmp(text, "ok") != 0) {
      result = lc_error_set(error, LC_ECORRUPT, "%s is damaged (%s): " MOVE_AWAY, store->path,
                            text != NULL ? text : "no answer from its check");
    }
  } else {
    result = lc_store_failed(store, rc, "check it", error);
  }
  rc = sqlite3_finalize(statement);
  if (result == 0 && rc != SQLITE_OK) result = lc_store_failed(store, rc, "check it", error);
  return result;
}

/* The tables come into being in one durable transaction: a kill before its end leaves an empty database, which the next
 * start fills. */
static int make_tables(lc_store *store, lc_error *error) {
  char pragmas[128];
  sqlite3_snprintf((int)sizeof pragmas, pragmas, "PRAGMA application_id=%d; PRAGMA user_version=%d;", APPLICATION_ID,
                   SCHEMA_VERSION);
  int rc = run(store, "PRAGMA synchronous=FULL; BEGIN IMMEDIATE", "create tables", error);
  if (rc == 0) rc = run(store, schema_sql, "create tables", error);
  if (rc == 0) rc = run(store, pragmas, "create tables", error);
  if (rc == 0) rc = run(store, "COMMIT; PRAGMA synchronous=NORMAL", "create tables", error);
  if (rc == 0) rc = lc_store_checkpoint(store, error);
  return rc;
}

static int check_schema(lc_store *store, lc_error *error) {
  int64_t version = 0, application = 0, objects = 0;
  int rc = read_number(store, "SELECT count(*) FROM sqlite_schema", &objects, error);
  if (rc == 0) rc = read_number(store, "PRAGMA application_id", &application, error);
  if (rc == 0) rc = read_number(store, "PRAGMA user_version", &version, error);
  if (rc != 0) return rc;
  if (objects == 0 && application == 0 && version == 0) return make_tables(store, error);
  if (application != APPLICATION_ID) {
    return lc_error_set(error, LC_ECORRUPT, "%s is a database of another program: choose another state directory, "
                        "or move it away", store->path);
  }
  if (version > SCHEMA_VERSION) {
    return lc_error_set(error, LC_ECORRUPT, "%s was written by a newer logcap (its schema is %lld, this one knows %d): "
                        "run that version, or " MOVE_AWAY, store->path, (long long)version, SCHEMA_VERSION);
  }
  if (version < SCHEMA_VERSION) {
    return lc_error_set(error, LC_ECORRUPT, "%s is damaged (schema %lld): " MOVE_AWAY, store->path,
                        (long long)version);
  }
  return 0;
}

static int prepare_statements(lc_store *store, lc_error *error) {
  for (int i = 0; i < LC_SQL_STATEMENTS; i++) {
    int rc = sqlite3_prepare_v3(store->db, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &store->statements[i],
                                NULL);
    if (rc == SQLITE_OK) continue;
    if (rc == SQLITE_ERROR) rc = SQLITE_CORRUPT; /* a table or a column is missing */
    return lc_store_failed(store, rc, "find its tables", error);
  }
  return 0;
}

static int check_journal_mode(lc_store *store, lc_error *error) {
  sqlite3_stmt *statement = NULL;
  int rc = sqlite3_prepare_v2(store->db, "PRAGMA journal_mode=WAL", -1, &statement, NULL);
  if (rc != SQLITE_OK) return lc_store_failed(store, rc, "open the write-ahead log", error);
  rc = sqlite3_step(statement);
  const char *mode = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : NULL;
  bool wal = mode != NULL && strcmp(mode, "wal") == 0;
  int final_rc = sqlite3_finalize(statement);
  if (rc != SQLITE_ROW) return lc_store_failed(store, final_rc, "open the write-ahead log", error);
  if (!wal) return lc_error_set(error, LC_ESYS, "cannot use a write-ahead log for %s on this file system", store->path);
  return 0;
}

static int count_wal_pages(void *arg, sqlite3 *db, const char *name, int pages) {
  (void)db;
  (void)name;
  ((lc_store *)arg)->wal_pages = pages;
  return SQLITE_OK;
}

int lc_store_prepare(lc_store *store, lc_error *error) {
  int rc = run(store,
               "PRAGMA locking_mode=EXCLUSIVE; PRAGMA cell_size_check=ON; PRAGMA trusted_schema=OFF;"
               "PRAGMA temp_store=MEMORY; PRAGMA mmap_size=0; PRAGMA foreign_keys=OFF",
               "open it", error);
  if (rc == 0) rc = check_journal_mode(store, error);
  if (rc == 0) rc = run(store, "PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0", "open it", error);
  if (rc == 0) rc = run(store, "PRAGMA journal_size_limit=4194304", "open it", error);
  if (rc == 0) (void)sqlite3_wal_hook(store->db, count_wal_pages, store);
  if (rc == 0) rc = check_integrity(store, error);
  if (rc == 0) rc = check_schema(store, error);
  if (rc == 0) rc = prepare_statements(store, error);
  return rc;
}

void lc_store_finalize(lc_store *store) {
  for (int i = 0; i < LC_SQL_STATEMENTS; i++) {
    (void)sqlite3_finalize(store->statements[i]); /* repeats the error of the last step, which was handled there */
    store->statements[i] = NULL;
  }
}

sqlite3_stmt *lc_store_take(lc_store *store, lc_store_sql which, int *ret_rc) {
  if (!sqlite3_stmt_busy(store->statements[which])) return store->statements[which];
  sqlite3_stmt *copy = NULL;
  *ret_rc = sqlite3_prepare_v2(store->db, statement_sql[which], -1, &copy, NULL);
  return copy;
}

void lc_store_put_back(lc_store *store, lc_store_sql which, sqlite3_stmt *statement) {
  /* Both repeat the error of the last step, which the caller has seen. */
  if (statement == store->statements[which]) {
    (void)sqlite3_reset(statement);
    (void)sqlite3_clear_bindings(statement);
  } else {
    (void)sqlite3_finalize(statement);
  }
}
