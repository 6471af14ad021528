/* logcap.dedup { ttl = "10s", max_entries = 100000, fields = { "message" } } */
#include "bind/kinds.h"
#include "stage/dedup.h"

#define KIND "dedup"

struct settings {
  const char *name;
  lc_dedup_options dedup;
};

#define AT(member) offsetof(struct settings, dedup.member)

static const lc_option known[] = {
    LC_OPTION_NAME(struct settings, name),
    {.name = "ttl", .type = LC_OPT_DURATION, .at = AT(ttl_ns), .least = 1000000, .example = "ttl = \"10s\""},
    {.name = "max_entries", .type = LC_OPT_INTEGER, .at = AT(max_entries), .size = sizeof(uint32_t), .least = 1,
     .most = LC_DEDUP_ENTRIES_MAX},
    {.name = "fields", .type = LC_OPT_STRINGS, .at = AT(fields), .count_at = AT(n_fields),
     .example = "fields = { \"host\", \"message\" }"},
    {.name = "per_source", .type = LC_OPT_BOOL, .at = AT(per_source)},
    LC_OPTION_END,
};

int lc_bind_dedup(lua_State *L) {
  struct settings options = {0};
  char made_at[LC_WHERE_MAX];
  lc_stage *made = NULL;
  lc_error error = {0};
  lc_options_read(L, 1, KIND, known, &options);
  lc_handle *handle = lc_handle_new(L, LC_ROLE_STAGE);
  lc_state_where(L, made_at);
  int rc = lc_dedup_create(&options.dedup, lc_state_of(L)->registry, options.name, made_at, &made, &error);
  return lc_bind_finish(L, handle, KIND, rc, rc == 0 ? &made->resource : NULL, &error);
}
