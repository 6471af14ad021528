#include "monitor/file_identity.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "monitor/file_copies.h"
#include "monitor/file_folder.h"
#include "support/support.h"

static void test_keys(void **state) {
  (void)state;
  char key[LC_FILE_KEY_TEXT];
  lc_file_id id;
  uint32_t generation = 7;
  lc_file_key((lc_file_id){12, -5}, 0, key);
  assert_string_equal(key, "12:-5");
  assert_true(lc_file_key_parse(key, &id, &generation));
  assert_int_equal(generation, 0);
  lc_file_key((lc_file_id){UINT64_MAX, INT64_MAX}, UINT32_MAX, key);
  assert_true(lc_file_key_parse(key, &id, &generation));
  assert_true(id.inode == UINT64_MAX && id.birth_ns == INT64_MAX && generation == UINT32_MAX);
  assert_false(lc_file_key_parse("12", &id, &generation));
  assert_false(lc_file_key_parse("12:5:x", &id, &generation));
  assert_false(lc_file_key_parse("12:5:1:2", &id, &generation));
}

static char *random_bytes(size_t len) {
  char *bytes = malloc(len);
  for (size_t i = 0; i < len; i++) bytes[i] = (char)rand();
  return bytes;
}

/* The mark at an offset does not depend on the pieces that it was read in. */
static void test_marks_do_not_depend_on_pieces(void **state) {
  (void)state;
  srand(3);
  size_t len = 300000;
  char *bytes = random_bytes(len);
  lc_prefix whole, pieces;
  assert_int_equal(lc_prefix_init(&whole), 0);
  assert_int_equal(lc_prefix_init(&pieces), 0);
  const uint64_t ends[] = {1, 65535, 65536, 65537, 131072, 200000, 300000};
  lc_file_mark mark = {0};
  uint64_t at = 0;
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    lc_file_mark fresh = {0};
    lc_prefix_start(&whole, &fresh);
    lc_prefix_add(&whole, bytes, ends[i]);
    lc_prefix_mark(&whole, &fresh);
    /* On from the mark before, as a later job does: check the part, then add. */
    lc_prefix_start(&pieces, &mark);
    uint64_t start = lc_file_part_start(&mark);
    assert_true(lc_prefix_check(&pieces, &mark, bytes + start, at - start));
    lc_prefix_add(&pieces, bytes + at, ends[i] - at);
    lc_prefix_mark(&pieces, &mark);
    at = ends[i];
    assert_true(mark.offset == fresh.offset && mark.chain == fresh.chain && mark.part == fresh.part);
  }
  lc_prefix_start(&pieces, &mark);
  uint64_t start = lc_file_part_start(&mark);
  bytes[start + 5]++;
  assert_false(lc_prefix_check(&pieces, &mark, bytes + start, at - start));
  lc_prefix_deinit(&whole);
  lc_prefix_deinit(&pieces);
  free(bytes);
}

static void test_packed_mark(void **state) {
  (void)state;
  lc_file_mark mark = {
      .offset = 9, .base = 2, .chain = 3, .part = 4, .head = 5, .size = 10, .head_len = 7, .flags = 1};
  lc_file_mark back;
  lc_mark packed;
  lc_file_mark_pack(&mark, &packed);
  assert_true(lc_file_mark_unpack(&packed, &back));
  assert_memory_equal(&mark, &back, sizeof mark);
  packed.bytes[0]++;
  assert_false(lc_file_mark_unpack(&packed, &back));
  assert_false(lc_file_mark_unpack(&(lc_mark){{0}}, &back));
}

static void test_prefix_of_a_file(void **state) {
  lc_test *test = *state;
  size_t len = 200000;
  char *bytes = random_bytes(len), *scratch = malloc(LC_FILE_BLOCK);
  lc_test_write(test, "a", bytes, len);
  int fd = open(lc_test_path(test, "a"), O_RDWR | O_CLOEXEC);
  lc_prefix prefix;
  assert_int_equal(lc_prefix_init(&prefix), 0);
  lc_file_mark mark = {0};
  lc_prefix_start(&prefix, &mark);
  lc_prefix_add(&prefix, bytes, 150000);
  lc_prefix_mark(&prefix, &mark);
  assert_int_equal(lc_file_mark_head(&mark, fd), 0);
  assert_int_equal(mark.head_len, LC_FILE_HEAD);
  assert_int_equal(lc_file_prefix_matches(&mark, fd, &prefix, scratch), 1);
  assert_int_equal(pwrite(fd, "!", 1, 70000), 1); /* in the chain, not in the part or the head */
  assert_int_equal(lc_file_head_matches(&mark, fd), 1);
  assert_int_equal(lc_file_prefix_matches(&mark, fd, &prefix, scratch), 0);
  assert_int_equal(pwrite(fd, "!!", 2, 10), 2);
  assert_int_equal(lc_file_head_matches(&mark, fd), 0);
  assert_int_equal(lc_file_mark_at(&mark, fd, 199999, &prefix, scratch), 0);
  assert_int_equal(mark.offset, 199999);
  assert_int_equal(lc_file_prefix_matches(&mark, fd, &prefix, scratch), 1);
  lc_prefix_deinit(&prefix);
  close(fd);
  free(bytes);
  free(scratch);
}

static void test_folder(void **state) {
  lc_test *test = *state;
  lc_test_write(test, "a.log", "x", 1);
  lc_file_stat stat;
  assert_int_equal(lc_file_stat_at(AT_FDCWD, lc_test_path(test, "a.log"), &stat), 0);
  assert_int_equal(rename(lc_test_path(test, "a.log"), lc_test_path(test, "old-a")), 0);
  lc_file_folder *list = NULL;
  char *path = NULL;
  int sys = 0;
  assert_int_equal(lc_file_folder_find(&list, lc_test_path(test, "a.log"), stat.id, &path, &sys), 0);
  assert_string_equal(path, lc_test_path(test, "old-a"));
  free(path);
  stat.id.birth_ns++;
  assert_int_equal(lc_file_folder_find(&list, lc_test_path(test, "a.log"), stat.id, &path, &sys), LC_ENOENT);
  assert_int_equal(lc_file_folder_find(&list, "/nowhere/at/all", stat.id, &path, &sys), LC_ENOENT);
  lc_file_folder_free(list);
}

static void test_copies(void **state) {
  (void)state;
  lc_file_copies *copies = NULL;
  assert_int_equal(lc_file_copies_create(&copies), 0);
  char bytes[LC_FILE_HEAD];
  memset(bytes, 'h', sizeof bytes);
  lc_file_mark small = {.head_len = LC_FILE_HEAD_LEAST - 1}, some = {.head_len = 100};
  lc_file_copies_add(copies, &small);
  assert_false(lc_file_copies_suspect(copies, bytes, sizeof bytes));
  some.head = lc_hash64(bytes, 100);
  lc_file_copies_add(copies, &some);
  lc_file_copies_add(copies, &some);
  assert_true(lc_file_copies_suspect(copies, bytes, 100));
  assert_false(lc_file_copies_suspect(copies, bytes, 99));
  lc_file_copies_remove(copies, &some);
  assert_true(lc_file_copies_suspect(copies, bytes, sizeof bytes));
  lc_file_copies_remove(copies, &some);
  assert_false(lc_file_copies_suspect(copies, bytes, sizeof bytes));
  lc_file_copies_destroy(copies);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_keys),   lc_test_case(test_marks_do_not_depend_on_pieces),
      lc_test_case(test_packed_mark), lc_test_case(test_prefix_of_a_file),
      lc_test_case(test_folder), lc_test_case(test_copies),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
