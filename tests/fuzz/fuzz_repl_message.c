/* Messages of the prompt's sessions: whatever comes is refused, or is text that can be written and read again. */
#include <stdlib.h>
#include <string.h>

#include "app/repl_message.h"
#include "base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  lc_repl_message message, again;
  lc_error error;
  char *exact = malloc(size > 0 ? size : 1); /* so that a read beyond its end shows */
  lc_require(exact != NULL);
  memcpy(exact, data, size);
  int rc = lc_repl_message_parse(exact, size, &message, &error);
  free(exact);
  if (rc != 0) {
    lc_require(rc == LC_EINVAL);
    return 0;
  }
  lc_buf text = {0};
  lc_buf_adds(&text, message.verb == LC_REPL_EVAL ? "{\"eval\":" : "{\"complete\":");
  lc_buf_add_json_string(&text, message.text.data, message.text.len);
  lc_buf_adds(&text, message.json ? ",\"json\":true}" : "}");
  lc_require(!text.failed && lc_repl_message_parse(text.data, text.len, &again, &error) == 0);
  lc_require(again.verb == message.verb && again.json == message.json && again.text.len == message.text.len);
  lc_require(memcmp(again.text.data, message.text.data, message.text.len) == 0);
  lc_repl_message_deinit(&message);
  lc_repl_message_deinit(&again);
  lc_buf_free(&text);
  return 0;
}
