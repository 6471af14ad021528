#include "record/multiline.h"

#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/check.h"

/* What one line may cost before its pattern gives up: about a millisecond. */
#define MATCH_LIMIT 100000u
#define DEPTH_LIMIT 1000u
#define HEAP_LIMIT_KIB 1024u

struct lc_multiline {
  char *pattern;     /* owned */
  pcre2_code *code;  /* owned */
  bool match_starts; /* a line that matches starts a group; else one that does not */
  uint32_t max_lines;
  uint64_t max_bytes;
  int64_t timeout_ns;
};

static int compile(const char *pattern, pcre2_code **ret, lc_error *error) {
  int code;
  PCRE2_SIZE at;
  /* No UTF mode: lines may hold any bytes. */
  pcre2_code *compiled =
      pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);
  if (compiled == NULL) {
    char text[128];
    pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
    return lc_error_set(error, LC_EINVAL, "multiline: pattern \"%s\" is wrong at character %zu: %s", pattern,
                        (size_t)at + 1, text);
  }
  /* Without a JIT (a hardened kernel may forbid it) matching is slower and as right. */
  (void)pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
  *ret = compiled;
  return 0;
}

int lc_multiline_create(const lc_multiline_options *options, lc_multiline **ret, lc_error *error) {
  if (options->start != NULL && options->continuation != NULL) {
    return lc_error_set(error, LC_EINVAL, "multiline: give `start` or `continuation`, not both");
  }
  const char *pattern = options->start != NULL ? options->start : options->continuation;
  if (pattern == NULL)
    return lc_error_set(error, LC_EINVAL, "multiline: a pattern is missing: `start` or `continuation`");
  if (options->max_lines > LC_MULTILINE_LINES_MOST) {
    return lc_error_set(error, LC_EINVAL, "multiline: `max_lines` must be at most %u", LC_MULTILINE_LINES_MOST);
  }
  if (options->max_bytes > LC_MULTILINE_BYTES_DEFAULT) {
    return lc_error_set(error, LC_EINVAL, "multiline: `max_bytes` must be at most 256KiB");
  }
  if (options->timeout_ns < 0) return lc_error_set(error, LC_EINVAL, "multiline: `timeout` must not be negative");
  lc_multiline *multiline = calloc(1, sizeof *multiline);
  if (multiline == NULL) return lc_error_set(error, LC_ENOMEM, "multiline: out of memory");
  multiline->pattern = strdup(pattern);
  int rc = multiline->pattern != NULL ? compile(pattern, &multiline->code, error)
                                      : lc_error_set(error, LC_ENOMEM, "multiline: out of memory");
  if (rc != 0) {
    lc_multiline_destroy(multiline);
    return rc;
  }
  multiline->match_starts = (options->start != NULL) != options->negate;
  multiline->max_lines = options->max_lines > 0 ? options->max_lines : LC_MULTILINE_LINES_DEFAULT;
  multiline->max_bytes = options->max_bytes > 0 ? options->max_bytes : LC_MULTILINE_BYTES_DEFAULT;
  multiline->timeout_ns = options->timeout_ns > 0 ? options->timeout_ns : LC_MULTILINE_TIMEOUT_DEFAULT;
  *ret = multiline;
  return 0;
}

void lc_multiline_destroy(lc_multiline *multiline) {
  if (multiline == NULL) return;
  pcre2_code_free(multiline->code);
  free(multiline->pattern);
  free(multiline);
}

bool lc_multiline_same(const lc_multiline *a, const lc_multiline *b) {
  if (a == NULL || b == NULL) return a == b;
  return strcmp(a->pattern, b->pattern) == 0 && a->match_starts == b->match_starts && a->max_lines == b->max_lines &&
         a->max_bytes == b->max_bytes && a->timeout_ns == b->timeout_ns;
}

int64_t lc_multiline_timeout(const lc_multiline *multiline) { return multiline->timeout_ns; }

int lc_multiline_match_init(const lc_multiline *multiline, lc_multiline_match *match) {
  *match = (lc_multiline_match){0};
  match->data = pcre2_match_data_create_from_pattern(multiline->code, NULL);
  match->context = pcre2_match_context_create(NULL);
  if (match->data == NULL || match->context == NULL) {
    lc_multiline_match_deinit(match);
    return LC_ENOMEM;
  }
  pcre2_set_match_limit(match->context, MATCH_LIMIT);
  pcre2_set_depth_limit(match->context, DEPTH_LIMIT);
  pcre2_set_heap_limit(match->context, HEAP_LIMIT_KIB);
  return 0;
}

void lc_multiline_match_deinit(lc_multiline_match *match) {
  pcre2_match_data_free(match->data);
  pcre2_match_context_free(match->context);
  match->data = match->context = NULL;
}

static bool starts_group(const lc_multiline *multiline, lc_multiline_match *match, const lc_batch *batch,
                         const lc_record *line) {
  int rc = pcre2_match(multiline->code, (PCRE2_SPTR)lc_batch_at(batch, line->body), line->body_len, 0, 0, match->data,
                       match->context);
  if (rc < 0 && rc != PCRE2_ERROR_NOMATCH) match->failed++;
  return (rc >= 0) == multiline->match_starts;
}

/* Whether `line` may join `group`: within the limits, and in one piece with it. */
static bool fits(const lc_multiline *multiline, const lc_record *group, uint32_t lines, const lc_record *line) {
  return lines < multiline->max_lines && (group->flags & LC_REC_TRUNCATED) == 0 &&
         (uint64_t)(line->body - group->body) + line->body_len <= multiline->max_bytes;
}

/* Takes the open group, the batch's last record, out again. */
static uint32_t take_back(lc_batch *batch, lc_range *range, uint32_t group_begin) {
  uint32_t back = (uint32_t)(range->end - range->begin) - group_begin;
  batch->n_records--;
  range->count--;
  range->end -= back;
  batch->tally.read--;
  batch->tally.read_bytes -= back;
  return back;
}

uint32_t lc_multiline_join(const lc_multiline *multiline, lc_multiline_match *match, lc_batch *batch, uint32_t first,
                           uint32_t begin, bool flush, bool full) {
  if (first >= batch->n_records) return 0;
  lc_range *range = &batch->ranges[batch->n_ranges - 1];
  lc_require(first >= range->first);
  lc_record *records = batch->records;
  uint32_t last = first, lines = 1; /* the group in hand, and its lines; it begins at `begin` */
  for (uint32_t i = first + 1; i < batch->n_records; i++) {
    lc_record *group = &records[last];
    const lc_record line = records[i];
    if (fits(multiline, group, lines, &line) && !starts_group(multiline, match, batch, &line)) {
      group->body_len = line.body - group->body + line.body_len;
      group->flags |= line.flags;
      group->end = line.end;
      lines++;
      continue;
    }
    begin = group->end;
    records[++last] = line;
    lines = 1;
  }
  uint32_t joined = batch->n_records - last - 1;
  batch->n_records -= joined;
  range->count -= joined;
  batch->tally.read -= joined; /* a group is one record; its lines were counted one by one */
  const lc_record *open = &records[last];
  bool closed = flush || lines >= multiline->max_lines || (open->flags & LC_REC_TRUNCATED) != 0 ||
                (full && last == first);
  return closed ? 0 : take_back(batch, range, begin);
}
