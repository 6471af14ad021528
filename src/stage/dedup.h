/* The dedup stage: drops records that were seen before within a time to live.
 *
 *     lc_dedup_options options = {.ttl_ns = 10 * LC_SECOND, .max_entries = 100000};
 *     rc = lc_dedup_create(&options, registry, NULL, "pipeline.lua:12", &stage, &error);
 *
 * The first record with a key passes, the ones after it are dropped (LC_DROP_DUPLICATE) until `ttl_ns` has gone by
 * since that first one: a repeat does not extend it. Remembers exactly the `max_entries` newest keys by a 128-bit hash;
 * a new key beyond them evicts the oldest. All memory, about 30 bytes an entry, is reserved by create; nothing grows
 * later.
 *
 * A reload gives it another ttl and another size in place. With other key fields, what it remembers means nothing:
 * another stage takes its place.
 *
 * The key is the whole record as it stands: its message, and the fields that stages added or changed. With `fields` it
 * is the values of those fields: strings by their content, everything else by its spelling; a field that a record lacks
 * counts as such, and a record that has none of them passes unchecked and is counted as `unkeyed`.
 *
 * Stats: checks, hits, entries, evictions, expired, unkeyed, bytes.
 *
 * Thread: the loop thread. */
#ifndef LC_STAGE_DEDUP_H
#define LC_STAGE_DEDUP_H

#include <stdbool.h>

#include "logcap/stage.h"

#define LC_DEDUP_TTL_DEFAULT INT64_C(10000000000) /* 10 s */
#define LC_DEDUP_ENTRIES_DEFAULT 100000u
#define LC_DEDUP_ENTRIES_MAX (1u << 26) /* 2 GB of memory */
#define LC_DEDUP_FIELDS_MAX 32u

typedef struct lc_dedup_options {
  int64_t ttl_ns;            /* 0: LC_DEDUP_TTL_DEFAULT */
  uint32_t max_entries;      /* 0: LC_DEDUP_ENTRIES_DEFAULT; at most LC_DEDUP_ENTRIES_MAX */
  const char *const *fields; /* names of top-level fields; copied */
  uint32_t n_fields;         /* 0: the whole record; at most LC_DEDUP_FIELDS_MAX */
  bool per_source;           /* the same key from another source is another key */
} lc_dedup_options;

/* `name` may be NULL. LC_EINVAL when an option is out of its bounds or a field is named twice, LC_ENOMEM when the
 * memory cannot be reserved. */
int lc_dedup_create(const lc_dedup_options *options, lc_registry *registry, const char *name, const char *made_at,
                    lc_stage **ret, lc_error *error) LC_CHECK;

#endif
