/* Which records of a delivery go to which output: runs of records, grouped by output, in order.
 *
 *     rc = lc_file_plan_make(&plan, template, set, delivery, &error);
 *     for (g = 0; g < plan.n_groups; g++)
 *       for (r = plan.groups[g].first; r != LC_FILE_PLAN_END; r = plan.runs[r].next) ... plan.runs[r].from, .to ...
 *
 * Each output is opened once for a delivery, however its records are mixed with others.
 *
 * Thread: the job that has the sink. */
#ifndef LC_SINK_FILE_PLAN_H
#define LC_SINK_FILE_PLAN_H

#include "logcap/sink.h"
#include "sink/output_set.h"
#include "sink/path_template.h"

#define LC_FILE_PLAN_END UINT32_MAX
#define LC_FILE_PLAN_MEMOS 256u

typedef struct lc_file_run {
  uint32_t from, to; /* records; those that are not live are skipped */
  uint32_t next;     /* of the same output; LC_FILE_PLAN_END: none */
} lc_file_run;

typedef struct lc_file_group {
  uint32_t first, last; /* runs */
} lc_file_group;

typedef struct lc_file_plan {
  lc_file_run *runs; /* owned */
  uint32_t n_runs, cap_runs;
  lc_file_group *groups; /* owned */
  lc_output **outputs;   /* owned array; the output of each group */
  uint32_t n_groups, cap_groups;
  uint32_t number; /* of the delivery: tells which outputs have a group */
  lc_buf path;
  lc_path_values values;
  lc_output *last; /* of the record before */
  struct lc_file_memo {
    lc_hash128 values;
    lc_output *output;
  } memos[LC_FILE_PLAN_MEMOS]; /* of values seen in this delivery */
} lc_file_plan;

int lc_file_plan_make(lc_file_plan *plan, const lc_path_template *template, lc_output_set *set,
                      const lc_delivery *delivery, lc_error *error) LC_CHECK;
void lc_file_plan_deinit(lc_file_plan *plan); /* may run twice */

#endif
