/* The control socket's address: a path of any length, made or connected to.
 *
 * Thread: any. May block for as long as a local file system takes. */
#ifndef LC_APP_CONTROL_SOCKET_H
#define LC_APP_CONTROL_SOCKET_H

#include <stdbool.h>

#include "logcap/error.h"

/* A non-blocking listening socket at `folder`/`name`, 0600, instead of one that is there already. */
int lc_control_socket_listen(const char *folder, const char *name, int backlog, int *ret_fd, lc_error *error) LC_CHECK;
#define LC_CONTROL_SOCKET_PATIENCE_S 30
/* A blocking one that is connected to it, and gives up (EAGAIN) after LC_CONTROL_SOCKET_PATIENCE_S; LC_ENOENT when
 * nobody listens there. */
int lc_control_socket_connect(const char *folder, const char *name, int *ret_fd, lc_error *error) LC_CHECK;
/* Whether the process at the other end is of this user, or of root. */
bool lc_control_socket_trusted(int fd);

#endif
