/* logcap.pipeline { name = "shop", from = monitor, stages = { ... }, to = sink } */
#include <stdio.h>

#include "bind/collect.h"
#include "bind/kinds.h"
#include "bind/lua_stage.h"

#define KIND "pipeline"
#define PARTS_MAX 1000

struct settings {
  const char *name;
  lc_on_error on_error, quarantine; /* of the functions in `stages`, like the next one */
  lc_stage_limits limits;
  uint64_t memory;
};

static const lc_option known[] = {
    {.name = "name", .type = LC_OPT_STRING, .required = true, .at = offsetof(struct settings, name),
     .example = "name = \"shop\""},
    {.name = "from", .type = LC_OPT_ANY, .required = true,
     .example = "from = logcap.file_monitor { paths = { \"/var/log/*.log\" } }"},
    {.name = "stages", .type = LC_OPT_ANY},
    {.name = "to", .type = LC_OPT_ANY, .required = true, .example = "to = logcap.file_sink { path = \"out.log\" }"},
    {.name = "on_error", .type = LC_OPT_WORD, .at = offsetof(struct settings, on_error), .size = sizeof(lc_on_error),
     .words = lc_words_on_error},
    {.name = "quarantine", .type = LC_OPT_WORD, .at = offsetof(struct settings, quarantine),
     .size = sizeof(lc_on_error), .words = lc_words_on_error},
    {.name = "limits", .type = LC_OPT_TABLE, .at = offsetof(struct settings, limits),
     .options = lc_options_stage_limits, .example = "limits = { time = \"1s\" }"},
    {.name = "memory", .type = LC_OPT_SIZE, .at = offsetof(struct settings, memory), .size = sizeof(uint64_t),
     .least = LC_PIPELINE_MEMORY_LEAST},
    LC_OPTION_END,
};

/* What is collected of one pipeline. In a Lua userdata, so that an error anywhere frees it. */
struct draft {
  lc_lua_stage_options functions; /* how they are made into stages */
  lc_part parts[PARTS_MAX]; /* monitors, then stages, then sinks; references belong to the handles on the Lua stack */
  void *pointers[PARTS_MAX];
  uint32_t n_parts;
  uint32_t count[3]; /* by role */
};

static int wrong_part(lua_State *L, const char *option, int position, lc_role role, const char *got) {
  char place[40] = "";
  if (position > 0) snprintf(place, sizeof place, "[%d]", position);
  return lc_raise(L, KIND ": option \"%s%s\" must be %s%s, got %s", option, place, lc_role_name(role),
                  role == LC_ROLE_STAGE ? " or a function" : position > 0 ? "" : " or a list of them", got);
}

/* Replaces the function on the top of the stack by the handle of a stage that calls it. */
static void wrap_function(lua_State *L, const struct draft *draft) {
  lc_stage *stage = NULL;
  lc_error error = {0};
  int function = lua_gettop(L);
  lc_handle *handle = lc_handle_new(L, LC_ROLE_STAGE);
  int rc = lc_lua_stage_create(L, function, &draft->functions, &stage, &error);
  lc_bind_finish(L, handle, KIND, rc, rc == 0 ? &stage->resource : NULL, &error);
  lua_replace(L, function);
}

/* Takes the part on the top of the stack; it stays anchored in the table of handles at `anchor`. */
static void take_part(lua_State *L, struct draft *draft, const char *option, int position, lc_role role, int anchor) {
  lc_error error = {0};
  if (lua_iscfunction(L, -1)) {
    wrong_part(L, option, position, role, "a constructor that is not called: write { } with its options behind it");
  }
  if (role == LC_ROLE_STAGE && lua_isfunction(L, -1)) wrap_function(L, draft);
  lc_handle *handle = lc_handle_at(L, -1);
  if (handle == NULL) {
    wrong_part(L, option, position, role, lua_typename(L, lua_type(L, -1)));
    return; /* never: it raised */
  }
  if (handle->resource == NULL) wrong_part(L, option, position, role, "one that was closed before");
  if (handle->role != role) wrong_part(L, option, position, role, handle->kind);
  if (draft->n_parts == PARTS_MAX) lc_raise(L, KIND ": more than %d monitors, stages and sinks", PARTS_MAX);
  lc_part *part = &draft->parts[draft->n_parts];
  *part = (lc_part){.resource = handle->resource, .role = role};
  part->claim = (char *)(uintptr_t)lc_handle_claimed(L, -1);
  /* A stage with memory would take each record for one that it has seen. */
  bool once = role != LC_ROLE_STAGE || ((const lc_stage *)(const void *)handle->resource)->ops->save != NULL;
  for (uint32_t i = 0; i < draft->n_parts && once; i++) {
    if (draft->parts[i].resource == handle->resource) wrong_part(L, option, position, role, "the same one twice");
  }
  if (lc_generation_check_part(lc_state_of(L)->generation, draft->parts, draft->n_parts, part, &error) != 0) {
    lc_raise(L, KIND ": %s", error.message);
  }
  void **pointer = &draft->pointers[draft->n_parts++];
  if (lc_generation_stand_in(lc_state_of(L)->generation, role, handle->resource, pointer, &error) != 0) {
    lc_raise(L, KIND ": %s", error.message);
  }
  draft->count[role]++;
  lua_pushvalue(L, -1);
  lua_rawseti(L, anchor, (int)draft->n_parts);
}

