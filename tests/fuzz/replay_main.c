/* Runs a fuzz target over files and folders of seeds, in builds without libFuzzer: corpus regressions show in every
 * test run. Exits 1 when a named seed cannot be read; a missing folder is an empty corpus. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) return perror(path), 1;
  size_t cap = 1 << 20;
  uint8_t *all = malloc(cap);
  if (!all) return (void)fclose(file), 1;
  size_t size = fread(all, 1, cap, file);
  int failed = ferror(file);
  (void)fclose(file);
  /* An allocation of exactly this size, so that ASan sees a read past the end. */
  uint8_t *exact = failed ? NULL : realloc(all, size ? size : 1);
  if (!exact) return free(all), perror(path), 1;
  (void)LLVMFuzzerTestOneInput(exact, size);
  free(exact);
  return 0;
}

static int replay_folder(const char *path) {
  struct dirent **names = NULL;
  int n = scandir(path, &names, NULL, alphasort);
  if (n < 0) return errno == ENOENT ? 0 : replay_file(path);
  int failed = 0;
  for (int i = 0; i < n; i++) {
    char file[4096];
    (void)snprintf(file, sizeof file, "%s/%s", path, names[i]->d_name);
    if (names[i]->d_name[0] != '.') failed |= replay_file(file);
    free(names[i]);
  }
  free(names);
  printf("%s: %d seeds\n", path, n > 2 ? n - 2 : 0);
  return failed;
}

int main(int argc, char **argv) {
  int failed = 0;
  for (int i = 1; i < argc; i++) failed |= replay_folder(argv[i]);
  return failed;
}
