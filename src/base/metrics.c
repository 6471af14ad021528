#include "base/metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

void lc_metrics_family(lc_metrics *out, const char *name, const char *type, const char *help) {
  out->name = name;
  out->type = type;
  out->help = help;
  out->shown = false;
}

static void add_label_value(lc_buf *text, const char *value) {
  size_t left = strlen(value), n = 0;
  for (; left > 0; value += n, left -= n) {
    n = lc_utf8_length(value, left);
    if (n == 0) {
      lc_buf_adds(text, "\xef\xbf\xbd");
      n = 1;
    } else if (*value == '\n') {
      lc_buf_adds(text, "\\n");
    } else {
      if (*value == '"' || *value == '\\') lc_buf_addc(text, '\\');
      lc_buf_add(text, value, n);
    }
  }
}

/* Writes all of a line but its value; false when it is beyond the bound. */
static bool begin_series(lc_metrics *out, const lc_metric_label *labels) {
  lc_buf *text = &out->text;
  if (out->series >= out->most) {
    out->dropped++;
    return false;
  }
  out->series++;
  if (!out->shown) lc_buf_addf(text, "# HELP %s %s\n# TYPE %s %s\n", out->name, out->help, out->name, out->type);
  out->shown = true;
  lc_buf_adds(text, out->name);
  for (const lc_metric_label *label = labels; label != NULL && label->name != NULL; label++) {
    lc_buf_addf(text, "%c%s=\"", label == labels ? '{' : ',', label->name);
    add_label_value(text, label->value);
    lc_buf_addc(text, '"');
  }
  if (labels != NULL && labels->name != NULL) lc_buf_addc(text, '}');
  return true;
}

void lc_metrics_count(lc_metrics *out, const lc_metric_label *labels, uint64_t value) {
  if (begin_series(out, labels)) lc_buf_addf(&out->text, " %llu\n", (unsigned long long)value);
}

void lc_metrics_value(lc_metrics *out, const lc_metric_label *labels, double value) {
  char text[32];
  if (!begin_series(out, labels)) return;
  if (isnan(value)) {
    lc_buf_adds(&out->text, " NaN\n");
  } else if (isinf(value)) {
    lc_buf_adds(&out->text, value > 0 ? " +Inf\n" : " -Inf\n");
  } else {
    (void)snprintf(text, sizeof text, "%.15g", value);
    if (strtod(text, NULL) != value) (void)snprintf(text, sizeof text, "%.17g", value);
    lc_buf_addf(&out->text, " %s\n", text);
  }
}

int lc_metrics_end(lc_metrics *out) {
  uint32_t dropped = out->dropped;
  out->most = out->series + 1;
  lc_metrics_family(out, "logcap_metrics_series_dropped", "gauge",
                    "Series that this answer left out, because there are more than its bound.");
  lc_metrics_count(out, NULL, dropped);
  return out->text.failed ? LC_ENOMEM : 0;
}
