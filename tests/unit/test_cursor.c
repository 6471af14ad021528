#include "pipeline/cursor.h"

#include <stdlib.h>

#include "support/support.h"

static uint32_t popped;
static void pop(lc_ack *ack) {
  (void)ack;
  popped++;
}

static lc_ack ack_to(uint64_t end) { return (lc_ack){.end = end, .resume = {{(unsigned char)end}}}; }

static void test_moves_only_over_the_gap_free_prefix(void **state) {
  (void)state;
  popped = 0;
  lc_cursor cursor = {.position = 10};
  lc_ack a = ack_to(20), b = ack_to(30), c = ack_to(40);
  lc_cursor_expect(&cursor, &a);
  lc_cursor_expect(&cursor, &b);
  lc_cursor_expect(&cursor, &c);
  c.done = b.done = true;
  assert_false(lc_cursor_advance(&cursor, pop));
  assert_int_equal(cursor.position, 10);
  a.done = true;
  assert_true(lc_cursor_advance(&cursor, pop));
  assert_int_equal(cursor.position, 40);
  assert_int_equal(cursor.mark.bytes[0], 40);
  assert_int_equal(popped, 3);
  assert_null(cursor.first);
}

static void test_never_moves_back(void **state) {
  (void)state;
  lc_cursor cursor = {.position = 100, .mark = {{7}}};
  lc_ack below = ack_to(50); /* read again for a slower neighbour */
  lc_cursor_expect(&cursor, &below);
  below.done = true;
  lc_cursor_advance(&cursor, pop);
  assert_int_equal(cursor.position, 100);
  assert_int_equal(cursor.mark.bytes[0], 7);
}

static void test_any_order_of_acks_ends_the_same(void **state) {
  (void)state;
  srand(1);
  for (int round = 0; round < 500; round++) {
    lc_cursor cursor = {.position = 0};
    lc_ack acks[20];
    uint32_t order[20];
    for (uint32_t i = 0; i < 20; i++) {
      acks[i] = ack_to(i + 1);
      order[i] = i;
      lc_cursor_expect(&cursor, &acks[i]);
    }
    acks[19].final = true;
    for (uint32_t i = 19; i > 0; i--) {
      uint32_t j = (uint32_t)rand() % (i + 1), swap = order[i];
      order[i] = order[j];
      order[j] = swap;
    }
    for (uint32_t i = 0; i < 20; i++) {
      acks[order[i]].done = true;
      lc_cursor_advance(&cursor, pop);
      uint32_t prefix = 0;
      while (prefix < 20 && acks[prefix].done) prefix++;
      assert_int_equal(cursor.position, prefix);
    }
    assert_true(cursor.drained);
  }
}

/* A rotated file that its writer goes on with. */
static void test_what_follows_an_end_takes_it_back(void **state) {
  (void)state;
  lc_cursor cursor = {.position = 0};
  lc_ack end = ack_to(1), more = ack_to(2);
  end.final = end.done = more.done = true;
  lc_cursor_expect(&cursor, &end);
  lc_cursor_advance(&cursor, pop);
  assert_true(cursor.drained);
  lc_cursor_expect(&cursor, &more);
  lc_cursor_advance(&cursor, pop);
  assert_false(cursor.drained);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_moves_only_over_the_gap_free_prefix),
      lc_test_case(test_never_moves_back),
      lc_test_case(test_any_order_of_acks_ends_the_same),
      lc_test_case(test_what_follows_an_end_takes_it_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
