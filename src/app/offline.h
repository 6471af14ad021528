/* What the state directory says when no logcap runs there: audit and positions from positions.db.
 *
 *     rc = lc_offline_audit(option, &json, &error);       // LC_EBUSY: somebody runs there after all
 *
 * The JSON has the shape of the running logcap's answers. Thread: any; blocks. */
#ifndef LC_APP_OFFLINE_H
#define LC_APP_OFFLINE_H

#include "base/buf.h"
#include "logcap/error.h"

/* `option` is --state-dir or NULL. LC_ENOENT when there is no state directory or nothing in it. */
int lc_offline_audit(const char *option, lc_buf *ret, lc_error *error) LC_CHECK;
int lc_offline_positions(const char *option, lc_buf *ret, lc_error *error) LC_CHECK;

#endif
