#include "app/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/registry.h"
#include "bind/busted.h"

#define FOLDER "spec"

/* The arguments of busted: options, then files and folders. */
typedef struct arguments {
  char **items; /* owned, as each of them is */
  size_t n, cap;
} arguments;

static int out_of_memory(lc_error *error) { return lc_error_set(error, LC_ENOMEM, "out of memory"); }

/* Takes `text` over, which may be NULL for want of memory. */
static int add(arguments *self, char *text, lc_error *error) {
  if (text == NULL || self->n == self->cap) {
    free(text);
    return out_of_memory(error);
  }
  self->items[self->n++] = text;
  return 0;
}

/* The same spec may be meant twice: a glob matches shop.lua and shop_spec.lua. */
static int add_spec(arguments *self, char *path, lc_error *error) {
  for (size_t i = 0; path != NULL && i < self->n; i++) {
    if (strcmp(self->items[i], path) != 0) continue;
    free(path);
    return 0;
  }
  return add(self, path, error);
}

static void free_arguments(arguments *self) {
  for (size_t i = 0; i < self->n; i++) free(self->items[i]);
  free(self->items);
}

static char *join(const char *format, int folder_len, const char *folder, int name_len, const char *name) {
  char *path = NULL;
  return asprintf(&path, format, folder_len, folder, name_len, name) >= 0 ? path : NULL;
}

/* The spec of a/shop.lua is a/shop_spec.lua or a/spec/shop_spec.lua. */
static int add_spec_of(arguments *self, const char *file, size_t len, lc_error *error) {
  const char *slash = strrchr(file, '/');
  int folder = slash != NULL ? (int)(slash + 1 - file) : 0;
  const char *name = file + folder;
  int name_len = (int)len - folder - (int)strlen(".lua");
  char *beside = join("%.*s%.*s_spec.lua", folder, file, name_len, name);
  char *below = join("%.*s" FOLDER "/%.*s_spec.lua", folder, file, name_len, name);
  int rc = beside == NULL || below == NULL ? out_of_memory(error) : 0;
  bool is_beside = rc == 0 && access(beside, F_OK) == 0;
  if (rc == 0 && !is_beside && access(below, F_OK) != 0) {
    rc = lc_error_set(error, LC_ENOENT, "%s has no spec: there is neither %s nor %s", file, beside, below);
  }
  if (rc == 0) rc = add_spec(self, is_beside ? beside : below, error);
  else free(is_beside ? beside : below);
  free(is_beside ? below : beside);
  return rc;
}

static bool ends_with(const char *text, size_t len, const char *end) {
  size_t end_len = strlen(end);
  return len >= end_len && memcmp(text + len - end_len, end, end_len) == 0;
}

static int add_file(arguments *self, const char *file, lc_error *error) {
  struct stat st;
  size_t len = strlen(file);
  if (stat(file, &st) != 0) return lc_error_sys(error, errno, "cannot look at %s", file);
  if (S_ISDIR(st.st_mode) || ends_with(file, len, "_spec.lua")) return add_spec(self, strdup(file), error);
  if (ends_with(file, len, ".lua")) return add_spec_of(self, file, len, error);
  return lc_error_set(error, LC_EINVAL, "%s is neither a spec, a folder of specs, nor a pipeline file", file);
}

static int collect(arguments *self, const lc_cli *cli, lc_error *error) {
  int rc = 0;
  self->cap = cli->n_files + cli->n_rest + 2;
  self->items = calloc(self->cap, sizeof *self->items);
  if (self->items == NULL) return out_of_memory(error);
  if (cli->filter != NULL) {
    char *option = NULL;
    rc = add(self, asprintf(&option, "--filter=%s", cli->filter) >= 0 ? option : NULL, error);
  }
  for (size_t i = 0; i < cli->n_rest && rc == 0; i++) rc = add(self, strdup(cli->rest[i]), error);
  for (size_t i = 0; i < cli->n_files && rc == 0; i++) rc = add_file(self, cli->files[i], error);
  if (rc != 0 || cli->n_files > 0) return rc;
  if (access(FOLDER, F_OK) == 0) return add_spec(self, strdup(FOLDER), error);
  return lc_error_set(error, LC_ENOENT, "no spec is named, and there is no folder ./" FOLDER);
}

static int run(const lc_cli *cli, const arguments *args, bool *ret_passed, lc_error *error) {
  lc_registry *registry = NULL;
  const lc_busted_options options = {.name = "logcap test",
                                     .args = (const char *const *)args->items,
                                     .n_args = args->n,
                                     .allow = cli->allow,
                                     .n_allow = cli->n_allow};
  int rc = lc_registry_create(&registry, error);
  if (rc == 0) rc = lc_busted_run(&options, registry, ret_passed, error);
  if (registry != NULL && lc_registry_destroy(registry) != 0 && rc == 0) {
    rc = lc_error_set(error, LC_EBUSY, "the specs left resources, named above");
  }
  return rc;
}

int lc_test_specs(const lc_cli *cli) {
  arguments args = {0};
  lc_error error = {0};
  bool passed = false;
  lc_log_setup(STDERR_FILENO, (lc_log_level)cli->log_level, LC_LOG_AUTO);
  int rc = collect(&args, cli, &error);
  if (rc == 0) rc = run(cli, &args, &passed, &error);
  if (rc != 0) fprintf(stderr, "logcap: %s\n", error.message);
  free_arguments(&args);
  return rc == 0 && passed ? LC_EXIT_FINE : LC_EXIT_FAILED;
}
