/* The cursor store: what is written comes back, whole or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/store.h"

typedef struct fixture {
  char dir[64];
  lc_store *store;
} fixture;

static void remove_tree(const char *dir) {
  char command[128];
  snprintf(command, sizeof command, "rm -rf '%s'", dir);
  assert_int_equal(system(command), 0);
}

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  assert_non_null(f);
  strcpy(f->dir, "/tmp/lc_store_XXXXXX");
  assert_non_null(mkdtemp(f->dir));
  lc_error error = {0};
  int rc = lc_store_open(f->dir, &f->store, &error);
  if (rc != 0) fail_msg("%s", error.message);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  lc_store_close(f->store);
  remove_tree(f->dir);
  free(f);
  return 0;
}

static void reopen(fixture *f) {
  lc_error error = {0};
  lc_store_close(f->store);
  f->store = NULL;
  int rc = lc_store_open(f->dir, &f->store, &error);
  if (rc != 0) fail_msg("%s", error.message);
}

static void apply(fixture *f, const lc_changes *changes, lc_store_safety safety) {
  lc_error error = {0};
  int rc = lc_store_apply(f->store, changes, safety, &error);
  if (rc != 0) fail_msg("%s", error.message);
}

/* What the callbacks saw, as text. */
typedef struct seen {
  char text[4096];
  fixture *f;
  uint64_t last; /* source */
} seen;

static void note(seen *s, const char *format, ...) {
  size_t len = strlen(s->text);
  va_list args;
  va_start(args, format);
  vsnprintf(s->text + len, sizeof s->text - len, format, args);
  va_end(args);
}

static int each_cursor(void *arg, uint32_t sink, const lc_stored_cursor *cursor) {
  note(arg, "(%u at %llu %d %d,%d)", sink, (unsigned long long)cursor->position, (int)cursor->state,
       cursor->mark.bytes[0], cursor->mark.bytes[63]);
  return 0;
}

static int each_source(void *arg, uint64_t id, const char *key, const char *name, int64_t seen_ns) {
  seen *s = arg;
  note(s, "%llu=%s:%s@%lld", (unsigned long long)id, key, name, (long long)seen_ns);
  int rc = lc_store_each_cursor(s->f->store, id, each_cursor, s, NULL); /* a callback may read on */
  note(s, ";");
  return rc;
}

static int each_known(void *arg, uint64_t id, const char *key, const char *name, int64_t seen_ns, uint32_t sink,
                      const lc_stored_cursor *cursor) {
  seen *s = arg;
  if (s->last != id) {
    note(s, "%s%llu=%s:%s@%lld", s->last != 0 ? ";" : "", (unsigned long long)id, key, name, (long long)seen_ns);
  }
  s->last = id;
  return cursor != NULL ? each_cursor(arg, sink, cursor) : 0;
}

static int each_output(void *arg, const lc_stored_output *o) {
  note(arg, "%llu %s>%s i%llu b%lld d%llu %llu/%llx/%u m%lld c%d;", (unsigned long long)o->id, o->path,
       o->pending != NULL ? o->pending : "-", (unsigned long long)o->inode, (long long)o->birth_ns,
       (unsigned long long)o->device, (unsigned long long)o->length, (unsigned long long)o->tail_hash, o->tail_len,
       (long long)o->made_ns, o->closed);
  return 0;
}

static int each_count(void *arg, const char *key, uint64_t value) {
  note(arg, "%s=%llu;", key, (unsigned long long)value);
  return 0;
}

static int stop_at_once(void *arg, const char *key, uint64_t value) {
  (void)key;
  (void)value;
  ++*(int *)arg;
  return 42;
}

static void expect_sources(fixture *f, uint32_t monitor, const char *expected) {
  seen s = {.f = f};
  assert_int_equal(lc_store_each_source(f->store, monitor, each_source, &s, NULL), 0);
  assert_string_equal(s.text, expected);
  seen known = {.f = f};
  assert_int_equal(lc_store_each_known(f->store, monitor, each_known, &known, NULL), 0);
  if (known.last != 0) note(&known, ";");
  assert_string_equal(known.text, expected);
}

