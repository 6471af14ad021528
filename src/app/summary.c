#include "app/summary.h"

#include <string.h>

#include "app/render.h"
#include "base/log.h"
#include "record/json_text.h"

#define NAME_SHOWN 300

static lc_answer whole(const lc_buf *audit) {
  return (lc_answer){audit->data, audit->len, LC_JSON_OBJECT};
}

static bool same_member(lc_answer a, lc_answer b, const char *key) {
  lc_answer x, y;
  return lc_answer_get(a, key, &x) && lc_answer_get(b, key, &y) && x.len == y.len && memcmp(x.at, y.at, x.len) == 0;
}

/* The entry of the same pipeline and sink in another audit; an empty object when it has none. */
static lc_answer find_entry(lc_answer audit, lc_answer entry) {
  lc_answer ledger, empty = {"{}", 2, LC_JSON_OBJECT};
  if (!lc_answer_get(audit, "ledger", &ledger)) return empty;
  lc_json_members it = lc_json_open(ledger.at, ledger.len);
  while (lc_json_next(&it)) {
    lc_answer item = {it.value, it.value_len, it.type};
    if (same_member(item, entry, "pipeline") && same_member(item, entry, "sink")) return item;
  }
  return empty;
}

static uint64_t count_dropped(lc_answer entry) {
  uint64_t sum = 0;
  lc_json_members it = lc_json_open(entry.at, entry.len);
  while (lc_json_next(&it)) {
    int64_t count = 0;
    if (it.key_len > 8 && memcmp(it.key, "dropped_", 8) == 0 && lc_json_int64(it.value, it.value_len, &count)) {
      sum += (uint64_t)count;
    }
  }
  return sum;
}

static void name_of(lc_answer entry, const char *key, char ret[NAME_SHOWN]) {
  lc_answer value;
  char text[4 * NAME_SHOWN];
  ret[0] = '\0';
  if (!lc_answer_get(entry, key, &value) || value.type != LC_JSON_STRING || value.len - 2 >= sizeof text) return;
  size_t len = lc_json_decode(value.at + 1, value.len - 2, text);
  snprintf(ret, NAME_SHOWN, "%.*s", (int)len, text);
}

static void log_entry(lc_answer before, lc_answer after, bool healthy) {
  char pipeline[NAME_SHOWN], sink[NAME_SHOWN];
  name_of(after, "pipeline", pipeline);
  name_of(after, "sink", sink);
  lc_log(LC_LOG_INFO, "run", "done", LC_S("pipeline", pipeline), LC_S("sink", sink),
         LC_I("read", lc_answer_count(after, "read") - lc_answer_count(before, "read")),
         LC_I("delivered", lc_answer_count(after, "delivered") - lc_answer_count(before, "delivered")),
         LC_I("dropped", count_dropped(after) - count_dropped(before)),
         LC_I("dead_lettered", lc_answer_count(after, "dead_lettered") - lc_answer_count(before, "dead_lettered")),
         LC_S("health", healthy ? "fine" : "not fine: see logcap audit"));
}

int lc_summary_begin(lc_summary *summary, lc_engine *engine) {
  bool healthy = false;
  return lc_engine_audit(engine, &summary->before, &healthy);
}

bool lc_summary_end(lc_summary *summary, lc_engine *engine) {
  lc_buf audit = {0};
  lc_answer ledger;
  bool healthy = false, balanced = true;
  if (lc_engine_audit(engine, &audit, &healthy) != 0) {
    lc_log(LC_LOG_ERROR, "run", "out of memory for the audit");
    balanced = false;
  } else if (lc_answer_get(whole(&audit), "ledger", &ledger)) {
    lc_json_members it = lc_json_open(ledger.at, ledger.len);
    while (lc_json_next(&it)) {
      lc_answer entry = {it.value, it.value_len, it.type};
      log_entry(find_entry(whole(&summary->before), entry), entry, healthy);
      if (lc_answer_true(entry, "balanced")) continue;
      balanced = false;
      lc_log(LC_LOG_ERROR, "run", "a ledger does not balance: see logcap audit");
    }
  }
  lc_buf_free(&audit);
  lc_buf_free(&summary->before);
  return balanced;
}
