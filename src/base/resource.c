#include "logcap/resource.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/resource_list.h"

const char *lc_resource_state_name(lc_resource_state state) {
  static const char *const names[] = {"described", "open", "closing", "closed"};
  return names[state];
}

static void resource_free_strings(lc_resource *res) {
  free(res->name);
  free(res->identity);
  free(res->made_at);
  res->name = res->identity = res->made_at = NULL;
}

int lc_resource_init(lc_resource *res, lc_registry *registry, const lc_resource_ops *ops, const char *kind,
                     const char *name, const char *identity, const char *made_at, lc_error *error) {
  char *copies[3] = {strdup(name ? name : identity), strdup(identity), strdup(made_at ? made_at : "")};
  if (!copies[0] || !copies[1] || !copies[2]) {
    for (int i = 0; i < 3; i++) free(copies[i]);
    return lc_error_set(error, LC_ENOMEM, "out of memory for %s \"%.100s\"", kind, identity);
  }
  memset(res, 0, sizeof *res);
  res->ops = ops;
  res->registry = registry;
  res->kind = kind;
  res->name = copies[0];
  res->identity = copies[1];
  res->made_at = copies[2];
  res->made_ns = lc_clock_wall();
  atomic_init(&res->state, LC_RES_DESCRIBED);
  atomic_init(&res->refs, 1);
  lc_registry_add(registry, res);
  return 0;
}

void lc_resource_retain(lc_resource *res) {
  uint32_t before = atomic_fetch_add_explicit(&res->refs, 1, memory_order_relaxed);
  lc_require(before > 0);
}

bool lc_resource_try_retain(lc_resource *res) {
  uint32_t refs = atomic_load(&res->refs);
  while (refs > 0) {
    if (atomic_compare_exchange_weak(&res->refs, &refs, refs + 1)) return true;
  }
  return false;
}

void lc_resource_release(lc_resource *res) {
  if (!res) return;
  lc_registry *registry = res->registry;
  uint32_t before = atomic_fetch_sub(&res->refs, 1);
  lc_require(before > 0);
  if (before == 1) lc_registry_enqueue(registry, res, true);
}

void lc_resource_close(lc_resource *res) {
  if (atomic_exchange(&res->close_asked, true)) return;
  lc_registry_enqueue(res->registry, res, false);
}

void lc_resource_take_place(lc_resource *res, lc_resource *described) {
  char *made_at = res->made_at;
  res->made_at = described->made_at;
  described->made_at = made_at;
}

int lc_resource_opened(lc_resource *res, lc_error *error) {
  lc_resource_state state = lc_resource_state_of(res);
  bool asked = atomic_load(&res->close_asked);
  if (state != LC_RES_DESCRIBED || asked) {
    return lc_error_set(error, LC_ECLOSED, "%s \"%.100s\" is %s and cannot be opened", res->kind, res->name,
                        state == LC_RES_DESCRIBED ? "asked to close" : lc_resource_state_name(state));
  }
  atomic_store_explicit(&res->state, LC_RES_OPEN, memory_order_release);
  return 0;
}

void lc_resource_closed(lc_resource *res) {
  atomic_store(&res->close_asked, true); /* it may have ended by itself: nothing is left to ask for */
  atomic_store_explicit(&res->state, LC_RES_CLOSED, memory_order_release);
  if (atomic_load(&res->wants_destroy)) lc_registry_enqueue(res->registry, res, true);
}

static void resource_begin_close(lc_resource *res) {
  bool holds_nothing = lc_resource_state_of(res) == LC_RES_DESCRIBED || !res->ops->close;
  atomic_store_explicit(&res->state, LC_RES_CLOSING, memory_order_release);
  if (holds_nothing) lc_resource_closed(res);
  else res->ops->close(res);
}

/* The loop thread moves the state forward here, and lc_resource_closed does; nobody else does. */
void lc_resource_step(lc_resource *res) {
  bool orphaned = atomic_load(&res->wants_destroy);
  lc_resource_state state = lc_resource_state_of(res);
  if (state == LC_RES_CLOSED && orphaned) {
    lc_registry_remove(res->registry, res);
    resource_free_strings(res);
    res->ops->destroy(res);
  } else if (state < LC_RES_CLOSING && (orphaned || atomic_load(&res->close_asked))) {
    resource_begin_close(res); /* when that closed an orphan, it stands in the queue again */
  }
}