static void expect_outputs(fixture *f, uint32_t sink, const char *expected) {
  seen s = {.f = f};
  assert_int_equal(lc_store_each_output(f->store, sink, each_output, &s, NULL), 0);
  assert_string_equal(s.text, expected);
}

static void expect_counts(fixture *f, const char *prefix, const char *expected) {
  seen s = {.f = f};
  assert_int_equal(lc_store_each_count(f->store, prefix, each_count, &s, NULL), 0);
  assert_string_equal(s.text, expected);
}

static void test_ids(void **state) {
  fixture *f = *state;
  uint32_t a = 0, b = 0, again = 0;
  assert_int_equal(lc_store_resource_id(f->store, "file_sink:out", &a, NULL), 0);
  assert_int_equal(lc_store_resource_id(f->store, "file_monitor:in", &b, NULL), 0);
  assert_int_equal(lc_store_resource_id(f->store, "file_sink:out", &again, NULL), 0);
  assert_int_equal(a, again);
  assert_int_not_equal(a, b);
  lc_changes none = {0};
  apply(f, &none, LC_STORE_NORMAL); /* carries the names, though nothing else changed */
  uint64_t source = lc_store_new_source_id(f->store);
  assert_true(lc_store_new_source_id(f->store) > source);
  reopen(f);
  assert_int_equal(lc_store_resource_id(f->store, "file_monitor:in", &again, NULL), 0);
  assert_int_equal(b, again);
  assert_int_equal(lc_store_resource_id(f->store, "new", &again, NULL), 0);
  assert_true(again != a && again != b);
}

static void test_sources_and_cursors(void **state) {
  fixture *f = *state;
  lc_changes c = {0};
  lc_stored_cursor cursor = {.position = UINT64_C(0xfffffffffffffff0), .state = LC_CURSOR_IDLE};
  cursor.mark.bytes[0] = 7;
  uint64_t id = lc_store_new_source_id(f->store);
  assert_int_equal(id, 1);
  assert_int_equal(lc_changes_source(&c, id, 3, "key", "/a/b", 5), 0);
  assert_int_equal(lc_changes_cursor(&c, id, 1, &cursor), 0);
  cursor.mark.bytes[63] = 9;
  cursor.state = LC_CURSOR_DRAINED;
  assert_int_equal(lc_changes_cursor(&c, id, 2, &cursor), 0);
  apply(f, &c, LC_STORE_NORMAL);
  expect_sources(f, 3, "1=key:/a/b@5(1 at 18446744073709551600 1 7,0)(2 at 18446744073709551600 2 7,9);");
  expect_sources(f, 4, "");

  lc_changes_clear(&c);
  cursor = (lc_stored_cursor){.position = 12};
  assert_int_equal(lc_changes_source(&c, id, 3, "key", "/a/c", -1), 0);
  assert_int_equal(lc_changes_cursor(&c, id, 1, &cursor), 0);
  apply(f, &c, LC_STORE_DURABLE);
  reopen(f);
  expect_sources(f, 3, "1=key:/a/c@-1(1 at 12 0 0,0)(2 at 18446744073709551600 2 7,9);");
  uint64_t found = 99;
  assert_int_equal(lc_store_find_source(f->store, 3, "key", &found, NULL), 0);
  assert_int_equal(found, 1);
  assert_int_equal(lc_store_find_source(f->store, 3, "other", &found, NULL), 0);
  assert_int_equal(found, 0);
  assert_int_equal(lc_store_new_source_id(f->store), 2);

  lc_changes_clear(&c);
  assert_int_equal(lc_changes_source(&c, 2, 3, "key", "/new", 1), 0); /* the older one gives way */
  assert_int_equal(lc_changes_source(&c, 4, 3, "key4", "/d", 1), 0);
  assert_int_equal(lc_changes_cursor(&c, 4, 6, &cursor), 0);
  apply(f, &c, LC_STORE_NORMAL);
  expect_sources(f, 3, "2=key:/new@1;4=key4:/d@1(6 at 12 0 0,0);");
  lc_changes_clear(&c);
  assert_int_equal(lc_changes_forget_source(&c, 4), 0);
  apply(f, &c, LC_STORE_NORMAL);
  expect_sources(f, 3, "2=key:/new@1;");
  lc_changes_clear(&c);
  assert_int_equal(lc_changes_cursor(&c, 2, 1, &cursor), 0);
  assert_int_equal(lc_changes_forget_source(&c, 2), 0);
  apply(f, &c, LC_STORE_NORMAL);
  expect_sources(f, 3, "");
  seen s = {.f = f};
  assert_int_equal(lc_store_each_cursor(f->store, 2, each_cursor, &s, NULL), 0);
  assert_int_equal(lc_store_each_cursor(f->store, 1, each_cursor, &s, NULL), 0);
  assert_string_equal(s.text, "");
  lc_changes_free(&c);
}

