/* Makes the nth allocation of this thread fail, so that failure paths are tested too. Works on what the program and the
 * tests allocate themselves (malloc, calloc, realloc, strdup, strndup, posix_memalign, aligned_alloc), not inside
 * shared libraries.
 *
 *     for (unsigned n = 1;; n++) {
 *       lc_fault_after(n);
 *       int rc = thing_create(&thing);
 *       if (!lc_fault_off()) { assert_int_equal(rc, 0); break; }   // nothing failed: all allocations were tried
 *       assert_int_equal(rc, LC_ENOMEM);
 *     } */
#ifndef LC_TESTS_FAULT_H
#define LC_TESTS_FAULT_H

#include <stdbool.h>

/* The `n`th allocation from now fails, once; 1 is the next. */
void lc_fault_after(unsigned n);
/* From the `n`th on all fail. */
void lc_fault_from(unsigned n);
/* No more failures. Returns whether one happened. */
bool lc_fault_off(void);

#endif
