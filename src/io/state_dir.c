#include "io/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "io/durable.h"

struct lc_state_dir {
  char *path; /* owned */
  int lock_fd;
};

static const char *environment(const char *name) {
  const char *value = getenv(name);
  return value != NULL && value[0] != '\0' ? value : NULL;
}

static int absolute(const char *path, lc_buf *ret, lc_error *error) {
  if (path[0] != '/') {
    char here[PATH_MAX];
    if (getcwd(here, sizeof here) == NULL) return lc_error_sys(error, errno, "cannot tell the current folder");
    lc_buf_adds(ret, here);
    if (strcmp(here, "/") != 0) lc_buf_addc(ret, '/');
  }
  size_t len = strlen(path);
  while (len > 1 && path[len - 1] == '/') len--;
  lc_buf_add(ret, path, len);
  return 0;
}

/* $XDG_STATE_HOME counts only when it is absolute: so its specification says. */
int lc_state_dir_home(lc_buf *ret, lc_error *error) {
  const char *state_home = environment("XDG_STATE_HOME");
  if (state_home != NULL && state_home[0] == '/') {
    lc_buf_addf(ret, "%s/logcap", state_home);
    return 0;
  }
  const char *home = environment("HOME");
  if (home == NULL) {
    const struct passwd *user = getpwuid(geteuid());
    if (user != NULL) home = user->pw_dir;
  }
  if (home == NULL || home[0] != '/') {
    return lc_error_set(error, LC_EINVAL, "cannot tell where to keep state: user %ld has no home; give --state-dir",
                        (long)geteuid());
  }
  lc_buf_addf(ret, "%s/.local/state/logcap", home);
  return 0;
}

int lc_state_dir_resolve(const char *option, lc_buf *ret, lc_error *error) {
  if (option != NULL && option[0] == '\0') return lc_error_set(error, LC_EINVAL, "--state-dir is empty");
  size_t begin = ret->len;
  const char *given = option != NULL ? option : environment("LOGCAP_STATE_DIR");
  int rc = 0;
  if (given != NULL) {
    rc = absolute(given, ret, error);
  } else if (geteuid() == 0) {
    lc_buf_adds(ret, "/var/lib/logcap");
  } else {
    rc = lc_state_dir_home(ret, error);
  }
  if (rc == 0 && ret->failed) rc = lc_error_set(error, LC_ENOMEM, "out of memory: cannot name the state directory");
  if (rc != 0) ret->len = begin;
  return rc;
}

/* Whoever may write here may have logcap skip or repeat logs. */
static int check_owner(const char *path, lc_error *error) {
  struct stat st;
  if (stat(path, &st) != 0) return lc_error_sys(error, errno, "cannot use state directory %s", path);
  if (!S_ISDIR(st.st_mode)) return lc_error_sys(error, ENOTDIR, "cannot use state directory %s", path);
  if (st.st_uid != geteuid()) {
    return lc_error_set(error, LC_EINVAL, "state directory %s belongs to user %ld, not to user %ld who runs logcap: "
                        "change its owner or choose another with --state-dir", path, (long)st.st_uid,
                        (long)geteuid());
  }
  if ((st.st_mode & 022) != 0) {
    return lc_error_set(error, LC_EINVAL, "state directory %s can be written by others (mode %04o): chmod 700 it or "
                        "choose another with --state-dir", path, (unsigned)(st.st_mode & 07777));
  }
  return 0;
}

static long read_pid(int fd) {
  char text[32];
  ssize_t n = pread(fd, text, sizeof text - 1, 0);
  if (n <= 0) return 0;
  text[n] = '\0';
  char *end = NULL;
  errno = 0;
  long pid = strtol(text, &end, 10);
  return errno == 0 && end != text && pid > 0 ? pid : 0;
}

static int refuse_busy(int fd, const char *directory, lc_error *error) {
  long pid = read_pid(fd);
  char who[32] = "";
  if (pid > 0) snprintf(who, sizeof who, " (pid %ld)", pid);
  return lc_error_set(error, LC_EBUSY, "another logcap%s uses state directory %s: stop it or choose another with "
                      "--state-dir", who, directory);
}

