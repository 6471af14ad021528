#include "record/pool.h"

#include <stdlib.h>

#include "base/check.h"
#include "record/batch.h"

#define ALWAYS_GRANTED 2u

struct lc_batch_pool {
  uint64_t budget, charged, refused;
  uint32_t block_size, in_use, n_spare;
  lc_batch *spare;   /* owned */
  uint64_t estimate; /* bytes that a new batch will likely grow to */
  bool waiting;
  void (*room)(void *arg);
  void *arg;
};

lc_batch_pool *lc_batch_pool_create(uint64_t budget, uint32_t block_size, void (*room)(void *arg), void *arg) {
  lc_batch_pool *pool = calloc(1, sizeof *pool);
  if (pool == NULL) return NULL;
  pool->budget = budget;
  pool->block_size = block_size;
  pool->estimate = block_size;
  pool->room = room;
  pool->arg = arg;
  return pool;
}

static void drop_spares(lc_batch_pool *pool) {
  while (pool->spare != NULL) {
    lc_batch *batch = pool->spare;
    pool->spare = batch->next;
    pool->n_spare--;
    pool->charged -= batch->charged;
    lc_batch_destroy(batch);
  }
}

void lc_batch_pool_destroy(lc_batch_pool *pool) {
  if (pool == NULL) return;
  lc_require(pool->in_use == 0);
  drop_spares(pool);
  free(pool);
}

static lc_batch *make_batch(lc_batch_pool *pool) {
  if (pool->in_use >= ALWAYS_GRANTED && pool->charged + pool->estimate > pool->budget) return NULL;
  lc_batch *batch = lc_batch_create(pool->block_size);
  if (batch == NULL) return NULL;
  batch->pool = pool;
  batch->charged = lc_batch_bytes(batch);
  pool->charged += batch->charged;
  return batch;
}

lc_batch *lc_batch_pool_take(lc_batch_pool *pool) {
  lc_batch *batch = pool->spare;
  if (batch != NULL) {
    pool->spare = batch->next;
    pool->n_spare--;
    batch->next = NULL;
  } else {
    batch = make_batch(pool);
  }
  if (batch == NULL) {
    pool->waiting = true;
    pool->refused++;
    return NULL;
  }
  pool->in_use++;
  return batch;
}

void lc_batch_pool_recharge(lc_batch_pool *pool, lc_batch *batch) {
  size_t bytes = lc_batch_bytes(batch);
  pool->charged = pool->charged - batch->charged + bytes;
  batch->charged = bytes;
}

void lc_batch_pool_put(lc_batch_pool *pool, lc_batch *batch) {
  lc_require(batch->pool == pool && pool->in_use > 0);
  lc_batch_recycle(batch);
  lc_batch_pool_recharge(pool, batch);
  pool->estimate = batch->charged;
  pool->in_use--;
  bool too_many = pool->charged > pool->budget && pool->n_spare + pool->in_use >= ALWAYS_GRANTED;
  if (too_many || batch->data_cap != pool->block_size) {
    pool->charged -= batch->charged;
    lc_batch_destroy(batch);
  } else {
    batch->next = pool->spare;
    pool->spare = batch;
    pool->n_spare++;
  }
  if (pool->waiting) {
    pool->waiting = false;
    pool->room(pool->arg);
  }
}

void lc_batch_pool_resize(lc_batch_pool *pool, uint64_t budget, uint32_t block_size) {
  if (block_size != pool->block_size || budget < pool->budget) drop_spares(pool);
  pool->budget = budget;
  pool->block_size = block_size;
  if (pool->estimate < block_size) pool->estimate = block_size;
}

uint32_t lc_batch_pool_block_size(const lc_batch_pool *pool) { return pool->block_size; }

lc_batch_pool_stats lc_batch_pool_stats_get(const lc_batch_pool *pool) {
  return (lc_batch_pool_stats){.budget = pool->budget,
                               .charged = pool->charged,
                               .in_use = pool->in_use,
                               .spare = pool->n_spare,
                               .refused = pool->refused};
}
