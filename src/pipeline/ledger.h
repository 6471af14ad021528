/* The ledger: for each pipeline and sink, the terms that must balance.
 *
 *     read + created = delivered + dropped (by reason) + dead-lettered + abandoned + in flight
 *
 * Each term is counted where it happens. In flight is counted by walking the live batches, never by subtraction, so a
 * record that vanishes anywhere makes the sides differ.
 *
 * Thread: the loop thread. */
#ifndef LC_PIPELINE_LEDGER_H
#define LC_PIPELINE_LEDGER_H

#include "base/buf.h"
#include "io/store.h"
#include "logcap/record.h"

typedef struct lc_ledger {
  uint64_t read;       /* records of the sources that came in, without those this sink had already */
  uint64_t read_bytes; /* bytes of the sources, as far as their ranges were handed to the sink */
  uint64_t created;
  uint64_t delivered;
  uint64_t dropped[LC_DROP_REASONS];
  uint64_t dead_lettered;
  uint64_t abandoned;       /* records given up unread by the sink */
  uint64_t abandoned_bytes; /* bytes of sources that vanished before they were read */
} lc_ledger;


void lc_ledger_add(lc_ledger *ledger, const lc_ledger *more);
/* What happened to a batch that a sink sees whole. */
void lc_ledger_add_tally(lc_ledger *ledger, const lc_tally *tally);
/* Appends the reasons why it is not well, as a JSON array of strings; returns whether there is none. */
bool lc_ledger_reasons(const lc_ledger *ledger, uint64_t in_flight, lc_buf *ret);
bool lc_ledger_balanced(const lc_ledger *ledger, uint64_t in_flight);
/* The members of a JSON object, without braces. */
int lc_ledger_json(const lc_ledger *ledger, lc_buf *ret);
/* Rows "<prefix>/<term>" of the store. */
int lc_ledger_save(const lc_ledger *ledger, const char *prefix, lc_changes *changes);
int lc_ledger_load(lc_ledger *ret, const char *prefix, lc_store *store, lc_error *error);

#endif
