/* A file sink's inside without its loop: outputs, writing and a store, driven step by step, and killed at will. */
#ifndef LC_TESTS_OUTPUTS_H
#define LC_TESTS_OUTPUTS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "record/batch.h"
#include "record/json.h"
#include "sink/file_write.h"
#include "sink/output_pack.h"
#include "sink/output_recover.h"
#include "sink/output_retain.h"
#include "support/records.h"
#include "support/support.h"

typedef struct rig {
  lc_test *test;
  lc_store *store;
  lc_inodes *own;
  lc_path_template *template;
  lc_output_set set;
  lc_file_writing writing;
  lc_batch *batch;     /* half written */
  lc_delivery delivery;
  int64_t now_ns;
  lc_error error;
} rig;

/* The sink as a new process finds it. `path` is below the test's folder. Returns the recovery's result. */
static inline int rig_open(rig *self, lc_test *test, const char *path, bool replayable) {
  *self = (rig){.test = test, .now_ns = lc_clock_wall()};
  char full[4096];
  (void)snprintf(full, sizeof full, "%s/%s", test->dir, path);
  assert_int_equal(lc_store_open(test->dir, &self->store, &self->error), 0);
  assert_int_equal(lc_inodes_create(&self->own, &self->error), 0);
  assert_int_equal(lc_path_template_parse(full, NULL, false, &self->template, &self->error), 0);
  self->set.name = "rig";
  self->set.max_open = 4;
  self->set.keep_finished = self->set.packs = true;
  self->set.rules = (lc_output_rules){.mode = 0640, .folder_mode = 0750, .own = self->own};
  self->set.store = self->store;
  assert_int_equal(lc_store_resource_id(self->store, "file_sink:rig", &self->set.sink_id, &self->error), 0);
  self->writing.set = &self->set;
  self->writing.template = self->template;
  self->writing.format = LC_FORMAT_RAW;
  assert_int_equal(lc_output_set_init(&self->set, &self->error), 0);
  return lc_outputs_recover(&self->set, replayable, &self->error);
}

/* As kill -9 leaves it: what was not committed is not. */
static inline void rig_kill(rig *self) {
  lc_output_set_deinit(&self->set);
  lc_file_writing_deinit(&self->writing);
  lc_path_template_destroy(self->template);
  lc_batch_destroy(self->batch);
  lc_inodes_destroy(self->own);
  lc_store_close(self->store);
  self->batch = NULL;
}

/* Goes on with the delivery in hand. */
static inline int rig_again(rig *self) {
  int rc = lc_file_write(&self->writing, &self->delivery, self->now_ns, &self->error);
  if (rc == 0) {
    lc_batch_destroy(self->batch);
    self->batch = NULL;
  }
  return rc;
}

/* Writes lines as one delivery. JSON objects become fields. */
static inline int rig_write(rig *self, const char *lines) {
  assert_null(self->batch);
  self->batch = records_lines(lines);
  self->batch->read_ns = self->now_ns;
  for (uint32_t i = 0; i < self->batch->n_records; i++) {
    if (lines[self->batch->records[i].body] == '{') {
      assert_int_equal(lc_json_slice(self->batch, &self->batch->records[i]), 0);
    }
  }
  self->delivery = (lc_delivery){.batch = self->batch};
  return rig_again(self);
}

/* What is settled becomes what is saved. */
static inline int rig_commit(rig *self) {
  lc_changes changes = {0};
  lc_output_set_publish(&self->set);
  assert_int_equal(lc_output_set_snapshot(&self->set, &changes, &self->error), 0);
  int rc = lc_store_apply(self->store, &changes, LC_STORE_NORMAL, &self->error);
  lc_changes_free(&changes);
  lc_output_set_committed(&self->set, rc == 0);
  return rc;
}

static inline uint64_t rig_count(const rig *self, lc_output_count what) {
  return atomic_load(&((rig *)(uintptr_t)self)->set.counts[what]);
}

static inline void assert_file(lc_test *test, const char *name, const char *content) {
  char *text = lc_test_read(test, name, NULL);
  assert_string_equal(text, content);
  free(text);
}

static inline bool is_there(lc_test *test, const char *name) {
  struct stat st;
  return lstat(lc_test_path(test, name), &st) == 0;
}

#endif
