/* The last words of a run: one log line of what was read and what became of it.
 *
 * Thread: the loop thread, after the engine has finished. */
#ifndef LC_APP_SUMMARY_H
#define LC_APP_SUMMARY_H

#include "pipeline/engine.h"

/* Returns whether every ledger balances; logs an error when not. The summary itself is logged when `wanted`, else at
 * debug level. */
bool lc_summary_log(lc_engine *engine, bool wanted);

#endif
