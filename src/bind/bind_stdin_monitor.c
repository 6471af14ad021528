/* logcap.stdin_monitor { ... } */
#include <unistd.h>

#include "bind/kinds.h"
#include "monitor/file_monitor.h"
#include "monitor/stdin_monitor.h"

#define KIND "stdin_monitor"

struct settings {
  const char *name;
  lc_stdin_monitor_options monitor;
};

#define AT(member) offsetof(struct settings, monitor.member)

static const lc_option known[] = {
    LC_OPTION_NAME(struct settings, name),
    {.name = "max_line", .type = LC_OPT_SIZE, .at = AT(max_line), .size = sizeof(uint64_t), .least = 1,
     .most = LC_FILE_MAX_LINE_MOST},
    {.name = "labels", .type = LC_OPT_LABELS, .at = AT(labels), .count_at = AT(n_labels),
     .example = "labels = { service = \"shop\" }"},
    {.name = "multiline", .type = LC_OPT_TABLE, .at = AT(multiline), .options = lc_options_multiline,
     .example = "multiline = { start = \"^\\\\d\" }"},
    LC_OPTION_END,
};

int lc_bind_stdin_monitor(lua_State *L) {
  struct settings options = {.monitor.fd = STDIN_FILENO};
  char made_at[LC_WHERE_MAX];
  lc_monitor *made = NULL;
  lc_error error = {0};
  lc_options_read(L, 1, KIND, known, &options);
  lc_bind_check_multiline(L, KIND, &options.monitor.multiline);
  lc_handle *handle = lc_handle_new(L, LC_ROLE_MONITOR);
  lc_handle_claim(L, lua_gettop(L), "standard input");
  lc_state_where(L, made_at);
  int rc = lc_stdin_monitor_create(&options.monitor, lc_state_of(L)->registry, options.name, made_at, &made, &error);
  return lc_bind_finish(L, handle, KIND, rc, rc == 0 ? &made->resource : NULL, &error);
}
