/* Random lives of a sink: it writes, fails, rotates, compresses, commits, gets other options, is killed and recovered,
 * again and again; after the last recovery and replay every line is there exactly once. The seed is printed when it fails. */
#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <zstd.h>

#include "support/outputs.h"

#define SERVICES 6
#define LINES_MAX 600

typedef struct life {
  rig rig;
  lc_test *test;
  uint32_t seed;
  uint32_t next;      /* the first line that is not settled */
  uint32_t committed; /* the cursor: lines before it are saved */
  uint32_t pending;   /* lines of the delivery that is half written */
  uint32_t deaths, failures, moves;
  lc_path_template *other; /* of the next reload */
  uint32_t redone;         /* deliveries that were half written when a reload came */
} life;

static uint32_t roll(life *self, uint32_t n) {
  self->seed = self->seed * 1664525u + 1013904223u;
  return (self->seed >> 8) % n;
}

static void wake(life *self) {
  if (rig_open(&self->rig, self->test, "out/{s}/{s}.log", true) != 0) {
    fail_msg("cannot recover: %s", self->rig.error.message);
  }
  self->rig.set.max_open = 1 + roll(self, 3);
  self->rig.writing.rotation.size = roll(self, 3) == 0 ? 0 : 60 + roll(self, 200);
  self->next = self->committed;
  self->pending = 0;
}

/* A limit on the size of files stands for a full disk. */
static void limit_files(rlim_t bytes) {
  struct rlimit limit;
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
  limit.rlim_cur = bytes;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void settle(life *self, int rc) {
  if (rc != 0) {
    self->failures++;
    return;
  }
  self->next += self->pending;
  self->pending = 0;
}

static void write_some(life *self) {
  char lines[4096], *to = lines;
  if (self->pending == 0) {
    self->pending = 1 + roll(self, 12);
    if (self->next + self->pending > LINES_MAX) self->pending = LINES_MAX - self->next;
    for (uint32_t i = 0; i < self->pending; i++) {
      uint32_t line = self->next + i;
      to += sprintf(to, "{\"s\":\"s%u\",\"n\":%u}\n", (line * 7 + line / 5) % SERVICES, line);
    }
    if (self->pending > 0) settle(self, rig_write(&self->rig, lines));
  } else {
    settle(self, rig_again(&self->rig));
  }
}

/* Somebody renames an output within its folder. */
static void move(life *self) {
  char from[64], to[64];
  uint32_t service = roll(self, SERVICES);
  (void)snprintf(from, sizeof from, "out/s%u/s%u.log", service, service);
  (void)snprintf(to, sizeof to, "out/s%u/moved-%u", service, self->moves++);
  (void)rename(lc_test_path(self->test, from), lc_test_path(self->test, to));
}

static void write_on_a_full_disk(life *self) {
  /* The store must be able to write: its files are small at first, so the limit is for bigger ones only now and then. */
  limit_files(40 + roll(self, 200));
  write_some(self);
  limit_files(RLIM_INFINITY);
  if (self->pending > 0 && roll(self, 3) == 0) {
    for (int i = 0; i < 3; i++) move(self); /* half-written ones among them */
    limit_files(40 + roll(self, 200)); /* and the disk is full for a while longer */
    write_some(self);
    limit_files(RLIM_INFINITY);
  }
}

static void commit(life *self) {
  uint32_t at = self->next;
  if (rig_commit(&self->rig) == 0) self->committed = at;
}

/* The snapshot is taken, and saved, but the job that wrote meanwhile is ahead of it. */
static void commit_behind(life *self) {
  lc_changes changes = {0};
  uint32_t at = self->next;
  lc_output_set_publish(&self->rig.set);
  assert_int_equal(lc_output_set_snapshot(&self->rig.set, &changes, NULL), 0);
  write_some(self);
  bool ok = roll(self, 4) > 0;
  if (ok) assert_int_equal(lc_store_apply(self->rig.store, &changes, LC_STORE_NORMAL, NULL), 0);
  lc_changes_free(&changes);
  lc_output_set_committed(&self->rig.set, ok);
  if (ok) self->committed = at;
}

static bool stops(void *arg) { return roll(arg, 20) == 0; }

static void pack(life *self) {
  if (roll(self, 2) == 0) lc_output_set_publish(&self->rig.set); /* finished files that are not committed */
  const lc_pack_rules rules = {.kind = LC_FILE_ZSTD, .mode = 0640};
  while (lc_output_pack_next(&self->rig.set, &rules, stops, self, &self->rig.error) == 0) {}
}

/* Another path and another format, also for what is half written. */
static void reload(life *self) {
  lc_file_writing *writing = &self->rig.writing;
  lc_path_template *before = self->rig.template;
  self->redone += writing->batch != NULL;
  self->rig.template = self->other;
  self->other = before;
  writing->template = self->rig.template;
  writing->redo = true;
  writing->format = roll(self, 2) == 0 ? LC_FORMAT_RAW : LC_FORMAT_JSON;
  writing->metadata = writing->format == LC_FORMAT_JSON && roll(self, 2) == 0;
}

static void die(life *self) {
  self->deaths++;
  rig_kill(&self->rig);
  wake(self);
}

static void step(life *self) {
  switch (roll(self, 13)) {
    case 0: die(self); break;
    case 1: commit(self); break;
    case 2: commit_behind(self); break;
    case 3: pack(self); break;
    case 4: write_on_a_full_disk(self); break;
    case 5:
      self->rig.writing.rotation.age_ns = 1;
      if (self->rig.writing.batch == NULL) {
        lc_rotation_turn_aged(&self->rig.writing.rotation, &self->rig.set, self->rig.now_ns + LC_SECOND);
      }
      self->rig.writing.rotation.age_ns = 0;
      break;
    case 6:
      if (roll(self, 4) == 0) move(self);
      break;
    case 7: reload(self); break;
    default: write_some(self);
  }
}

/* Marks the lines of a text. */
static void count_lines(const char *text, uint32_t seen[LINES_MAX]) {
  for (const char *at = text; *at != '\0'; at = strchr(at, '\n') + 1) {
    unsigned service = 0, line = 0;
    assert_int_equal(sscanf(at, "{\"s\":\"s%u\",\"n\":%u}\n", &service, &line), 2);
    assert_true(line < LINES_MAX);
    assert_int_equal(service, (line * 7 + line / 5) % SERVICES);
    assert_non_null(strchr(at, '\n'));
    seen[line]++;
  }
}

static void count_file(life *self, const char *folder, const char *name, uint32_t seen[LINES_MAX]) {
  char path[512];
  static char text[1 << 18];
  (void)snprintf(path, sizeof path, "out/%.60s/%.200s", folder, name);
  size_t len;
  char *bytes = lc_test_read(self->test, path, &len);
  assert_null(strstr(name, LC_PACK_TEMPORARY));
  if (strstr(name, ".zst") != NULL) {
    len = ZSTD_decompress(text, sizeof text - 1, bytes, len);
    assert_false(ZSTD_isError(len));
    text[len] = '\0';
    count_lines(text, seen);
  } else {
    count_lines(bytes, seen);
  }
  free(bytes);
}

static void check(life *self, uint32_t seed) {
  uint32_t seen[LINES_MAX] = {0};
  for (int s = 0; s < SERVICES; s++) {
    char folder[16], path[64];
    (void)snprintf(folder, sizeof folder, "s%d", s);
    (void)snprintf(path, sizeof path, "out/%s", folder);
    DIR *dir = opendir(lc_test_path(self->test, path));
    if (dir == NULL) continue;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
      if (entry->d_name[0] != '.') count_file(self, folder, entry->d_name, seen);
    }
    assert_int_equal(closedir(dir), 0);
  }
  for (uint32_t i = 0; i < LINES_MAX; i++) {
    if (seen[i] != 1) fail_msg("seed %u: line %u is there %u times", seed, i, seen[i]);
  }
}

