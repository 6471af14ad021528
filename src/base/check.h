/* Three kinds of assertion, for bugs only; what comes from outside is handled, never asserted.
 *   lc_require(x)        a bug that must stop the process
 *   lc_assert(x)         a bug that stops debug builds
 *   lc_fails_assert(x)   true when x is false: a bug that the caller recovers from (stops debug builds) */
#ifndef LC_BASE_CHECK_H
#define LC_BASE_CHECK_H

#include <stdbool.h>

_Noreturn void lc_check_failed(const char *what, const char *file, int line);
bool lc_check_recover(const char *what, const char *file, int line);

#define lc_require(x) ((x) ? (void)0 : lc_check_failed(#x, __FILE__, __LINE__))
#ifdef NDEBUG
#define lc_assert(x) ((void)sizeof(x))
#else
#define lc_assert(x) lc_require(x)
#endif
#define lc_fails_assert(x) ((x) ? false : lc_check_recover(#x, __FILE__, __LINE__))

#endif
