#include "sink/output_retain.h"

#include <stdlib.h>

/* A finished file. What compression changes is copied, as it may come in between. */
typedef struct candidate {
  lc_output *output;
  uint64_t id, length;
  int64_t finished_ns;
} candidate;

typedef struct candidates {
  candidate *items; /* owned */
  uint32_t n, cap;
} candidates;

static int add(candidates *list, lc_output *output) {
  if (list->n == list->cap) {
    uint32_t cap = list->cap < 64 ? 64 : list->cap * 2;
    candidate *items = realloc(list->items, cap * sizeof *items);
    if (items == NULL) return LC_ENOMEM;
    list->items = items;
    list->cap = cap;
  }
  list->items[list->n++] = (candidate){output, output->id, output->end.length, output->wrote_ns};
  return 0;
}

/* Nothing of it waits to be saved. */
static bool at_rest(const lc_output *output) {
  return !output->touched && !output->dirty && !atomic_load(&output->listed) && output->id != 0;
}

static int collect(lc_output_set *set, bool only_rotated, int64_t now_ns, candidates *list) {
  int rc = 0;
  for (uint32_t i = 0; rc == 0 && !only_rotated && i < set->cap; i++) {
    lc_output *one = set->table[i];
    if (one != NULL && at_rest(one) && now_ns - one->wrote_ns >= LC_RETAIN_IDLE) rc = add(list, one);
  }
  uv_mutex_lock(&set->lock);
  for (lc_output *one = set->closed; rc == 0 && one != NULL; one = one->next_closed) {
    if (!one->packing && !one->moved && at_rest(one)) rc = add(list, one);
  }
  uv_mutex_unlock(&set->lock);
  return rc;
}

static int newest_first(const void *a, const void *b) {
  const candidate *x = a, *y = b;
  if (x->finished_ns != y->finished_ns) return x->finished_ns < y->finished_ns ? 1 : -1;
  return (x->id < y->id) - (x->id > y->id);
}

/* Takes a file out of the lists; false when it is being compressed after all. */
static bool claim(lc_output_set *set, lc_output *output) {
  if (!output->closed) {
    lc_output_set_remove(set, output, true);
    return true;
  }
  bool found = false;
  uv_mutex_lock(&set->lock);
  lc_output **link = &set->closed;
  while (*link != NULL && *link != output) link = &(*link)->next_closed;
  if (*link == output && !output->packing) {
    *link = output->next_closed;
    found = true;
  }
  uv_mutex_unlock(&set->lock);
  if (!found) return false;
  atomic_fetch_sub(&set->n_closed, 1);
  output->next_dead = set->dead;
  set->dead = output;
  return true;
}

static int remove_one(lc_output_set *set, lc_output *output, lc_changes *changes) {
  lc_error error = {0};
  uv_mutex_lock(&set->lock);
  bool busy = output->packing; /* from here on nobody starts: it counts as compressed */
  if (!busy) output->packed = true;
  uint64_t id = output->id;
  uv_mutex_unlock(&set->lock);
  if (busy) return 0;
  int rc = lc_output_set_unlink(set, output, &error);
  if (rc != 0 && rc != LC_ENOENT) {
    lc_output_set_count(set, LC_COUNT_remove_failures, 1);
    lc_log(LC_LOG_ERROR, "file_sink", "cannot remove an old output", LC_S("name", set->name),
           LC_S("path", output->path), LC_S("error", error.message));
    return 0;
  }
  if (rc == 0) lc_output_set_count(set, LC_COUNT_removed, 1);
  if (!claim(set, output)) return 0;
  return lc_changes_forget_output(changes, id);
}

/* The n files that stay are the newest ones within all limits. */
static uint32_t count_kept(const lc_retention *retention, const candidates *list, int64_t now_ns) {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < list->n; i++) {
    const candidate *one = &list->items[i];
    bytes += one->length;
    if ((retention->files > 0 && i >= retention->files) || (retention->size > 0 && bytes > retention->size) ||
        (retention->age_ns > 0 && now_ns - one->finished_ns > retention->age_ns)) {
      return i;
    }
  }
  return list->n;
}

void lc_retention_apply(const lc_retention *retention, lc_output_set *set, bool only_rotated, int64_t now_ns) {
  candidates list = {0};
  lc_changes changes = {0};
  lc_error error = {0};
  int rc = collect(set, only_rotated, now_ns, &list);
  if (rc == 0 && list.n > 0) {
    qsort(list.items, list.n, sizeof *list.items, newest_first);
    uint32_t kept = count_kept(retention, &list, now_ns);
    for (uint32_t i = list.n; rc == 0 && i > kept; i--) {
      rc = remove_one(set, list.items[i - 1].output, &changes);
    }
  }
  if (rc != 0) lc_error_set(&error, rc, "no memory");
  /* Rows that stay behind are forgotten by the next start, which finds their files gone. */
  if (changes.n > 0 && rc == 0) rc = lc_store_apply(set->store, &changes, LC_STORE_NORMAL, &error);
  if (rc != 0) {
    lc_log(LC_LOG_ERROR, "file_sink", "cannot forget removed outputs", LC_S("name", set->name),
           LC_S("error", error.message));
  }
  lc_changes_free(&changes);
  free(list.items);
}