/* Returns how many deliveries were begun anew. */
static uint32_t live(lc_test *test, uint32_t seed) {
  life self = {.test = test, .seed = seed};
  char path[128];
  (void)snprintf(path, sizeof path, "%s/out/{s}/new-{s}.log", test->dir);
  assert_int_equal(lc_path_template_parse(path, NULL, false, &self.other, NULL), 0);
  wake(&self);
  for (int steps = 0; self.next < LINES_MAX && steps < 20000; steps++) step(&self);
  while (self.pending > 0) write_some(&self);
  commit(&self);
  rig_kill(&self.rig);
  wake(&self); /* mends what compressions left */
  while (self.next < LINES_MAX || self.pending > 0) write_some(&self);
  check(&self, seed);
  assert_true(self.deaths > 0);
  rig_kill(&self.rig);
  lc_path_template_destroy(self.other);
  assert_int_equal(lc_remove_tree(lc_test_path(test, "out")), 0);
  assert_int_equal(unlink(lc_test_path(test, "positions.db")), 0);
  (void)unlink(lc_test_path(test, "positions.db-wal"));
  return self.redone;
}

static void test_every_line_once_whatever_happens(void **state) {
  const char *seed = getenv("LC_TEST_SEED"), *lives = getenv("LC_TEST_LIVES");
  uint32_t first = seed != NULL ? (uint32_t)strtoul(seed, NULL, 10) : 1;
  uint32_t n = lives != NULL ? (uint32_t)strtoul(lives, NULL, 10) : 15;
  (void)signal(SIGXFSZ, SIG_IGN);
  uint32_t redone = 0;
  for (uint32_t i = 0; i < n; i++) redone += live(*state, first + i);
  assert_true(redone > 0 || n < 15);
}

int main(void) {
  const struct CMUnitTest tests[] = {lc_test_case(test_every_line_once_whatever_happens)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
