#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "io/changes.h"
#include "io/store_impl.h"

/* The log is copied into the database when it has this many pages of 4 KiB, and no commit is taken any more when the
 * copying keeps failing and it has reached the second mark. */
#define CHECKPOINT_PAGES 1000
#define MOST_PAGES 16384

/* One run of a prepared statement that returns nothing. */
static int step(sqlite3_stmt *statement) {
  int rc = sqlite3_step(statement);
  int reset_rc = sqlite3_reset(statement);
  if (rc == SQLITE_DONE || rc == SQLITE_ROW) return reset_rc;
  return reset_rc != SQLITE_OK ? reset_rc : rc;
}

static int step_id(sqlite3_stmt *statement, uint64_t id) {
  int rc = sqlite3_bind_int64(statement, 1, (int64_t)id);
  return rc == SQLITE_OK ? step(statement) : rc;
}

/* Binds to 1, 2, 3 ... ; keeps the first failure. */
typedef struct binder {
  sqlite3_stmt *statement;
  int next, rc;
} binder;

static void bind_number(binder *b, uint64_t value) {
  if (b->rc == SQLITE_OK) b->rc = sqlite3_bind_int64(b->statement, b->next++, (int64_t)value);
}

static void bind_text(binder *b, const char *text) {
  if (b->rc != SQLITE_OK) return;
  b->rc = text != NULL ? sqlite3_bind_text(b->statement, b->next++, text, -1, SQLITE_STATIC)
                       : sqlite3_bind_null(b->statement, b->next++);
}

static void bind_blob(binder *b, const void *bytes, uint32_t len) {
  if (b->rc != SQLITE_OK) return;
  b->rc = len > 0 ? sqlite3_bind_blob(b->statement, b->next++, bytes, (int)len, SQLITE_STATIC)
                  : sqlite3_bind_zeroblob(b->statement, b->next++, 0);
}

/* What is bound points into the changes, which may be gone at the next apply. */
static int finish(binder *b) {
  int rc = b->rc == SQLITE_OK ? step(b->statement) : b->rc;
  int clear_rc = sqlite3_clear_bindings(b->statement);
  return rc != SQLITE_OK ? rc : clear_rc;
}

static int write_source(lc_store *store, lc_store_sql which, const lc_changes *changes, const lc_change *item) {
  binder b = {store->statements[which], 1, SQLITE_OK};
  bind_number(&b, item->id);
  bind_number(&b, item->source.monitor_id);
  bind_text(&b, changes->text + item->text);
  bind_text(&b, changes->text + item->text2);
  bind_number(&b, item->value);
  return finish(&b);
}

/* Nearly always the source is known. A key belongs to one source: an older one with the same key gives way, or the
 * commit could never succeed. */
static int put_source(lc_store *store, const lc_changes *changes, const lc_change *item) {
  int rc = write_source(store, LC_SQL_TOUCH_SOURCE, changes, item);
  if (rc != SQLITE_OK || sqlite3_changes(store->db) > 0) return rc;
  const lc_store_sql free_sql[] = {LC_SQL_FREE_KEY_CURSORS, LC_SQL_FREE_KEY};
  for (int i = 0; i < 2 && rc == SQLITE_OK; i++) {
    binder older = {store->statements[free_sql[i]], 1, SQLITE_OK};
    bind_number(&older, item->source.monitor_id);
    bind_text(&older, changes->text + item->text);
    bind_number(&older, item->id);
    rc = finish(&older);
  }
  return rc == SQLITE_OK ? write_source(store, LC_SQL_PUT_SOURCE, changes, item) : rc;
}

static int put_cursor(lc_store *store, const lc_changes *changes, const lc_change *item) {
  binder b = {store->statements[LC_SQL_PUT_CURSOR], 1, SQLITE_OK};
  bind_number(&b, item->id);
  bind_number(&b, item->cursor.sink_id);
  bind_number(&b, item->value);
  bind_blob(&b, changes->text + item->text, item->cursor.mark_len);
  bind_number(&b, (uint64_t)item->cursor.state);
  return finish(&b);
}

