/* The client's side of a session of the prompt.
 *
 *     lc_repl_client client;
 *     rc = lc_repl_client_open(&client, folder, &error);              // LC_ENOENT: nobody listens there
 *     rc = lc_repl_client_eval(&client, "1 + 1", 5, false, &reply, &error);
 *     if (rc == 0 && reply.kind == LC_REPLY_DONE) ... reply.text is "2"
 *     lc_reply_free(&reply);
 *     lc_repl_client_close(&client);
 *
 * Thread: any; blocks until the answer is there, at most a minute and a half, or until a signal handler has set
 * *interrupted: then LC_ECANCELED, and the session is of no more use. */
#ifndef LC_APP_REPL_CLIENT_H
#define LC_APP_REPL_CLIENT_H

#include <signal.h>

#include "app/render.h"
#include "base/buf.h"

typedef struct lc_repl_client {
  int fd;                              /* owned */
  lc_buf in, out;                      /* owned */
  volatile sig_atomic_t *interrupted;  /* borrowed; may be NULL */
} lc_repl_client;

typedef enum lc_reply_kind { LC_REPLY_DONE, LC_REPLY_ERROR, LC_REPLY_INCOMPLETE } lc_reply_kind;

typedef struct lc_reply {
  lc_reply_kind kind;
  lc_buf text, printed; /* owned; text: results, or why it failed or is incomplete */
  bool lost;            /* what the session had set is gone: the pipeline files were loaded anew */
} lc_reply;

int lc_repl_client_open(lc_repl_client *ret, const char *folder, lc_error *error) LC_CHECK;
void lc_repl_client_close(lc_repl_client *client);

int lc_repl_client_eval(lc_repl_client *client, const char *code, size_t len, bool json, lc_reply *ret, lc_error *error)
    LC_CHECK;
/* What the line's last word may become: `ret_words` is an array of strings, borrowed until the next call. */
int lc_repl_client_complete(lc_repl_client *client, const char *line, size_t len, size_t *ret_from,
                            lc_answer *ret_words, lc_error *error) LC_CHECK;
void lc_reply_free(lc_reply *reply); /* may run twice */

/* Replaces the content of `ret` by a JSON string's decoded bytes; by nothing for anything else. */
int lc_answer_string(lc_answer value, lc_buf *ret) LC_CHECK;

#endif
