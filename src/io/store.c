#include "io/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "io/durable.h"
#include "io/inodes.h"
#include "io/store_impl.h"

#define BUSY_TIMEOUT_MS 2000

/* Looks at the database, or a file beside it, without opening it: closing any descriptor of an open database would drop
 * SQLite's locks on it. Returns 0 or an errno. */
static int look_at(const char *path, const char *suffix, struct stat *ret) {
  char name[PATH_MAX];
  int n = snprintf(name, sizeof name, "%s%s", path, suffix);
  if (n < 0 || (size_t)n >= sizeof name) return ENAMETOOLONG;
  return lstat(name, ret) == 0 ? 0 : errno;
}

/* Makes the file before SQLite does, to give it its mode; the log beside it takes over the same mode. */
static int make_file(const char *path, bool create, lc_error *error) {
  int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (create ? O_CREAT : 0), 0600);
  if (fd < 0) {
    if (errno == ELOOP) return lc_error_set(error, LC_ESYS, "%s is a symbolic link: put a plain file there", path);
    return lc_error_sys(error, errno, "cannot open %s: logcap keeps its positions there and must be able to write it",
                        path);
  }
  struct stat st, log;
  int rc = 0;
  if (fstat(fd, &st) != 0) {
    rc = lc_error_sys(error, errno, "cannot look at %s", path);
  } else if (!S_ISREG(st.st_mode)) {
    rc = lc_error_set(error, LC_ESYS, "%s is not a plain file: move it away", path);
  } else if ((st.st_mode & 077) != 0 && fchmod(fd, st.st_mode & 0700) != 0) {
    rc = lc_error_sys(error, errno, "cannot make %s private", path);
  } else if (st.st_size == 0 && look_at(path, "-wal", &log) == 0 && log.st_size > 0) {
    /* SQLite would throw the log away, and with it everything that is known. */
    rc = lc_error_set(error, LC_ECORRUPT, "%s is empty or missing but %s-wal is not: put positions.db back, or move "
                      "both away to start anew; files are then read as their `start` option says", path, path);
  }
  if (close(fd) != 0 && rc == 0) rc = lc_error_sys(error, errno, "cannot close %s", path);
  return rc;
}

/* An output counts as long as it is there, or can be told from a later file in its inode. */
static int register_output(void *arg, const lc_stored_output *output) {
  lc_inodes *own = arg;
  struct stat st;
  int rc = output->birth_ns == 0 ? 0 : lc_inodes_add_born(own, output->device, output->inode, output->birth_ns);
  if (rc != 0 || lstat(output->path, &st) != 0 || st.st_ino != output->inode) return rc;
  return lc_inodes_add_born(own, st.st_dev, output->inode, output->birth_ns); /* devices change over reboots */
}

/* Of sinks that nobody names any more, too: their files are still what logcap wrote. */
static int register_outputs(lc_store *store, lc_inodes *own, lc_error *error) {
  for (const lc_store_resource *sink = store->resources; sink != NULL; sink = sink->next) {
    int rc = lc_store_each_output(store, sink->id, register_output, own, error);
    if (rc == LC_ENOMEM) (void)lc_error_set(error, rc, "out of memory: cannot remember the outputs");
    if (rc != 0) return rc;
  }
  return 0;
}

int lc_store_register(lc_store *store, lc_inodes *own, lc_error *error) {
  static const char *const suffixes[] = {"", "-wal"};
  for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
    struct stat st;
    int sys = look_at(store->path, suffixes[i], &st);
    if (sys == ENOENT) continue;
    if (sys != 0) return lc_error_sys(error, sys, "cannot look at %s%s", store->path, suffixes[i]);
    if (lc_inodes_add(own, st.st_dev, st.st_ino) != 0) {
      return lc_error_set(error, LC_ENOMEM, "out of memory: cannot remember %s%s", store->path, suffixes[i]);
    }
  }
  return register_outputs(store, own, error);
}

static int add_resource(lc_store *store, uint32_t id, const char *identity, bool saved) {
  size_t size = strlen(identity) + 1;
  lc_store_resource *resource = malloc(sizeof *resource + size);
  if (resource == NULL) return LC_ENOMEM;
  resource->id = id;
  resource->saved = saved;
  memcpy(resource->identity, identity, size);
  resource->next = store->resources;
  store->resources = resource;
  if (id > store->last_resource_id) store->last_resource_id = id;
  return 0;
}

static int load_resources(lc_store *store, lc_error *error) {
  sqlite3_stmt *statement = NULL;
  int rc = sqlite3_prepare_v2(store->db, "SELECT id, identity FROM resource", -1, &statement, NULL);
  if (rc != SQLITE_OK) return lc_store_failed(store, rc, "read the resources", error);
  int result = 0;
  while (result == 0 && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
    int64_t id = sqlite3_column_int64(statement, 0);
    const char *identity = (const char *)sqlite3_column_text(statement, 1);
    if (id <= 0 || id > UINT32_MAX) {
      result = lc_store_failed(store, SQLITE_CORRUPT, "read the resources", error);
    } else if (identity == NULL || add_resource(store, (uint32_t)id, identity, true) != 0) {
      result = lc_store_failed(store, SQLITE_NOMEM, "read the resources", error);
    }
  }
  int final_rc = sqlite3_finalize(statement);
  if (result == 0 && rc != SQLITE_DONE) result = lc_store_failed(store, final_rc, "read the resources", error);
  return result;
}

