#include "bind/generation.h"

#include <stdlib.h>
#include <string.h>

#include "bind/collect.h"

/* --- what pipelines are made of --- */

static const char *where(const lc_resource *res) { return res->made_at; }

int lc_generation_check_name(const lc_generation *generation, const char *name, lc_error *error) {
  for (size_t i = 0; i < generation->n_pipelines; i++) {
    if (strcmp(generation->names[i], name) != 0) continue;
    return lc_error_set(error, LC_EINVAL, "there is a pipeline \"%.100s\" already, made at %s; give each its own name",
                        name, generation->made_at[i]);
  }
  return 0;
}

static int check_against(const lc_part *old, const lc_part *new, lc_error *error) {
  const lc_resource *a = old->resource, *b = new->resource;
  if (a == b && new->role == LC_ROLE_MONITOR) {
    return lc_error_set(error, LC_EINVAL,
                        "the %s made at %s already feeds pipeline \"%.100s\"; a monitor feeds one pipeline, which may "
                        "have several sinks",
                        b->kind, where(b), old->pipeline);
  }
  if (a == b || new->role == LC_ROLE_STAGE) return 0;
  if (old->claim != NULL && new->claim != NULL && strcmp(old->claim, new->claim) == 0) {
    return lc_error_set(error, LC_EINVAL,
                        "two resources have %.150s: the %s made at %s and the one made at %s; use one for both",
                        new->claim, b->kind, where(a), where(b));
  }
  if (strcmp(a->identity, b->identity) == 0) {
    return lc_error_set(error, LC_EINVAL,
                        "the %s made at %s and the one made at %s cannot be told apart; give each a name of its own",
                        b->kind, where(a), where(b));
  }
  return 0;
}

int lc_generation_check_part(const lc_generation *generation, const lc_part *own, size_t n, const lc_part *part,
                             lc_error *error) {
  int rc = 0;
  for (size_t i = 0; i < n && rc == 0; i++) rc = check_against(&own[i], part, error);
  for (size_t i = 0; i < generation->n_parts && rc == 0; i++) rc = check_against(&generation->parts[i], part, error);
  return rc;
}

int lc_generation_stand_in(const lc_generation *generation, lc_role role, lc_resource *resource, void **ret,
                           lc_error *error) {
  const lc_generation_doubles *doubles = generation->doubles;
  *ret = resource; /* the first member of monitors, stages and sinks alike */
  if (doubles == NULL || role == LC_ROLE_STAGE) return 0;
  if (role == LC_ROLE_SINK) return doubles->sink(doubles->arg, (lc_sink *)resource, (lc_sink **)ret, error);
  return doubles->monitor(doubles->arg, (lc_monitor *)resource, (lc_monitor **)ret, error);
}

static bool grow(void **table, size_t count, size_t more, size_t size) {
  void *grown = realloc(*table, (count + more) * size);
  if (grown == NULL) return false;
  *table = grown;
  return true;
}

static bool make_room(lc_generation *generation, size_t n_parts) {
  void *pipelines = generation->pipelines, *names = generation->names, *made_at = generation->made_at;
  void *parts = generation->parts;
  bool ok = grow(&pipelines, generation->n_pipelines, 1, sizeof(lc_pipeline *)) &&
            grow(&names, generation->n_pipelines, 1, sizeof(char *)) &&
            grow(&made_at, generation->n_pipelines, 1, sizeof(char *)) &&
            grow(&parts, generation->n_parts, n_parts, sizeof(lc_part));
  generation->pipelines = pipelines;
  generation->names = names;
  generation->made_at = made_at;
  generation->parts = parts;
  return ok;
}

