/* logcap.file_monitor { paths = { "/var/log/shop/" .. "*.log" }, ... } */
#include "bind/kinds.h"
#include "monitor/file_monitor.h"

#define KIND "file_monitor"

struct settings {
  const char *name;
  lc_file_monitor_options monitor;
};

static const char *const starts[] = {"end", "beginning", NULL}; /* the index is from_beginning */

#define AT(member) offsetof(struct settings, monitor.member)
#define BYTES(member) sizeof(((lc_file_monitor_options *)NULL)->member)

static const lc_option known[] = {
    LC_OPTION_NAME(struct settings, name),
    {.name = "paths", .type = LC_OPT_PATHS, .required = true, .at = AT(paths), .count_at = AT(n_paths),
     .example = "paths = { \"/var/log/*.log\" }"},
    {.name = "exclude", .type = LC_OPT_PATTERNS, .at = AT(exclude), .count_at = AT(n_exclude),
     .example = "exclude = { \"*.gz\" }"},
    {.name = "start", .type = LC_OPT_WORD, .at = AT(from_beginning), .size = BYTES(from_beginning), .words = starts},
    {.name = "hidden", .type = LC_OPT_BOOL, .at = AT(hidden)},
    {.name = "follow_symlinks", .type = LC_OPT_BOOL, .at = AT(follow_symlinks)},
    {.name = "max_line", .type = LC_OPT_SIZE, .at = AT(max_line), .size = BYTES(max_line), .least = 1,
     .most = LC_FILE_MAX_LINE_MOST},
    {.name = "max_open_files", .type = LC_OPT_INTEGER, .at = AT(max_open_files), .size = BYTES(max_open_files),
     .least = 1, .most = 1000000},
    {.name = "rotated_wait", .type = LC_OPT_DURATION, .at = AT(rotated_wait_ns)},
    {.name = "deleted_bytes", .type = LC_OPT_SIZE, .at = AT(deleted_bytes), .size = BYTES(deleted_bytes)},
    {.name = "deleted_age", .type = LC_OPT_DURATION, .at = AT(deleted_age_ns)},
    {.name = "labels", .type = LC_OPT_LABELS, .at = AT(labels), .count_at = AT(n_labels),
     .example = "labels = { service = \"shop\" }"},
    {.name = "multiline", .type = LC_OPT_TABLE, .at = AT(multiline), .options = lc_options_multiline,
     .example = "multiline = { start = \"^\\\\d\" }"},
    LC_OPTION_END,
};

int lc_bind_file_monitor(lua_State *L) {
  struct settings options = {0};
  char made_at[LC_WHERE_MAX];
  lc_monitor *made = NULL;
  lc_error error = {0};
  lc_file_monitor_options_init(&options.monitor);
  lc_options_read(L, 1, KIND, known, &options);
  lc_bind_check_multiline(L, KIND, &options.monitor.multiline);
  lc_handle *handle = lc_handle_new(L, LC_ROLE_MONITOR);
  lc_state_where(L, made_at);
  int rc = lc_file_monitor_create(&options.monitor, lc_state_of(L)->registry, options.name, made_at, &made, &error);
  return lc_bind_finish(L, handle, KIND, rc, rc == 0 ? &made->resource : NULL, &error);
}
