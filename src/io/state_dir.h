/* The state directory: where logcap keeps positions, dead letters and its control socket. One process owns it.
 *
 *     lc_state_dir *state = NULL;
 *     rc = lc_state_dir_open(option, LC_STATE_CREATE, &state, &error);   // option: of --state-dir, or NULL
 *     lc_store_open(lc_state_dir_path(state), &store, &error);
 *     ...
 *     lc_state_dir_close(state);
 *
 * Thread: the loop thread, before the loop runs and after it ended. */
#ifndef LC_IO_STATE_DIR_H
#define LC_IO_STATE_DIR_H

#include "base/buf.h"
#include "io/inodes.h"
#include "logcap/error.h"

typedef struct lc_state_dir lc_state_dir;

typedef enum lc_state_mode {
  LC_STATE_CREATE,  /* make it, and the folders above it, when it is missing (0700) */
  LC_STATE_EXISTING /* LC_ENOENT when it is missing: nothing is made but the lock file */
} lc_state_mode;

/* Which directory it is, as an absolute path: `option`, else $LOGCAP_STATE_DIR, else /var/lib/logcap for root, else
 * $XDG_STATE_HOME/logcap, else ~/.local/state/logcap. Touches nothing. Appends to `ret`. */
int lc_state_dir_resolve(const char *option, lc_buf *ret, lc_error *error) LC_CHECK;

/* Where a user's own state lies: $XDG_STATE_HOME/logcap, else ~/.local/state/logcap. Touches nothing. Appends. */
int lc_state_dir_home(lc_buf *ret, lc_error *error) LC_CHECK;

/* Resolves it, makes it if asked, refuses one that another user could change, and locks it. LC_EBUSY, with the
 * owner's pid in the message, when another process has it. */
int lc_state_dir_open(const char *option, lc_state_mode mode, lc_state_dir **ret, lc_error *error) LC_CHECK;
/* Releases the lock; NULL is allowed. */
void lc_state_dir_close(lc_state_dir *state);
const char *lc_state_dir_path(const lc_state_dir *state); /* absolute; lives as long as `state` */

/* Enters the lock file among logcap's own files. */
int lc_state_dir_register(const lc_state_dir *state, lc_inodes *own, lc_error *error) LC_CHECK;

/* The pid that holds the lock of `directory`, or 0 when nobody does or it cannot be told. Only looks. */
long lc_state_dir_owner(const char *directory);

#endif