int lc_generation_add(lc_generation *generation, lc_pipeline *pipeline, const char *name, const char *made_at,
                      const lc_part *parts, size_t n_parts, lc_error *error) {
  char *name_copy = strdup(name), *made_copy = strdup(made_at);
  bool ok = name_copy != NULL && made_copy != NULL && make_room(generation, n_parts);
  size_t done = 0;
  for (; ok && done < n_parts; done++) {
    lc_part *part = &generation->parts[generation->n_parts + done];
    *part = parts[done];
    part->pipeline = name_copy;
    part->claim = parts[done].claim != NULL ? strdup(parts[done].claim) : NULL;
    ok = parts[done].claim == NULL || part->claim != NULL;
  }
  if (!ok) {
    for (size_t i = 0; i < done; i++) free(generation->parts[generation->n_parts + i].claim);
    free(name_copy);
    free(made_copy);
    return lc_error_set(error, LC_ENOMEM, "out of memory for pipeline \"%.100s\"", name);
  }
  for (size_t i = 0; i < n_parts; i++) lc_resource_retain(parts[i].resource);
  generation->n_parts += n_parts;
  generation->pipelines[generation->n_pipelines] = pipeline;
  generation->names[generation->n_pipelines] = name_copy;
  generation->made_at[generation->n_pipelines++] = made_copy;
  return 0;
}

int lc_generation_add_service(lc_generation *generation, lc_service *service, lc_error *error) {
  const lc_resource *new = &service->resource;
  for (size_t i = 0; i < generation->n_services; i++) {
    const lc_resource *old = &generation->services[i]->resource;
    if (strcmp(old->kind, new->kind) != 0) continue;
    return lc_error_set(error, LC_EINVAL, "there is one already, made at %s, and all files of a process share it",
                        where(old));
  }
  if (generation->n_services == LC_SERVICES_MAX) return lc_error_set(error, LC_ELIMIT, "too many kinds of services");
  lc_resource_retain(&service->resource);
  generation->services[generation->n_services++] = service;
  return 0;
}

/* --- loading --- */

/* A part may have been closed by the file after the pipeline was made. */
static int check_open(const lc_generation *generation, lc_error *error) {
  for (size_t i = 0; i < generation->n_parts; i++) {
    const lc_part *part = &generation->parts[i];
    if (!atomic_load(&part->resource->close_asked)) continue;
    return lc_error_set(error, LC_ECLOSED, "%s: this %s is closed, but pipeline \"%.100s\" needs it; do not close it",
                        where(part->resource), part->resource->kind, part->pipeline);
  }
  for (size_t i = 0; i < generation->n_services; i++) {
    const lc_resource *res = &generation->services[i]->resource;
    if (!atomic_load(&res->close_asked)) continue;
    return lc_error_set(error, LC_ECLOSED, "%s: this %s is closed; do not close it, or leave it away", where(res),
                        res->kind);
  }
  return 0;
}

static int load_file(lc_generation *generation, const char *file, int64_t limit_ns, lc_error *error) {
  size_t before = generation->n_pipelines + generation->n_services;
  lc_state *state = generation->state;
  lc_budget_call call;
  lc_budget_begin(state, &call, LC_BUDGET_LOAD, limit_ns > 0 ? limit_ns : state->budget.load_ns);
  int rc = lc_state_run_file(state, file, error);
  lc_budget_end(state, &call);
  if (rc != 0 || generation->n_pipelines + generation->n_services > before) return rc;
  return lc_error_set(error, LC_EINVAL,
                      "%s: no pipeline is made here; end the file with logcap.pipeline { name = \"...\", from = ..., "
                      "to = ... }",
                      file);
}

