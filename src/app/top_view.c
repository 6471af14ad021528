#include "app/top_view.h"

#include <stdlib.h>
#include <string.h>

#include "record/json_text.h"

#define NUMBER_MAX 24

static const lc_answer nothing = {"{}", 2, LC_JSON_OBJECT};

typedef struct view {
  double seconds;
  lc_top_size size;
  unsigned rows; /* written */
  lc_buf line;
  lc_buf *ret;
} view;

/* --- lines --- */

/* Ends the line in hand: it goes out as far as there is room. A character is a column. */
static void end_line(view *self) {
  lc_buf *line = &self->line;
  size_t len = 0;
  unsigned columns = 0;
  for (; len < line->len; len++) {
    bool begins = ((unsigned char)line->data[len] & 0xc0u) != 0x80u;
    if (begins && self->size.columns > 0 && columns == self->size.columns) break;
    columns += begins;
  }
  if (self->size.rows == 0 || self->rows < self->size.rows) {
    (void)lc_buf_add(self->ret, line->data, len);
    (void)lc_buf_addc(self->ret, '\n');
  }
  self->rows++;
  lc_buf_clear(line);
}

/* A string without its quotes and escapes; nothing that would move the cursor. */
static void add_text(view *self, lc_answer object, const char *key) {
  lc_answer value;
  if (!lc_answer_get(object, key, &value)) return;
  bool string = value.type == LC_JSON_STRING && value.len >= 2;
  size_t begin = self->line.len;
  if (lc_buf_reserve(&self->line, value.len) != 0) return;
  char *text = self->line.data + begin;
  size_t len = value.len;
  if (string) len = lc_json_decode(value.at + 1, value.len - 2, text);
  else memcpy(text, value.at, len);
  for (size_t i = 0; i < len; i++) {
    bool c1 = i + 1 < len && text[i] == '\xc2' && (unsigned char)text[i + 1] < 0xa0; /* U+0080 to U+009F */
    if ((unsigned char)text[i] < ' ' || text[i] == 0x7f || c1) text[i] = '?';
    if (c1) text[i + 1] = '?';
  }
  self->line.len += len;
}

/* --- numbers --- */

/* 0, 0.25, 12.5, 999, 12.3k, 4.56M */
static void format_rate(double rate, char ret[NUMBER_MAX]) {
  static const char units[] = {'\0', 'k', 'M', 'G', 'T'};
  unsigned unit = 0;
  for (; rate >= 999.5 && unit < sizeof units - 1; unit++) rate /= 1000;
  int digits = rate >= 99.95 || rate == 0 ? 0 : rate >= 9.995 ? 1 : 2;
  const char suffix[2] = {units[unit], '\0'};
  (void)snprintf(ret, NUMBER_MAX, "%.*f%s", digits, rate, suffix);
}

