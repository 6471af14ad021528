/* Runs busted inside the runtime: specs see the module as pipeline files do, on the same LuaJIT, with all of Lua around
 * it, and beside it the module spec.feed. Takes busted's arguments; exits 1 when a spec failed or a resource was left.
 *
 *     build/specs spec */
#include <stdio.h>

#include "base/log.h"
#include "base/registry.h"
#include "bind/busted.h"
#include "feed.h"

int main(int argc, char **argv) {
  lc_registry *registry;
  lc_error error = {0};
  bool passed = false;
  lc_log_setup(2, LC_LOG_ERROR, LC_LOG_TEXT); /* what functions fail on is expected here */
  if (lc_registry_create(&registry, &error) != 0) return (void)fprintf(stderr, "specs: %s\n", error.message), 1;
  const lc_busted_options options = {.name = "specs",
                                     .args = (const char *const *)(argv + 1),
                                     .n_args = (size_t)argc - 1,
                                     .module = "spec.feed",
                                     .load_module = lc_feed_open};
  int rc = lc_busted_run(&options, registry, &passed, &error);
  if (rc != 0) (void)fprintf(stderr, "specs: %s\n", error.message);
  if (lc_registry_destroy(registry) != 0) {
    (void)fprintf(stderr, "specs: resources were left, see above\n");
    passed = false;
  }
  return rc == 0 && passed ? 0 : 1;
}
