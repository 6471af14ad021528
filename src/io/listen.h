/* Addresses to listen at, as operators write them: "127.0.0.1:9600", "[::1]:9600", "unix:/run/logcap/admin.sock".
 *
 *     lc_listen_parse("127.0.0.1:9600", &address, &error);
 *     lc_listen_open(&address, 32, &fd, &error);          // bound and listening, not blocking
 *     lc_listen_text(fd, text);                           // with the port that port 0 became
 *     lc_listen_close(&address, fd);
 *
 * No names are looked up. A socket that an earlier run left in the way is replaced, one that somebody listens at is
 * not; a socket file is the owner's alone (0600), and only the one that lc_listen_open made is removed.
 *
 * Thread: the loop thread. */
#ifndef LC_IO_LISTEN_H
#define LC_IO_LISTEN_H

#include <stdint.h>
#include <sys/socket.h>

#include "logcap/error.h"

#define LC_LISTEN_TEXT 160

typedef struct lc_address {
  struct sockaddr_storage sa;
  socklen_t len;
  bool local;             /* a socket file, or an address that only this machine reaches */
  uint64_t device, inode; /* of the socket file, once it is there */
} lc_address;

int lc_listen_parse(const char *text, lc_address *ret, lc_error *error) LC_CHECK;
bool lc_listen_same(const lc_address *a, const lc_address *b);
int lc_listen_open(lc_address *address, int backlog, int *ret_fd, lc_error *error) LC_CHECK;
/* Where it listens, as operators write it. */
void lc_listen_text(int fd, char ret[LC_LISTEN_TEXT]);
/* Closes the descriptor (-1: was closed already) and removes the socket file. */
void lc_listen_close(const lc_address *address, int fd);

#endif
