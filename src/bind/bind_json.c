/* logcap.json { on_error = "dlq" } */
#include "bind/kinds.h"
#include "stage/json_stage.h"

#define KIND "json"

struct settings {
  lc_json_stage_options json;
};

static const lc_option known[] = {
    {.name = "on_error", .type = LC_OPT_WORD, .at = offsetof(struct settings, json.on_error),
     .size = sizeof(lc_on_error), .words = lc_words_on_error},
    LC_OPTION_END,
};

int lc_bind_json(lua_State *L) {
  struct settings options = {.json.on_error = LC_ON_ERROR_PASS};
  char made_at[LC_WHERE_MAX];
  lc_stage *made = NULL;
  lc_error error = {0};
  lc_options_read(L, 1, KIND, known, &options);
  lc_handle *handle = lc_handle_new(L, LC_ROLE_STAGE);
  lc_state_where(L, made_at);
  int rc = lc_json_stage_create(&options.json, lc_state_of(L)->registry, made_at, &made, &error);
  return lc_bind_finish(L, handle, KIND, rc, rc == 0 ? &made->resource : NULL, &error);
}
