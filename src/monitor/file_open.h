/* Opening the file of a look, within the descriptors that its job may have. Pool thread. */
#ifndef LC_MONITOR_FILE_OPEN_H
#define LC_MONITOR_FILE_OPEN_H

#include "monitor/file_reader.h"

/* Opens (if need be) and stats the file, wherever its folder has it now, and makes sure that it may be read. False: the
 * work's `look` says why not. */
bool lc_file_open_for(lc_file_job *job, lc_file_work *work);
/* Sets the file's mark to `offset` without reading what lies before. False: the work's `look` says why not. */
bool lc_file_seek(lc_file_job *job, lc_file_work *work, uint64_t offset);
/* Learns from the descriptor where the file is now, also in another folder: later, nothing else will tell. */
void lc_file_find_name(lc_file_work *work);
/* Closes the file after a look that opened it, when its descriptor is needed for others. */
void lc_file_close_after(lc_file_job *job, lc_file_work *work, bool had, bool others);

#endif
