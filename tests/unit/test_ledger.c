#include "pipeline/ledger.h"

#include <string.h>

#include "support/support.h"

static void test_balances_only_when_every_record_is_somewhere(void **state) {
  (void)state;
  lc_ledger ledger = {.read = 10, .created = 2, .delivered = 5, .dead_lettered = 1, .abandoned = 1};
  ledger.dropped[LC_DROP_FILTERED] = 2;
  ledger.dropped[LC_DROP_DUPLICATE] = 1;
  assert_true(lc_ledger_balanced(&ledger, 2));
  assert_false(lc_ledger_balanced(&ledger, 1));
  assert_false(lc_ledger_balanced(&ledger, 3));
}

static void test_every_term_survives_the_store(void **state) {
  lc_test *test = *state;
  lc_error error = {0};
  lc_store *store = NULL;
  assert_int_equal(lc_store_open(test->dir, &store, &error), 0);
  lc_ledger ledger;
  uint64_t *terms = (uint64_t *)&ledger;
  size_t n = sizeof ledger / sizeof *terms;
  for (size_t i = 0; i < n; i++) terms[i] = 1000 + i;
  lc_changes changes = {0};
  assert_int_equal(lc_ledger_save(&ledger, "shop/sink", &changes), 0);
  assert_int_equal(lc_store_apply(store, &changes, LC_STORE_NORMAL, &error), 0);
  lc_changes_free(&changes);
  lc_ledger loaded = {0}, other = {0}, zero = {0};
  assert_int_equal(lc_ledger_load(&loaded, "shop/sink", store, &error), 0);
  assert_memory_equal(&loaded, &ledger, sizeof ledger);
  assert_int_equal(lc_ledger_load(&other, "shop/sin", store, &error), 0); /* a prefix of a name is another name */
  assert_memory_equal(&other, &zero, sizeof zero);
  lc_store_close(store);
}

static void test_json_names_every_term(void **state) {
  (void)state;
  lc_ledger ledger = {.read = 3, .delivered = 3};
  lc_buf buf = {0};
  assert_int_equal(lc_ledger_json(&ledger, &buf), 0);
  const char *text = lc_buf_cstr(&buf);
  assert_non_null(strstr(text, "\"read\":3,"));
  for (int reason = 0; reason < LC_DROP_REASONS; reason++) assert_non_null(strstr(text, lc_drop_name((lc_drop)reason)));
  lc_buf_free(&buf);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_balances_only_when_every_record_is_somewhere),
      lc_test_case(test_every_term_survives_the_store),
      lc_test_case(test_json_names_every_term),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
