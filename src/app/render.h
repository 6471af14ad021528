/* The answers of the control socket as text for people.
 *
 *     lc_render_audit(result, stdout);
 *
 * Thread: any. */
#ifndef LC_APP_RENDER_H
#define LC_APP_RENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "logcap/record.h"

/* The text of a JSON value; borrowed. */
typedef struct lc_answer {
  const char *at;
  size_t len;
  lc_json_type type;
} lc_answer;

/* The member `key` of an object; keys are plain names without escapes. */
bool lc_answer_get(lc_answer object, const char *key, lc_answer *ret);
uint64_t lc_answer_count(lc_answer object, const char *key); /* 0 when it is not there */
bool lc_answer_true(lc_answer object, const char *key);

void lc_render_status(lc_answer status, FILE *out);
void lc_render_audit(lc_answer audit, FILE *out);
void lc_render_positions(lc_answer positions, FILE *out);

#endif
