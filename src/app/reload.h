/* Hot reload: the pipeline files are loaded anew beside the ones that run, and take their place.
 *
 *     lc_reloader_create(app, &reloader, &error);
 *     lc_app_reload(app, "SIGHUP", NULL, NULL);
 *     lc_app_reload(app, "logcap reload", answer, client);     // answer(client, &outcome), later, once
 *
 * The files load on a thread of their own; what is new is opened and the generations are exchanged on the loop thread,
 * between two batches. Whatever fails leaves the old generation as it is. Asked for while one is under way, another one
 * follows: files may have changed since it began to read them.
 *
 * Thread: the loop thread. */
#ifndef LC_APP_RELOAD_H
#define LC_APP_RELOAD_H

#include <stdint.h>

#include "logcap/error.h"

struct lc_app;
typedef struct lc_reloader lc_reloader;

typedef struct lc_reload_outcome {
  bool ok;
  const char *message; /* why not, with file and line; "" when ok */
  uint32_t generation; /* that runs now; the first one is 1 */
  int64_t load_ns;     /* how long loading took, in its thread */
  int64_t switch_ns;   /* how long the loop thread was held */
} lc_reload_outcome;
typedef void (*lc_reload_done)(void *arg, const lc_reload_outcome *outcome);

/* What happened so far; for metrics. */
typedef struct lc_reload_stats {
  uint64_t succeeded, failed;
  uint32_t generation;
  int64_t last_ok_ns;     /* wall clock; of the start at first */
  bool last_failed;
  char last_message[480]; /* of the last failure; "" when there was none since the last success */
} lc_reload_stats;

int lc_reloader_create(struct lc_app *app, lc_reloader **ret, lc_error *error) LC_CHECK;
/* No more reloads: those that wait are refused. It is closed when the loop has turned; `closed` may be NULL. */
void lc_reloader_close(lc_reloader *reloader);
const lc_reload_stats *lc_reloader_stats(const lc_reloader *reloader);

/* `done` may be NULL; it may be called before this returns when nothing can be begun. */
void lc_app_reload(struct lc_app *app, const char *why, lc_reload_done done, void *arg);

#endif
