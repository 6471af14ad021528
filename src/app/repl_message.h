/* Messages of the prompt's sessions on the control socket: JSON objects, one a line.
 *
 * The client sends {"eval":"return 1","json":false} or {"complete":"reso"}; the answers' results are
 * {"text":"1","printed":""}, {"error":"...","printed":""}, {"incomplete":"why"}, and {"from":0,"words":["resources"]}.
 *
 * Thread: any. */
#ifndef LC_APP_REPL_MESSAGE_H
#define LC_APP_REPL_MESSAGE_H

#include "base/buf.h"

typedef enum lc_repl_verb { LC_REPL_EVAL, LC_REPL_COMPLETE } lc_repl_verb;

typedef struct lc_repl_message {
  lc_repl_verb verb;
  lc_buf text; /* owned: the code, or the line before the cursor */
  bool json;
} lc_repl_message;

/* LC_EINVAL for what is no such message, whatever it is. `ret` must be freed only on success. */
int lc_repl_message_parse(const char *bytes, size_t len, lc_repl_message *ret, lc_error *error) LC_CHECK;
void lc_repl_message_deinit(lc_repl_message *message);

#endif
