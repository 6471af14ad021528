/* The fields of a record: finding, setting and removing them by key.
 *
 *     uint32_t hint = 0;                                       // one per place in the program and key
 *     lc_field *level = lc_record_find(batch, rec, "level", 5, &hint);
 *     if (level != NULL && level->type == LC_JSON_STRING) ...  // lc_batch_at(batch, level->value), with quotes
 *     rc = lc_record_set_string(batch, rec, "env", 3, "prod", 4);
 *
 * A record without LC_REC_OBJECT is a plain line: its field "message" is the body itself, which no lc_field stands for
 * (lc_record_key_is_body). Setting it to a string replaces the body by these bytes; setting it to anything else, or
 * removing it, makes the record an object whose text counts no more (LC_REC_OBJECT and LC_REC_REWRITTEN).
 *
 * New text goes to the extra arena as `"key":value`, where it is shared by records that are set alike. Setting or
 * removing what the body holds sets LC_REC_REWRITTEN, adding sets LC_REC_APPENDED. Keys are bytes: they are encoded
 * here, and compared with escaped ones decoded. Of duplicate keys the last one counts; setting changes that one,
 * removing removes all.
 *
 * Each setter returns 0, LC_ENOMEM (no memory, the batch's extra arena is full, or 65,535 fields), or LC_EINVAL (the
 * key is longer than 65,535 bytes as JSON); the record is unchanged then. Pointers to fields and into the extra arena
 * are invalid after a set; the bytes given may stand in the batch.
 *
 * Thread: whoever holds the batch. */
#ifndef LC_RECORD_FIELDS_H
#define LC_RECORD_FIELDS_H

#include <string.h>

#include "base/buf.h"
#include "logcap/record.h"

/* The record's first field; NULL when it has none. */
static inline lc_field *lc_record_fields(const lc_batch *batch, const lc_record *rec) {
  return rec->n_fields > 0 ? batch->fields + rec->fields : NULL;
}

static inline bool lc_record_key_is_body(const lc_record *rec, const char *key, size_t len) {
  return (rec->flags & LC_REC_OBJECT) == 0 && len == 7 && memcmp(key, "message", 7) == 0;
}

/* The live field of this key, or NULL. `hint` may be NULL: where the key stood last time, tried first and kept up to
 * date. */
lc_field *lc_record_find(const lc_batch *batch, const lc_record *rec, const char *key, size_t len, uint32_t *hint);

/* `text` is valid JSON of one value without blanks around it, and `type` its type; the caller made or checked it. */
int lc_record_set_raw(lc_batch *batch, lc_record *rec, const char *key, size_t key_len, const char *text, size_t len,
                      lc_json_type type) LC_CHECK;
/* What is not UTF-8 becomes U+FFFD in the text, except in the body of a plain line. */
int lc_record_set_string(lc_batch *batch, lc_record *rec, const char *key, size_t key_len, const char *bytes,
                         size_t len) LC_CHECK;
/* The shortest text that reads back the same. LC_EINVAL for what JSON cannot say: infinities and NaN. */
int lc_record_set_number(lc_batch *batch, lc_record *rec, const char *key, size_t key_len, double number) LC_CHECK;
int lc_record_set_bool(lc_batch *batch, lc_record *rec, const char *key, size_t key_len, bool value) LC_CHECK;
int lc_record_set_null(lc_batch *batch, lc_record *rec, const char *key, size_t key_len) LC_CHECK;
/* Removes the field; none is fine. */
void lc_record_remove(lc_batch *batch, lc_record *rec, const char *key, size_t key_len);

/* Appends the field as text: a string decoded, everything else as it is spelled; or else the label of this name of the
 * record's source. For path templates and raw output. LC_ENOENT when there is neither, LC_ENOMEM. */
int lc_record_text(const lc_batch *batch, const lc_record *rec, const char *name, size_t len, lc_buf *ret) LC_CHECK;

#endif
