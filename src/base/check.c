#include "base/check.h"

#include <stdlib.h>

#include "base/log.h"

void lc_check_failed(const char *what, const char *file, int line) {
  lc_log(LC_LOG_ERROR, "check", "bug: this must hold; stopping", LC_S("what", what), LC_S("file", file),
         LC_I("line", line));
  abort();
}

bool lc_check_recover(const char *what, const char *file, int line) {
#ifndef NDEBUG
  lc_check_failed(what, file, line);
#else
  lc_log(LC_LOG_ERROR, "check", "bug: this must hold; going on", LC_S("what", what), LC_S("file", file),
         LC_I("line", line));
  return true;
#endif
}
