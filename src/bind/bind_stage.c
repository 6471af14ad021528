/* logcap.stage { function(rec) ... end, on_error = "pass" } */
#include "bind/kinds.h"
#include "bind/lua_stage.h"

#define KIND "stage"

struct settings {
  const char *name;
  lc_on_error on_error, quarantine;
  lc_stage_limits limits;
};

static const lc_option known[] = {
    LC_OPTION_NAME(struct settings, name),
    {.name = LC_OPT_FIRST, .type = LC_OPT_FUNCTION, .required = true,
     .example = "logcap.stage { function(rec) ... end }"},
    {.name = "on_error", .type = LC_OPT_WORD, .at = offsetof(struct settings, on_error), .size = sizeof(lc_on_error),
     .words = lc_words_on_error},
    {.name = "quarantine", .type = LC_OPT_WORD, .at = offsetof(struct settings, quarantine),
     .size = sizeof(lc_on_error), .words = lc_words_on_error},
    {.name = "limits", .type = LC_OPT_TABLE, .at = offsetof(struct settings, limits),
     .options = lc_options_stage_limits, .example = "limits = { time = \"1s\" }"},
    LC_OPTION_END,
};

int lc_bind_stage(lua_State *L) {
  struct settings options = {
      .on_error = LC_ON_ERROR_DLQ, .quarantine = LC_ON_ERROR_DLQ, .limits = LC_STAGE_LIMITS_DEFAULT};
  char made_at[LC_WHERE_MAX];
  lc_stage *made = NULL;
  lc_error error = {0};
  lc_options_read(L, 1, KIND, known, &options);
  lc_bind_check_time(L, KIND, "limits.time", options.limits.time_ns);
  lc_state_where(L, made_at);
  lc_handle *handle = lc_handle_new(L, LC_ROLE_STAGE);
  lua_rawgeti(L, 1, 1);
  const lc_lua_stage_options wanted = {.name = options.name,
                                       .made_at = made_at,
                                       .on_error = options.on_error,
                                       .quarantine = options.quarantine,
                                       .time_ns = options.limits.time_ns};
  int rc = lc_lua_stage_create(L, lua_gettop(L), &wanted, &made, &error);
  lua_pop(L, 1);
  return lc_bind_finish(L, handle, KIND, rc, rc == 0 ? &made->resource : NULL, &error);
}
