/* Making and recycling batches: the part of logcap/record.h that only the pool needs.
 *
 * Thread: whoever holds the batch. */
#ifndef LC_RECORD_BATCH_H
#define LC_RECORD_BATCH_H

#include "logcap/record.h"

/* An empty batch whose data block holds `data_cap` bytes. Returns NULL when out of memory. */
lc_batch *lc_batch_create(uint32_t data_cap);
void lc_batch_destroy(lc_batch *batch); /* NULL is allowed */
/* Empties it for another use: releases the ranges' sources, keeps ordinary amounts of memory. */
void lc_batch_recycle(lc_batch *batch);
/* All memory that it owns. */
size_t lc_batch_bytes(const lc_batch *batch);

#endif
