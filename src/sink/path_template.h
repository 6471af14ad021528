/* Paths of outputs, from a template and a record.
 *
 *     lc_path_template_parse("/var/log/out/{service}-%Y%m%d.ndjson", NULL, false, &template, &error);
 *     lc_path_values_reset(&values);                           // for each batch
 *     if (lc_path_values_take(template, batch, rec, &values)) same path as for the record before
 *     else lc_path_template_render(template, &values, &path);  // "/var/log/out/shop-20261123.ndjson"
 *
 * `{name}` is the record's field, else the label of its source; `{@source}` is the name of its source. `%Y`, `%m`,
 * `%d`,
 * `%H`, `%M`, `%S`, `%F`, `%T`, `%R`, `%j`, `%y`, `%b`, `%a`, `%u`, `%G`, `%V`, `%s`, `%z`, `%Z` are the record's time
 * (when it has none: when it was read), in UTC or local time. `{{`, `}}` and `%%` stand for themselves.
 *
 * No value leaves its place: `/`, NUL and other control characters become `_`; a path component that comes out as `.`
 * or
 * `..` becomes `_` or `__`; values beyond 100 bytes and components beyond 200 are cut and end in a hash of the whole,
 * so that different ones stay different. An absent, null, nested or empty value is `missing`.
 *
 * Thread: a template is read-only and may be used by any; the values belong to one. */
#ifndef LC_SINK_PATH_TEMPLATE_H
#define LC_SINK_PATH_TEMPLATE_H

#include "base/buf.h"
#include "base/hash.h"
#include "logcap/record.h"

#define LC_PATH_FIELDS_MAX 16u /* {field}s of a template */

typedef struct lc_path_template lc_path_template;

/* The bytes of a record that its path depends on. They refer into the batch. */
typedef struct lc_path_values {
  uint32_t n; /* 0: nothing taken yet */
  int64_t bucket; /* of the time */
  int64_t time_ns;
  struct lc_path_value {
    const char *bytes;
    uint32_t len;
    bool escaped; /* JSON escapes inside */
  } items[LC_PATH_FIELDS_MAX];
} lc_path_values;

/* `missing` must be a name without `/`. LC_EINVAL says what is wrong and where. */
int lc_path_template_parse(const char *text, const char *missing, bool local_time, lc_path_template **ret,
                           lc_error *error) LC_CHECK;
void lc_path_template_destroy(lc_path_template *self); /* NULL is allowed */
/* Whether both make the same path of each record. */
bool lc_path_template_same(const lc_path_template *a, const lc_path_template *b);
bool lc_path_template_is_fixed(const lc_path_template *self); /* all records have the same path */

void lc_path_values_reset(lc_path_values *values);
/* Takes the record's values. True: they are those taken before. */
bool lc_path_values_take(const lc_path_template *self, const lc_batch *batch, const lc_record *rec,
                         lc_path_values *values);
/* Makes them those of records for which there is no room: every field is "_overflow". */
void lc_path_values_overflow(lc_path_values *values);
/* Identifies them. */
lc_hash128 lc_path_values_hash(const lc_path_template *self, const lc_path_values *values);
/* Replaces what is in `ret` by the path. Returns 0 or LC_ENOMEM. */
int lc_path_template_render(const lc_path_template *self, const lc_path_values *values, lc_buf *ret) LC_CHECK;

#endif
