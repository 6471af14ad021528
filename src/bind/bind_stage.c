/* logcap.stage { function(rec) ... end, on_error = "pass" } */
#include "bind/kinds.h"
#include "bind/lua_stage.h"

#define KIND "stage"

struct settings {
  const char *name;
  lc_on_error on_error;
};

static const lc_option known[] = {
    LC_OPTION_NAME(struct settings, name),
    {.name = LC_OPT_FIRST, .type = LC_OPT_FUNCTION, .required = true,
     .example = "logcap.stage { function(rec) ... end }"},
    {.name = "on_error", .type = LC_OPT_WORD, .at = offsetof(struct settings, on_error), .size = sizeof(lc_on_error),
     .words = lc_words_on_error},
    LC_OPTION_END,
};

int lc_bind_stage(lua_State *L) {
  struct settings options = {.on_error = LC_ON_ERROR_DLQ};
  char made_at[LC_WHERE_MAX];
  lc_stage *made = NULL;
  lc_error error = {0};
  lc_options_read(L, 1, KIND, known, &options);
  lc_state_where(L, made_at);
  lc_handle *handle = lc_handle_new(L, LC_ROLE_STAGE);
  lua_rawgeti(L, 1, 1);
  int rc = lc_lua_stage_create(L, lua_gettop(L), options.name, made_at, options.on_error, &made, &error);
  lua_pop(L, 1);
  return lc_bind_finish(L, handle, KIND, rc, rc == 0 ? &made->resource : NULL, &error);
}
