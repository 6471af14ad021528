#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "logcap/source.h"

struct lc_old_name {
  struct lc_old_name *next;
  char *name;
};

int lc_source_init(lc_source *source, const char *key, const char *name, void (*destroy)(lc_source *source)) {
  char *key_copy = strdup(key);
  char *name_copy = strdup(name);
  if (key_copy == NULL || name_copy == NULL) {
    free(key_copy);
    free(name_copy);
    return LC_ENOMEM;
  }
  source->key = key_copy;
  atomic_store(&source->name, name_copy);
  source->destroy = destroy;
  atomic_store(&source->refs, 1);
  return 0;
}

void lc_source_deinit(lc_source *source) {
  while (source->old_names != NULL) {
    struct lc_old_name *old = source->old_names;
    source->old_names = old->next;
    free(old->name);
    free(old);
  }
  lc_labels_release(source->labels);
  source->labels = NULL;
  free(source->key);
  free(atomic_load(&source->name));
  source->key = NULL;
  atomic_store(&source->name, NULL);
}

void lc_source_retain(lc_source *source) { atomic_fetch_add_explicit(&source->refs, 1, memory_order_relaxed); }

void lc_source_release(lc_source *source) {
  if (source == NULL) return;
  uint32_t before = atomic_fetch_sub_explicit(&source->refs, 1, memory_order_acq_rel);
  lc_require(before > 0);
  if (before == 1) source->destroy(source);
}

int lc_source_rename(lc_source *source, const char *name) {
  char *copy = strdup(name);
  struct lc_old_name *old = malloc(sizeof *old);
  if (copy == NULL || old == NULL) {
    free(copy);
    free(old);
    return LC_ENOMEM;
  }
  *old = (struct lc_old_name){source->old_names, atomic_exchange(&source->name, copy)};
  source->old_names = old;
  return 0;
}
