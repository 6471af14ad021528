#include "stage/json_stage.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/buf.h"
#include "record/json.h"

static void json_close(lc_resource *res) {
  lc_resource_closed(res);
}

static void json_destroy(lc_resource *res) {
  free((lc_stage *)res);
}

static int json_stats(lc_resource *res, lc_buf *ret) {
  return lc_buf_addf(ret, "{\"records\":%" PRIu64 ",\"unparsed\":%" PRIu64 "}",
                     atomic_load_explicit(&res->records_in, memory_order_relaxed),
                     atomic_load_explicit(&res->errors, memory_order_relaxed));
}

static int json_process(lc_stage *stage, lc_batch *batch, uint32_t *at, uint32_t to, int64_t now_ns, lc_error *error) {
  (void)now_ns;
  uint64_t seen = 0, passed = 0;
  int rc = 0;
  for (; *at < to; ++*at) {
    lc_record *rec = &batch->records[*at];
    if (!lc_record_live(rec)) continue;
    seen++;
    rc = (rec->flags & LC_REC_OBJECT) != 0 ? 0 : lc_json_slice(batch, rec);
    if (rc == LC_EINVAL) {
      rc = lc_stage_refuse(stage, batch, rec, "not a JSON object", error);
    } else if (rc != 0) {
      lc_error_set(error, rc, "%s: out of memory for the fields of a record", stage->resource.name);
    }
    if (rc != 0) break;
    passed += lc_record_live(rec);
  }
  atomic_fetch_add_explicit(&stage->resource.records_in, seen, memory_order_relaxed);
  atomic_fetch_add_explicit(&stage->resource.records_out, passed, memory_order_relaxed);
  return rc;
}

/* It has no memory, and pool jobs read its option: another one takes its place. */
static lc_fit json_fit(const lc_resource *res, const lc_resource *described) {
  return ((const lc_stage *)res)->on_error == ((const lc_stage *)described)->on_error ? LC_FIT_SAME : LC_FIT_REPLACE;
}

static const lc_resource_ops json_resource_ops = {
    .close = json_close, .destroy = json_destroy, .stats = json_stats, .fit = json_fit};
static const lc_stage_ops json_ops = {.flags = LC_STAGE_STATELESS, .process = json_process};

int lc_json_stage_create(const lc_json_stage_options *options, lc_registry *registry, const char *made_at,
                         lc_stage **ret, lc_error *error) {
  lc_stage *stage = calloc(1, sizeof *stage);
  if (stage == NULL) return lc_error_set(error, LC_ENOMEM, "out of memory for a json stage");
  int rc = lc_resource_init(&stage->resource, registry, &json_resource_ops, "json", NULL, "json", made_at, error);
  if (rc != 0) {
    free(stage);
    return rc;
  }
  stage->ops = &json_ops;
  stage->on_error = options->on_error;
  *ret = stage;
  return 0;
}
