#include "logcap/stage.h"

#include <string.h>

int lc_stage_refuse(lc_stage *stage, lc_batch *batch, lc_record *rec, const char *reason, lc_error *error) {
  atomic_fetch_add_explicit(&stage->resource.errors, 1, memory_order_relaxed);
  switch (stage->on_error) {
    case LC_ON_ERROR_PASS: rec->flags |= LC_REC_UNPARSED; return 0;
    case LC_ON_ERROR_DROP: lc_batch_drop(batch, rec, LC_DROP_ERROR); return 0;
    case LC_ON_ERROR_DLQ:
      if (lc_batch_refuse(batch, rec, stage->resource.name, reason, strlen(reason)) == 0) return 0;
      return lc_error_set(error, LC_ENOMEM, "%s: out of memory for a dead letter", stage->resource.name);
    case LC_ON_ERROR_STOP:
    default:
      return lc_error_set(error, LC_ECANCELED, "%s: a record was refused, and on_error is \"stop\": %s",
                          stage->resource.name, reason);
  }
}
