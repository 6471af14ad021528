/* The registry: waking, listing, sums, leaks, and all of it from many threads. */
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "support/thing.h"

static int reset(void **state) {
  closes = destroys = 0;
  return lc_test_setup(state);
}

static void test_close_all(void **state) {
  lc_test *test = *state;
  thing *a = make(test->registry, "a"), *b = make(test->registry, "b");
  assert_int_equal(lc_resource_opened(&a->resource, NULL), 0);
  assert_int_equal(lc_resource_opened(&b->resource, NULL), 0);
  lc_registry_close_all(test->registry);
  lc_registry_run(test->registry);
  assert_int_equal(closes, 2);
  lc_resource_release(&a->resource);
  lc_resource_release(&b->resource);
}

static void wake(void *arg) {
  ++*(int *)arg;
}

static void test_wakes_the_loop(void **state) {
  lc_test *test = *state;
  int woken = 0;
  lc_registry_set_wake(test->registry, wake, &woken);
  thing *self = make(test->registry, "x");
  assert_int_equal(woken, 0);
  lc_resource_close(&self->resource);
  assert_int_equal(woken, 1);
  lc_registry_run(test->registry);
  lc_resource_release(&self->resource);
  assert_int_equal(woken, 2);
  lc_registry_set_wake(test->registry, NULL, NULL);
  assert_int_equal(lc_registry_run(test->registry), 1);
}

static int release_given(void *arg, lc_resource *res) {
  int *seen = arg;
  (*seen)++;
  lc_resource_release(res); /* the owner's reference: the listing still holds its own */
  assert_true(strlen(res->name) == 1);
  return *seen == 2 ? 42 : 0;
}

static void test_each_holds_a_reference(void **state) {
  lc_test *test = *state;
  make(test->registry, "a");
  make(test->registry, "b");
  thing *c = make(test->registry, "c");
  int seen = 0;
  assert_int_equal(lc_registry_each(test->registry, release_given, &seen), 42);
  assert_int_equal(seen, 2);
  lc_registry_run(test->registry);
  assert_int_equal(destroys, 2);
  lc_resource_release(&c->resource);
}

static void test_json(void **state) {
  lc_test *test = *state;
  thing *self = make(test->registry, "say \"hi\"");
  atomic_store(&self->resource.descriptors, 3);
  atomic_store(&self->resource.bytes, 99);
  assert_int_equal(lc_registry_sum(test->registry).descriptors, 3);
  assert_int_equal(lc_registry_sum(test->registry).bytes, 99);
  lc_buf buf = {0};
  assert_int_equal(lc_registry_json(test->registry, self->resource.made_ns + INT64_C(5000000000), &buf), 0);
  json_t *list = json_loadb(buf.data, buf.len, 0, NULL);
  assert_int_equal(json_array_size(list), 1);
  json_t *entry = json_array_get(list, 0);
  assert_string_equal(json_string_value(json_object_get(entry, "name")), "say \"hi\"");
  assert_string_equal(json_string_value(json_object_get(entry, "state")), "described");
  assert_string_equal(json_string_value(json_object_get(entry, "made_at")), "a.lua:3");
  assert_int_equal(json_integer_value(json_object_get(entry, "age_s")), 5);
  assert_int_equal(json_integer_value(json_object_get(entry, "refs")), 1);
  assert_int_equal(json_integer_value(json_object_get(entry, "descriptors")), 3);
  assert_int_equal(json_integer_value(json_object_get(json_object_get(entry, "stats"), "size")), 7);
  json_decref(list);
  lc_buf_free(&buf);
  lc_resource_release(&self->resource);
}

static void test_leak_is_loud(void **state) {
  lc_test *test = *state;
  FILE *log = fopen(lc_test_path(test, "log"), "w");
  assert_non_null(log);
  lc_log_setup(fileno(log), LC_LOG_INFO, LC_LOG_JSON);
  thing *self = make(test->registry, "leaked");
  int rc = lc_registry_destroy(test->registry);
  lc_log_setup(2, LC_LOG_INFO, LC_LOG_AUTO);
  (void)fclose(log);
  char *text = lc_test_read(test, "log", NULL);
  assert_int_equal(rc, LC_EBUSY);
  assert_non_null(strstr(text, "\"name\":\"leaked\""));
  assert_non_null(strstr(text, "\"made_at\":\"a.lua:3\""));
  free(text);
  lc_resource_release(&self->resource);
}

static void test_out_of_memory(void **state) {
  lc_test *test = *state;
  thing *self = make(test->registry, "x");
  lc_fault_after(1);
  assert_int_equal(lc_registry_each(test->registry, release_given, NULL), LC_ENOMEM);
  lc_fault_off();
  lc_resource_release(&self->resource);
  lc_fault_after(1);
  lc_registry *registry = NULL;
  assert_int_equal(lc_registry_create(&registry, NULL), LC_ENOMEM);
  lc_fault_off();
  assert_null(registry);
}

#define THREADS 4
#define ROUNDS 2000

static void *hammer(void *arg) {
  lc_resource *shared = arg;
  for (int i = 0; i < ROUNDS; i++) {
    lc_resource_retain(shared);
    if (i == ROUNDS / 2) lc_resource_close(shared);
    lc_resource_release(shared);
  }
  lc_resource_release(shared);
  return NULL;
}

static int look(void *arg, lc_resource *res) {
  ++*(int *)arg;
  return strcmp(res->kind, "thing");
}

/* Threads retain, close and release while the loop thread lists, closes and destroys. */
static void test_threads(void **state) {
  lc_test *test = *state;
  for (int round = 0; round < 20; round++) {
    thing *self = make(test->registry, "shared");
    assert_int_equal(lc_resource_opened(&self->resource, NULL), 0);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) lc_resource_retain(&self->resource);
    for (int i = 0; i < THREADS; i++) {
      assert_int_equal(pthread_create(&threads[i], NULL, hammer, &self->resource), 0);
    }
    lc_resource_release(&self->resource);
    while (destroys == round) {
      int seen = 0;
      assert_int_equal(lc_registry_each(test->registry, look, &seen), 0);
      lc_registry_run(test->registry);
    }
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
  }
  assert_int_equal(closes, 20);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, reset, lc_test_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      CASE(test_close_all), CASE(test_wakes_the_loop), CASE(test_each_holds_a_reference),
      CASE(test_json),      CASE(test_leak_is_loud),   CASE(test_out_of_memory),
      CASE(test_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
