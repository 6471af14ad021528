#include "record/encode.h"

#include <string.h>

#include "base/clock.h"
#include "logcap/source.h"
#include "record/fields.h"
#include "record/json_scan.h"
#include "record/json_text.h"

#define BUFFER (256u * 1024) /* what is encoded between two calls: stays in the cache until it is written */
#define RUN_LEAST 2048u      /* shorter runs are cheaper to copy than to hand out */

/* The writers below go on without asking: room for all of a record was made before. */
static char *put(char *to, const void *bytes, size_t len) {
  memcpy(to, bytes, len);
  return to + len;
}

/* Whether `"key":value` stands in one piece. */
static bool in_one_piece(const lc_field *field) {
  return field->value == field->key + field->key_len + 2;
}

static size_t field_room(const lc_field *field) {
  return (size_t)field->key_len + field->value_len + 4;
}

static char *put_field(const lc_batch *batch, const lc_field *field, char *to) {
  const char *key = lc_batch_at(batch, field->key);
  if (lc_likely(in_one_piece(field))) return put(to, key - 1, (size_t)field->key_len + field->value_len + 3);
  *to++ = '"';
  to = put(to, key, field->key_len);
  *to++ = '"';
  *to++ = ':';
  return put(to, lc_batch_at(batch, field->value), field->value_len);
}

/* Fields [from, n) with commas between them, and one in front of the first when `comma`. Neighbours that stand in one
 * piece in the input, as in `"a":1,"b":2`, are copied at once. */
static char *put_fields(const lc_batch *batch, const lc_record *rec, uint32_t from, bool comma, char *to) {
  const lc_field *fields = lc_record_fields(batch, rec);
  for (uint32_t i = from; i < rec->n_fields; i++) {
    if (fields[i].type == LC_JSON_REMOVED) continue;
    if (comma) *to++ = ',';
    comma = true;
    uint32_t last = i;
    if (lc_likely(in_one_piece(&fields[i]))) {
      while (last + 1 < rec->n_fields && fields[last + 1].type != LC_JSON_REMOVED && in_one_piece(&fields[last + 1]) &&
             fields[last + 1].key == fields[last].value + fields[last].value_len + 2 &&
             memcmp(lc_batch_at(batch, fields[last + 1].key) - 2, ",\"", 2) == 0) {
        last++;
      }
    }
    if (last == i) {
      to = put_field(batch, &fields[i], to);
    } else {
      size_t len = fields[last].value + fields[last].value_len - fields[i].key + 1;
      to = put(to, lc_batch_at(batch, fields[i].key) - 1, len);
      i = last;
    }
  }
  return to;
}

/* The first of the fields that were added behind those of the body. */
static uint32_t first_added(const lc_batch *batch, const lc_record *rec) {
  const lc_field *fields = lc_record_fields(batch, rec);
  uint32_t i = rec->n_fields;
  while (i > 0 && fields[i - 1].value - rec->body >= rec->body_len) i--;
  return i;
}

/* An upper bound of a plain line as a member; exact where six times its length would be a lot of memory. */
static size_t message_room(const lc_batch *batch, const lc_record *rec) {
  if (rec->body_len <= 4096) return LC_JSON_ENCODED(rec->body_len) + 10;
  return lc_json_encoded_len(lc_batch_at(batch, rec->body), rec->body_len) + 10;
}

/* An upper bound of the record's JSON text. */
static size_t json_room(const lc_batch *batch, const lc_record *rec) {
  const lc_field *fields = lc_record_fields(batch, rec);
  bool object = (rec->flags & LC_REC_OBJECT) != 0, whole = object && (rec->flags & LC_REC_REWRITTEN) == 0;
  size_t room = 16 + (object ? rec->body_len : message_room(batch, rec));
  for (uint32_t i = whole ? first_added(batch, rec) : 0; i < rec->n_fields; i++) room += field_room(&fields[i]);
  return room;
}

/* The object without its closing bracket; *ret_comma says whether another member needs a comma in front. */
static char *put_open_object(const lc_batch *batch, const lc_record *rec, char *to, bool *ret_comma) {
  const char *body = lc_batch_at(batch, rec->body);
  if ((rec->flags & (LC_REC_OBJECT | LC_REC_REWRITTEN)) == LC_REC_OBJECT) {
    uint32_t added = (rec->flags & LC_REC_APPENDED) != 0 ? first_added(batch, rec) : rec->n_fields;
    to = put(to, body, rec->body_len - 1);
    char *end = put_fields(batch, rec, added, added > 0, to);
    *ret_comma = added > 0 || end > to;
    return end;
  }
  *to++ = '{';
  bool comma = false;
  if ((rec->flags & LC_REC_OBJECT) == 0) {
    to = put(to, "\"message\":", 10);
    to += lc_json_encode(body, rec->body_len, to);
    comma = true;
  }
  char *end = put_fields(batch, rec, 0, comma, to);
  *ret_comma = comma || end > to;
  return end;
}

