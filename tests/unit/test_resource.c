/* The life of one resource: opened, closed, released, in every order. */
#include "support/thing.h"

static int reset(void **state) {
  closes = destroys = 0;
  return lc_test_setup(state);
}

static void test_described_is_destroyed_without_close(void **state) {
  lc_test *test = *state;
  thing *self = make(test->registry, "x");
  assert_int_equal(lc_registry_sum(test->registry).resources, 1);
  lc_resource_release(&self->resource);
  assert_int_equal(destroys, 0); /* never inside the call */
  lc_registry_run(test->registry);
  assert_int_equal(closes, 0);
  assert_int_equal(destroys, 1);
  assert_int_equal(lc_registry_sum(test->registry).resources, 0);
}

static void test_release_closes_first(void **state) {
  lc_test *test = *state;
  thing *self = make(test->registry, "x");
  self->closes_later = true;
  assert_int_equal(lc_resource_opened(&self->resource, NULL), 0);
  lc_resource_release(&self->resource);
  lc_registry_run(test->registry);
  assert_int_equal(closes, 1);
  assert_int_equal(destroys, 0); /* it still closes */
  lc_resource_closed(&self->resource);
  lc_registry_run(test->registry);
  assert_int_equal(destroys, 1);
}

static void test_close_is_idempotent(void **state) {
  lc_test *test = *state;
  thing *self = make(test->registry, "x");
  assert_int_equal(lc_resource_opened(&self->resource, NULL), 0);
  for (int i = 0; i < 3; i++) {
    lc_resource_close(&self->resource);
    lc_registry_run(test->registry);
  }
  assert_int_equal(closes, 1);
  assert_int_equal(lc_resource_state_of(&self->resource), LC_RES_CLOSED);
  lc_error error;
  assert_int_equal(lc_resource_opened(&self->resource, &error), LC_ECLOSED);
  assert_string_equal(error.message, "thing \"x\" is closed and cannot be opened");
  lc_resource_release(&self->resource);
  lc_registry_run(test->registry);
  assert_int_equal(destroys, 1);
}

static void test_close_before_open(void **state) {
  lc_test *test = *state;
  thing *self = make(test->registry, "x");
  lc_resource_close(&self->resource);
  assert_int_equal(lc_resource_opened(&self->resource, NULL), LC_ECLOSED);
  lc_registry_run(test->registry);
  assert_int_equal(lc_resource_state_of(&self->resource), LC_RES_CLOSED);
  assert_int_equal(closes, 0);
  lc_resource_release(&self->resource);
}

static void test_closed_by_itself(void **state) {
  lc_test *test = *state;
  thing *self = make(test->registry, "x");
  assert_int_equal(lc_resource_opened(&self->resource, NULL), 0);
  lc_resource_closed(&self->resource);
  lc_resource_close(&self->resource);
  lc_resource_release(&self->resource);
  lc_registry_run(test->registry);
  assert_int_equal(closes, 0);
  assert_int_equal(destroys, 1);
}

static void test_out_of_memory(void **state) {
  lc_test *test = *state;
  lc_resource res;
  for (unsigned n = 1; n <= 3; n++) {
    lc_fault_after(n);
    assert_int_equal(lc_resource_init(&res, test->registry, &thing_ops, "thing", "n", "i", "m", NULL), LC_ENOMEM);
    assert_true(lc_fault_off());
  }
  assert_int_equal(lc_registry_sum(test->registry).resources, 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, reset, lc_test_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      CASE(test_described_is_destroyed_without_close),
      CASE(test_release_closes_first),
      CASE(test_close_is_idempotent),
      CASE(test_close_before_open),
      CASE(test_closed_by_itself),
      CASE(test_out_of_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
