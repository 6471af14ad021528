/* What the pipelines of a generation are made of, and the rules between them: one name one pipeline, a monitor feeds
 * one pipeline only, no two resources of the same identity, no two file sinks into the same files.
 *
 * Thread: the loop thread. */
#ifndef LC_BIND_COLLECT_H
#define LC_BIND_COLLECT_H

#include "bind/generation.h"
#include "bind/handle.h"

typedef struct lc_part {
  lc_resource *resource; /* counted reference */
  lc_role role;
  const char *pipeline;  /* borrowed from the generation: the first one it is part of */
  char *claim;           /* owned: what only it may have, such as an output's path; may be NULL */
} lc_part;

#define LC_ON_ALERT_MAX 16
#define LC_SERVICES_MAX 8 /* as many as there are kinds, and more */

struct lc_generation {
  lc_state *state;         /* owned reference */
  lc_pipeline **pipelines; /* owned references */
  char **names;            /* owned */
  char **made_at;          /* owned */
  size_t n_pipelines;
  lc_part *parts; /* owned */
  size_t n_parts;
  const lc_generation_doubles *doubles; /* while it loads; NULL: none */
  lc_service *services[LC_SERVICES_MAX]; /* counted references */
  size_t n_services;
  int on_alert[LC_ON_ALERT_MAX]; /* in the Lua registry: the functions */
  size_t n_on_alert;
};

/* Whether a pipeline of this name may be made / this resource may be part of it, beside the `n` that it has already. */
int lc_generation_check_name(const lc_generation *generation, const char *name, lc_error *error) LC_CHECK;
int lc_generation_check_part(const lc_generation *generation, const lc_part *own, size_t n, const lc_part *part,
                             lc_error *error) LC_CHECK;
/* What stands in a pipeline for this monitor, stage or sink: in tests a double, else itself. */
int lc_generation_stand_in(const lc_generation *generation, lc_role role, lc_resource *resource, void **ret,
                           lc_error *error) LC_CHECK;
/* Takes the pipeline over, and references to its parts (their `pipeline` is not looked at, their `claim` copied). On
 * failure (LC_ENOMEM) nothing is taken. */
int lc_generation_add(lc_generation *generation, lc_pipeline *pipeline, const char *name, const char *made_at,
                      const lc_part *parts, size_t n_parts, lc_error *error) LC_CHECK;
/* Takes a reference to a service; LC_EINVAL when there is one of its kind. */
int lc_generation_add_service(lc_generation *generation, lc_service *service, lc_error *error) LC_CHECK;

#endif
