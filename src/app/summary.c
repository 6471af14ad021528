#include "app/summary.h"

#include <string.h>

#include "app/render.h"
#include "base/log.h"
#include "record/json_text.h"

typedef struct sums {
  uint64_t read, delivered, dropped, dead_lettered;
  bool balanced;
} sums;

static void add_entry(sums *self, lc_answer entry) {
  lc_json_members it = lc_json_open(entry.at, entry.len);
  while (lc_json_next(&it)) {
    int64_t count = 0;
    if (it.key_len > 8 && memcmp(it.key, "dropped_", 8) == 0 && lc_json_int64(it.value, it.value_len, &count)) {
      self->dropped += (uint64_t)count;
    }
  }
  self->read += lc_answer_count(entry, "read");
  self->delivered += lc_answer_count(entry, "delivered");
  self->dead_lettered += lc_answer_count(entry, "dead_lettered");
  if (lc_answer_true(entry, "balanced")) return;
  self->balanced = false;
  lc_log(LC_LOG_ERROR, "run", "a ledger does not balance: see logcap audit");
}

bool lc_summary_log(lc_engine *engine, bool wanted) {
  lc_buf audit = {0};
  lc_answer ledger;
  bool healthy = false;
  sums self = {.balanced = true};
  if (lc_engine_audit(engine, &audit, &healthy) != 0) {
    lc_log(LC_LOG_ERROR, "run", "out of memory for the audit");
    lc_buf_free(&audit);
    return false;
  }
  if (lc_answer_get((lc_answer){audit.data, audit.len, LC_JSON_OBJECT}, "ledger", &ledger)) {
    lc_json_members it = lc_json_open(ledger.at, ledger.len);
    while (lc_json_next(&it)) add_entry(&self, (lc_answer){it.value, it.value_len, it.type});
  }
  lc_log(wanted ? LC_LOG_INFO : LC_LOG_DEBUG, "run", "done", LC_I("read", self.read),
         LC_I("delivered", self.delivered), LC_I("dropped", self.dropped), LC_I("dead_lettered", self.dead_lettered),
         LC_S("health", healthy ? "fine" : "not fine: see logcap audit"));
  lc_buf_free(&audit);
  return self.balanced;
}
