#include "app/check.h"

#include "base/registry.h"
#include "bind/generation.h"

int lc_check_files(const lc_cli *cli) {
  lc_registry *registry = NULL;
  lc_generation *generation = NULL;
  lc_error error = {0};
  size_t n = 0;
  const lc_generation_options options = {.allow = cli->allow, .n_allow = cli->n_allow};
  int rc = lc_registry_create(&registry, &error);
  if (rc == 0) rc = lc_generation_load(cli->files, cli->n_files, registry, &options, &generation, &error);
  if (rc == 0) {
    (void)lc_generation_pipelines(generation, &n);
    printf("fine: %zu pipeline%s in %zu file%s\n", n, n == 1 ? "" : "s", cli->n_files, cli->n_files == 1 ? "" : "s");
  } else {
    fprintf(stderr, "logcap: %s\n", error.message);
  }
  lc_generation_destroy(generation);
  if (registry && lc_registry_destroy(registry) != 0) rc = LC_EBUSY; /* it named what is left */
  return rc == 0 ? LC_EXIT_FINE : LC_EXIT_FAILED;
}
