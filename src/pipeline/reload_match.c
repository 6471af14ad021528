/* Who takes whose place: pipelines by name, resources by kind and identity. */
#include <string.h>

#include "pipeline/reload_inside.h"

bool lc_same_identity(const lc_resource *a, const lc_resource *b) {
  return strcmp(a->kind, b->kind) == 0 && strcmp(a->identity, b->identity) == 0;
}

static lc_fit fit_of(const lc_resource *live, const lc_resource *described) {
  if (atomic_load(&live->close_asked) || live->ops->fit == NULL) return LC_FIT_REPLACE;
  return live->ops->fit(live, described);
}

static const adoption *find_adoption(const lc_reload *reload, const lc_resource *described) {
  for (uint32_t i = 0; i < reload->n_adoptions; i++) {
    if (reload->adoptions[i].described == described) return &reload->adoptions[i];
  }
  return NULL;
}

/* Whether `live` takes the place of `described`; then it is noted. There is room for it. */
bool lc_reload_adopts(lc_reload *reload, lc_resource *described, lc_resource *live) {
  const adoption *old = find_adoption(reload, described);
  if (old != NULL) return old->live == live;
  for (uint32_t i = 0; i < reload->n_adoptions; i++) {
    if (reload->adoptions[i].live == live) return false; /* two that were one: only the first goes on */
  }
  lc_fit fit = fit_of(live, described);
  if (fit == LC_FIT_REPLACE) return false;
  reload->adoptions[reload->n_adoptions++] = (adoption){described, live, fit};
  return true;
}

lc_resource *lc_reload_live(const lc_reload *reload, lc_resource *described) {
  const adoption *found = find_adoption(reload, described);
  return found != NULL ? found->live : described;
}

lc_pipeline *lc_reload_live_pipeline(const lc_reload *reload, uint32_t index) {
  const plan *own = &reload->plans[index];
  return own->live != NULL ? own->live : own->described;
}

static lc_pipeline *pipeline_of_name(const lc_engine *engine, const char *name) {
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    if (strcmp(engine->pipelines[p]->resource.name, name) == 0) return engine->pipelines[p];
  }
  return NULL;
}

static int still_closing(const lc_resource *res, lc_error *error) {
  return lc_error_set(error, LC_EAGAIN, "%s \"%.100s\", made at %.200s, is still draining", res->kind, res->name,
                      res->made_at);
}

/* A pipeline that failed is replaced as a whole. */
int lc_reload_match_pipelines(lc_reload *reload, lc_error *error) {
  int rc = 0;
  for (uint32_t i = 0; i < reload->n; i++) {
    plan *own = &reload->plans[i];
    own->live = pipeline_of_name(reload->engine, own->described->resource.name);
    if (own->live == NULL) continue;
    if (!own->live->leaving) lc_pipeline_check_sinks(own->live);
    if (own->live->failed) own->described->paused = own->live->paused;
    if (own->live->failed && !own->live->leaving) {
      reload->engine->expects = true;
      lc_pipeline_leave(own->live);
    }
    if (own->live->leaving) rc = still_closing(&own->live->resource, error);
  }
  return rc;
}

/* The live sink of the same identity: the newest; those before it only drain. LC_EAGAIN while one of them closes. */
int lc_reload_match_sink(lc_reload *reload, lc_sink *described, lc_error *error) {
  const lc_engine *engine = reload->engine;
  lc_resource *newest = NULL;
  for (uint32_t i = 0; i < engine->n_closing; i++) {
    if (lc_same_identity(engine->closing[i], &described->resource)) return still_closing(engine->closing[i], error);
  }
  for (uint32_t i = 0; i < engine->n_sinks; i++) {
    lc_resource *live = &engine->sinks[i]->resource;
    if (!lc_same_identity(live, &described->resource)) continue;
    lc_resource_state state = lc_resource_state_of(live);
    bool closes = state != LC_RES_CLOSED && atomic_load(&live->close_asked);
    if (closes || state == LC_RES_DESCRIBED) return still_closing(live, error); /* of a reload that failed */
    if (newest == NULL || live->id > newest->id) newest = live;
  }
  if (newest != NULL) (void)lc_reload_adopts(reload, &described->resource, newest);
  return 0;
}

lc_feed *lc_reload_feed_of(const lc_engine *engine, const lc_resource *monitor) {
  lc_feed *found = NULL;
  for (uint32_t p = 0; p < engine->n_pipelines; p++) {
    for (uint32_t f = 0; f < engine->pipelines[p]->n_feeds; f++) {
      lc_feed *feed = engine->pipelines[p]->feeds[f];
      bool idle = feed->leaving && !feed->started && feed->after == NULL; /* it came with a reload that failed */
      if (idle || !lc_same_identity(&feed->monitor->resource, monitor)) continue;
      if (found == NULL || !feed->leaving) found = feed; /* the newest of several that follow one another */
    }
  }
  return found;
}
