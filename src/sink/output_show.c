/* The loop thread's side of a set of outputs: what is saved of them, together with the cursors. */
#include <stdlib.h>

#include "sink/output_set.h"

#define USUAL_PATH 64u /* bytes: what a path takes, for the figures */

static void show(lc_output_set *set, lc_output *output) {
  output->shown = output->settled;
  if (output->in_changed) return;
  output->in_changed = true;
  atomic_store(&output->listed, true);
  output->next_changed = set->changed;
  set->changed = output;
}

/* Finished files of which all bytes are settled are nobody's but the closed list's from now on. */
static void hand_over_turned(lc_output_set *set) {
  lc_output **link = &set->turned;
  while (*link != NULL) {
    lc_output *output = *link;
    if (output->touched || output->dirty) {
      link = &output->next_closed;
      continue;
    }
    *link = output->next_closed;
    lc_output_set_enter_closed(set, output);
  }
}

static void bury(lc_output_set *set) {
  lc_output **link = &set->zombies;
  while (*link != NULL) {
    lc_output *output = *link;
    if (atomic_load(&output->listed)) {
      link = &output->next_dead;
      continue;
    }
    *link = output->next_dead;
    lc_output_destroy(output);
  }
}

/* A forgotten output is in no list of a job any more once nothing of it waits to settle. */
static void hand_over_dead(lc_output_set *set) {
  lc_output **link = &set->dead;
  while (*link != NULL) {
    lc_output *output = *link;
    if (output->touched || output->dirty) {
      link = &output->next_dead;
      continue;
    }
    *link = output->next_dead;
    output->next_dead = set->zombies;
    output->dead = true;
    set->zombies = output;
  }
  bury(set);
}

void lc_output_set_publish(lc_output_set *set) {
  lc_output **list = set->rules.durable ? &set->synced : &set->dirty;
  while (*list != NULL) {
    lc_output *output = *list;
    *list = output->next_dirty;
    output->dirty = false;
    show(set, output);
  }
  hand_over_turned(set);
  hand_over_dead(set);
  if (set->memory == NULL) return;
  uint64_t outputs = (uint64_t)atomic_load(&set->n) + atomic_load(&set->n_closed);
  atomic_store(set->memory, (int64_t)(outputs * (sizeof(lc_output) + USUAL_PATH) + set->cap * sizeof(lc_output *)));
}

int lc_output_set_snapshot(lc_output_set *set, struct lc_changes *changes, lc_error *error) {
  for (const lc_output *output = set->changed; output != NULL; output = output->next_changed) {
    if (output->dead) continue;
    if (lc_changes_output_length(changes, output->id, output->shown.length, output->shown.tail_hash,
                                 output->shown.tail_len) != 0) {
      return lc_error_set(error, LC_ENOMEM, "no memory for the lengths of outputs");
    }
  }
  while (set->changed != NULL) {
    lc_output *output = set->changed;
    set->changed = output->next_changed;
    output->in_changed = false;
    if (output->in_sent) continue; /* of a snapshot whose end we have not heard of */
    output->in_sent = true;
    output->next_sent = set->sent;
    set->sent = output;
  }
  return 0;
}

void lc_output_set_committed(lc_output_set *set, bool ok) {
  while (set->sent != NULL) {
    lc_output *output = set->sent;
    set->sent = output->next_sent;
    output->in_sent = false;
    if (!ok && !output->in_changed) {
      output->in_changed = true;
      output->next_changed = set->changed;
      set->changed = output;
    }
    if (!output->in_changed) atomic_store(&output->listed, false);
  }
  bury(set);
}

bool lc_output_set_unsaved(const lc_output_set *set) { return set->changed != NULL || set->sent != NULL; }

int lc_output_set_stats(lc_output_set *set, lc_buf *ret) {
  static const char *const names[] = {
#define X(name) #name,
      LC_OUTPUT_COUNTS(X)
#undef X
  };
  lc_buf_addf(ret, ",\"outputs\":%u,\"open\":%u,\"finished\":%u,\"bytes\":%llu", atomic_load(&set->n),
              atomic_load(&set->n_open), atomic_load(&set->n_closed), (unsigned long long)atomic_load(&set->bytes));
  for (int i = 0; i < LC_OUTPUT_COUNTS_N; i++) {
    lc_buf_addf(ret, ",\"%s\":%llu", names[i], (unsigned long long)atomic_load(&set->counts[i]));
  }
  return ret->failed ? LC_ENOMEM : 0;
}
