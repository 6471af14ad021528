/* The json stage: a plain line that is a JSON object becomes a record of its members.
 *
 *     lc_json_stage_options options = {.on_error = LC_ON_ERROR_PASS};
 *     rc = lc_json_stage_create(&options, registry, "pipeline.lua:12", &stage, &error);
 *
 * The message is replaced by the object's fields, as slices of its text (record/json.h): nothing is copied, numbers,
 * key order and unknown bytes leave unchanged. What is not an object goes where `on_error` says; passed on it keeps its
 * message and is marked LC_REC_UNPARSED. Records that are objects already are left alone.
 *
 * Stats: records, unparsed.
 *
 * Thread: stateless, any pool thread. */
#ifndef LC_STAGE_JSON_STAGE_H
#define LC_STAGE_JSON_STAGE_H

#include "logcap/stage.h"

typedef struct lc_json_stage_options {
  lc_on_error on_error; /* what happens to a line that is not a JSON object; parsers use LC_ON_ERROR_PASS by default */
} lc_json_stage_options;

/* `made_at` may be NULL. The stage comes with one reference. */
int lc_json_stage_create(const lc_json_stage_options *options, lc_registry *registry, const char *made_at,
                         lc_stage **ret, lc_error *error) LC_CHECK;

#endif