static void test_outputs(void **state) {
  fixture *f = *state;
  lc_changes c = {0};
  lc_stored_output output = {.id = lc_store_new_output_id(f->store), .sink_id = 4, .path = "/out/a",
                             .pending = "/out/b", .inode = 11, .birth_ns = 12, .device = 13, .length = 100, .tail_hash = UINT64_MAX,
                             .tail_len = 64, .made_ns = 14};
  assert_int_equal(lc_changes_output(&c, &output, false), 0);
  apply(f, &c, LC_STORE_NORMAL);
  expect_outputs(f, 4, "1 /out/a>/out/b i11 b12 d13 100/ffffffffffffffff/64 m14 c0;");

  lc_changes_clear(&c);
  assert_int_equal(lc_changes_output_length(&c, 1, 200, 5, 32), 0);
  output.path = "/out/b";
  output.pending = NULL;
  output.closed = true;
  output.length = 7;
  assert_int_equal(lc_changes_output(&c, &output, false), 0); /* the saved length stays */
  apply(f, &c, LC_STORE_NORMAL);
  reopen(f);
  expect_outputs(f, 4, "1 /out/b>- i11 b12 d13 200/5/32 m14 c1;");

  lc_changes_clear(&c);
  assert_int_equal(lc_changes_output(&c, &output, true), 0);
  apply(f, &c, LC_STORE_NORMAL);
  expect_outputs(f, 4, "1 /out/b>- i11 b12 d13 7/ffffffffffffffff/64 m14 c1;");
  assert_int_equal(lc_store_new_output_id(f->store), 2);

  lc_changes_clear(&c);
  assert_int_equal(lc_changes_forget_output(&c, 1), 0);
  apply(f, &c, LC_STORE_NORMAL);
  expect_outputs(f, 4, "");
  lc_changes_free(&c);
}

static void test_counts(void **state) {
  fixture *f = *state;
  lc_changes c = {0};
  assert_int_equal(lc_changes_count(&c, "shop/read", 1), 0);
  assert_int_equal(lc_changes_count(&c, "shop/x", UINT64_MAX), 0);
  assert_int_equal(lc_changes_count(&c, "shop2/read", 3), 0);
  assert_int_equal(lc_changes_count(&c, "shop/read", 2), 0); /* the later one counts */
  apply(f, &c, LC_STORE_NORMAL);
  reopen(f);
  expect_counts(f, "shop/", "shop/read=2;shop/x=18446744073709551615;");
  expect_counts(f, "", "shop/read=2;shop/x=18446744073709551615;shop2/read=3;");
  expect_counts(f, "zzz", "");
  int calls = 0;
  assert_int_equal(lc_store_each_count(f->store, "", stop_at_once, &calls, NULL), 42);
  assert_int_equal(calls, 1);
  lc_changes_free(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_ids, setup, teardown),
      cmocka_unit_test_setup_teardown(test_sources_and_cursors, setup, teardown),
      cmocka_unit_test_setup_teardown(test_outputs, setup, teardown),
      cmocka_unit_test_setup_teardown(test_counts, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
