/* logcap.null_sink {} */
#include "bind/kinds.h"
#include "sink/null_sink.h"

#define KIND "null_sink"

struct settings {
  const char *name;
};

static const lc_option known[] = {LC_OPTION_NAME(struct settings, name), LC_OPTION_END};

int lc_bind_null_sink(lua_State *L) {
  struct settings options = {0};
  char made_at[LC_WHERE_MAX];
  lc_sink *made = NULL;
  lc_error error = {0};
  lc_options_read(L, 1, KIND, known, &options);
  lc_handle *handle = lc_handle_new(L, LC_ROLE_SINK);
  lc_state_where(L, made_at);
  int rc = lc_null_sink_create(lc_state_of(L)->registry, options.name, made_at, &made, &error);
  return lc_bind_finish(L, handle, KIND, rc, rc == 0 ? &made->resource : NULL, &error);
}