int lc_encode_json(const lc_batch *batch, const lc_record *rec, lc_buf *ret) {
  if ((rec->flags & (LC_REC_OBJECT | LC_REC_APPENDED | LC_REC_REWRITTEN)) == LC_REC_OBJECT) {
    return lc_buf_add(ret, lc_batch_at(batch, rec->body), rec->body_len);
  }
  if (lc_buf_reserve(ret, json_room(batch, rec)) != 0) return LC_ENOMEM;
  bool comma;
  char *to = put_open_object(batch, rec, ret->data + ret->len, &comma);
  *to++ = '}';
  ret->len = (size_t)(to - ret->data);
  return 0;
}

int lc_encode_raw(const lc_batch *batch, const lc_record *rec, uint32_t *hint, lc_buf *ret) {
  if ((rec->flags & LC_REC_OBJECT) == 0) return lc_buf_add(ret, lc_batch_at(batch, rec->body), rec->body_len);
  const lc_field *field = lc_record_find(batch, rec, "message", 7, hint);
  return field != NULL ? lc_record_text(batch, rec, "message", 7, ret) : lc_encode_json(batch, rec, ret);
}

/* "@source" and "@labels" of the record's range, made once for all its records. */
static int fill_about(lc_encoder *encoder, const lc_batch *batch, const lc_record *rec) {
  if (encoder->about_filled && encoder->range == rec->range) return 0;
  const lc_source *source = rec->range < batch->n_ranges ? batch->ranges[rec->range].source : NULL;
  const lc_labels *labels = source != NULL ? batch->ranges[rec->range].labels : NULL;
  const char *name = source != NULL && source->name != NULL ? source->name : "";
  lc_buf *about = &encoder->about;
  lc_buf_clear(about);
  lc_buf_adds(about, "\"@source\":");
  lc_buf_add_json_string(about, name, strlen(name));
  encoder->source_len = about->len;
  for (uint32_t i = 0; labels != NULL && i < labels->n; i++) {
    lc_buf_adds(about, i > 0 ? "," : "\"@labels\":{");
    lc_buf_add_json_string(about, labels->items[i].name, strlen(labels->items[i].name));
    lc_buf_addc(about, ':');
    lc_buf_add_json_string(about, labels->items[i].value, strlen(labels->items[i].value));
  }
  if (about->len > encoder->source_len) lc_buf_addc(about, '}');
  encoder->range = rec->range;
  encoder->about_filled = !about->failed;
  if (about->failed) lc_buf_free(about); /* so that the next try may succeed */
  return encoder->about_filled ? 0 : LC_ENOMEM;
}

/* A piece of metadata, unless the record has a field of this name. */
static char *put_about(const lc_batch *batch, const lc_record *rec, const char *name, const char *text, size_t len,
                       bool *comma, char *to) {
  if (len == 0 || lc_record_find(batch, rec, name, strlen(name), NULL) != NULL) return to;
  if (*comma) *to++ = ',';
  *comma = true;
  return put(to, text, len);
}

static int encode_with_metadata(lc_encoder *encoder, const lc_batch *batch, const lc_record *rec, lc_buf *ret) {
  char time[LC_TIME_TEXT], stamp[LC_TIME_TEXT + 16] = "\"@timestamp\":\"";
  if (fill_about(encoder, batch, rec) != 0) return LC_ENOMEM;
  if (lc_buf_reserve(ret, json_room(batch, rec) + encoder->about.len + sizeof stamp + 4) != 0) return LC_ENOMEM;
  size_t time_len = (size_t)lc_time_format(rec->time_ns != 0 ? rec->time_ns : batch->read_ns, time);
  memcpy(stamp + 14, time, time_len);
  stamp[14 + time_len] = '"';
  const lc_buf *about = &encoder->about;
  bool comma;
  char *to = put_open_object(batch, rec, ret->data + ret->len, &comma);
  to = put_about(batch, rec, "@timestamp", stamp, time_len + 15, &comma, to);
  to = put_about(batch, rec, "@source", about->data, encoder->source_len, &comma, to);
  to =
      put_about(batch, rec, "@labels", about->data + encoder->source_len, about->len - encoder->source_len, &comma, to);
  *to++ = '}';
  ret->len = (size_t)(to - ret->data);
  return 0;
}

