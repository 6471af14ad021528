/* `run --watch`: reloads when a file that was loaded changes, or another Lua file beside one.
 *
 * Folders are watched, not files, so that an editor that writes a new file and renames it into place counts, too.
 * Changes that come together make one reload.
 *
 * Thread: the loop thread. */
#ifndef LC_APP_WATCH_H
#define LC_APP_WATCH_H

#include "bind/generation.h"
#include "logcap/error.h"

struct lc_app;
typedef struct lc_watch lc_watch;

int lc_watch_create(struct lc_app *app, lc_watch **ret, lc_error *error) LC_CHECK;
/* Watches the folders of what this generation loaded. NULL is allowed. */
void lc_watch_renew(lc_watch *watch, lc_generation *generation);
/* Watches the folder of a file, too, until the next renewal: what failed to load is mended there. NULL is allowed. */
void lc_watch_add(lc_watch *watch, const char *path);
void lc_watch_close(lc_watch *watch); /* NULL is allowed */

#endif
