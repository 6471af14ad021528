#include "app/offline.h"

#include <stdlib.h>
#include <string.h>

#include "io/state_dir.h"
#include "io/store.h"
#include "io/store_report.h"
#include "pipeline/ledger.h"

typedef struct audit {
  lc_store *store;
  lc_buf *ret;
  lc_error *error;
  char **edges; /* owned: the prefixes of all rows, "<pipeline>/<sink identity>", each once */
  size_t n_edges;
  bool healthy;
} audit;

static int remember_edge(audit *self, const char *edge, size_t len) {
  for (size_t i = 0; i < self->n_edges; i++) {
    if (strlen(self->edges[i]) == len && memcmp(self->edges[i], edge, len) == 0) return 0;
  }
  char **grown = realloc(self->edges, (self->n_edges + 1) * sizeof *grown);
  if (!grown) return LC_ENOMEM;
  self->edges = grown;
  grown[self->n_edges] = strndup(edge, len);
  if (!grown[self->n_edges]) return LC_ENOMEM;
  self->n_edges++;
  return 0;
}

/* Rows are called "<pipeline>/<sink identity>/<term>". */
static int on_row(void *arg, const char *key, uint64_t value) {
  (void)value;
  const char *term = strrchr(key, '/');
  return term ? remember_edge(arg, key, (size_t)(term - key)) : 0;
}

static void add_name(lc_buf *ret, const char *key, const char *text, size_t len) {
  lc_buf_addf(ret, "\"%s\":", key);
  lc_buf_add_json_string(ret, text, len);
  lc_buf_addc(ret, ',');
}

/* What is saved is at rest: nothing is in flight. */
static int add_edge(audit *self, const char *edge) {
  lc_ledger ledger = {0};
  int rc = lc_ledger_load(&ledger, edge, self->store, self->error);
  if (rc != 0) return rc;
  bool balanced = lc_ledger_balanced(&ledger, 0);
  size_t pipeline = strcspn(edge, "/");
  const char *sink = edge[pipeline] != '\0' ? edge + pipeline + 1 : "";
  lc_buf_addc(self->ret, '{');
  add_name(self->ret, "pipeline", edge, pipeline);
  add_name(self->ret, "sink", sink, strlen(sink));
  (void)lc_ledger_json(&ledger, self->ret);
  lc_buf_addf(self->ret, ",\"in_flight\":0,\"balanced\":%s,\"reasons\":", balanced ? "true" : "false");
  bool well = lc_ledger_reasons(&ledger, 0, self->ret);
  lc_buf_addc(self->ret, '}');
  self->healthy = self->healthy && well;
  return 0;
}

static int audit_store(lc_store *store, lc_buf *ret, lc_error *error) {
  audit self = {.store = store, .ret = ret, .error = error, .healthy = true};
  lc_buf_adds(ret, "{\"running\":false,\"ledger\":[");
  int rc = lc_store_each_count(store, "", on_row, &self, error);
  if (rc == LC_ENOMEM) rc = lc_error_set(error, LC_ENOMEM, "out of memory for the audit");
  for (size_t i = 0; i < self.n_edges && rc == 0; i++) {
    if (i > 0) lc_buf_addc(ret, ',');
    rc = add_edge(&self, self.edges[i]);
  }
  lc_buf_addf(ret, "],\"healthy\":%s}", self.healthy ? "true" : "false");
  for (size_t i = 0; i < self.n_edges; i++) free(self.edges[i]);
  free(self.edges);
  return rc;
}

static int positions_store(lc_store *store, lc_buf *ret, lc_error *error) {
  lc_buf_adds(ret, "{\"running\":false,");
  size_t at = ret->len;
  int rc = lc_store_positions_json(store, ret, error);
  if (rc != 0 || ret->failed) return rc;
  memmove(ret->data + at, ret->data + at + 1, ret->len - at - 1); /* its opening brace */
  ret->len--;
  return 0;
}

static int with_store(const char *option, int (*report)(lc_store *store, lc_buf *ret, lc_error *error), lc_buf *ret,
                      lc_error *error) {
  lc_state_dir *state = NULL;
  lc_store *store = NULL;
  int rc = lc_state_dir_open(option, LC_STATE_EXISTING, &state, error);
  if (rc == 0) rc = lc_store_open_existing(lc_state_dir_path(state), &store, error);
  if (rc == 0) rc = report(store, ret, error);
  if (rc == 0 && ret->failed) rc = lc_error_set(error, LC_ENOMEM, "out of memory for the report");
  lc_store_close(store);
  lc_state_dir_close(state);
  return rc;
}

int lc_offline_audit(const char *option, lc_buf *ret, lc_error *error) {
  return with_store(option, audit_store, ret, error);
}

int lc_offline_positions(const char *option, lc_buf *ret, lc_error *error) {
  return with_store(option, positions_store, ret, error);
}