static int load_last_id(lc_store *store, const char *sql, _Atomic uint64_t *ret, lc_error *error) {
  sqlite3_stmt *statement = NULL;
  int rc = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);
  if (rc != SQLITE_OK) return lc_store_failed(store, rc, "read the last id", error);
  rc = sqlite3_step(statement);
  int64_t id = rc == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : -1;
  int final_rc = sqlite3_finalize(statement);
  if (rc != SQLITE_ROW) return lc_store_failed(store, final_rc, "read the last id", error);
  if (id < 0) return lc_store_failed(store, SQLITE_CORRUPT, "read the last id", error);
  atomic_store(ret, (uint64_t)id);
  return 0;
}

static int load(lc_store *store, lc_error *error) {
  int rc = load_resources(store, error);
  if (rc == 0) {
    rc = load_last_id(
        store, "SELECT max(ifnull((SELECT max(id) FROM source), 0), ifnull((SELECT max(source) FROM cursor), 0))",
        &store->last_source_id, error);
  }
  if (rc == 0) {
    rc = load_last_id(
        store, "SELECT max(ifnull((SELECT max(id) FROM output), 0), ifnull((SELECT max(output) FROM length), 0))",
        &store->last_output_id, error);
  }
  return rc;
}

static int init_locks(lc_store *store, lc_error *error) {
  pthread_mutexattr_t attributes;
  if (pthread_mutexattr_init(&attributes) != 0) return lc_error_set(error, LC_ENOMEM, "cannot make a lock");
  int rc = pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
  if (rc == 0) rc = pthread_mutex_init(&store->lock, &attributes);
  (void)pthread_mutexattr_destroy(&attributes);
  if (rc != 0) return lc_error_set(error, LC_ENOMEM, "cannot make a lock");
  if (pthread_mutex_init(&store->names_lock, NULL) != 0) {
    (void)pthread_mutex_destroy(&store->lock);
    return lc_error_set(error, LC_ENOMEM, "cannot make a lock");
  }
  return 0;
}

static lc_store *new_store(const char *directory, lc_error *error) {
  lc_store *store = calloc(1, sizeof *store);
  lc_buf path = {0};
  lc_buf_adds(&path, directory);
  lc_buf_adds(&path, "/positions.db");
  if (store != NULL && !path.failed) store->path = strdup(lc_buf_cstr(&path));
  lc_buf_free(&path);
  if (store == NULL || store->path == NULL) {
    lc_error_set(error, LC_ENOMEM, "out of memory: cannot open the positions in %s", directory);
    free(store);
    return NULL;
  }
  if (init_locks(store, error) != 0) {
    free(store->path);
    free(store);
    return NULL;
  }
  return store;
}

static int open_database(lc_store *store, lc_error *error) {
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_PRIVATECACHE;
  int rc = sqlite3_open_v2(store->path, &store->db, flags, NULL);
  if (rc != SQLITE_OK) return lc_store_failed(store, rc, "open it", error);
  rc = sqlite3_extended_result_codes(store->db, 1);
  if (rc == SQLITE_OK) rc = sqlite3_busy_timeout(store->db, BUSY_TIMEOUT_MS);
  if (rc == SQLITE_OK) rc = sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)NULL);
  return rc == SQLITE_OK ? 0 : lc_store_failed(store, rc, "open it", error);
}

static int open_store(const char *directory, bool create, lc_store **ret, lc_error *error) {
  lc_error local = {0};
  if (error == NULL) error = &local;
  lc_store *store = new_store(directory, error);
  if (store == NULL) return LC_ENOMEM;
  int rc = make_file(store->path, create, error);
  if (rc == 0) rc = open_database(store, error);
  if (rc == 0) rc = lc_store_prepare(store, error);
  if (rc == 0) rc = load(store, error);
  if (rc == 0) rc = lc_durable_sync_dir(directory, error);
  if (rc != 0) {
    lc_store_close(store);
    return rc;
  }
  *ret = store;
  return 0;
}

int lc_store_open(const char *directory, lc_store **ret, lc_error *error) {
  return open_store(directory, true, ret, error);
}

int lc_store_open_existing(const char *directory, lc_store **ret, lc_error *error) {
  return open_store(directory, false, ret, error);
}

void lc_store_close(lc_store *store) {
  if (store == NULL) return;
  lc_store_finalize(store);
  /* Copies the log into the database; when that fails the log stays, and the next open reads it. */
  (void)sqlite3_close_v2(store->db);
  while (store->resources != NULL) {
    lc_store_resource *next = store->resources->next;
    free(store->resources);
    store->resources = next;
  }
  (void)pthread_mutex_destroy(&store->lock);
  (void)pthread_mutex_destroy(&store->names_lock);
  free(store->path);
  free(store);
}

int lc_store_resource_id(lc_store *store, const char *identity, uint32_t *ret_id, lc_error *error) {
  (void)pthread_mutex_lock(&store->names_lock);
  lc_store_resource *resource = store->resources;
  while (resource != NULL && strcmp(resource->identity, identity) != 0) resource = resource->next;
  int rc = 0;
  if (resource == NULL) {
    rc = store->last_resource_id == UINT32_MAX ? LC_ELIMIT
                                               : add_resource(store, store->last_resource_id + 1, identity, false);
    resource = store->resources;
  }
  if (rc == 0) *ret_id = resource->id;
  (void)pthread_mutex_unlock(&store->names_lock);
  if (rc == 0) return 0;
  return lc_error_set(error, (lc_err)rc, "cannot give an id to %s: %s", identity,
                      rc == LC_ENOMEM ? "out of memory" : "all are given");
}

uint64_t lc_store_new_source_id(lc_store *store) { return atomic_fetch_add(&store->last_source_id, 1) + 1; }

uint64_t lc_store_new_output_id(lc_store *store) { return atomic_fetch_add(&store->last_output_id, 1) + 1; }
