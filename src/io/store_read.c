#include <string.h>

#include "io/store_impl.h"

/* One statement being read row by row. The store is locked from begin to end. */
typedef struct reader {
  lc_store *store;
  lc_store_sql which;
  sqlite3_stmt *statement;
  int rc; /* SQLITE_OK, or what failed */
} reader;

static void reader_begin(reader *r, lc_store *store, lc_store_sql which) {
  (void)pthread_mutex_lock(&store->lock);
  *r = (reader){store, which, NULL, SQLITE_OK};
  r->statement = lc_store_take(store, which, &r->rc);
}

static void reader_bind(reader *r, int at, uint64_t value) {
  if (r->rc == SQLITE_OK) r->rc = sqlite3_bind_int64(r->statement, at, (int64_t)value);
}

static void reader_bind_text(reader *r, int at, const char *text) {
  if (r->rc == SQLITE_OK) r->rc = sqlite3_bind_text(r->statement, at, text, -1, SQLITE_TRANSIENT);
}

static bool reader_next(reader *r) {
  if (r->rc != SQLITE_OK) return false;
  int rc = sqlite3_step(r->statement);
  if (rc == SQLITE_ROW) return true;
  if (rc != SQLITE_DONE) r->rc = rc;
  return false;
}

static uint64_t reader_number(const reader *r, int column) {
  return (uint64_t)sqlite3_column_int64(r->statement, column);
}

/* NULL for a NULL, and when memory is out: `must` tells the two apart. */
static const char *reader_text(reader *r, int column, bool must) {
  const char *text = (const char *)sqlite3_column_text(r->statement, column);
  if (text == NULL && (must || sqlite3_column_type(r->statement, column) != SQLITE_NULL)) r->rc = SQLITE_NOMEM;
  return text;
}

/* `result` is what the callback said. */
static int reader_end(reader *r, int result, const char *doing, lc_error *error) {
  if (result == 0 && r->rc != SQLITE_OK) result = lc_store_failed(r->store, r->rc, doing, error);
  if (r->statement != NULL) lc_store_put_back(r->store, r->which, r->statement);
  (void)pthread_mutex_unlock(&r->store->lock);
  return result;
}

int lc_store_each_source(lc_store *store, uint32_t monitor_id,
                         int (*each)(void *arg, uint64_t id, const char *key, const char *name, int64_t seen_ns),
                         void *arg, lc_error *error) {
  reader r;
  reader_begin(&r, store, LC_SQL_EACH_SOURCE);
  reader_bind(&r, 1, monitor_id);
  int result = 0;
  while (result == 0 && reader_next(&r)) {
    const char *key = reader_text(&r, 1, true), *name = reader_text(&r, 2, true);
    if (r.rc != SQLITE_OK) break;
    result = each(arg, reader_number(&r, 0), key, name, (int64_t)reader_number(&r, 3));
  }
  return reader_end(&r, result, "read the sources", error);
}

int lc_store_find_source(lc_store *store, uint32_t monitor_id, const char *key, uint64_t *ret_id, lc_error *error) {
  reader r;
  reader_begin(&r, store, LC_SQL_FIND_SOURCE);
  reader_bind(&r, 1, monitor_id);
  reader_bind_text(&r, 2, key);
  uint64_t id = reader_next(&r) ? reader_number(&r, 0) : 0;
  int result = reader_end(&r, 0, "look up a source", error);
  if (result == 0) *ret_id = id;
  return result;
}

static bool read_cursor(reader *r, lc_stored_cursor *ret) {
  memset(ret, 0, sizeof *ret);
  int mark_len = sqlite3_column_bytes(r->statement, 2);
  const void *mark = sqlite3_column_blob(r->statement, 2);
  if (mark_len < 0 || (size_t)mark_len > sizeof ret->mark.bytes) {
    r->rc = SQLITE_CORRUPT;
    return false;
  }
  if (mark_len > 0 && mark == NULL) {
    r->rc = SQLITE_NOMEM;
    return false;
  }
  if (mark_len > 0) memcpy(ret->mark.bytes, mark, (size_t)mark_len);
  ret->position = reader_number(r, 1);
  uint64_t state = reader_number(r, 3);
  if (state > LC_CURSOR_DRAINED) r->rc = SQLITE_CORRUPT;
  ret->state = (lc_cursor_state)state;
  return r->rc == SQLITE_OK;
}

