/* The batch pool: a pipeline's memory budget.
 *
 * Counts all bytes of the batches it made, in use or spare. No room: lc_batch_pool_take returns NULL and `room` is
 * called once a batch comes back. Two batches are always granted, so that a tight budget slows and never stops.
 *
 *     lc_batch *batch = lc_batch_pool_take(pool);
 *     ...
 *     lc_batch_pool_put(pool, batch);
 *
 * Thread: the loop thread; the batches themselves travel. */
#ifndef LC_RECORD_POOL_H
#define LC_RECORD_POOL_H

#include "logcap/record.h"

#define LC_BLOCK_SIZE (256u << 10) /* bytes of a batch's data block, unless lines may be longer */

typedef struct lc_batch_pool_stats {
  uint64_t budget, charged; /* bytes */
  uint32_t in_use, spare;   /* batches */
  uint64_t refused;         /* takes that found no room */
} lc_batch_pool_stats;

lc_batch_pool *lc_batch_pool_create(uint64_t budget, uint32_t block_size, void (*room)(void *arg), void *arg);
/* All batches must have come back. NULL is allowed. */
void lc_batch_pool_destroy(lc_batch_pool *pool);
lc_batch *lc_batch_pool_take(lc_batch_pool *pool);
void lc_batch_pool_put(lc_batch_pool *pool, lc_batch *batch);
/* A batch came back from a pool job and may have grown: charge what it is now. */
void lc_batch_pool_recharge(lc_batch_pool *pool, lc_batch *batch);
/* Other bounds from now on; batches of another block size go when they come back. */
void lc_batch_pool_resize(lc_batch_pool *pool, uint64_t budget, uint32_t block_size);
uint32_t lc_batch_pool_block_size(const lc_batch_pool *pool);
lc_batch_pool_stats lc_batch_pool_stats_get(const lc_batch_pool *pool);

#endif
