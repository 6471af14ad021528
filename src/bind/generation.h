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
 * Thread: loading on any, for as long as it takes; then the loop thread. */
#ifndef LC_BIND_GENERATION_H
#define LC_BIND_GENERATION_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/alert.h"
#include "io/service.h"
#include "logcap/error.h"
#include "pipeline/pipeline.h"
#include "pipeline/reload.h"

typedef struct lc_generation lc_generation;

/* For tests: what stands in a pipeline for a monitor or a sink of its file. The double is borrowed. */
typedef struct lc_generation_doubles {
  int (*monitor)(void *arg, lc_monitor *original, lc_monitor **ret, lc_error *error);
  int (*sink)(void *arg, lc_sink *original, lc_sink **ret, lc_error *error);
  void *arg;
  const int64_t *clock_ns; /* the wall clock that os.time and os.date tell */
} lc_generation_doubles;

typedef struct lc_generation_options {
  const char *const *allow; /* names that pipeline files see beyond the allow-list; may be NULL when n_allow is 0 */
  size_t n_allow;
  uv_loop_t *loop; /* whose pool closes the Lua state at its end; NULL: it is closed on the spot */
  int64_t load_ns; /* how long one file may take to load; 0: what the files say, or 10 seconds */
  const _Atomic bool *cancel; /* borrowed while it loads: set by another thread, it ends with an error; NULL: none */
  void (*tried)(void *arg, const char *path); /* when it fails, called for each file that it had read; may be NULL */
  void *arg;
  const lc_generation_doubles *doubles; /* borrowed while it loads; NULL: none */
} lc_generation_options;

/* Every file must describe a pipeline or a service, and all together at least one pipeline. On failure what was
 * described is released: it leaves the registry with the next lc_registry_run. */
int lc_generation_load(const char *const *files, size_t n, lc_registry *registry, const lc_generation_options *options,
                       lc_generation **ret, lc_error *error) LC_CHECK;
/* The pipelines in the order of the files; borrowed from the generation. */
lc_pipeline *const *lc_generation_pipelines(const lc_generation *generation, size_t *ret_n);
/* For one that was loaded before there was a loop: whose pool closes its Lua state. */
void lc_generation_use_loop(lc_generation *generation, uv_loop_t *loop);
/* Its Lua functions are compiled and interrupted from now on, those of the generation before no more (bind/budget.h).
 * Fails only for the first generation. */
int lc_generation_own_budget(lc_generation *generation, lc_error *error) LC_CHECK;
/* Its pipelines and resources are from now on the live ones that take their place: call it before lc_reload_commit. */
void lc_generation_adopt(lc_generation *generation, const lc_reload *reload);
/* Calls `each` for every file that was loaded, modules too, with its path as it was named. */
void lc_generation_each_file(lc_generation *generation, void (*each)(void *arg, const char *path), void *arg);
/* The services that the files describe, at most one of a kind; borrowed. */
lc_service *const *lc_generation_services(const lc_generation *generation, size_t *ret_n);
/* The service of this index is from now on the live one; beyond those that the files describe nothing happens. */
void lc_generation_adopt_service(lc_generation *generation, size_t index, lc_service *live);
/* Calls the functions that the files gave to logcap.on_alert; what fails is logged. */
void lc_generation_alert(lc_generation *generation, const lc_alert *alert);
/* Bytes that its Lua state has in use. */
uint64_t lc_generation_lua_bytes(const lc_generation *generation);
/* Lets go of the pipelines and of the Lua state; stages that still run keep the state. NULL is allowed. */
void lc_generation_destroy(lc_generation *generation);

#endif
