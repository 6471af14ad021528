#include <string.h>

#include "base/clock.h"
#include "logcap/source.h"
#include "pipeline/dlq.h"

static void add_base64(lc_buf *ret, const unsigned char *bytes, size_t len) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (lc_buf_reserve(ret, (len + 2) / 3 * 4) != 0) return;
  for (size_t i = 0; i < len; i += 3) {
    size_t left = len - i;
    uint32_t group = (uint32_t)bytes[i] << 16;
    if (left > 1) group |= (uint32_t)bytes[i + 1] << 8;
    if (left > 2) group |= bytes[i + 2];
    char text[4] = {digits[group >> 18], digits[group >> 12 & 63], left > 1 ? digits[group >> 6 & 63] : '=',
                    left > 2 ? digits[group & 63] : '='};
    lc_buf_add(ret, text, 4);
  }
}

static void add_key(lc_buf *ret, const char *key) {
  lc_buf_addf(ret, ",\"%s\":", key);
}

static void add_string(lc_buf *ret, const char *key, const char *text, size_t len) {
  add_key(ret, key);
  lc_buf_add_json_string(ret, text, len);
}

static void add_base64_member(lc_buf *ret, const char *key, const char *bytes, size_t len) {
  lc_buf_addf(ret, ",\"%s_base64\":\"", key);
  add_base64(ret, (const unsigned char *)bytes, len);
  lc_buf_addc(ret, '"');
}

/* JSON text goes in as it is, unless it would break the line or the encoding. */
static void add_json(lc_buf *ret, const char *key, const char *text, size_t len) {
  if (memchr(text, '\n', len) != NULL || !lc_utf8_valid(text, len)) {
    add_base64_member(ret, key, text, len);
  } else {
    add_key(ret, key);
    lc_buf_add(ret, text, len);
  }
}

/* The fields as an object, in order. Returns whether there is one. */
static bool join_fields(lc_buf *ret, const lc_batch *batch, const lc_record *rec) {
  bool any = false;
  lc_buf_addc(ret, '{');
  for (uint32_t i = 0; i < rec->n_fields; i++) {
    const lc_field *field = &batch->fields[rec->fields + i];
    if (field->type == LC_JSON_REMOVED) continue;
    lc_buf_adds(ret, any ? ",\"" : "\"");
    lc_buf_add(ret, lc_batch_at(batch, field->key), field->key_len);
    lc_buf_adds(ret, "\":");
    lc_buf_add(ret, lc_batch_at(batch, field->value), field->value_len);
    any = true;
  }
  lc_buf_addc(ret, '}');
  return any;
}

static void add_fields(lc_buf *ret, const char *key, const lc_batch *batch, const lc_record *rec, bool even_none) {
  lc_buf object = {0};
  bool any = join_fields(&object, batch, rec);
  if (object.failed) {
    ret->failed = true;
  } else if (any || even_none) {
    add_json(ret, key, object.data, object.len);
  }
  lc_buf_free(&object);
}

static void add_record(lc_buf *ret, const lc_batch *batch, const lc_record *rec) {
  const char *body = lc_batch_at(batch, rec->body);
  if ((rec->flags & LC_REC_OBJECT) != 0) {
    if ((rec->flags & (LC_REC_APPENDED | LC_REC_REWRITTEN)) != 0) {
      add_fields(ret, "record", batch, rec, true);
    } else {
      add_json(ret, "record", body, rec->body_len);
    }
    return;
  }
  if (lc_utf8_valid(body, rec->body_len)) {
    add_string(ret, "message", body, rec->body_len);
  } else {
    add_base64_member(ret, "message", body, rec->body_len);
  }
  add_fields(ret, "fields", batch, rec, false);
}

static void add_source(lc_buf *ret, const lc_batch *batch, const lc_record *rec) {
  if (rec->range >= batch->n_ranges) return; /* made by a stage, from no source */
  const lc_range *range = &batch->ranges[rec->range];
  if (range->source != NULL) {
    const char *name = range->source->name;
    add_string(ret, "source", name, strlen(name));
  }
  lc_buf_addf(ret, ",\"position\":%llu", (unsigned long long)(range->begin + rec->end));
}

/* Who refused a record, and why. */
typedef struct refusal {
  const char *pipeline;
  const char *by, *name; /* "stage" or "sink", and its name */
  const char *reason;
  size_t reason_len;
} refusal;

static int encode(lc_buf *ret, const lc_batch *batch, uint32_t record, const refusal *why) {
  const lc_record *rec = &batch->records[record];
  size_t begin = ret->len;
  char time[LC_TIME_TEXT];
  int time_len = lc_time_format(lc_clock_wall(), time);
  lc_buf_addf(ret, "{\"time\":\"%.*s\"", time_len, time);
  add_string(ret, "pipeline", why->pipeline, strlen(why->pipeline));
  add_string(ret, why->by, why->name, strlen(why->name));
  add_string(ret, "reason", why->reason, why->reason_len);
  add_source(ret, batch, rec);
  if ((rec->flags & LC_REC_TRUNCATED) != 0) lc_buf_adds(ret, ",\"truncated\":true");
  add_record(ret, batch, rec);
  lc_buf_adds(ret, "}\n");
  if (!ret->failed) return 0;
  ret->len = begin;
  return LC_ENOMEM;
}

int lc_dlq_encode(lc_buf *ret, const lc_batch *batch, const lc_dead *dead, const char *pipeline) {
  const refusal why = {pipeline, "stage", dead->stage, lc_batch_at(batch, dead->reason), dead->reason_len};
  return encode(ret, batch, dead->record, &why);
}

int lc_dlq_encode_refused(lc_buf *ret, const lc_batch *batch, uint32_t record, const char *pipeline, const char *sink,
                          const char *reason) {
  const refusal why = {pipeline, "sink", sink, reason, strlen(reason)};
  return encode(ret, batch, record, &why);
}
