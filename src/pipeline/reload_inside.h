/* What reload.c and reload_match.c share: the plan of a reload.
 *
 * Thread: the loop thread. */
#ifndef LC_PIPELINE_RELOAD_INSIDE_H
#define LC_PIPELINE_RELOAD_INSIDE_H

#include "pipeline/inside.h"
#include "pipeline/reload.h"

/* A described resource and the live one that takes its place. */
typedef struct adoption {
  lc_resource *described, *live; /* borrowed from their pipelines until the commit */
  lc_fit fit;                    /* SAME or CHANGED */
} adoption;

/* What becomes of one described pipeline. */
typedef struct plan {
  lc_pipeline *described; /* borrowed */
  lc_pipeline *live;      /* borrowed; NULL: it is new, and runs itself */
  lc_graph *graph;        /* owned until the commit; for a live one */
  lc_feed **feeds;        /* owned: the new ones of a live pipeline, and room for those that stay */
  uint32_t n_feeds;
  lc_edge **edges; /* its new ones; owned, the edges by the live pipeline */
  uint32_t n_edges;
} plan;

struct lc_reload {
  lc_engine *engine;
  plan *plans;
  uint32_t n;
  adoption *adoptions;
  uint32_t n_adoptions;
};

/* Whether it is the same one for operators, in whatever generation. */
bool lc_same_identity(const lc_resource *a, const lc_resource *b);
/* Whether `live` takes the place of `described`; then it is noted. There is room for it. */
bool lc_reload_adopts(lc_reload *reload, lc_resource *described, lc_resource *live);
/* Finds the live pipelines, and the live sink, of the described ones. LC_EAGAIN while one of them closes. */
int lc_reload_match_pipelines(lc_reload *reload, lc_error *error) LC_CHECK;
int lc_reload_match_sink(lc_reload *reload, lc_sink *described, lc_error *error) LC_CHECK;
/* The newest feed of a monitor of this identity, of whatever pipeline; NULL: none. */
lc_feed *lc_reload_feed_of(const lc_engine *engine, const lc_resource *monitor);

#endif
