/* Resources: whatever has a lifetime and holds something that could leak.
 *
 * Every monitor, sink, stage with memory, client and store embeds an lc_resource, which stands in the registry from
 * lc_resource_init to its release. References are counted; the last one released calls `ops->destroy`. Closing is a
 * request: idempotent, asynchronous, from any thread.
 *
 *     lc_resource_init(&sink->resource, registry, &file_sink_resource_ops, "file_sink", name, identity, made_at);
 *     ...
 *     lc_resource_close(&sink->resource);    // asks; never blocks
 *     lc_resource_release(&sink->resource);  // the last one frees
 *
 * Threads: retain, release, close and the counters from any thread; the registry has a lock of its own. `ops->close`
 * and `ops->destroy` run on the loop thread, from lc_registry_run (src/base/registry.h) and never inside the call that
 * asked for them. */
#ifndef LOGCAP_RESOURCE_H
#define LOGCAP_RESOURCE_H

#include <stdatomic.h>
#include <stdint.h>

#include "logcap/error.h"

typedef struct lc_registry lc_registry;
typedef struct lc_resource lc_resource;
struct lc_buf;

typedef enum lc_resource_state {
  LC_RES_DESCRIBED, /* made from options, holds nothing yet */
  LC_RES_OPEN,      /* works */
  LC_RES_CLOSING,   /* asked to close, drains */
  LC_RES_CLOSED     /* holds nothing any more */
} lc_resource_state;

/* How a live resource fits what new pipeline files say of it. */
typedef enum lc_fit {
  LC_FIT_SAME,    /* all options are the same: it is adopted as it is */
  LC_FIT_CHANGED, /* it can take the new options over in place */
  LC_FIT_REPLACE  /* it cannot: the new one takes its place, and it drains */
} lc_fit;

typedef struct lc_resource_ops {
  /* Starts to close. Ends, now or later, with lc_resource_closed(). Called at most once, and only when the resource was
   * open. NULL: there is nothing to wait for. */
  void (*close)(lc_resource *res);
  /* Frees the object. No reference and no pending work is left. */
  void (*destroy)(lc_resource *res);
  /* Optional: a JSON object of figures, appended to `ret`. Loop thread. */
  int (*stats)(lc_resource *res, struct lc_buf *ret);
  /* Optional. A reload found `described`, of the same kind and identity and never opened, in the new pipeline files:
   * can `res`, which is alive, take its place? Changes nothing. NULL: always LC_FIT_REPLACE. Loop thread. */
  lc_fit (*fit)(const lc_resource *res, const lc_resource *described);
  /* Takes the options of `described` over; cannot fail, because whatever could was done when that one was made: swap
   * with it. It is released afterwards; who needs it until a job ends retains it. Called after LC_FIT_CHANGED, between
   * two batches. Loop thread. */
  void (*adopt)(lc_resource *res, lc_resource *described);
} lc_resource_ops;

struct lc_resource {
  const lc_resource_ops *ops;
  lc_registry *registry; /* borrowed; outlives all resources */
  uint64_t id;
  const char *kind;  /* static */
  char *name;        /* owned; for people */
  char *identity;    /* owned; kind and key, the same in the next generation and the next run */
  char *made_at;     /* owned; "pipeline.lua:12" */
  int64_t made_ns;   /* wall clock */
  _Atomic int state; /* lc_resource_state */
  _Atomic uint32_t refs;
  _Atomic int64_t descriptors; /* held now */
  _Atomic int64_t bytes;       /* held now, beyond the struct itself */
  _Atomic uint64_t records_in, records_out, errors;
  _Atomic bool close_asked, wants_destroy;
  lc_resource *prev, *next; /* registry's list, under its lock */
  lc_resource *pending;     /* registry's queue of what has something to do, under its lock */
  bool queued;              /* stands in that queue */
};

/* Enters `res` into the registry with one reference, state LC_RES_DESCRIBED. Copies the strings. `name` may be NULL:
 * then the identity serves. */
int lc_resource_init(lc_resource *res, lc_registry *registry, const lc_resource_ops *ops, const char *kind,
                     const char *name, const char *identity, const char *made_at, lc_error *error) LC_CHECK;
void lc_resource_retain(lc_resource *res);
/* Drops a reference; NULL is allowed. The last one destroys on the loop thread, closing first if needed. */
void lc_resource_release(lc_resource *res);
/* Asks for the close. Does nothing when it was asked before. */
void lc_resource_close(lc_resource *res);
/* `res` takes the place of `described`, which describes the same anew: its made_at is that one's from now on. Loop
 * thread. */
void lc_resource_take_place(lc_resource *res, lc_resource *described);
/* The resource says that it works now. LC_ECLOSED when a close was asked before. Loop thread. */
int lc_resource_opened(lc_resource *res, lc_error *error) LC_CHECK;
/* The resource says that it holds nothing any more. Loop thread. Without a reference nothing may touch it then. */
void lc_resource_closed(lc_resource *res);

static inline lc_resource_state lc_resource_state_of(const lc_resource *res) {
  return (lc_resource_state)atomic_load_explicit(&res->state, memory_order_acquire);
}

#endif
