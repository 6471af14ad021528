#include "app/repl_message.h"

#include <stdlib.h>
#include <string.h>

#include "record/json_check.h"
#include "record/json_text.h"

/* The scans may look this far beyond the text's end, where a control character must stand. */
#define PADDING 64

static bool is_object(const char *bytes, size_t len) {
  lc_json_scan scan = {.end = bytes + len};
  const char *at = lc_json_skip_spaces(&scan, bytes);
  uint8_t type = LC_JSON_REMOVED;
  bool escaped = false;
  at = at < scan.end && *at == '{' ? lc_json_value(&scan, at, 0, &type, &escaped) : NULL;
  return at != NULL && lc_json_skip_spaces(&scan, at) == scan.end;
}

static bool is_key(const lc_json_members *member, const char *key) {
  return lc_json_key_equals(member->key, member->key_len, member->key_escaped, key, strlen(key));
}

static int take_string(const lc_json_members *member, lc_buf *ret) {
  if (member->type != LC_JSON_STRING) return LC_EINVAL;
  lc_buf_clear(ret);
  if (lc_buf_reserve(ret, member->value_len) != 0) return LC_ENOMEM;
  ret->len = lc_json_decode(member->value + 1, member->value_len - 2, ret->data);
  return 0;
}

static int take_members(const char *bytes, size_t len, lc_repl_message *ret) {
  bool any = false;
  int rc = 0;
  lc_json_members it = lc_json_open(bytes, len);
  while (rc == 0 && lc_json_next(&it)) {
    bool eval = is_key(&it, "eval");
    if (eval || is_key(&it, "complete")) {
      ret->verb = eval ? LC_REPL_EVAL : LC_REPL_COMPLETE;
      rc = any ? LC_EINVAL : take_string(&it, &ret->text);
      any = true;
    } else if (is_key(&it, "json") && (it.type == LC_JSON_TRUE || it.type == LC_JSON_FALSE)) {
      ret->json = it.type == LC_JSON_TRUE;
    } else {
      rc = LC_EINVAL;
    }
  }
  return rc == 0 && !any ? LC_EINVAL : rc;
}

int lc_repl_message_parse(const char *bytes, size_t len, lc_repl_message *ret, lc_error *error) {
  lc_repl_message message = {0};
  int rc = LC_EINVAL;
  char *copy = malloc(len + PADDING);
  if (copy == NULL) return lc_error_set(error, LC_ENOMEM, "out of memory for a message");
  memcpy(copy, bytes, len);
  memset(copy + len, '\n', PADDING);
  if (lc_utf8_valid(copy, len) && is_object(copy, len)) {
    size_t blanks = strspn(copy, " \t\r");
    rc = take_members(copy + blanks, len - blanks, &message);
  }
  free(copy);
  if (rc == 0) *ret = message;
  else lc_repl_message_deinit(&message);
  if (rc == LC_ENOMEM) return lc_error_set(error, LC_ENOMEM, "out of memory for a message");
  if (rc == 0) return 0;
  return lc_error_set(error, LC_EINVAL, "no message of a session: {\"eval\":\"CODE\",\"json\":false} or "
                      "{\"complete\":\"LINE\"} in one line of UTF-8");
}

void lc_repl_message_deinit(lc_repl_message *message) { lc_buf_free(&message->text); }
