#include "base/registry.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/resource_list.h"

struct lc_registry {
  pthread_mutex_t lock;
  /* Under the lock: */
  lc_resource *first, *last;           /* all, oldest first */
  lc_resource *pending, **pending_end; /* those with something to do, first come first served */
  uint32_t count;
  uint64_t next_id;
  void (*wake)(void *arg);
  void *wake_arg;
};

int lc_registry_create(lc_registry **ret, lc_error *error) {
  lc_registry *registry = calloc(1, sizeof *registry);
  if (!registry) return lc_error_set(error, LC_ENOMEM, "out of memory for the resource registry");
  int sys = pthread_mutex_init(&registry->lock, NULL);
  if (sys != 0) {
    free(registry);
    return lc_error_sys(error, sys, "cannot make the registry's lock");
  }
  registry->pending_end = &registry->pending;
  registry->next_id = 1;
  *ret = registry;
  return 0;
}

void lc_registry_set_wake(lc_registry *registry, void (*wake)(void *arg), void *arg) {
  pthread_mutex_lock(&registry->lock);
  registry->wake = wake;
  registry->wake_arg = arg;
  if (wake && registry->pending) wake(arg);
  pthread_mutex_unlock(&registry->lock);
}

void lc_registry_add(lc_registry *registry, lc_resource *res) {
  pthread_mutex_lock(&registry->lock);
  res->id = registry->next_id++;
  res->prev = registry->last;
  res->next = NULL;
  *(registry->last ? &registry->last->next : &registry->first) = res;
  registry->last = res;
  registry->count++;
  pthread_mutex_unlock(&registry->lock);
}

void lc_registry_remove(lc_registry *registry, lc_resource *res) {
  pthread_mutex_lock(&registry->lock);
  *(res->prev ? &res->prev->next : &registry->first) = res->next;
  *(res->next ? &res->next->prev : &registry->last) = res->prev;
  registry->count--;
  pthread_mutex_unlock(&registry->lock);
}

static void enqueue_locked(lc_registry *registry, lc_resource *res) {
  if (res->queued) return;
  res->queued = true;
  res->pending = NULL;
  *registry->pending_end = res;
  registry->pending_end = &res->pending;
}

void lc_registry_enqueue(lc_registry *registry, lc_resource *res, bool orphaned) {
  pthread_mutex_lock(&registry->lock);
  /* Set here and not with the count, so that whoever reads it has waited for this call: nobody destroys `res` while its
   * last holder is still on the way here. */
  if (orphaned) atomic_store(&res->wants_destroy, true);
  enqueue_locked(registry, res);
  if (registry->wake) registry->wake(registry->wake_arg);
  pthread_mutex_unlock(&registry->lock);
}

static lc_resource *registry_take_pending(lc_registry *registry) {
  pthread_mutex_lock(&registry->lock);
  lc_resource *res = registry->pending;
  if (res) {
    registry->pending = res->pending;
    if (!registry->pending) registry->pending_end = &registry->pending;
    res->queued = false;
  }
  pthread_mutex_unlock(&registry->lock);
  return res;
}

uint32_t lc_registry_run(lc_registry *registry) {
  uint32_t steps = 0;
  lc_resource *res;
  while ((res = registry_take_pending(registry))) {
    lc_resource_step(res);
    steps++;
  }
  return steps;
}

void lc_registry_close_all(lc_registry *registry) {
  pthread_mutex_lock(&registry->lock);
  for (lc_resource *res = registry->first; res; res = res->next) {
    if (!atomic_exchange(&res->close_asked, true)) enqueue_locked(registry, res);
  }
  if (registry->wake) registry->wake(registry->wake_arg);
  pthread_mutex_unlock(&registry->lock);
}

lc_registry_totals lc_registry_sum(lc_registry *registry) {
  lc_registry_totals totals = {0};
  pthread_mutex_lock(&registry->lock);
  for (lc_resource *res = registry->first; res; res = res->next) {
    totals.resources++;
    totals.descriptors += atomic_load_explicit(&res->descriptors, memory_order_relaxed);
    totals.bytes += atomic_load_explicit(&res->bytes, memory_order_relaxed);
  }
  pthread_mutex_unlock(&registry->lock);
  return totals;
}