static void format_bytes(double bytes, char ret[NUMBER_MAX]) {
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  unsigned unit = 0;
  for (; bytes >= 1023.5 && unit < 4; unit++) bytes /= 1024;
  (void)snprintf(ret, NUMBER_MAX, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

static void add_bytes(view *self, uint64_t bytes) {
  char text[NUMBER_MAX];
  format_bytes((double)bytes, text);
  (void)lc_buf_adds(&self->line, text);
}

/* The growth of a count in a second; negative: it cannot be told. */
static double rate_of(const view *self, uint64_t before, uint64_t now, bool known) {
  return known && now >= before && self->seconds > 0 ? (double)(now - before) / self->seconds : -1;
}

static void add_rate(view *self, double rate, bool bytes) {
  char text[NUMBER_MAX] = "-";
  if (rate >= 0 && bytes) format_bytes(rate, text);
  else if (rate >= 0) format_rate(rate, text);
  (void)lc_buf_addf(&self->line, bytes ? " %10s" : " %8s", text);
}

/* --- the two answers --- */

static bool same_member(lc_answer a, lc_answer b, const char *key) {
  lc_answer x, y;
  return lc_answer_get(a, key, &x) && lc_answer_get(b, key, &y) && x.len == y.len && memcmp(x.at, y.at, x.len) == 0;
}

/* The item of the list `key` that has the same `name` as `like`; false: none. */
static bool find_same(lc_answer object, const char *key, lc_answer like, const char *name, lc_answer *ret) {
  lc_answer list;
  if (!lc_answer_get(object, key, &list)) return false;
  lc_json_members it = lc_json_open(list.at, list.len);
  while (lc_json_next(&it)) {
    *ret = (lc_answer){it.value, it.value_len, it.type};
    if (same_member(*ret, like, name)) return true;
  }
  return false;
}

static uint64_t count_dropped(lc_answer sink) {
  uint64_t sum = 0;
  lc_json_members it = lc_json_open(sink.at, sink.len);
  while (lc_json_next(&it)) {
    int64_t count = 0;
    if (it.key_len > 8 && memcmp(it.key, "dropped_", 8) == 0 && lc_json_int64(it.value, it.value_len, &count)) {
      sum += (uint64_t)count;
    }
  }
  return sum;
}

static void add_count_rate(view *self, lc_answer before, lc_answer now, bool known, const char *key, bool bytes) {
  add_rate(self, rate_of(self, lc_answer_count(before, key), lc_answer_count(now, key), known), bytes);
}

/* --- what is shown --- */

static void show_head(view *self, lc_answer now) {
  uint64_t up = lc_answer_count(now, "uptime_s");
  lc_answer held = nothing;
  (void)lc_answer_get(now, "held", &held);
  (void)lc_buf_adds(&self->line, "logcap ");
  add_text(self, now, "version");
  (void)lc_buf_adds(&self->line, "  pid ");
  add_text(self, now, "pid");
  (void)lc_buf_addf(&self->line, "  up %llud %02llu:%02llu:%02llu%s  resident ", (unsigned long long)(up / 86400),
                    (unsigned long long)(up / 3600 % 24), (unsigned long long)(up / 60 % 60),
                    (unsigned long long)(up % 60), lc_answer_true(now, "stopping") ? "  stopping" : "");
  add_bytes(self, lc_answer_count(now, "resident_bytes"));
  (void)lc_buf_addf(&self->line, "  descriptors %llu  resources %llu",
                    (unsigned long long)lc_answer_count(now, "open_descriptors"),
                    (unsigned long long)lc_answer_count(held, "resources"));
  uint64_t failures = lc_answer_count(now, "commit_failures");
  if (failures > 0) (void)lc_buf_addf(&self->line, "  FAILED COMMITS %llu", (unsigned long long)failures);
  end_line(self);
  end_line(self);
}

static void show_pipeline_line(view *self, lc_answer pipeline) {
  lc_answer batches = nothing;
  (void)lc_answer_get(pipeline, "batches", &batches);
  add_text(self, pipeline, "name");
  (void)lc_buf_adds(&self->line, "  ");
  add_text(self, pipeline, "state");
  (void)lc_buf_addf(&self->line, "  sources %llu  batches %llu, ",
                    (unsigned long long)lc_answer_count(pipeline, "sources"),
                    (unsigned long long)lc_answer_count(batches, "in_use"));
  add_bytes(self, lc_answer_count(batches, "bytes"));
  (void)lc_buf_adds(&self->line, " of ");
  add_bytes(self, lc_answer_count(batches, "budget"));
  end_line(self);
}

static void show_sink(view *self, lc_answer before, lc_answer now, bool known) {
  add_count_rate(self, before, now, known, "read", false);
  add_count_rate(self, before, now, known, "read_bytes", true);
  add_count_rate(self, before, now, known, "delivered", false);
  add_rate(self, rate_of(self, count_dropped(before), count_dropped(now), known), false);
  add_count_rate(self, before, now, known, "dead_lettered", false);
  (void)lc_buf_addf(&self->line, " %8llu %6llu %8llu  ", (unsigned long long)lc_answer_count(now, "in_flight"),
                    (unsigned long long)lc_answer_count(now, "deliveries"),
                    (unsigned long long)lc_answer_count(now, "dead_lettered"));
  add_text(self, now, "name");
  end_line(self);
}

static void show_pipeline(view *self, lc_answer before, lc_answer now) {
  lc_answer earlier = nothing, sinks;
  (void)find_same(before, "pipelines", now, "name", &earlier);
  show_pipeline_line(self, now);
  if (!lc_answer_get(now, "sinks", &sinks)) return;
  lc_json_members it = lc_json_open(sinks.at, sinks.len);
  while (lc_json_next(&it)) {
    lc_answer sink = {it.value, it.value_len, it.type}, was = nothing;
    bool known = find_same(earlier, "sinks", sink, "name", &was);
    show_sink(self, was, sink, known);
  }
}

static void show_pipelines(view *self, lc_answer before, lc_answer now) {
  lc_answer list;
  if (!lc_answer_get(now, "pipelines", &list)) return;
  (void)lc_buf_addf(&self->line, " %8s %10s %8s %8s %8s %8s %6s %8s  %s", "READ/s", "BYTES/s", "OUT/s", "DROP/s",
                    "DEAD/s", "FLIGHT", "QUEUE", "DEAD", "SINK");
  end_line(self);
  lc_json_members it = lc_json_open(list.at, list.len);
  while (lc_json_next(&it)) show_pipeline(self, before, (lc_answer){it.value, it.value_len, it.type});
}

/* Resources that have counted errors. */
static void show_errors(view *self, lc_answer before, lc_answer now) {
  lc_answer list;
  bool any = false;
  if (!lc_answer_get(now, "resources", &list)) return;
  lc_json_members it = lc_json_open(list.at, list.len);
  while (lc_json_next(&it)) {
    lc_answer resource = {it.value, it.value_len, it.type}, was = nothing;
    uint64_t errors = lc_answer_count(resource, "errors");
    if (errors == 0) continue;
    bool known = find_same(before, "resources", resource, "id", &was);
    if (!any) end_line(self);
    if (!any) (void)lc_buf_addf(&self->line, " %8s %10s  %s", "ERR/s", "ERRORS", "OF");
    if (!any) end_line(self);
    any = true;
    add_rate(self, rate_of(self, lc_answer_count(was, "errors"), errors, known), false);
    (void)lc_buf_addf(&self->line, " %10llu  ", (unsigned long long)errors);
    add_text(self, resource, "kind");
    (void)lc_buf_addc(&self->line, ' ');
    add_text(self, resource, "name");
    end_line(self);
  }
}

int lc_top_view(lc_answer before, lc_answer now, double seconds, lc_top_size size, lc_buf *ret) {
  view self = {.seconds = seconds, .size = size, .ret = ret};
  if (!same_member(before, now, "pid") || lc_answer_count(before, "uptime_s") > lc_answer_count(now, "uptime_s")) {
    before = nothing; /* another process: it counts anew */
  }
  show_head(&self, now);
  show_pipelines(&self, before, now);
  show_errors(&self, before, now);
  bool failed = self.line.failed || ret->failed;
  lc_buf_free(&self.line);
  return failed ? LC_ENOMEM : 0;
}
