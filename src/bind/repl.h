/* A session of the prompt: chunks of Lua that run in the live generation's state, in an environment of the session's
 * own (lua/logcap/repl.lua), between two batches.
 *
 *     lc_repl_create(generation, engine, &repl, &error);
 *     lc_repl_outcome outcome = {0};
 *     lc_repl_eval(repl, code, len, false, &outcome);
 *     if (outcome.kind == LC_REPL_RELOAD) ... it waits; later: lc_repl_resume(repl, "why it failed", &outcome);
 *     lc_repl_outcome_deinit(&outcome);
 *     lc_repl_destroy(repl);
 *
 * A session belongs to one generation: when another one takes its place it must be destroyed, or it would keep the old
 * state. Whatever a chunk does, the session can run the next one.
 *
 * Thread: the loop thread. */
#ifndef LC_BIND_REPL_H
#define LC_BIND_REPL_H

#include "base/buf.h"
#include "bind/generation.h"
#include "pipeline/engine.h"

#define LC_REPL_TEXT_MAX (1u << 20) /* bytes of an answer */

typedef struct lc_repl lc_repl;

typedef enum lc_repl_kind {
  LC_REPL_DONE,
  LC_REPL_ERROR,      /* text: the message */
  LC_REPL_INCOMPLETE, /* the chunk ends too soon: more of it may make it whole */
  LC_REPL_RELOAD      /* the chunk asks for a reload, and waits for lc_repl_resume */
} lc_repl_kind;

typedef struct lc_repl_outcome {
  lc_repl_kind kind;
  lc_buf text, printed; /* owned; results, one a line, and what print() showed; as UTF-8 as the chunk made them */
} lc_repl_outcome;

/* Both are borrowed and outlive it. */
int lc_repl_create(const lc_generation *generation, lc_engine *engine, lc_repl **ret, lc_error *error) LC_CHECK;
void lc_repl_destroy(lc_repl *repl); /* NULL is allowed */

/* `json`: results as JSON. On LC_REPL_RELOAD nothing else may be evaluated before lc_repl_resume. */
void lc_repl_eval(lc_repl *repl, const char *code, size_t len, bool json, lc_repl_outcome *ret);
/* Goes on with the chunk that waits, for a reload that failed: its reload() raises `message`. One that succeeded took
 * the session's generation away, and the chunk with it. */
void lc_repl_resume(lc_repl *repl, const char *message, lc_repl_outcome *ret);
void lc_repl_outcome_deinit(lc_repl_outcome *outcome);

/* Appends {"from":N,"words":[...]}: what the line's last word, from byte N on, may become. */
int lc_repl_complete(lc_repl *repl, const char *line, size_t len, lc_buf *ret, lc_error *error) LC_CHECK;

#endif
