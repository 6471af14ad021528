#include "app/render.h"

#include <stdlib.h>
#include <string.h>

#include "record/json_text.h"

bool lc_answer_get(lc_answer object, const char *key, lc_answer *ret) {
  lc_json_members it = lc_json_open(object.at, object.len);
  while (lc_json_next(&it)) {
    if (it.key == NULL || it.key_len != strlen(key) || memcmp(it.key, key, it.key_len) != 0) continue;
    *ret = (lc_answer){it.value, it.value_len, it.type};
    return true;
  }
  return false;
}

uint64_t lc_answer_count(lc_answer object, const char *key) {
  lc_answer value;
  int64_t count = 0;
  if (!lc_answer_get(object, key, &value) || !lc_json_int64(value.at, value.len, &count)) return 0;
  return (uint64_t)count;
}

bool lc_answer_true(lc_answer object, const char *key) {
  lc_answer value;
  return lc_answer_get(object, key, &value) && value.type == LC_JSON_TRUE;
}

/* A string without its quotes and escapes, anything else as it is spelled; nothing that would move the cursor. */
static void print_value(lc_answer value, FILE *out) {
  char *text = value.len > 0 ? malloc(value.len) : NULL;
  if (!text) return;
  size_t len = value.len;
  if (value.type == LC_JSON_STRING && len >= 2) len = lc_json_decode(value.at + 1, len - 2, text);
  else memcpy(text, value.at, len);
  for (size_t i = 0; i < len; i++) fputc((unsigned char)text[i] < ' ' || text[i] == 0x7f ? '?' : text[i], out);
  free(text);
}

static void print_member(lc_answer object, const char *key, FILE *out) {
  lc_answer value;
  if (lc_answer_get(object, key, &value)) print_value(value, out);
  else fputc('-', out);
}

static void print_bytes(uint64_t bytes, FILE *out) {
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double amount = (double)bytes;
  unsigned unit = 0;
  for (; amount >= 1024 && unit < 4; unit++) amount /= 1024;
  fprintf(out, unit == 0 ? "%.0f %s" : "%.1f %s", amount, units[unit]);
}

/* Calls `each` for the items of the array that is the member `key`. */
static void each_item(lc_answer object, const char *key, void (*each)(lc_answer item, FILE *out), FILE *out) {
  lc_answer list;
  if (!lc_answer_get(object, key, &list)) return;
  lc_json_members it = lc_json_open(list.at, list.len);
  while (lc_json_next(&it)) each((lc_answer){it.value, it.value_len, it.type}, out);
}

static void print_reason(lc_answer reason, FILE *out) {
  fputs("  ! ", out);
  print_value(reason, out);
  fputc('\n', out);
}

/* "dropped 12 (filtered 10, duplicate 2)" */
static void print_dropped(lc_answer entry, FILE *out) {
  static const char prefix[] = "dropped_";
  uint64_t sum = 0;
  lc_json_members it = lc_json_open(entry.at, entry.len);
  while (lc_json_next(&it)) {
    int64_t count = 0;
    if (it.key_len < sizeof prefix || memcmp(it.key, prefix, sizeof prefix - 1) != 0) continue;
    if (lc_json_int64(it.value, it.value_len, &count)) sum += (uint64_t)count;
  }
  fprintf(out, "dropped %llu", (unsigned long long)sum);
  const char *between = " (";
  it = lc_json_open(entry.at, entry.len);
  while (sum > 0 && lc_json_next(&it)) {
    int64_t count = 0;
    if (it.key_len < sizeof prefix || memcmp(it.key, prefix, sizeof prefix - 1) != 0) continue;
    if (!lc_json_int64(it.value, it.value_len, &count) || count == 0) continue;
    fprintf(out, "%s%.*s %lld", between, (int)(it.key_len - (sizeof prefix - 1)), it.key + sizeof prefix - 1,
            (long long)count);
    between = ", ";
  }
  if (sum > 0) fputc(')', out);
}

static void print_terms(lc_answer entry, FILE *out) {
  fprintf(out, "  read %llu + created %llu = delivered %llu + ",
          (unsigned long long)lc_answer_count(entry, "read"), (unsigned long long)lc_answer_count(entry, "created"),
          (unsigned long long)lc_answer_count(entry, "delivered"));
  print_dropped(entry, out);
  fprintf(out, " + dead-lettered %llu + abandoned %llu + in flight %llu\n",
          (unsigned long long)lc_answer_count(entry, "dead_lettered"),
          (unsigned long long)lc_answer_count(entry, "abandoned"),
          (unsigned long long)lc_answer_count(entry, "in_flight"));
}

static void print_ledger(lc_answer entry, FILE *out) {
  print_member(entry, "pipeline", out);
  fputs(" -> ", out);
  print_member(entry, "sink", out);
  fputs(lc_answer_true(entry, "balanced") ? ": balanced\n" : ": DOES NOT BALANCE\n", out);
  print_terms(entry, out);
  each_item(entry, "reasons", print_reason, out);
}