int lc_encode_record(lc_encoder *encoder, const lc_batch *batch, const lc_record *rec, lc_buf *ret) {
  int rc;
  if (encoder->format == LC_FORMAT_RAW) {
    rc = lc_encode_raw(batch, rec, &encoder->hint, ret);
  } else if (encoder->metadata) {
    rc = encode_with_metadata(encoder, batch, rec, ret);
  } else {
    rc = lc_encode_json(batch, rec, ret);
  }
  return rc != 0 ? rc : lc_buf_addc(ret, '\n');
}

void lc_encoder_begin(lc_encoder *encoder) {
  encoder->about_filled = false;
}

void lc_encoder_deinit(lc_encoder *encoder) {
  lc_buf_free(&encoder->buf);
  lc_buf_free(&encoder->about);
}

/* Whether the record goes out as its own text and the newline behind it in the data block. */
static bool is_untouched(lc_encoder *encoder, const lc_batch *batch, const lc_record *rec) {
  const unsigned touched = LC_REC_APPENDED | LC_REC_REWRITTEN;
  uint64_t end = (uint64_t)rec->body + rec->body_len;
  if (end >= batch->data_len || batch->base[0][end] != '\n') return false; /* also when it stands in the extra arena */
  if ((rec->flags & LC_REC_OBJECT) == 0) return encoder->format == LC_FORMAT_RAW;
  if ((rec->flags & touched) != 0) return false;
  if (encoder->format == LC_FORMAT_JSON) return !encoder->metadata;
  return lc_record_find(batch, rec, "message", 7, &encoder->hint) == NULL;
}

/* The untouched records from `i` on that stand side by side: *ret_end is where their text ends. */
static uint32_t find_run(lc_encoder *encoder, const lc_batch *batch, uint32_t i, uint32_t to, uint64_t limit,
                         uint32_t *ret_end) {
  const lc_record *records = batch->records;
  uint32_t start = records[i].body, end = start + records[i].body_len + 1;
  for (i++; i < to && end - start < limit; i++) {
    const lc_record *rec = &records[i];
    if (!lc_record_live(rec) || rec->body != end || !is_untouched(encoder, batch, rec)) break;
    end += rec->body_len + 1;
  }
  *ret_end = end;
  return i;
}

/* Pieces of the buffer have no address until it has stopped growing. */
static void add_buffered(struct iovec *iov, size_t *n, size_t len) {
  if (*n > 0 && iov[*n - 1].iov_base == NULL) {
    iov[*n - 1].iov_len += len;
  } else {
    iov[(*n)++] = (struct iovec){NULL, len};
  }
}

static void address_buffered(const lc_buf *buf, struct iovec *iov, size_t n) {
  char *at = buf->data;
  for (size_t i = 0; i < n; i++) {
    if (iov[i].iov_base != NULL) continue;
    iov[i].iov_base = at;
    at += iov[i].iov_len;
  }
}

int lc_encode(lc_encoder *encoder, const lc_batch *batch, uint32_t *at, uint32_t to, uint64_t limit, struct iovec *iov,
              size_t max, size_t *ret_n, size_t *ret_bytes) {
  lc_buf *buf = &encoder->buf;
  size_t n = 0, total = 0;
  uint32_t i = *at;
  lc_buf_clear(buf);
  lc_encoder_begin(encoder);
  while (i < to && n < max && total < limit && buf->len < BUFFER) {
    const lc_record *rec = &batch->records[i];
    size_t before = buf->len;
    if (!lc_record_live(rec)) {
      i++;
      continue;
    }
    if (is_untouched(encoder, batch, rec)) {
      uint32_t end;
      i = find_run(encoder, batch, i, to, limit - total, &end);
      size_t len = end - rec->body;
      total += len;
      if (len >= RUN_LEAST) {
        iov[n++] = (struct iovec){batch->base[0] + rec->body, len};
        continue;
      }
      lc_buf_add(buf, batch->base[0] + rec->body, len);
    } else {
      if (lc_encode_record(encoder, batch, rec, buf) != 0) buf->failed = true;
      total += buf->len - before;
      i++;
    }
    if (buf->failed) {
      lc_buf_free(buf);
      return LC_ENOMEM;
    }
    add_buffered(iov, &n, buf->len - before);
  }
  address_buffered(buf, iov, n);
  *at = i;
  *ret_n = n;
  *ret_bytes = total;
  return 0;
}
