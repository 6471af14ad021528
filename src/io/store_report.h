/* What a store holds, as JSON for people and scripts: for commands that run while no daemon does.
 *
 *     lc_store_open_existing(directory, &store, &error);
 *     lc_store_positions_json(store, &buf, &error);
 *
 * Thread: any that may block. Both append one JSON object and leave `ret` as it was on failure. */
#ifndef LC_IO_STORE_REPORT_H
#define LC_IO_STORE_REPORT_H

#include "base/buf.h"
#include "io/store.h"

/* {"sources":[{"monitor","key","name","seen","cursors":[{"sink","position","state"}]}],
 *  "outputs":[{"sink","path","pending","length","closed"}]}; `pending` only where a rename is. */
int lc_store_positions_json(lc_store *store, lc_buf *ret, lc_error *error) LC_CHECK;

/* {"counts":{"shop/read":12}}: the ledger as it was last saved. */
int lc_store_ledger_json(lc_store *store, lc_buf *ret, lc_error *error) LC_CHECK;

#endif