void lc_render_audit(lc_answer audit, FILE *out) {
  each_item(audit, "ledger", print_ledger, out);
  if (lc_answer_count(audit, "commit_failures") > 0) {
    fprintf(out, "%llu commits of positions failed\n",
            (unsigned long long)lc_answer_count(audit, "commit_failures"));
  }
  fputs(lc_answer_true(audit, "healthy") ? "healthy\n" : "NOT healthy\n", out);
}

static void print_sink(lc_answer sink, FILE *out) {
  fputs("  to ", out);
  print_member(sink, "name", out);
  fprintf(out, ": delivered %llu of %llu read, ", (unsigned long long)lc_answer_count(sink, "delivered"),
          (unsigned long long)lc_answer_count(sink, "read"));
  print_dropped(sink, out);
  fprintf(out, ", dead-lettered %llu, in flight %llu\n", (unsigned long long)lc_answer_count(sink, "dead_lettered"),
          (unsigned long long)lc_answer_count(sink, "in_flight"));
}

static void print_pipeline(lc_answer pipeline, FILE *out) {
  lc_answer batches = {"{}", 2, LC_JSON_OBJECT};
  (void)lc_answer_get(pipeline, "batches", &batches);
  fputs("pipeline ", out);
  print_member(pipeline, "name", out);
  fputs(": ", out);
  print_member(pipeline, "state", out);
  fprintf(out, ", %llu sources, batches of ", (unsigned long long)lc_answer_count(pipeline, "sources"));
  print_bytes(lc_answer_count(batches, "bytes"), out);
  fputs(" (budget ", out);
  print_bytes(lc_answer_count(batches, "budget"), out);
  fputs(")\n", out);
  each_item(pipeline, "sinks", print_sink, out);
}

static bool names_its_kind(lc_answer resource) {
  lc_answer kind, name;
  return lc_answer_get(resource, "kind", &kind) && lc_answer_get(resource, "name", &name) && kind.len > 2 &&
         name.len >= kind.len && memcmp(kind.at, name.at, kind.len - 1) == 0;
}

static void print_resource(lc_answer resource, FILE *out) {
  fprintf(out, "  %4llu descriptors  ", (unsigned long long)lc_answer_count(resource, "descriptors"));
  print_bytes(lc_answer_count(resource, "bytes"), out);
  fprintf(out, "  %llu errors  ", (unsigned long long)lc_answer_count(resource, "errors"));
  if (!names_its_kind(resource)) {
    print_member(resource, "kind", out);
    fputc(' ', out);
  }
  print_member(resource, "name", out);
  fputs(" (", out);
  print_member(resource, "state", out);
  fputs(", ", out);
  print_member(resource, "made_at", out);
  fputs(")\n", out);
}

void lc_render_status(lc_answer status, FILE *out) {
  fputs("logcap ", out);
  print_member(status, "version", out);
  fputs(", pid ", out);
  print_member(status, "pid", out);
  fprintf(out, ", up %llu s%s, resident ", (unsigned long long)lc_answer_count(status, "uptime_s"),
          lc_answer_true(status, "stopping") ? ", stopping" : "");
  print_bytes(lc_answer_count(status, "resident_bytes"), out);
  fprintf(out, ", %llu descriptors\nstate directory ",
          (unsigned long long)lc_answer_count(status, "open_descriptors"));
  print_member(status, "state_dir", out);
  fputc('\n', out);
  each_item(status, "pipelines", print_pipeline, out);
  fputs("resources:\n", out);
  each_item(status, "resources", print_resource, out);
}

static void print_source(lc_answer source, FILE *out) {
  lc_answer cursors;
  if (!lc_answer_get(source, "cursors", &cursors)) return;
  lc_json_members it = lc_json_open(cursors.at, cursors.len);
  while (lc_json_next(&it)) {
    lc_answer cursor = {it.value, it.value_len, it.type};
    fprintf(out, "%14llu  ", (unsigned long long)lc_answer_count(cursor, "position"));
    print_member(cursor, "state", out);
    fputs("  ", out);
    print_member(source, "name", out);
    fputs("  ->  ", out);
    print_member(cursor, "sink", out);
    fputc('\n', out);
  }
}

static void print_output(lc_answer output, FILE *out) {
  fprintf(out, "%14llu  %s  ", (unsigned long long)lc_answer_count(output, "length"),
          lc_answer_true(output, "closed") ? "closed" : "open");
  print_member(output, "path", out);
  fputs("  of  ", out);
  print_member(output, "sink", out);
  fputc('\n', out);
}

void lc_render_positions(lc_answer positions, FILE *out) {
  fputs("sources (committed position, state, source -> sink):\n", out);
  each_item(positions, "sources", print_source, out);
  fputs("outputs (committed length, state, file, sink):\n", out);
  each_item(positions, "outputs", print_output, out);
}
