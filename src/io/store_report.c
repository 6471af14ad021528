#include "io/store_report.h"

#include <string.h>

#include "base/clock.h"
#include "io/store_impl.h"

typedef struct report {
  lc_store *store;
  lc_buf *ret;
  lc_error *error;
  const char *resource; /* whose rows these are */
  bool any;             /* something stands in the list already: a comma is due */
} report;

static const lc_store_resource *first_resource(lc_store *store) {
  (void)pthread_mutex_lock(&store->names_lock);
  const lc_store_resource *first = store->resources;
  (void)pthread_mutex_unlock(&store->names_lock);
  return first;
}

static const char *name_of(lc_store *store, uint32_t id) {
  const lc_store_resource *resource = first_resource(store);
  while (resource != NULL && resource->id != id) resource = resource->next;
  return resource != NULL ? resource->identity : "";
}

static void add_string(lc_buf *ret, const char *key, const char *text) {
  lc_buf_addf(ret, "\"%s\":", key);
  lc_buf_add_json_string(ret, text, strlen(text));
}

static int add_cursor(void *arg, uint32_t sink_id, const lc_stored_cursor *cursor) {
  static const char *const states[] = {
      [LC_CURSOR_ACTIVE] = "active", [LC_CURSOR_IDLE] = "idle", [LC_CURSOR_DRAINED] = "drained"};
  report *r = arg;
  lc_buf_adds(r->ret, r->any ? ",{" : "{");
  r->any = true;
  add_string(r->ret, "sink", name_of(r->store, sink_id));
  lc_buf_addf(r->ret, ",\"position\":%llu,\"state\":\"%s\"}", (unsigned long long)cursor->position,
              states[cursor->state]);
  return 0;
}

static int add_source(void *arg, uint64_t id, const char *key, const char *name, int64_t seen_ns) {
  report *r = arg;
  char seen[LC_TIME_TEXT];
  int seen_len = lc_time_format(seen_ns, seen);
  lc_buf_adds(r->ret, r->any ? ",{" : "{");
  add_string(r->ret, "monitor", r->resource);
  lc_buf_addc(r->ret, ',');
  add_string(r->ret, "key", key);
  lc_buf_addc(r->ret, ',');
  add_string(r->ret, "name", name);
  lc_buf_addf(r->ret, ",\"seen\":\"%.*s\",\"cursors\":[", seen_len, seen);
  r->any = false;
  int rc = lc_store_each_cursor(r->store, id, add_cursor, r, r->error);
  lc_buf_adds(r->ret, "]}");
  r->any = true;
  return rc;
}

static int add_output(void *arg, const lc_stored_output *output) {
  report *r = arg;
  lc_buf_adds(r->ret, r->any ? ",{" : "{");
  r->any = true;
  add_string(r->ret, "sink", r->resource);
  lc_buf_addc(r->ret, ',');
  add_string(r->ret, "path", output->path);
  if (output->pending != NULL) {
    lc_buf_addc(r->ret, ',');
    add_string(r->ret, "pending", output->pending);
  }
  lc_buf_addf(r->ret, ",\"length\":%llu,\"closed\":%s}", (unsigned long long)output->length,
              output->closed ? "true" : "false");
  return 0;
}

static int add_count(void *arg, const char *key, uint64_t value) {
  report *r = arg;
  if (r->any) lc_buf_addc(r->ret, ',');
  r->any = true;
  lc_buf_add_json_string(r->ret, key, strlen(key));
  lc_buf_addf(r->ret, ":%llu", (unsigned long long)value);
  return 0;
}

static int finish(report *r, int rc, size_t begin) {
  if (rc == 0 && r->ret->failed) rc = lc_error_set(r->error, LC_ENOMEM, "out of memory: cannot list the positions");
  if (rc != 0) r->ret->len = begin;
  return rc;
}

int lc_store_positions_json(lc_store *store, lc_buf *ret, lc_error *error) {
  size_t begin = ret->len;
  report r = {.store = store, .ret = ret, .error = error};
  int rc = 0;
  lc_buf_adds(ret, "{\"sources\":[");
  for (const lc_store_resource *x = first_resource(store); rc == 0 && x != NULL; x = x->next) {
    r.resource = x->identity;
    rc = lc_store_each_source(store, x->id, add_source, &r, error);
  }
  lc_buf_adds(ret, "],\"outputs\":[");
  r.any = false;
  for (const lc_store_resource *x = first_resource(store); rc == 0 && x != NULL; x = x->next) {
    r.resource = x->identity;
    rc = lc_store_each_output(store, x->id, add_output, &r, error);
  }
  lc_buf_adds(ret, "]}");
  return finish(&r, rc, begin);
}

int lc_store_ledger_json(lc_store *store, lc_buf *ret, lc_error *error) {
  size_t begin = ret->len;
  report r = {.store = store, .ret = ret, .error = error};
  lc_buf_adds(ret, "{\"counts\":{");
  int rc = lc_store_each_count(store, "", add_count, &r, error);
  lc_buf_adds(ret, "}}");
  return finish(&r, rc, begin);
}
