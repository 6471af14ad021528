/* The constructors of all kinds of resources, as Lua calls them: one file each, bind_<kind>.c. They only describe: no
 * file is touched, nothing is connected. Thread: the loop thread. */
#ifndef LC_BIND_KINDS_H
#define LC_BIND_KINDS_H

#include <lua.h>

#include "bind/handle.h"
#include "bind/lua_stage.h"
#include "bind/options.h"
#include "record/multiline.h"

int lc_bind_file_monitor(lua_State *L);
int lc_bind_stdin_monitor(lua_State *L);
int lc_bind_json(lua_State *L);
int lc_bind_dedup(lua_State *L);
int lc_bind_stage(lua_State *L);
int lc_bind_file_sink(lua_State *L);
int lc_bind_stdout_sink(lua_State *L);
int lc_bind_null_sink(lua_State *L);
int lc_bind_pipeline(lua_State *L);
int lc_bind_admin(lua_State *L);
int lc_bind_resource_monitor(lua_State *L);
/* logcap.on_alert(function) */
int lc_bind_on_alert(lua_State *L);
int lc_bind_limits(lua_State *L);

/* Pushes a table of string functions that can be interrupted. */
void lc_bind_string(lua_State *L);

/* Options that several kinds share. */
extern const char *const lc_words_on_error[]; /* in the order of lc_on_error */
extern const char *const lc_words_format[];   /* in the order of lc_sink_format */
extern const lc_option lc_options_multiline[];

/* `limits` of functions; starts as LC_STAGE_LIMITS_DEFAULT. */
typedef struct lc_stage_limits {
  int64_t time_ns;
} lc_stage_limits;
extern const lc_option lc_options_stage_limits[];
#define LC_STAGE_LIMITS_DEFAULT ((lc_stage_limits){.time_ns = LC_TIME_OF_STATE})
/* Raises when it is neither 0 nor a time that can be kept. */
void lc_bind_check_time(lua_State *L, const char *kind, const char *option, int64_t time_ns);

#define LC_OPTION_NAME(settings_type, member) \
  {.name = "name", .type = LC_OPT_STRING, .at = offsetof(settings_type, member), .example = "name = \"shop\""}
#define LC_OPTION_END {.name = NULL}

/* Raises when the option `multiline` was given with no pattern, or with both. */
void lc_bind_check_multiline(lua_State *L, const char *kind, const lc_multiline_options *multiline);

/* The end of a constructor: opens the handle on the top of the stack with what was made, or raises why it was not. */
int lc_bind_finish(lua_State *L, lc_handle *handle, const char *kind, int rc, lc_resource *made,
                   const lc_error *error);

#endif
