/* Checking and copying the options of monitors. Any thread. */
#ifndef LC_MONITOR_FILE_OPTIONS_H
#define LC_MONITOR_FILE_OPTIONS_H

#include "monitor/file_monitor.h"

int lc_file_options_check(const lc_file_monitor_options *options, lc_error *error) LC_CHECK;
/* Copies all but patterns of lines and labels. */
int lc_file_options_copy(const lc_file_monitor_options *options, lc_file_monitor_options *ret) LC_CHECK;
void lc_file_options_free(lc_file_monitor_options *options);

#endif