int lc_store_each_active(lc_store *store, uint32_t sink_id,
                         int (*each)(void *arg, uint64_t source_id, uint32_t monitor_id, const char *name,
                                     const lc_stored_cursor *cursor),
                         void *arg, lc_error *error) {
  reader r;
  reader_begin(&r, store, LC_SQL_EACH_ACTIVE);
  reader_bind(&r, 1, sink_id);
  int result = 0;
  lc_stored_cursor cursor;
  while (result == 0 && reader_next(&r) && read_cursor(&r, &cursor)) {
    const char *name = reader_text(&r, 5, true);
    if (r.rc != SQLITE_OK) break;
    result = each(arg, reader_number(&r, 0), (uint32_t)reader_number(&r, 4), name, &cursor);
  }
  return reader_end(&r, result, "read the cursors", error);
}

int lc_store_each_cursor(lc_store *store, uint64_t source_id,
                         int (*each)(void *arg, uint32_t sink_id, const lc_stored_cursor *cursor), void *arg,
                         lc_error *error) {
  reader r;
  reader_begin(&r, store, LC_SQL_EACH_CURSOR);
  reader_bind(&r, 1, source_id);
  int result = 0;
  lc_stored_cursor cursor;
  while (result == 0 && reader_next(&r) && read_cursor(&r, &cursor)) {
    result = each(arg, (uint32_t)reader_number(&r, 0), &cursor);
  }
  return reader_end(&r, result, "read the cursors", error);
}

static bool read_output(reader *r, uint32_t sink_id, lc_stored_output *ret) {
  *ret = (lc_stored_output){
      .id = reader_number(r, 0),
      .sink_id = sink_id,
      .path = reader_text(r, 1, true),
      .pending = reader_text(r, 2, false),
      .inode = reader_number(r, 3),
      .birth_ns = (int64_t)reader_number(r, 4),
      .device = reader_number(r, 5),
      .made_ns = (int64_t)reader_number(r, 6),
      .closed = reader_number(r, 7) != 0,
      .length = reader_number(r, 8),
      .tail_hash = reader_number(r, 9),
      .tail_len = (uint32_t)reader_number(r, 10),
  };
  /* Every output is written with its length: one without would be cut to nothing. */
  if (r->rc == SQLITE_OK && sqlite3_column_type(r->statement, 8) == SQLITE_NULL) r->rc = SQLITE_CORRUPT;
  return r->rc == SQLITE_OK;
}

int lc_store_each_known(lc_store *store, uint32_t monitor_id,
                        int (*each)(void *arg, uint64_t id, const char *key, const char *name, int64_t seen_ns,
                                    uint32_t sink_id, const lc_stored_cursor *cursor),
                        void *arg, lc_error *error) {
  reader r;
  reader_begin(&r, store, LC_SQL_EACH_KNOWN);
  reader_bind(&r, 1, monitor_id);
  int result = 0;
  while (result == 0 && reader_next(&r)) {
    const char *key = reader_text(&r, 4, true), *name = reader_text(&r, 5, true);
    bool has_cursor = sqlite3_column_type(r.statement, 7) != SQLITE_NULL;
    lc_stored_cursor cursor;
    if (r.rc != SQLITE_OK || (has_cursor && !read_cursor(&r, &cursor))) break;
    result = each(arg, reader_number(&r, 0), key, name, (int64_t)reader_number(&r, 6), (uint32_t)reader_number(&r, 7),
                  has_cursor ? &cursor : NULL);
  }
  return reader_end(&r, result, "read the sources", error);
}

int lc_store_each_output(lc_store *store, uint32_t sink_id, int (*each)(void *arg, const lc_stored_output *output),
                         void *arg, lc_error *error) {
  reader r;
  reader_begin(&r, store, LC_SQL_EACH_OUTPUT);
  reader_bind(&r, 1, sink_id);
  int result = 0;
  lc_stored_output output;
  while (result == 0 && reader_next(&r) && read_output(&r, sink_id, &output)) result = each(arg, &output);
  return reader_end(&r, result, "read the outputs", error);
}

int lc_store_each_count(lc_store *store, const char *prefix, int (*each)(void *arg, const char *key, uint64_t value),
                        void *arg, lc_error *error) {
  reader r;
  size_t prefix_len = strlen(prefix);
  reader_begin(&r, store, LC_SQL_EACH_COUNT);
  reader_bind_text(&r, 1, prefix);
  int result = 0;
  while (result == 0 && reader_next(&r)) {
    const char *key = reader_text(&r, 0, true);
    if (key == NULL || strncmp(key, prefix, prefix_len) != 0) break; /* in order: behind the last one */
    result = each(arg, key, reader_number(&r, 1));
  }
  return reader_end(&r, result, "read the ledger", error);
}
