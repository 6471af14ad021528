#include "pipeline/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Calls `each` for every term with its name; a non-zero return stops and is returned. */
static int each_term(lc_ledger *ledger, int (*each)(void *arg, const char *name, uint64_t *value), void *arg) {
  struct {
    const char *name;
    uint64_t *value;
  } terms[] = {{"read", &ledger->read},           {"read_bytes", &ledger->read_bytes},
               {"created", &ledger->created},     {"delivered", &ledger->delivered},
               {"dead_lettered", &ledger->dead_lettered}, {"abandoned", &ledger->abandoned},
               {"abandoned_bytes", &ledger->abandoned_bytes}};
  for (size_t i = 0; i < sizeof terms / sizeof *terms; i++) {
    int rc = each(arg, terms[i].name, terms[i].value);
    if (rc != 0) return rc;
  }
  for (int reason = 0; reason < LC_DROP_REASONS; reason++) {
    char name[64];
    snprintf(name, sizeof name, "dropped_%s", lc_drop_name((lc_drop)reason));
    int rc = each(arg, name, &ledger->dropped[reason]);
    if (rc != 0) return rc;
  }
  return 0;
}

void lc_ledger_add(lc_ledger *ledger, const lc_ledger *more) {
  ledger->read += more->read;
  ledger->read_bytes += more->read_bytes;
  ledger->created += more->created;
  ledger->delivered += more->delivered;
  for (int reason = 0; reason < LC_DROP_REASONS; reason++) ledger->dropped[reason] += more->dropped[reason];
  ledger->dead_lettered += more->dead_lettered;
  ledger->abandoned += more->abandoned;
  ledger->abandoned_bytes += more->abandoned_bytes;
}

void lc_ledger_add_tally(lc_ledger *ledger, const lc_tally *tally) {
  ledger->read += tally->read;
  ledger->read_bytes += tally->read_bytes;
  ledger->created += tally->created;
  for (int reason = 0; reason < LC_DROP_REASONS; reason++) ledger->dropped[reason] += tally->dropped[reason];
  ledger->dead_lettered += tally->dead;
}

bool lc_ledger_balanced(const lc_ledger *ledger, uint64_t in_flight) {
  uint64_t out = ledger->delivered + ledger->dead_lettered + ledger->abandoned + in_flight;
  for (int reason = 0; reason < LC_DROP_REASONS; reason++) out += ledger->dropped[reason];
  return ledger->read + ledger->created == out;
}

bool lc_ledger_reasons(const lc_ledger *ledger, uint64_t in_flight, lc_buf *ret) {
  size_t before = ret->len;
  lc_buf_addc(ret, '[');
  if (!lc_ledger_balanced(ledger, in_flight)) {
    lc_buf_adds(ret, "\"the ledger does not balance: a record was lost or counted twice\"");
  }
  if (ledger->abandoned > 0) {
    lc_buf_addf(ret, "%s\"%llu records were given up, since their sink took nothing for too long after a reload "
                "removed it\"", ret->len > before + 1 ? "," : "", (unsigned long long)ledger->abandoned);
  }
  if (ledger->abandoned_bytes > 0) {
    lc_buf_addf(ret, "%s\"%llu bytes of sources vanished before they were read\"", ret->len > before + 1 ? "," : "",
                (unsigned long long)ledger->abandoned_bytes);
  }
  bool none = ret->len == before + 1;
  lc_buf_addc(ret, ']');
  return none;
}

static int term_json(void *arg, const char *name, uint64_t *value) {
  lc_buf *ret = arg;
  return lc_buf_addf(ret, "%s\"%s\":%llu", strcmp(name, "read") == 0 ? "" : ",", name, (unsigned long long)*value);
}

int lc_ledger_json(const lc_ledger *ledger, lc_buf *ret) {
  lc_ledger copy = *ledger;
  return each_term(&copy, term_json, ret);
}

typedef struct row_arg {
  const char *prefix;
  lc_changes *changes;
  lc_ledger *ledger;
  const char *key;
  uint64_t value;
} row_arg;

static int save_term(void *arg, const char *name, uint64_t *value) {
  row_arg *row = arg;
  char *key = NULL; /* a sink's identity may hold a long path */
  if (asprintf(&key, "%s/%s", row->prefix, name) < 0) return LC_ENOMEM;
  int rc = lc_changes_count(row->changes, key, *value);
  free(key);
  return rc;
}

int lc_ledger_save(const lc_ledger *ledger, const char *prefix, lc_changes *changes) {
  lc_ledger copy = *ledger;
  row_arg row = {.prefix = prefix, .changes = changes};
  return each_term(&copy, save_term, &row);
}

static int load_term(void *arg, const char *name, uint64_t *value) {
  row_arg *row = arg;
  if (strcmp(name, row->key) == 0) *value = row->value;
  return 0;
}

static int load_row(void *arg, const char *key, uint64_t value) {
  row_arg *row = arg;
  size_t len = strlen(row->prefix);
  if (strncmp(key, row->prefix, len) != 0 || key[len] != '/') return 0;
  row->key = key + len + 1;
  row->value = value;
  return each_term(row->ledger, load_term, row);
}

int lc_ledger_load(lc_ledger *ret, const char *prefix, lc_store *store, lc_error *error) {
  row_arg row = {.prefix = prefix, .ledger = ret};
  return lc_store_each_count(store, prefix, load_row, &row, error);
}
