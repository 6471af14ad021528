#include "sink/output_idle.h"

#include <string.h>

#include "base/clock.h"

#define IDLE (3600 * LC_SECOND)
#define SEEK_EVERY (60 * LC_SECOND)
#define AT_ONCE 1000u

static bool may_go(const lc_output *output, uint32_t seen, int64_t now_ns) {
  return output->id != 0 && output->seen != seen && !output->row_due && !output->cut_late && !output->touched &&
         !output->dirty && !atomic_load(&output->listed) && now_ns - output->wrote_ns >= IDLE;
}

bool lc_output_set_has_room(lc_output_set *set, uint32_t seen, int64_t now_ns) {
  if (set->most == 0 || atomic_load(&set->n) < set->most) return true;
  int64_t since = now_ns - set->sought_ns;
  if (since >= 0 && since < SEEK_EVERY) return false;
  uint32_t gone = 0;
  for (uint32_t i = 0; i < set->cap && gone < AT_ONCE;) {
    lc_output *output = set->table[i];
    if (output == NULL || !may_go(output, seen, now_ns)) {
      i++;
      continue;
    }
    lc_output_set_remove(set, output, true); /* another may stand in its place now: the same one is looked at again */
    gone++;
  }
  atomic_fetch_add(&set->let_go, gone);
  if (gone > 0) return true;
  set->sought_ns = now_ns;
  lc_log(LC_LOG_WARN, "file_sink", "too many different outputs: records with other values go to \"_overflow\"",
         LC_S("name", set->name), LC_I("max_outputs", set->most));
  return false;
}

typedef struct recall {
  lc_output *output;
  const lc_file_id *file;
} recall;

/* The latest row of the file counts. */
static int take_row(void *arg, const lc_stored_output *row) {
  const recall *self = arg;
  lc_output *output = self->output;
  if (row->closed || !lc_file_id_is(self->file, row->inode, row->birth_ns) || strcmp(row->path, output->path) != 0) {
    return 0;
  }
  output->id = row->id;
  output->device = self->file->device;
  output->inode = row->inode;
  output->birth_ns = row->birth_ns;
  output->made_ns = row->made_ns;
  output->end = (lc_extent){.length = row->length, .tail_hash = row->tail_hash, .tail_len = row->tail_len};
  output->settled = output->end;
  output->unread = true;
  return 0;
}

int lc_output_set_recall(lc_output_set *set, lc_output *output, lc_error *error) {
  lc_file_id file = {0};
  if (lc_file_id_of(output->path, &file, NULL) != 0) return 0; /* nothing there: it is new */
  recall self = {output, &file};
  int rc = lc_store_each_output(set->store, set->sink_id, take_row, &self, error);
  return rc == 0 ? 0 : lc_error_context(error, "cannot look %s up", output->path);
}

bool lc_output_set_needs(const lc_output_set *set, const lc_output *finished) {
  return set->keep_finished || (set->packs && !finished->packed && !finished->moved) ||
         atomic_load(&finished->listed) || finished->packing;
}

void lc_output_set_trim(lc_output_set *set) {
  if (set->keep_finished) return;
  uv_mutex_lock(&set->lock);
  lc_output **link = &set->closed;
  while (*link != NULL) {
    lc_output *output = *link;
    if (lc_output_set_needs(set, output)) {
      link = &output->next_closed;
      continue;
    }
    *link = output->next_closed;
    atomic_fetch_sub(&set->n_closed, 1);
    lc_output_destroy(output);
  }
  uv_mutex_unlock(&set->lock);
}