int lc_generation_load(const char *const *files, size_t n, lc_registry *registry, const lc_generation_options *options,
                       lc_generation **ret, lc_error *error) {
  if (n == 0) return lc_error_set(error, LC_EINVAL, "no pipeline file is given");
  lc_generation *generation = calloc(1, sizeof *generation);
  if (generation == NULL) return lc_error_set(error, LC_ENOMEM, "out of memory for the pipeline files");
  const lc_state_options state_options = {
      .registry = registry,
      .loop = options->loop,
      .made_at = files[0],
      .allow = options->allow,
      .n_allow = options->n_allow,
      .clock_ns = options->doubles != NULL ? options->doubles->clock_ns : NULL,
  };
  generation->doubles = options->doubles;
  int rc = lc_state_create(&state_options, &generation->state, error);
  if (rc == 0) {
    generation->state->generation = generation;
    generation->state->budget.cancel = options->cancel;
  }
  for (size_t i = 0; i < n && rc == 0; i++) rc = load_file(generation, files[i], options->load_ns, error);
  if (rc == 0 && generation->n_pipelines == 0) {
    rc = lc_error_set(error, LC_EINVAL, "%s: no pipeline is made, here or in another file", files[0]);
  }
  if (rc == 0) rc = check_open(generation, error);
  if (rc != 0) {
    if (options->tried != NULL && generation->state != NULL) {
      lc_state_each_file(generation->state, options->tried, options->arg);
    }
    lc_generation_destroy(generation);
    return rc;
  }
  generation->state->budget.cancel = NULL;
  generation->doubles = NULL;
  generation->state->generation = NULL; /* functions that run later make no pipelines */
  *ret = generation;
  return 0;
}

lc_pipeline *const *lc_generation_pipelines(const lc_generation *generation, size_t *ret_n) {
  *ret_n = generation->n_pipelines;
  return generation->pipelines;
}

int lc_generation_own_budget(lc_generation *generation, lc_error *error) {
  return lc_budget_own(generation->state, error);
}

void lc_generation_use_loop(lc_generation *generation, uv_loop_t *loop) { generation->state->loop = loop; }

static void adopt_part(lc_part *part, const lc_reload *reload) {
  lc_resource *live = lc_reload_live(reload, part->resource);
  if (live == part->resource) return;
  lc_resource_retain(live);
  lc_resource_release(part->resource);
  part->resource = live;
}

void lc_generation_adopt(lc_generation *generation, const lc_reload *reload) {
  lc_handle_adopt(generation->state, reload);
  for (size_t i = 0; i < generation->n_parts; i++) adopt_part(&generation->parts[i], reload);
  for (size_t i = 0; i < generation->n_pipelines; i++) {
    lc_pipeline *live = lc_reload_live_pipeline(reload, (uint32_t)i);
    if (live == generation->pipelines[i]) continue;
    lc_pipeline_retain(live);
    lc_pipeline_release(generation->pipelines[i]);
    generation->pipelines[i] = live;
  }
}

void lc_generation_each_file(lc_generation *generation, void (*each)(void *arg, const char *path), void *arg) {
  lc_state_each_file(generation->state, each, arg);
}

lc_service *const *lc_generation_services(const lc_generation *generation, size_t *ret_n) {
  *ret_n = generation->n_services;
  return generation->services;
}

void lc_generation_adopt_service(lc_generation *generation, size_t index, lc_service *live) {
  if (index >= generation->n_services) return;
  lc_resource *described = &generation->services[index]->resource;
  lc_handle_replace(generation->state, described, &live->resource);
  lc_resource_retain(&live->resource);
  lc_resource_release(described);
  generation->services[index] = live;
}

uint64_t lc_generation_lua_bytes(const lc_generation *generation) {
  return lc_heap_used(&generation->state->heap);
}

void lc_generation_destroy(lc_generation *generation) {
  if (generation == NULL) return;
  for (size_t i = 0; i < generation->n_pipelines; i++) {
    lc_pipeline_release(generation->pipelines[i]);
    free(generation->names[i]);
    free(generation->made_at[i]);
  }
  for (size_t i = 0; i < generation->n_parts; i++) {
    lc_resource_release(generation->parts[i].resource);
    free(generation->parts[i].claim);
  }
  for (size_t i = 0; i < generation->n_services; i++) lc_resource_release(&generation->services[i]->resource);
  lc_state_destroy(generation->state);
  free(generation->pipelines);
  free(generation->names);
  free(generation->made_at);
  free(generation->parts);
  free(generation);
}
