#include "sink/file_plan.h"

#include <stdlib.h>
#include <string.h>

static int no_memory(lc_error *error) {
  return lc_error_set(error, LC_ENOMEM, "no memory to sort records into outputs");
}

static int grow(void *table, uint32_t n, uint32_t *cap, size_t size) {
  if (n < *cap) return 0;
  uint32_t wanted = *cap < 64 ? 64 : *cap * 2;
  void *grown = realloc(*(void **)table, wanted * size);
  if (grown == NULL) return LC_ENOMEM;
  *(void **)table = grown;
  *cap = wanted;
  return 0;
}

static int add_group(lc_file_plan *plan, lc_output *output) {
  uint32_t cap = plan->cap_groups;
  if (grow(&plan->outputs, plan->n_groups, &cap, sizeof *plan->outputs) != 0) return LC_ENOMEM;
  if (grow(&plan->groups, plan->n_groups, &plan->cap_groups, sizeof *plan->groups) != 0) return LC_ENOMEM;
  output->plan = plan->number;
  output->group = plan->n_groups;
  plan->outputs[plan->n_groups] = output;
  plan->groups[plan->n_groups++] = (lc_file_group){LC_FILE_PLAN_END, LC_FILE_PLAN_END};
  return 0;
}

/* Records [from, to) go to `output`. */
static int add_run(lc_file_plan *plan, lc_output *output, uint32_t from, uint32_t to) {
  if (output->plan != plan->number && add_group(plan, output) != 0) return LC_ENOMEM;
  if (grow(&plan->runs, plan->n_runs, &plan->cap_runs, sizeof *plan->runs) != 0) return LC_ENOMEM;
  lc_file_group *group = &plan->groups[output->group];
  uint32_t run = plan->n_runs++;
  plan->runs[run] = (lc_file_run){from, to, LC_FILE_PLAN_END};
  if (group->first == LC_FILE_PLAN_END) {
    group->first = run;
  } else {
    plan->runs[group->last].next = run;
  }
  group->last = run;
  return 0;
}

static lc_output *output_of(lc_file_plan *plan, const lc_path_template *template, lc_output_set *set,
                            const lc_batch *batch, const lc_record *rec) {
  if (lc_path_values_take(template, batch, rec, &plan->values)) return plan->last;
  lc_hash128 hash = lc_path_values_hash(template, &plan->values);
  struct lc_file_memo *memo = &plan->memos[hash.low % LC_FILE_PLAN_MEMOS];
  if (memo->output != NULL && memo->values.low == hash.low && memo->values.high == hash.high) return memo->output;
  if (lc_path_template_render(template, &plan->values, &plan->path) != 0) return NULL;
  lc_output *output = lc_output_set_get(set, plan->path.data, plan->path.len);
  if (output == NULL && plan->values.n > 0 && !lc_output_set_has_room(set, plan->number, batch->read_ns)) {
    /* Too many different values: the others share an output, so that nothing is lost and memory stays bounded. */
    lc_output_set_count(set, LC_COUNT_overflowed, 1);
    lc_path_values_overflow(&plan->values);
    if (lc_path_template_render(template, &plan->values, &plan->path) != 0) return NULL;
    lc_path_values_reset(&plan->values);
  }
  if (output == NULL) output = lc_output_set_find(set, plan->path.data, plan->path.len);
  if (output == NULL) return NULL;
  output->seen = plan->number;
  *memo = (struct lc_file_memo){hash, output};
  return output;
}

/* All wanted records have the same path, and all from `at` on are wanted. */
static int plan_whole(lc_file_plan *plan, const lc_path_template *template, lc_output_set *set,
                      const lc_delivery *delivery) {
  const lc_batch *batch = delivery->batch;
  for (uint32_t i = delivery->at; i < batch->n_records; i++) {
    if (!lc_record_live(&batch->records[i])) continue;
    lc_output *output = output_of(plan, template, set, batch, &batch->records[i]);
    return output != NULL ? add_run(plan, output, i, batch->n_records) : LC_ENOMEM;
  }
  return 0;
}

static int plan_each(lc_file_plan *plan, const lc_path_template *template, lc_output_set *set,
                     const lc_delivery *delivery) {
  const lc_batch *batch = delivery->batch;
  uint32_t from = delivery->at, i = from;
  for (; i < batch->n_records; i++) {
    const lc_record *rec = &batch->records[i];
    if (!lc_record_live(rec)) continue;
    lc_output *output = NULL; /* not wanted */
    if (lc_delivery_wants(delivery, i)) {
      output = output_of(plan, template, set, batch, rec);
      if (output == NULL) return LC_ENOMEM;
    }
    if (output == plan->last) continue;
    if (plan->last != NULL && add_run(plan, plan->last, from, i) != 0) return LC_ENOMEM;
    plan->last = output;
    from = i;
    if (output == NULL) lc_path_values_reset(&plan->values); /* nothing to be the same as */
  }
  return plan->last != NULL ? add_run(plan, plan->last, from, i) : 0;
}

int lc_file_plan_make(lc_file_plan *plan, const lc_path_template *template, lc_output_set *set,
                      const lc_delivery *delivery, lc_error *error) {
  plan->n_runs = plan->n_groups = 0;
  plan->number++;
  if (plan->number == 0) plan->number = 1; /* 0 is what a new output has */
  plan->last = NULL;
  lc_path_values_reset(&plan->values);
  bool whole = lc_path_template_is_fixed(template) && !delivery->skips;
  memset(plan->memos, 0, sizeof plan->memos);
  int rc = whole ? plan_whole(plan, template, set, delivery) : plan_each(plan, template, set, delivery);
  return rc == 0 ? 0 : no_memory(error);
}

void lc_file_plan_deinit(lc_file_plan *plan) {
  free(plan->runs);
  free(plan->groups);
  free(plan->outputs);
  lc_buf_free(&plan->path);
  *plan = (lc_file_plan){0};
}
