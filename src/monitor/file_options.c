/* The options of a file monitor: checked, and copied. */
#include "monitor/file_options.h"

#include <stdlib.h>
#include <string.h>

#include "monitor/patterns.h"

void lc_file_monitor_options_init(lc_file_monitor_options *options) {
  *options = (lc_file_monitor_options){.follow_symlinks = true,
                                       .max_line = LC_FILE_MAX_LINE_DEFAULT,
                                       .max_open_files = LC_FILE_MAX_OPEN_DEFAULT,
                                       .rotated_wait_ns = LC_FILE_ROTATED_WAIT_DEFAULT,
                                       .deleted_bytes = LC_FILE_DELETED_BYTES_DEFAULT,
                                       .deleted_age_ns = LC_FILE_DELETED_AGE_DEFAULT};
}

int lc_file_options_check(const lc_file_monitor_options *options, lc_error *error) {
  if (options->n_paths == 0) return lc_error_set(error, LC_EINVAL, "file_monitor: `paths` is empty");
  for (uint32_t i = 0; i < options->n_paths; i++) {
    if (options->paths[i][0] != '/') {
      return lc_error_set(error, LC_EINVAL, "file_monitor: path \"%s\" is not absolute", options->paths[i]);
    }
  }
  if (options->max_line == 0 || options->max_line > LC_FILE_MAX_LINE_MOST) {
    return lc_error_set(error, LC_EINVAL, "file_monitor: `max_line` must be between 1 byte and 16MiB");
  }
  if (options->max_open_files == 0) {
    return lc_error_set(error, LC_EINVAL, "file_monitor: `max_open_files` must be at least 1");
  }
  if (options->rotated_wait_ns < 0 || options->deleted_age_ns < 0) {
    return lc_error_set(error, LC_EINVAL, "file_monitor: a duration is negative");
  }
  lc_patterns patterns; /* made again when the monitor is opened: a wrong one must be known before anything is made */
  int rc = lc_patterns_init(&patterns, options->paths, options->n_paths, options->exclude, options->n_exclude,
                            options->hidden, options->follow_symlinks, error);
  if (rc == 0) lc_patterns_deinit(&patterns);
  return rc;
}

static const char *const *copy_strings(const char *const *strings, uint32_t n, bool *ok) {
  if (n == 0) return NULL;
  char **copy = calloc(n, sizeof *copy);
  if (copy == NULL) *ok = false;
  for (uint32_t i = 0; i < n && *ok; i++) {
    copy[i] = strdup(strings[i]);
    if (copy[i] == NULL) *ok = false;
  }
  return (const char *const *)copy;
}

static void free_strings(const char *const *strings, uint32_t n) {
  for (uint32_t i = 0; strings != NULL && i < n; i++) free((char *)(uintptr_t)strings[i]);
  free((void *)(uintptr_t)strings);
}

int lc_file_options_copy(const lc_file_monitor_options *options, lc_file_monitor_options *ret) {
  bool ok = true;
  *ret = *options;
  ret->multiline.start = ret->multiline.continuation = NULL; /* compiled already */
  ret->labels = NULL;
  ret->n_labels = 0;
  ret->paths = copy_strings(options->paths, options->n_paths, &ok);
  ret->exclude = ok ? copy_strings(options->exclude, options->n_exclude, &ok) : NULL;
  if (ok) return 0;
  lc_file_options_free(ret);
  return LC_ENOMEM;
}

void lc_file_options_free(lc_file_monitor_options *options) {
  free_strings(options->paths, options->n_paths);
  free_strings(options->exclude, options->n_exclude);
  options->paths = options->exclude = NULL;
  options->n_paths = options->n_exclude = 0;
}