static int put_length(lc_store *store, lc_store_sql which, uint64_t id, uint64_t length, uint64_t tail_hash,
                      uint32_t tail_len) {
  binder b = {store->statements[which], 1, SQLITE_OK};
  bind_number(&b, id);
  bind_number(&b, length);
  bind_number(&b, tail_hash);
  bind_number(&b, tail_len);
  return b.rc == SQLITE_OK ? step(b.statement) : b.rc; /* numbers only: nothing to unbind */
}

static int put_output(lc_store *store, const lc_changes *changes, const lc_change *item) {
  lc_stored_output output;
  memcpy(&output, changes->text + item->text, sizeof output);
  binder b = {store->statements[LC_SQL_PUT_OUTPUT], 1, SQLITE_OK};
  bind_number(&b, output.id);
  bind_number(&b, output.sink_id);
  bind_text(&b, changes->text + item->text2);
  bind_text(&b, item->text3 != LC_CHANGES_NO_TEXT ? changes->text + item->text3 : NULL);
  bind_number(&b, output.inode);
  bind_number(&b, (uint64_t)output.birth_ns);
  bind_number(&b, output.device);
  bind_number(&b, (uint64_t)output.made_ns);
  bind_number(&b, output.closed ? 1 : 0);
  int rc = finish(&b);
  if (rc != SQLITE_OK) return rc;
  return put_length(store, item->output.with_length ? LC_SQL_PUT_LENGTH : LC_SQL_KEEP_LENGTH, output.id, output.length,
                    output.tail_hash, output.tail_len);
}

static int put_count(lc_store *store, const lc_changes *changes, const lc_change *item) {
  binder b = {store->statements[LC_SQL_PUT_COUNT], 1, SQLITE_OK};
  bind_text(&b, changes->text + item->text);
  bind_number(&b, item->value);
  return finish(&b);
}

static int put_change(lc_store *store, const lc_changes *changes, const lc_change *item) {
  int rc;
  switch (item->kind) {
    case LC_CHANGE_SOURCE: return put_source(store, changes, item);
    case LC_CHANGE_CURSOR: return put_cursor(store, changes, item);
    case LC_CHANGE_OUTPUT: return put_output(store, changes, item);
    case LC_CHANGE_LENGTH:
      return put_length(store, LC_SQL_PUT_LENGTH, item->id, item->value, item->hash, item->length.tail_len);
    case LC_CHANGE_COUNT: return put_count(store, changes, item);
    case LC_CHANGE_FORGET_SOURCE:
      rc = step_id(store->statements[LC_SQL_FORGET_SOURCE], item->id);
      return rc == SQLITE_OK ? step_id(store->statements[LC_SQL_FORGET_CURSORS], item->id) : rc;
    case LC_CHANGE_FORGET_OUTPUT:
      rc = step_id(store->statements[LC_SQL_FORGET_OUTPUT], item->id);
      return rc == SQLITE_OK ? step_id(store->statements[LC_SQL_FORGET_LENGTH], item->id) : rc;
  }
  return SQLITE_MISUSE;
}

/* The list's nodes never change but for `saved`, which belongs to the lock that is held here. */
static lc_store_resource *resources_now(lc_store *store) {
  (void)pthread_mutex_lock(&store->names_lock);
  lc_store_resource *head = store->resources;
  (void)pthread_mutex_unlock(&store->names_lock);
  return head;
}

static int put_resources(lc_store *store, lc_store_resource *head) {
  for (lc_store_resource *resource = head; resource != NULL; resource = resource->next) {
    if (resource->saved) continue;
    binder b = {store->statements[LC_SQL_PUT_RESOURCE], 1, SQLITE_OK};
    bind_number(&b, resource->id);
    bind_text(&b, resource->identity);
    int rc = finish(&b);
    if (rc != SQLITE_OK) return rc;
  }
  return SQLITE_OK;
}

static bool all_saved(const lc_store_resource *head) {
  while (head != NULL && head->saved) head = head->next;
  return head == NULL;
}

