/* What several constructors share. */
#include <string.h>

#include "bind/kinds.h"
#include "sink/format.h"

#define TIME_LEAST INT64_C(50000000) /* ns: a limit is kept to within 50 ms */
#define HEAVY (64 * 1024) /* bytes of a resource that are worth a step of the collector */

const char *const lc_words_on_error[] = {"dlq", "pass", "drop", "stop", NULL};
const char *const lc_words_format[] = {"json", "raw", NULL};

const lc_option lc_options_multiline[] = {
    {.name = "start", .type = LC_OPT_STRING, .at = offsetof(lc_multiline_options, start)},
    {.name = "continuation", .type = LC_OPT_STRING, .at = offsetof(lc_multiline_options, continuation)},
    {.name = "negate", .type = LC_OPT_BOOL, .at = offsetof(lc_multiline_options, negate)},
    {.name = "max_lines", .type = LC_OPT_INTEGER, .at = offsetof(lc_multiline_options, max_lines),
     .size = sizeof(uint32_t), .least = 1, .most = LC_MULTILINE_LINES_MOST},
    {.name = "max_bytes", .type = LC_OPT_SIZE, .at = offsetof(lc_multiline_options, max_bytes),
     .size = sizeof(uint64_t), .least = 1},
    {.name = "timeout", .type = LC_OPT_DURATION, .at = offsetof(lc_multiline_options, timeout_ns),
     .least = 1000000},
    LC_OPTION_END,
};

const lc_option lc_options_stage_limits[] = {
    {.name = "time", .type = LC_OPT_DURATION, .at = offsetof(lc_stage_limits, time_ns)},
    LC_OPTION_END,
};

void lc_bind_check_time(lua_State *L, const char *kind, const char *option, int64_t time_ns) {
  if (time_ns <= 0 || time_ns >= TIME_LEAST) return;
  lc_raise(L, "%s: option \"%s\" must be at least \"50ms\", or 0 for no limit", kind, option);
}

void lc_bind_check_multiline(lua_State *L, const char *kind, const lc_multiline_options *multiline) {
  lua_getfield(L, 1, "multiline");
  bool given = !lua_isnil(L, -1);
  lua_pop(L, 1);
  if (given && (multiline->start != NULL) == (multiline->continuation != NULL)) {
    lc_raise(L, "%s: option \"multiline\" needs either start or continuation; write multiline = { start = \"^\\\\d\" }",
             kind);
  }
}

int lc_bind_finish(lua_State *L, lc_handle *handle, const char *kind, int rc, lc_resource *made,
                   const lc_error *error) {
  size_t len = strlen(kind);
  bool said = rc != 0 && strncmp(error->message, kind, len) == 0 && error->message[len] == ':';
  if (rc != 0) return lc_raise(L, "%s%s%s", said ? "" : kind, said ? "" : ": ", error->message);
  lc_handle_open(handle, made);
  /* The collector sees a small userdata: it is told what hangs on it, or garbage of this kind would pile up. */
  int64_t bytes = atomic_load(&made->bytes);
  if (bytes >= HEAVY) lua_gc(L, LUA_GCSTEP, (int)(bytes >> 10));
  return 1;
}
