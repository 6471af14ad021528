/* A control socket for tests, turned by hand, and clients of it.
 *
 * Asked "later" it holds the request until the test answers; "no" is refused; "big" gets 3 MB; "session" makes a session,
 * whose messages are answered in the same way; anything else comes back as it is.
 *
 * Thread: the test's. */
#ifndef LC_TESTS_CONTROL_H
#define LC_TESTS_CONTROL_H

#include "app/control.h"
#include "support/support.h"

typedef struct server {
  lc_test *test;
  uv_prepare_t keep; /* the listener keeps no loop running */
  lc_control *control;
  lc_control_client *held; /* asked "later": answered when the test says so */
  unsigned asked;          /* requests */
  unsigned messages, sessions, gone;
  size_t longest;          /* message */
} server;

void open_server(server *self, lc_test *test);
void open_server_with_patience(server *self, lc_test *test, uint64_t patience_ms);
void turn(server *self); /* one turn of the loop */
void close_server(server *self);
int dial(server *self); /* a non-blocking client */
/* Everything that the server sends until it closes; NULL when it closes without a word. To be freed. */
char *hear(server *self, int fd);

#endif
