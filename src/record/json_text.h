/* Reading and changing JSON text that is known to be valid: strings, numbers, nested values by path.
 *
 *     lc_json_step path[] = {{.key = "user", .key_len = 4}, {.index = 1}};
 *     if (lc_json_path(text, len, path, 2, &value, &value_len, &type) == 0) ...       // user[1]
 *
 *     lc_json_members it = lc_json_open(text, len);
 *     while (lc_json_next(&it)) use(it.key, it.key_len, it.value, it.value_len, it.type);
 *
 * The text is what the slicer accepted or a stage made. Text that is not valid never leads outside of its bounds, but
 * what comes out of it is not defined.
 *
 * Any thread. */
#ifndef LC_RECORD_JSON_TEXT_H
#define LC_RECORD_JSON_TEXT_H

#include "base/buf.h"
#include "logcap/record.h"

/* A step into a nested value: a key of an object (decoded), or, when key is NULL, an index into an array from 1 on. */
typedef struct lc_json_step {
  const char *key;
  size_t key_len;
  uint64_t index;
} lc_json_step;

/* Walks over the members of an object, or over the items of an array (key stays NULL). */
typedef struct lc_json_members {
  const char *at, *end;
  const char *key; /* between its quotes, with its escapes */
  size_t key_len;
  bool key_escaped;
  const char *value; /* its whole text */
  size_t value_len;
  lc_json_type type;
} lc_json_members;

/* `text` is the whole text of an object or array; anything else has no members. */
lc_json_members lc_json_open(const char *text, size_t len);
bool lc_json_next(lc_json_members *members);

/* The type of a value by its first byte; LC_JSON_REMOVED when no value begins so. */
lc_json_type lc_json_type_of(const char *text, size_t len);

/* Finds the value at a path; the last of duplicate keys counts. LC_ENOENT when there is none. */
int lc_json_path(const char *text, size_t len, const lc_json_step *steps, size_t n, const char **ret, size_t *ret_len,
                 lc_json_type *ret_type) LC_CHECK;

/* Appends `text` to `ret` with the value at the path (n > 0) replaced or added, or removed when `value` is NULL.
 * Objects that are missing on the way are made; an array grows only at its end; removing what is not there changes
 * nothing. All duplicates of a removed key go. LC_EINVAL when a step does not fit the value it meets, LC_ENOMEM. */
int lc_json_splice(const char *text, size_t len, const lc_json_step *steps, size_t n, const char *value,
                   size_t value_len, lc_buf *ret) LC_CHECK;

/* Whether the bytes between a string's quotes decode to `bytes`. */
bool lc_json_key_equals(const char *inside, size_t inside_len, bool escaped, const char *bytes, size_t len);

/* Decodes the bytes between a string's quotes to UTF-8 at `to`, which has room for `len` bytes: the result is never
 * longer. A lone surrogate becomes U+FFFD; other bytes stay as they are. Returns the length. */
size_t lc_json_decode(const char *inside, size_t len, char *to);

/* Encodes bytes as a JSON string with quotes at `to`, which has room for LC_JSON_ENCODED(len) bytes; what is not UTF-8
 * becomes U+FFFD. Returns the length. */
#define LC_JSON_ENCODED(len) ((size_t)(len)*6 + 2)
size_t lc_json_encode(const char *bytes, size_t len, char *to);
size_t lc_json_encoded_len(const char *bytes, size_t len); /* what lc_json_encode would return */
/* How many bytes at the start of `bytes` a JSON string holds as they are: no control character, quote or backslash, and
 * no byte of 0x80 or above. */
size_t lc_json_plain(const char *bytes, size_t len);

/* The value of a number's text: correctly rounded; infinite beyond the range of a double. */
double lc_json_double(const char *text, size_t len);
/* Whether a number is written as an integer (no fraction, no exponent) that fits. */
bool lc_json_int64(const char *text, size_t len, int64_t *ret);
/* The shortest text that reads back as `number`; integers up to 2^53 without an exponent. `number` is finite. Returns
 * the length. */
#define LC_JSON_NUMBER_TEXT 32
size_t lc_json_number_text(double number, char ret[LC_JSON_NUMBER_TEXT]);

#endif
