/* The heads of the files that are followed, to notice a new file that may be a copy of one (copytruncate).
 *
 * A head is the hash of a file's first bytes, at most LC_FILE_HEAD of them. Heads that are too short to tell anything
 * are not kept: tiny files are never taken for copies.
 *
 * Thread: any; one lock inside. */
#ifndef LC_MONITOR_FILE_COPIES_H
#define LC_MONITOR_FILE_COPIES_H

#include "monitor/file_identity.h"

#define LC_FILE_HEAD_LEAST 64u

typedef struct lc_file_copies lc_file_copies;

int lc_file_copies_create(lc_file_copies **ret) LC_CHECK;
void lc_file_copies_destroy(lc_file_copies *copies); /* NULL is allowed */
/* A followed file's head; each add is undone by one remove. Without memory it is not kept: a copy is then read twice.
 */
void lc_file_copies_add(lc_file_copies *copies, const lc_file_mark *mark);
void lc_file_copies_remove(lc_file_copies *copies, const lc_file_mark *mark);
/* Whether bytes that a file begins with begin with the head of a followed one. */
bool lc_file_copies_suspect(lc_file_copies *copies, const char *bytes, uint32_t len);

#endif
