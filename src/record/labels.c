#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "logcap/source.h"

static void destroy(lc_labels *labels) {
  for (uint32_t i = 0; i < labels->n; i++) {
    free((char *)(uintptr_t)labels->items[i].name);
    free((char *)(uintptr_t)labels->items[i].value);
  }
  free(labels);
}

int lc_labels_create(const lc_label *labels, uint32_t n, lc_labels **ret) {
  if (n == 0) {
    *ret = NULL;
    return 0;
  }
  lc_labels *copy = malloc(sizeof *copy + n * sizeof copy->items[0]);
  if (copy == NULL) return LC_ENOMEM;
  atomic_init(&copy->refs, 1);
  for (copy->n = 0; copy->n < n; copy->n++) {
    char *name = strdup(labels[copy->n].name), *value = strdup(labels[copy->n].value);
    if (name == NULL || value == NULL) {
      free(name);
      free(value);
      destroy(copy);
      return LC_ENOMEM;
    }
    copy->items[copy->n] = (lc_label){name, value};
  }
  *ret = copy;
  return 0;
}

void lc_labels_retain(lc_labels *labels) {
  if (labels != NULL) atomic_fetch_add_explicit(&labels->refs, 1, memory_order_relaxed);
}

void lc_labels_release(lc_labels *labels) {
  if (labels == NULL) return;
  uint32_t before = atomic_fetch_sub_explicit(&labels->refs, 1, memory_order_acq_rel);
  lc_require(before > 0);
  if (before == 1) destroy(labels);
}

bool lc_labels_same(const lc_labels *a, const lc_labels *b) {
  if (a == b) return true;
  if (a == NULL || b == NULL || a->n != b->n) return false;
  for (uint32_t i = 0; i < a->n; i++) {
    if (strcmp(a->items[i].name, b->items[i].name) != 0 || strcmp(a->items[i].value, b->items[i].value) != 0) {
      return false;
    }
  }
  return true;
}

void lc_source_label(lc_source *source, lc_labels *labels) {
  lc_labels *before = source->labels;
  if (before == labels) return;
  lc_labels_retain(labels);
  source->labels = labels;
  lc_labels_release(before);
}