int lc_store_checkpoint(lc_store *store, lc_error *error) {
  int pages = 0, copied = 0;
  int rc = sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_RESTART, &pages, &copied);
  if (rc != SQLITE_OK) return lc_store_failed(store, rc, "copy the write-ahead log", error);
  store->wal_pages = pages - copied;
  store->undurable = false; /* a checkpoint syncs the log, then the database */
  return 0;
}

/* The commit stands whether or not the log can be copied now: later commits try again, and MOST_PAGES is the end. */
static void try_checkpoint(lc_store *store) {
  lc_error error = {0};
  uint64_t held = 0;
  if (lc_store_checkpoint(store, &error) == 0) return;
  if (!lc_log_limit_pass(&store->log_limit, lc_clock_mono(), 60 * LC_SECOND, &held)) return;
  lc_log(LC_LOG_WARN, "store", "the positions' log grows", LC_S("error", error.message),
         LC_I("pages", store->wal_pages));
}

/* A commit into a file that was taken away would be lost with the process. */
static int check_in_place(lc_store *store, lc_error *error) {
  int moved = 0;
  int rc = sqlite3_file_control(store->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
  if (rc == SQLITE_OK && moved) {
    return lc_error_set(error, LC_ESYS, "%s was moved, replaced or deleted while logcap was using it: put it back, or "
                        "restart logcap", store->path);
  }
  return 0;
}

static int write_all(lc_store *store, const lc_changes *changes, lc_store_resource *resources, lc_error *error) {
  int rc = step(store->statements[LC_SQL_BEGIN]);
  const char *doing = "begin a commit";
  if (rc == SQLITE_OK) {
    doing = "save positions";
    rc = put_resources(store, resources);
  }
  for (uint32_t i = 0; i < changes->n && rc == SQLITE_OK; i++) rc = put_change(store, changes, &changes->items[i]);
  if (rc == SQLITE_OK) {
    doing = "commit positions";
    rc = step(store->statements[LC_SQL_COMMIT]);
  }
  if (rc == SQLITE_OK) return 0;
  int result = lc_store_failed(store, rc, doing, error);
  /* After some failures SQLite has rolled back by itself; a failing rollback leaves the transaction open, and the next
   * apply tries again. */
  if (!sqlite3_get_autocommit(store->db)) (void)step(store->statements[LC_SQL_ROLLBACK]);
  return result;
}

static int begin_clean(lc_store *store, lc_error *error) {
  if (!sqlite3_get_autocommit(store->db)) {
    int rc = step(store->statements[LC_SQL_ROLLBACK]);
    if (rc != SQLITE_OK) return lc_store_failed(store, rc, "take back a failed commit", error);
  }
  int rc = check_in_place(store, error);
  if (rc == 0 && store->wal_pages >= MOST_PAGES) rc = lc_store_checkpoint(store, error);
  return rc;
}

static int apply_locked(lc_store *store, const lc_changes *changes, lc_store_safety safety, lc_error *error) {
  lc_store_resource *resources = resources_now(store);
  int rc = begin_clean(store, error);
  if (rc != 0) return rc;
  if (changes->n == 0 && all_saved(resources)) {
    /* Nothing to write, but what was committed before must stand now too. */
    return safety == LC_STORE_DURABLE && store->undurable ? lc_store_checkpoint(store, error) : 0;
  }
  rc = step(store->statements[safety == LC_STORE_DURABLE ? LC_SQL_FULL : LC_SQL_NORMAL]);
  if (rc != SQLITE_OK) return lc_store_failed(store, rc, "choose the safety of a commit", error);
  rc = write_all(store, changes, resources, error);
  if (rc != 0) return rc;
  for (lc_store_resource *resource = resources; resource != NULL; resource = resource->next) resource->saved = true;
  store->undurable = safety != LC_STORE_DURABLE;
  if (store->wal_pages >= CHECKPOINT_PAGES) try_checkpoint(store);
  return 0;
}

int lc_store_apply(lc_store *store, const lc_changes *changes, lc_store_safety safety, lc_error *error) {
  (void)pthread_mutex_lock(&store->lock);
  int rc = apply_locked(store, changes, safety, error);
  (void)pthread_mutex_unlock(&store->lock);
  return rc;
}
