/* The Lua state of one generation of pipeline files.
 *
 *     lc_state_create(&(lc_state_options){.registry = registry}, &state, &error);
 *     lc_state_run_file(state, "pipeline.lua", &error);      // "pipeline.lua:12: ..." on failure
 *     lc_state_destroy(state);
 *
 * What a pipeline file sees is an allow-list (lua/logcap/sandbox.lua). Every entry into Lua is one protected call whose
 * handler adds where the failing line was called from. The state is a resource: the generation holds one reference and
 * each Lua stage another, so that a stage in a draining pipeline keeps its function. With the last one it is closed, by
 * a pool job, because that may take a while.
 *
 * Thread: one at a time. The thread that loads the files has it until they are loaded, then the loop thread. */
#ifndef LC_BIND_STATE_H
#define LC_BIND_STATE_H

#include <lauxlib.h>
#include <lua.h>
#include <uv.h>

#include "bind/budget.h"
#include "bind/heap.h"
#include "bind/record_view.h"
#include "bind/refs.h"
#include "logcap/resource.h"

#define LC_WHERE_MAX 512 /* bytes of "file:line" */

struct lc_generation;
struct lc_handle;

/* What logcap.limits said; -1: nothing. */
typedef struct lc_limits {
  int64_t memory, time_ns, load_ns;
  char made_at[LC_WHERE_MAX]; /* the last time */
} lc_limits;

typedef struct lc_state {
  lc_resource resource;   /* first */
  lua_State *L;           /* owned: the main thread of the state */
  uv_loop_t *loop;        /* borrowed; NULL: it is closed on the spot */
  uv_work_t closing;
  lc_registry *registry;  /* borrowed */
  lc_view view;           /* the record that a Lua function has in hand */
  lc_heap heap;           /* its memory */
  lc_budget budget;       /* its time */
  lc_limits limits;       /* what the files say of both */
  lc_refs refs;           /* of its stages */
  struct lua_stage *stages; /* all that call its functions, under the lock of `refs` */
  int on_error;           /* in the Lua registry: the handler of protected calls */
  struct lc_generation *generation; /* borrowed: takes the pipelines that are made; NULL: none may be made now */
  struct lc_handle *handles;        /* the open ones */
  const char *loading;              /* borrowed: the pipeline file that is being loaded, or NULL */
  bool retired;                     /* its generation is gone: nothing new may be made, or it would never end */
} lc_state;

typedef struct lc_state_options {
  lc_registry *registry;
  uv_loop_t *loop;     /* whose pool closes it; may be NULL */
  const char *made_at; /* the first pipeline file; may be NULL */
  const char *const *allow; /* names to grant beyond the allow-list: "io", "os", "ffi", ... */
  size_t n_allow;
  bool unrestricted; /* all of Lua is visible, for tools and tests */
  const int64_t *clock_ns; /* the wall clock that os.time and os.date tell, in tests; NULL: the real one */
} lc_state_options;

int lc_state_create(const lc_state_options *options, lc_state **ret, lc_error *error) LC_CHECK;
/* Lets go of what the files refer to, then of the state; stages that still run keep it. NULL is allowed. */
void lc_state_destroy(lc_state *state);
void lc_state_retain(lc_state *state);
void lc_state_release(lc_state *state);

/* Loads the text of a file and runs it. `path` is shown in messages as it is given. */
int lc_state_run_file(lc_state *state, const char *path, lc_error *error) LC_CHECK;
/* Calls the function below its `nargs` arguments on the stack; on failure leaves nothing on the stack. */
int lc_state_call(lc_state *state, int nargs, int nresults, lc_error *error) LC_CHECK;
/* The same within the time budget of calls that no record is in hand for: the prompt's, on_alert's. */
int lc_state_call_within_budget(lc_state *state, int nargs, int nresults, lc_error *error) LC_CHECK;

/* Calls `each` for every file that was loaded: pipeline files and their modules. */
void lc_state_each_file(lc_state *state, void (*each)(void *arg, const char *path), void *arg);

/* For functions that Lua calls. */
lc_state *lc_state_of(lua_State *L);
/* Writes "file:line" of the script's code that called the running C function, be it through logcap's own Lua; the file
 * alone when a tail call hid it. */
void lc_state_where(lua_State *L, char ret[LC_WHERE_MAX]);
/* The same from a level of the call stack on: 0 is the function that runs, for hooks. */
void lc_state_where_at(lua_State *L, int level, char ret[LC_WHERE_MAX]);
/* Pushes the absolute folder of the pipeline file whose code is running. */
void lc_state_push_folder(lua_State *L);
/* Raises "file:line: message". */
int lc_raise(lua_State *L, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