/* The option is one part or a list of them. */
static void take_parts(lua_State *L, struct draft *draft, const char *option, lc_role role, int anchor) {
  lua_getfield(L, 1, option);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    return;
  }
  if (!lua_istable(L, -1)) {
    if (role == LC_ROLE_STAGE) {
      lc_raise(L, KIND ": option \"stages\" must be a list, got a %s; write stages = { ... }", luaL_typename(L, -1));
    }
    take_part(L, draft, option, 0, role, anchor);
    lua_pop(L, 1);
    return;
  }
  size_t n = lua_objlen(L, -1), seen = 0;
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TNUMBER) {
      lc_raise(L, KIND ": option \"%s\" must be a list without named entries", option);
    }
    seen++;
  }
  if (seen != n) lc_raise(L, KIND ": option \"%s\" must be a list without holes", option);
  if (n == 0 && role != LC_ROLE_STAGE) lc_raise(L, KIND ": option \"%s\" must not be an empty list", option);
  for (int i = 1; i <= (int)n; i++) {
    lua_rawgeti(L, -1, i);
    take_part(L, draft, option, i, role, anchor);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* Makes the pipeline and hands it to the generation. */
static int make(const struct draft *draft, const struct settings *options, lc_state *state, lc_error *error) {
  void *const *pointers = draft->pointers;
  const uint32_t monitors = draft->count[LC_ROLE_MONITOR], stages = draft->count[LC_ROLE_STAGE];
  const lc_pipeline_options wanted = {
      .name = options->name,
      .made_at = draft->functions.made_at,
      .monitors = (lc_monitor **)(uintptr_t)pointers,
      .n_monitors = monitors,
      .stages = (lc_stage **)(uintptr_t)(pointers + monitors),
      .n_stages = stages,
      .sinks = (lc_sink **)(uintptr_t)(pointers + monitors + stages),
      .n_sinks = draft->count[LC_ROLE_SINK],
      .memory = options->memory,
  };
  lc_pipeline *pipeline = NULL;
  int rc = lc_pipeline_create(&wanted, state->registry, &pipeline, error);
  if (rc != 0) return rc;
  rc = lc_generation_add(state->generation, pipeline, options->name, draft->functions.made_at, draft->parts,
                         draft->n_parts, error);
  if (rc != 0) lc_pipeline_release(pipeline);
  return rc;
}

int lc_bind_pipeline(lua_State *L) {
  struct settings options = {
      .on_error = LC_ON_ERROR_DLQ, .quarantine = LC_ON_ERROR_DLQ, .limits = LC_STAGE_LIMITS_DEFAULT};
  char made_at[LC_WHERE_MAX];
  lc_error error = {0};
  lc_state *state = lc_state_of(L);
  if (state->generation == NULL) return lc_raise(L, KIND ": pipelines are made only while their file loads");
  lc_options_read(L, 1, KIND, known, &options);
  lc_bind_check_time(L, KIND, "limits.time", options.limits.time_ns);
  lc_state_where(L, made_at);
  if (lc_generation_check_name(state->generation, options.name, &error) != 0) {
    return lc_raise(L, KIND ": %s", error.message);
  }
  struct draft *parts = lua_newuserdata(L, sizeof *parts);
  *parts = (struct draft){.functions = {.made_at = made_at,
                                        .on_error = options.on_error,
                                        .quarantine = options.quarantine,
                                        .time_ns = options.limits.time_ns}};
  lua_newtable(L);
  int anchor = lua_gettop(L);
  take_parts(L, parts, "from", LC_ROLE_MONITOR, anchor);
  take_parts(L, parts, "stages", LC_ROLE_STAGE, anchor);
  take_parts(L, parts, "to", LC_ROLE_SINK, anchor);
  if (make(parts, &options, state, &error) != 0) return lc_raise(L, KIND ": %s", error.message);
  return 0;
}
