/* os.time and os.date of a state whose clock a test drives. Thread: the loop thread. */
#ifndef LC_BIND_TEST_CLOCK_H
#define LC_BIND_TEST_CLOCK_H

#include <lua.h>
#include <stdint.h>

/* Before anything copies the functions. `clock_ns` must outlive the state. */
void lc_test_clock_setup(lua_State *L, const int64_t *clock_ns);

#endif
