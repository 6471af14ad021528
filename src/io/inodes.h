/* The files that logcap itself writes, by device, inode and birth time, so that it never collects them. The birth time
 * tells a file of ours from one that got its inode after ours was removed.
 *
 * Thread: any; one lock inside. */
#ifndef LC_IO_INODES_H
#define LC_IO_INODES_H

#include <stdbool.h>
#include <stdint.h>

#include "logcap/error.h"

typedef struct lc_inodes lc_inodes;

int lc_inodes_create(lc_inodes **ret, lc_error *error) LC_CHECK;
void lc_inodes_destroy(lc_inodes *inodes);
/* Adds a file before its first byte is written. Adding twice is fine. */
int lc_inodes_add(lc_inodes *inodes, uint64_t device, uint64_t inode) LC_CHECK;
/* The same with the file's birth time; 0: not known. */
int lc_inodes_add_born(lc_inodes *inodes, uint64_t device, uint64_t inode, int64_t birth_ns) LC_CHECK;
int lc_inodes_add_fd(lc_inodes *inodes, int fd, lc_error *error) LC_CHECK;
void lc_inodes_remove(lc_inodes *inodes, uint64_t device, uint64_t inode);
bool lc_inodes_has(lc_inodes *inodes, uint64_t device, uint64_t inode);
/* The same for a file with this birth time; 0: not known. */
bool lc_inodes_has_born(lc_inodes *inodes, uint64_t device, uint64_t inode, int64_t birth_ns);

#endif
