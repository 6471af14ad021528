#include "record/multiline.h"

#include <stdlib.h>
#include <string.h>

#include "logcap/source.h"
#include "record/batch.h"
#include "record/framing.h"
#include "support/support.h"

static void free_source(lc_source *source) {
  lc_source_deinit(source);
  free(source);
}

/* Joins `text` and writes the groups, each in brackets, into a buffer. Returns what was taken back. */
static uint32_t join(const lc_multiline_options *options, const char *text, bool flush, bool full, char *ret) {
  lc_error error = {0};
  lc_multiline *multiline = NULL;
  lc_multiline_match match;
  assert_int_equal(lc_multiline_create(options, &multiline, &error), 0);
  assert_int_equal(lc_multiline_match_init(multiline, &match), 0);
  lc_batch *batch = lc_batch_create(4096);
  lc_source *source = calloc(1, sizeof *source);
  assert_int_equal(lc_source_init(source, "k", "n", free_source), 0);
  lc_range *range = lc_batch_add_range(batch, source, 50);
  assert_non_null(range);
  lc_framing framing = {.max_line = 64};
  size_t len = strlen(text);
  memcpy(batch->base[0], text, len);
  assert_int_equal(lc_frame(&framing, batch, 0, (uint32_t)len), len);
  uint32_t back = lc_multiline_join(multiline, &match, batch, 0, 0, flush, full);
  char *at = ret;
  uint32_t end = 0;
  for (uint32_t i = 0; i < batch->n_records; i++) {
    const lc_record *rec = &batch->records[i];
    at += sprintf(at, "[%.*s]", (int)rec->body_len, lc_batch_at(batch, rec->body));
    end = rec->end;
  }
  *at = '\0';
  range = &batch->ranges[0];
  assert_int_equal(range->end, 50 + len - back);
  assert_int_equal(end, len - back);
  assert_int_equal(range->count, batch->n_records);
  assert_int_equal(batch->tally.read, batch->n_records);
  assert_int_equal(batch->tally.read_bytes, len - back);
  lc_batch_destroy(batch);
  lc_source_release(source);
  lc_multiline_match_deinit(&match);
  lc_multiline_destroy(multiline);
  return back;
}

static void test_start(void **state) {
  (void)state;
  char got[4096];
  lc_multiline_options options = {.start = "^\\d"};
  assert_int_equal(join(&options, "1 a\n at x\n at y\n2 b\n3 c\n at z\n", false, false, got), 10);
  assert_string_equal(got, "[1 a\n at x\n at y][2 b]");
  assert_int_equal(join(&options, "1 a\n at x\n at y\n2 b\n3 c\n at z\n", true, false, got), 0);
  assert_string_equal(got, "[1 a\n at x\n at y][2 b][3 c\n at z]");
  assert_int_equal(join(&options, "orphan\n1 a\n", false, false, got), 4);
  assert_string_equal(got, "[orphan]");
}

static void test_continuation(void **state) {
  (void)state;
  char got[4096];
  lc_multiline_options options = {.continuation = "^\\s"};
  assert_int_equal(join(&options, "a\n 1\n\t2\nb\n", false, false, got), 2);
  assert_string_equal(got, "[a\n 1\n\t2]");
}

static void test_negate(void **state) {
  (void)state;
  char got[4096];
  lc_multiline_options options = {.start = "^\\s", .negate = true};
  assert_int_equal(join(&options, "a\n 1\n\t2\nb\n", true, false, got), 0);
  assert_string_equal(got, "[a\n 1\n\t2][b]");
}

static void test_limits(void **state) {
  (void)state;
  char got[4096];
  lc_multiline_options lines = {.start = "^S", .max_lines = 2};
  assert_int_equal(join(&lines, "S\na\nb\nc\n", false, false, got), 0);
  assert_string_equal(got, "[S\na][b\nc]");
  lc_multiline_options bytes = {.start = "^S", .max_bytes = 4};
  assert_int_equal(join(&bytes, "S\nab\ncd\n", true, false, got), 0);
  assert_string_equal(got, "[S\nab][cd]");
  lc_multiline_options open = {.start = "^S"};
  assert_int_equal(join(&open, "S\na\n", false, true, got), 0);
  assert_string_equal(got, "[S\na]");
}

/* A cut line has lost bytes: what follows is not in one piece with it. */
static void test_cut_line_closes(void **state) {
  (void)state;
  char text[256], got[4096];
  memset(text, 'x', 100);
  text[0] = 'S';
  strcpy(text + 100, "\na\n");
  lc_multiline_options options = {.start = "^S"};
  assert_int_equal(join(&options, text, false, false, got), 2);
  assert_int_equal(strlen(got), 66);
}

/* A pattern that explodes gives up, and the line counts as not matching. */
static void test_match_limit(void **state) {
  (void)state;
  char got[4096];
  lc_multiline_options options = {.start = "^(a+)+$"};
  assert_int_equal(join(&options, "b\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\n", true, false, got), 0);
  assert_string_equal(got, "[b\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab]");
}

static void test_bad_options(void **state) {
  (void)state;
  lc_error error = {0};
  lc_multiline *multiline = NULL;
  assert_int_equal(lc_multiline_create(&(lc_multiline_options){.start = "("}, &multiline, &error), LC_EINVAL);
  assert_non_null(strstr(error.message, "pattern \"(\""));
  lc_multiline_options both = {.start = "a", .continuation = "b"};
  assert_int_equal(lc_multiline_create(&both, &multiline, &error), LC_EINVAL);
  assert_int_equal(lc_multiline_create(&(lc_multiline_options){0}, &multiline, &error), LC_EINVAL);
  lc_multiline_options many = {.start = "a", .max_lines = 20000};
  assert_int_equal(lc_multiline_create(&many, &multiline, &error), LC_EINVAL);
  assert_null(multiline);
}

static void test_the_same_or_not(void **state) {
  (void)state;
  const lc_multiline_options options[] = {{.start = "^S"},
                                          {.start = "^S", .max_lines = LC_MULTILINE_LINES_DEFAULT},
                                          {.continuation = "^S", .negate = true},
                                          {.start = "^T"},
                                          {.start = "^S", .negate = true},
                                          {.start = "^S", .max_lines = 7},
                                          {.start = "^S", .max_bytes = 7},
                                          {.start = "^S", .timeout_ns = 7}};
  lc_multiline *made[8];
  for (int i = 0; i < 8; i++) assert_int_equal(lc_multiline_create(&options[i], &made[i], NULL), 0);
  for (int i = 0; i < 8; i++) assert_int_equal(lc_multiline_same(made[0], made[i]), i < 3);
  assert_true(lc_multiline_same(NULL, NULL));
  assert_false(lc_multiline_same(made[0], NULL));
  assert_false(lc_multiline_same(NULL, made[0]));
  for (int i = 0; i < 8; i++) lc_multiline_destroy(made[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_start),           lc_test_case(test_continuation),    lc_test_case(test_negate),
      lc_test_case(test_limits),          lc_test_case(test_cut_line_closes), lc_test_case(test_match_limit),
      lc_test_case(test_bad_options),
      lc_test_case(test_the_same_or_not),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
