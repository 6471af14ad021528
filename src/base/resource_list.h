/* What resource.c and registry.c share: the registry's lock, its list and its queue of resources with something to do.
 * Nobody else includes this. */
#ifndef LC_BASE_RESOURCE_LIST_H
#define LC_BASE_RESOURCE_LIST_H

#include "base/registry.h"

/* Enters and leaves the list; `add` gives the id. */
void lc_registry_add(lc_registry *registry, lc_resource *res);
void lc_registry_remove(lc_registry *registry, lc_resource *res);

/* Puts `res` up for lc_registry_run and wakes the loop; `orphaned` says that the last reference is gone, after which
 * the caller must not touch it again. */
void lc_registry_enqueue(lc_registry *registry, lc_resource *res, bool orphaned);

/* One step towards what was asked of `res`: begins its close, or destroys it, or nothing when it has to wait. */
void lc_resource_step(lc_resource *res);

/* Takes a reference unless the last one is gone already. Under the registry's lock. */
bool lc_resource_try_retain(lc_resource *res);

#endif
