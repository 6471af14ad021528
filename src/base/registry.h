/* The registry: every resource of the process, from its creation to its release (include/logcap/resource.h).
 *
 *     lc_registry_create(&registry, &error);
 *     lc_registry_set_wake(registry, send_async, &async);   // the loop shall call lc_registry_run soon
 *     ...
 *     lc_registry_run(registry);                            // on the loop thread, when woken
 *     lc_registry_set_wake(registry, NULL, NULL);
 *     if (lc_registry_destroy(registry) != 0) ...           // something leaked; it was logged
 *
 * Closing and destroying are always handed over to lc_registry_run, also when asked for on the loop thread: so
 * `ops->close` and `ops->destroy` never run inside the caller's call, and a finalizer may ask for them.
 *
 * Threads: create, run, json and destroy on the loop thread; the rest from any. */
#ifndef LC_BASE_REGISTRY_H
#define LC_BASE_REGISTRY_H

#include "base/buf.h"
#include "logcap/resource.h"

typedef struct lc_registry_totals {
  uint32_t resources;
  int64_t descriptors, bytes;
} lc_registry_totals;

int lc_registry_create(lc_registry **ret, lc_error *error) LC_CHECK;

/* `wake` is called from any thread, with the registry locked, when lc_registry_run has something to do: it must not
 * block nor call back. NULL: nobody is woken. After set_wake returned, the old one is not called any more. */
void lc_registry_set_wake(lc_registry *registry, void (*wake)(void *arg), void *arg);

/* Performs the closes and destroys that were asked for, and those that they ask for, until none is pending. Returns how
 * many steps it took. Not from inside `ops`. */
uint32_t lc_registry_run(lc_registry *registry);

/* Asks every resource to close. */
void lc_registry_close_all(lc_registry *registry);

lc_registry_totals lc_registry_sum(lc_registry *registry);

/* Calls `each` for all resources as they were at the call, oldest first, each held by a reference meanwhile. A non-zero
 * return stops and is returned. LC_ENOMEM when the list could not be copied. */
int lc_registry_each(lc_registry *registry, int (*each)(void *arg, lc_resource *res), void *arg);

/* Appends a JSON array with an object per resource: id, kind, name, identity, made_at, state, age_s, refs, descriptors,
 * bytes, records_in, records_out, errors, stats. `now_ns` is the wall clock. Returns 0 or LC_ENOMEM, or what a
 * resource's stats returned. */
int lc_registry_json(lc_registry *registry, int64_t now_ns, lc_buf *ret);

/* Runs what is pending, then frees. LC_EBUSY, with each of them logged, when resources are left: they refer to the
 * registry, so it stays. NULL is allowed. */
int lc_registry_destroy(lc_registry *registry) LC_CHECK;

const char *lc_resource_state_name(lc_resource_state state);

#endif
