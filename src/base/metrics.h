/* The text that Prometheus reads: families of series, each with a help line, within a bound of series.
 *
 *     lc_metrics out = {.most = 2000};
 *     lc_metrics_family(&out, "logcap_commits_total", "counter", "Commits of positions.");
 *     lc_metrics_count(&out, NULL, 12);
 *     lc_metrics_family(&out, "logcap_pipeline_failed", "gauge", "1 when a stage stopped the pipeline.");
 *     lc_metrics_count(&out, LC_LABELS({"pipeline", "shop"}), 0);
 *     if (lc_metrics_end(&out) != 0) ...                     // out of memory
 *     lc_buf_free(&out.text);
 *
 * What lies beyond the bound is left out and counted in logcap_metrics_series_dropped. A family without a series is not
 * shown. Who calls sees to it that no two series of a family have the same labels.
 *
 * Thread: its owner's. */
#ifndef LC_BASE_METRICS_H
#define LC_BASE_METRICS_H

#include "base/buf.h"

typedef struct lc_metric_label {
  const char *name, *value; /* name NULL ends the list */
} lc_metric_label;
#define LC_LABELS(...) ((const lc_metric_label[]){__VA_ARGS__, {NULL, NULL}})

typedef struct lc_metrics {
  lc_buf text;
  uint32_t most; /* series that may be written */
  uint32_t series, dropped;
  const char *name, *type, *help; /* borrowed: the family in hand */
  bool shown;                     /* its help is written */
} lc_metrics;

/* `type`: "counter" or "gauge". */
void lc_metrics_family(lc_metrics *out, const char *name, const char *type, const char *help);
/* `labels` may be NULL; bytes of values that are not UTF-8 are replaced. */
void lc_metrics_count(lc_metrics *out, const lc_metric_label *labels, uint64_t value);
void lc_metrics_value(lc_metrics *out, const lc_metric_label *labels, double value);
/* Says how many series were left out. 0 or LC_ENOMEM. */
int lc_metrics_end(lc_metrics *out) LC_CHECK;

#endif
