/* The commands' side of the control socket: ask the running logcap one thing.
 *
 *     lc_buf reply = {0};
 *     lc_answer result;
 *     rc = lc_control_ask(folder, "status", &reply, &result, &error);    // LC_ENOENT: none runs there
 *     ... result points into reply ...
 *     lc_buf_free(&reply);
 *
 * Thread: any; blocks until the answer is there, at most half a minute. */
#ifndef LC_APP_CONTROL_CLIENT_H
#define LC_APP_CONTROL_CLIENT_H

#include "app/render.h"
#include "base/buf.h"
#include "logcap/error.h"

/* LC_ENOENT when nobody listens, LC_EINVAL with its message when the daemon refused. */
int lc_control_ask(const char *folder, const char *verb, lc_buf *reply, lc_answer *ret_result, lc_error *error)
    LC_CHECK;

/* The same for what takes longer: waits so many seconds for the answer. */
int lc_control_ask_long(const char *folder, const char *verb, unsigned patience_s, lc_buf *reply, lc_answer *ret_result,
                        lc_error *error) LC_CHECK;

/* The same in steps, for who waits for other things, too: sends the request; what *ret_fd then gives until its end is
 * the reply, which lc_control_reply takes apart. */
int lc_control_send(const char *folder, const char *verb, int *ret_fd, lc_error *error) LC_CHECK;
int lc_control_reply(const lc_buf *reply, lc_answer *ret_result, lc_error *error) LC_CHECK;

#endif