/* A copy of the list, each entry retained. */
static int registry_snapshot(lc_registry *registry, lc_resource ***ret, uint32_t *ret_n) {
  pthread_mutex_lock(&registry->lock);
  uint32_t n = 0;
  lc_resource **list = malloc((registry->count + 1) * sizeof *list);
  for (lc_resource *res = registry->first; list && res; res = res->next) {
    if (lc_resource_try_retain(res)) list[n++] = res;
  }
  pthread_mutex_unlock(&registry->lock);
  if (!list) return LC_ENOMEM;
  *ret = list;
  *ret_n = n;
  return 0;
}

int lc_registry_each(lc_registry *registry, int (*each)(void *arg, lc_resource *res), void *arg) {
  lc_resource **list;
  uint32_t n;
  int rc = registry_snapshot(registry, &list, &n);
  if (rc != 0) return rc;
  for (uint32_t i = 0; i < n; i++) {
    if (rc == 0) rc = each(arg, list[i]);
    lc_resource_release(list[i]);
  }
  free(list);
  return rc;
}

static void add_member(lc_buf *buf, const char *before, const char *value) {
  lc_buf_adds(buf, before);
  lc_buf_add_json_string(buf, value, strlen(value));
}

static void add_number(lc_buf *buf, const char *before, int64_t value) {
  lc_buf_addf(buf, "%s%lld", before, (long long)value);
}

typedef struct json_listing {
  lc_buf *buf;
  int64_t now_ns;
  bool any;
} json_listing;

static int json_each(void *arg, lc_resource *res) {
  json_listing *listing = arg;
  lc_buf *buf = listing->buf;
  add_number(buf, listing->any ? ",{\"id\":" : "{\"id\":", (int64_t)res->id);
  listing->any = true;
  add_member(buf, ",\"kind\":", res->kind);
  add_member(buf, ",\"name\":", res->name);
  add_member(buf, ",\"identity\":", res->identity);
  add_member(buf, ",\"made_at\":", res->made_at);
  add_member(buf, ",\"state\":", lc_resource_state_name(lc_resource_state_of(res)));
  add_number(buf, ",\"age_s\":", (listing->now_ns - res->made_ns) / LC_SECOND);
  add_number(buf, ",\"refs\":", (int64_t)atomic_load(&res->refs) - 1); /* not this listing's own */
  add_number(buf, ",\"descriptors\":", atomic_load(&res->descriptors));
  add_number(buf, ",\"bytes\":", atomic_load(&res->bytes));
  add_number(buf, ",\"records_in\":", (int64_t)atomic_load(&res->records_in));
  add_number(buf, ",\"records_out\":", (int64_t)atomic_load(&res->records_out));
  add_number(buf, ",\"errors\":", (int64_t)atomic_load(&res->errors));
  int rc = 0;
  if (res->ops->stats) {
    lc_buf_adds(buf, ",\"stats\":");
    rc = res->ops->stats(res, buf);
  }
  lc_buf_addc(buf, '}');
  return rc != 0 ? rc : buf->failed ? LC_ENOMEM : 0;
}

int lc_registry_json(lc_registry *registry, int64_t now_ns, lc_buf *ret) {
  json_listing listing = {ret, now_ns, false};
  lc_buf_addc(ret, '[');
  int rc = lc_registry_each(registry, json_each, &listing);
  return rc != 0 ? rc : lc_buf_addc(ret, ']');
}

int lc_registry_destroy(lc_registry *registry) {
  if (!registry) return 0;
  (void)lc_registry_run(registry);
  for (lc_resource *res = registry->first; res; res = res->next) {
    lc_log(LC_LOG_ERROR, "registry", "resource was never released", LC_S("kind", res->kind), LC_S("name", res->name),
           LC_S("made_at", res->made_at), LC_S("state", lc_resource_state_name(lc_resource_state_of(res))),
           LC_I("refs", atomic_load(&res->refs)), LC_I("descriptors", atomic_load(&res->descriptors)));
  }
  if (registry->count != 0) return LC_EBUSY;
  (void)pthread_mutex_destroy(&registry->lock);
  free(registry);
  return 0;
}
