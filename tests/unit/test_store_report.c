/* What a store holds, as JSON, read back by another parser. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "io/store_report.h"
#include "support/support.h"

static void expect(lc_buf *buf, const char *expected) {
  json_error_t error;
  json_t *value = json_loadb(buf->data, buf->len, JSON_REJECT_DUPLICATES, &error);
  if (value == NULL) fail_msg("%s: %.*s", error.text, (int)buf->len, buf->data);
  char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS);
  assert_non_null(text);
  assert_string_equal(text, expected);
  free(text);
  json_decref(value);
  lc_buf_clear(buf);
}

static void fill(lc_store *store) {
  uint32_t monitor = 0, sink = 0;
  lc_changes changes = {0};
  lc_error error = {0};
  assert_int_equal(lc_store_resource_id(store, "file_monitor:in", &monitor, NULL), 0);
  assert_int_equal(lc_store_resource_id(store, "file_sink:out", &sink, NULL), 0);
  const lc_stored_cursor cursor = {.position = 12, .state = LC_CURSOR_IDLE};
  const lc_stored_cursor drained = {.position = 1, .state = LC_CURSOR_DRAINED};
  const lc_stored_output output = {.id = 1, .sink_id = sink, .path = "/out/a", .pending = "/out/b", .length = 5};
  const lc_stored_output closed = {.id = 2, .sink_id = sink, .path = "/out/\xff", .closed = true};
  assert_int_equal(lc_changes_source(&changes, 1, monitor, "k1", "/a \"b\"", 0), 0);
  assert_int_equal(lc_changes_source(&changes, 2, monitor, "k2", "/c", 0), 0);
  assert_int_equal(lc_changes_cursor(&changes, 1, sink, &cursor), 0);
  assert_int_equal(lc_changes_cursor(&changes, 1, monitor, &cursor), 0); /* any id will do for a second sink */
  assert_int_equal(lc_changes_cursor(&changes, 2, sink, &drained), 0);
  assert_int_equal(lc_changes_output(&changes, &output, true), 0);
  assert_int_equal(lc_changes_output(&changes, &closed, true), 0);
  assert_int_equal(lc_changes_count(&changes, "shop/read", 3), 0);
  assert_int_equal(lc_changes_count(&changes, "shop/sink \"x\"/delivered", 2), 0);
  assert_int_equal(lc_store_apply(store, &changes, LC_STORE_NORMAL, &error), 0);
  lc_changes_free(&changes);
}

static void test_reports(void **state) {
  lc_test *test = *state;
  lc_store *store = NULL;
  lc_buf buf = {0};
  lc_error error = {0};
  assert_int_equal(lc_store_open(test->dir, &store, &error), 0);
  assert_int_equal(lc_store_positions_json(store, &buf, &error), 0);
  expect(&buf, "{\"outputs\":[],\"sources\":[]}");
  assert_int_equal(lc_store_ledger_json(store, &buf, &error), 0);
  expect(&buf, "{\"counts\":{}}");
  fill(store);
  assert_int_equal(lc_store_positions_json(store, &buf, &error), 0);
  expect(&buf,
         "{\"outputs\":[{\"closed\":false,\"length\":5,\"path\":\"/out/a\",\"pending\":\"/out/b\","
         "\"sink\":\"file_sink:out\"},{\"closed\":true,\"length\":0,\"path\":\"/out/\xef\xbf\xbd\","
         "\"sink\":\"file_sink:out\"}],\"sources\":[{\"cursors\":[{\"position\":12,\"sink\":\"file_monitor:in\","
         "\"state\":\"idle\"},{\"position\":12,\"sink\":\"file_sink:out\",\"state\":\"idle\"}],\"key\":\"k1\","
         "\"monitor\":\"file_monitor:in\",\"name\":\"/a \\\"b\\\"\",\"seen\":\"1970-01-01T00:00:00Z\"},"
         "{\"cursors\":[{\"position\":1,\"sink\":\"file_sink:out\",\"state\":\"drained\"}],"
         "\"key\":\"k2\",\"monitor\":\"file_monitor:in\",\"name\":\"/c\",\"seen\":\"1970-01-01T00:00:00Z\"}]}");
  assert_int_equal(lc_store_ledger_json(store, &buf, &error), 0);
  expect(&buf, "{\"counts\":{\"shop/read\":3,\"shop/sink \\\"x\\\"/delivered\":2}}");
  for (unsigned n = 1;; n++) {
    lc_buf fresh = {0};
    lc_fault_from(n);
    int rc = lc_store_positions_json(store, &fresh, &error);
    bool failed = lc_fault_off();
    if (failed) assert_int_equal(rc, LC_ENOMEM);
    if (failed) assert_int_equal(fresh.len, 0);
    lc_buf_free(&fresh);
    if (!failed) break;
  }
  lc_buf_free(&buf);
  lc_store_close(store);
}

int main(void) {
  const struct CMUnitTest tests[] = {lc_test_case(test_reports)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
