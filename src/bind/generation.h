/* A generation: one loaded version of the pipeline files, with its Lua state and the pipelines that it describes.
 *
 *     lc_generation_load(files, n, registry, &(lc_generation_options){0}, &generation, &error);
 *     lc_pipeline *const *pipelines = lc_generation_pipelines(generation, &n);
 *     for (i = 0; i < n; i++) lc_engine_add(engine, pipelines[i], &error);
 *     ...
 *     lc_generation_destroy(generation);
 *
 * Loading only describes: nothing is opened or created. Errors say file, line and what would be right.
 *
 * Thread: the loop thread. */
#ifndef LC_BIND_GENERATION_H
#define LC_BIND_GENERATION_H

#include <stddef.h>
#include <stdint.h>

#include "logcap/error.h"
#include "pipeline/pipeline.h"

typedef struct lc_generation lc_generation;

typedef struct lc_generation_options {
  const char *const *allow; /* names that pipeline files see beyond the allow-list; may be NULL when n_allow is 0 */
  size_t n_allow;
  int64_t load_ns; /* how long one file may take to load; 0: 10 seconds */
} lc_generation_options;

/* Every file must describe at least one pipeline. On failure what was described is released: it leaves the registry
 * with the next lc_registry_run. */
int lc_generation_load(const char *const *files, size_t n, lc_registry *registry, const lc_generation_options *options,
                       lc_generation **ret, lc_error *error) LC_CHECK;
/* The pipelines in the order of the files; borrowed from the generation. */
lc_pipeline *const *lc_generation_pipelines(const lc_generation *generation, size_t *ret_n);
/* Lets go of the pipelines and of the Lua state; stages that still run keep the state. NULL is allowed. */
void lc_generation_destroy(lc_generation *generation);

#endif
