/* A sink that keeps what it gets in memory: it stands in a test for one that would write, and spells records as that
 * one would.
 *
 *     lc_memory_sink_create(file_sink, registry, &kept, &error);
 *     ... the engine delivers ...
 *     for (i = 0; i < lc_memory_sink_count(kept); i++) entry = lc_memory_sink_entry(kept, i);
 *     lc_memory_sink_clear(kept);
 *
 * Thread: the loop thread. */
#ifndef LC_SINK_MEMORY_SINK_H
#define LC_SINK_MEMORY_SINK_H

#include "logcap/sink.h"

typedef struct lc_memory_entry {
  const char *object; /* the record as a JSON object */
  const char *line;   /* as the sink spells it, without the newline */
  const char *place;  /* where the sink would put it; empty when it has but one place */
  size_t object_len, line_len, place_len;
} lc_memory_entry;

/* `original` must outlive it, and not be opened. */
int lc_memory_sink_create(lc_sink *original, lc_registry *registry, lc_sink **ret, lc_error *error) LC_CHECK;
size_t lc_memory_sink_count(const lc_sink *sink);
/* The strings hold until the sink gets more, or is cleared. */
lc_memory_entry lc_memory_sink_entry(const lc_sink *sink, size_t index);
void lc_memory_sink_clear(lc_sink *sink);
/* Whether a record could not be kept for lack of memory. */
bool lc_memory_sink_failed(const lc_sink *sink);

#endif
