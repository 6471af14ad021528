#include "support/fault.h"

#include <errno.h>
#include <stddef.h>

static _Thread_local unsigned left; /* 0: off */
static _Thread_local bool keep, happened;

void lc_fault_after(unsigned n) {
  left = n;
  keep = false;
  happened = false;
}

void lc_fault_from(unsigned n) {
  lc_fault_after(n);
  keep = true;
}

bool lc_fault_off(void) {
  left = 0;
  return happened;
}

static bool fails(void) {
  if (left == 0) return false;
  if (left > 1) {
    left--;
    return false;
  }
  left = keep ? 1 : 0;
  happened = true;
  errno = ENOMEM;
  return true;
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size) {
  return fails() ? NULL : __real_malloc(size);
}

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size) {
  return fails() ? NULL : __real_calloc(n, size);
}

void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size) {
  return fails() ? NULL : __real_realloc(old, size);
}

char *__real_strdup(const char *string);
char *__wrap_strdup(const char *string);
char *__wrap_strdup(const char *string) {
  return fails() ? NULL : __real_strdup(string);
}

char *__real_strndup(const char *string, size_t n);
char *__wrap_strndup(const char *string, size_t n);
char *__wrap_strndup(const char *string, size_t n) {
  return fails() ? NULL : __real_strndup(string, n);
}

void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size) {
  return fails() ? NULL : __real_aligned_alloc(align, size);
}

int __real_posix_memalign(void **ret, size_t align, size_t size);
int __wrap_posix_memalign(void **ret, size_t align, size_t size);
int __wrap_posix_memalign(void **ret, size_t align, size_t size) {
  return fails() ? ENOMEM : __real_posix_memalign(ret, align, size);
}
