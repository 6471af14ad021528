/* The prompt: lines with editing, history and completion (libedit).
 *
 *     lc_repl_prompt_begin(&client);
 *     char *line = lc_repl_prompt_line("logcap> ", &interrupted);     // NULL: Ctrl-D, or Ctrl-C when interrupted
 *     lc_repl_prompt_note(line);                                      // into the history
 *     free(line);
 *     lc_repl_prompt_end();
 *
 * The history lies in $XDG_STATE_HOME/logcap/repl_history, else ~/.local/state/logcap/repl_history (0600).
 *
 * Thread: main; one at a time, since libedit has but one. */
#ifndef LC_APP_REPL_PROMPT_H
#define LC_APP_REPL_PROMPT_H

#include "app/repl_client.h"

/* `client` is borrowed until the end: completion asks it, and SIGINT interrupts it. */
void lc_repl_prompt_begin(lc_repl_client *client);
char *lc_repl_prompt_line(const char *prompt, bool *ret_interrupted);
void lc_repl_prompt_note(const char *line);
void lc_repl_prompt_end(void);

#endif
