/* Runs busted, Debian's lua-busted, in a Lua state of the runtime: specs see all of Lua and `logcap.testing`.
 *
 *     const char *args[] = {"--filter=dedup", "spec"};
 *     lc_busted_run(&(lc_busted_options){.args = args, .n_args = 2}, registry, &passed, &error);
 *
 * Thread: main; blocks. */
#ifndef LC_BIND_BUSTED_H
#define LC_BIND_BUSTED_H

#include <stdbool.h>
#include <stddef.h>

#include "logcap/error.h"
#include "logcap/resource.h"

struct lua_State;

typedef struct lc_busted_options {
  const char *name;        /* of the command, for busted's messages */
  const char *const *args; /* of busted: options, files and folders */
  size_t n_args;
  const char *const *allow; /* what pipeline files under test see beyond the allow-list */
  size_t n_allow;
  const char *module; /* one more module for the specs, or NULL, and what loads it */
  int (*load_module)(struct lua_State *L);
} lc_busted_options;

/* LC_ENOENT, naming the package, when busted is not installed. *ret_passed: no spec failed, none had an error, and each
 * closed what it loaded. Resources of the specs are in `registry`. */
int lc_busted_run(const lc_busted_options *options, lc_registry *registry, bool *ret_passed, lc_error *error) LC_CHECK;

#endif