/* The pid only serves messages: a full disk does not keep logcap from starting. */
static void write_pid(int fd, const char *path) {
  char text[32];
  int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
  lc_error error = {0};
  int rc = ftruncate(fd, 0) == 0 ? 0 : lc_error_sys(&error, errno, "cannot empty %s", path);
  if (rc == 0) rc = lc_durable_write_all(fd, text, (size_t)len, NULL, path, &error);
  if (rc != 0) lc_log(LC_LOG_WARN, "state", "cannot write the pid", LC_S("error", error.message));
}

/* Whether `path` still names the file that was locked: somebody may have removed it in between. */
static bool still_there(int fd, const char *path) {
  struct stat ours, named;
  return fstat(fd, &ours) == 0 && lstat(path, &named) == 0 && ours.st_dev == named.st_dev &&
         ours.st_ino == named.st_ino;
}

static int lock_directory(const char *directory, int *ret_fd, lc_error *error) {
  char path[PATH_MAX];
  int n = snprintf(path, sizeof path, "%s/lock", directory);
  if (n < 0 || (size_t)n >= sizeof path) return lc_error_sys(error, ENAMETOOLONG, "cannot lock %.64s...", directory);
  for (;;) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0) return lc_error_sys(error, errno, "cannot open %s: the state directory must be writable", path);
    int rc = 0;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
      rc =
          errno == EWOULDBLOCK ? refuse_busy(fd, directory, error) : lc_error_sys(error, errno, "cannot lock %s", path);
    } else if (still_there(fd, path)) {
      write_pid(fd, path);
      *ret_fd = fd;
      return 0;
    }
    (void)close(fd); /* nothing was written */
    if (rc != 0) return rc;
  }
}

static int new_state(const char *option, lc_state_dir **ret, lc_error *error) {
  lc_buf path = {0};
  int rc = lc_state_dir_resolve(option, &path, error);
  if (rc != 0) return rc;
  lc_state_dir *state = calloc(1, sizeof *state);
  char *copy = strdup(lc_buf_cstr(&path));
  bool failed = state == NULL || copy == NULL || path.failed;
  lc_buf_free(&path);
  if (failed) {
    free(state);
    free(copy);
    lc_error_set(error, LC_ENOMEM, "out of memory: cannot open the state directory");
    return LC_ENOMEM;
  }
  state->path = copy;
  *ret = state;
  return 0;
}

int lc_state_dir_open(const char *option, lc_state_mode mode, lc_state_dir **ret, lc_error *error) {
  lc_state_dir *state = NULL;
  int rc = new_state(option, &state, error);
  if (rc != 0) return rc;
  if (mode == LC_STATE_CREATE) rc = lc_durable_mkdirs(state->path, 0700, error);
  if (rc == 0) rc = check_owner(state->path, error);
  if (rc == 0) rc = lock_directory(state->path, &state->lock_fd, error);
  if (rc != 0) {
    free(state->path);
    free(state);
    return rc;
  }
  *ret = state;
  return 0;
}

void lc_state_dir_close(lc_state_dir *state) {
  if (state == NULL) return;
  /* The file stays, empty: removing it would let two processes lock two files of one name. */
  if (ftruncate(state->lock_fd, 0) != 0) lc_log(LC_LOG_WARN, "state", "cannot empty the lock file");
  (void)close(state->lock_fd);
  free(state->path);
  free(state);
}

const char *lc_state_dir_path(const lc_state_dir *state) { return state->path; }

int lc_state_dir_register(const lc_state_dir *state, lc_inodes *own, lc_error *error) {
  return lc_inodes_add_fd(own, state->lock_fd, error);
}

long lc_state_dir_owner(const char *directory) {
  char path[PATH_MAX];
  int n = snprintf(path, sizeof path, "%s/lock", directory);
  if (n < 0 || (size_t)n >= sizeof path) return 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return 0;
  long pid = 0;
  if (flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK) pid = read_pid(fd);
  (void)close(fd);
  return pid;
}
