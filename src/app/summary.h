/* The last words of a run: a log line for each pipeline and sink, with what this run read and what became of it.
 *
 *     rc = lc_summary_begin(&summary, engine);           // before it starts: the ledgers go on from earlier runs
 *     ... the engine runs ...
 *     balanced = lc_summary_end(&summary, engine);
 *
 * Thread: the loop thread. */
#ifndef LC_APP_SUMMARY_H
#define LC_APP_SUMMARY_H

#include "base/buf.h"
#include "pipeline/engine.h"

typedef struct lc_summary {
  lc_buf before; /* the audit of the start */
} lc_summary;

int lc_summary_begin(lc_summary *summary, lc_engine *engine) LC_CHECK;
/* Returns whether every ledger balances; logs an error when not. Frees what the summary holds. */
bool lc_summary_end(lc_summary *summary, lc_engine *engine);

#endif
