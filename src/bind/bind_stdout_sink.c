/* logcap.stdout_sink { format = "raw" } */
#include "bind/kinds.h"
#include "sink/stdout_sink.h"

#define KIND "stdout_sink"

struct settings {
  const char *name;
  lc_stdout_sink_options sink;
};

static const lc_option known[] = {
    LC_OPTION_NAME(struct settings, name),
    {.name = "format", .type = LC_OPT_WORD, .at = offsetof(struct settings, sink.format),
     .size = sizeof(lc_sink_format), .words = lc_words_format},
    {.name = "metadata", .type = LC_OPT_BOOL, .at = offsetof(struct settings, sink.metadata)},
    LC_OPTION_END,
};

int lc_bind_stdout_sink(lua_State *L) {
  struct settings options = {0};
  char made_at[LC_WHERE_MAX];
  lc_sink *made = NULL;
  lc_error error = {0};
  lc_options_read(L, 1, KIND, known, &options);
  lc_handle *handle = lc_handle_new(L, LC_ROLE_SINK);
  lc_handle_claim(L, lua_gettop(L), "standard output");
  lc_state_where(L, made_at);
  int rc = lc_stdout_sink_create(&options.sink, lc_state_of(L)->registry, options.name, made_at, &made, &error);
  return lc_bind_finish(L, handle, KIND, rc, rc == 0 ? &made->resource : NULL, &error);
}
