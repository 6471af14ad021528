#include "monitor/file_source.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"

#define BUCKETS_LEAST 256u

static void destroy_file(lc_source *source) {
  lc_file *file = lc_file_of(source);
  lc_assert(file->fd < 0);
  free(file->originals);
  free(file->alias);
  lc_source_deinit(source);
  free(file);
}

lc_file *lc_file_create(lc_file_id id, uint32_t generation, uint64_t device, const char *path,
                        lc_labels *labels) {
  lc_file *file = calloc(1, sizeof *file);
  if (file == NULL) return NULL;
  char key[LC_FILE_KEY_TEXT];
  lc_file_key(id, generation, key);
  if (lc_source_init(&file->source, key, path, destroy_file) != 0) {
    free(file);
    return NULL;
  }
  lc_source_label(&file->source, labels);
  file->id = id;
  file->generation = generation;
  file->device = device;
  file->fd = -1;
  return file;
}

static uint32_t id_bucket(const lc_file_table *table, lc_file_id id) {
  return (uint32_t)lc_hash64(&id, sizeof id) & (table->n_buckets - 1);
}

static uint64_t path_hash(const char *path) {
  return lc_hash64(path, strlen(path));
}

static uint32_t path_bucket(const lc_file_table *table, const char *path) {
  return (uint32_t)path_hash(path) & (table->n_buckets - 1);
}

int lc_file_table_init(lc_file_table *table) {
  *table = (lc_file_table){.by_id = calloc(BUCKETS_LEAST, sizeof(lc_file *)),
                           .by_path = calloc(BUCKETS_LEAST, sizeof(lc_file *)),
                           .by_former = calloc(BUCKETS_LEAST, sizeof(lc_file *)),
                           .n_buckets = BUCKETS_LEAST};
  if (table->by_id != NULL && table->by_path != NULL && table->by_former != NULL) return 0;
  lc_file_table_deinit(table);
  return LC_ENOMEM;
}

void lc_file_table_deinit(lc_file_table *table) {
  free(table->by_id);
  free(table->by_path);
  free(table->by_former);
  *table = (lc_file_table){0};
}

static void link_path(lc_file_table *table, lc_file *file) {
  lc_file **bucket = &table->by_path[path_bucket(table, lc_file_path(file))];
  file->next_by_path = *bucket;
  *bucket = file;
  file->in_paths = true;
}

static void unlink_path(lc_file_table *table, lc_file *file) {
  if (!file->in_paths) return;
  lc_file **at = &table->by_path[path_bucket(table, lc_file_path(file))];
  while (*at != file) at = &(*at)->next_by_path;
  *at = file->next_by_path;
  file->in_paths = false;
}

static void link_former(lc_file_table *table, lc_file *file) {
  lc_file **bucket = &table->by_former[(uint32_t)file->former & (table->n_buckets - 1)];
  file->next_by_former = *bucket;
  *bucket = file;
}

static void unlink_former(lc_file_table *table, lc_file *file) {
  if (file->former == 0) return;
  lc_file **at = &table->by_former[(uint32_t)file->former & (table->n_buckets - 1)];
  while (*at != file) at = &(*at)->next_by_former;
  *at = file->next_by_former;
  file->former = 0;
}

static void link_id(lc_file_table *table, lc_file *file) {
  lc_file **bucket = &table->by_id[id_bucket(table, file->id)];
  file->next_by_id = *bucket;
  *bucket = file;
}

/* Links the files of a former table's bucket, and keeps their order: the last one that lost a path comes first. */
static void move_formers(lc_file_table *table, lc_file *bucket) {
  lc_file *reversed = NULL;
  for (lc_file *file = bucket, *next; file != NULL; file = next) {
    next = file->next_by_former;
    file->next_by_former = reversed;
    reversed = file;
  }
  for (lc_file *next; reversed != NULL; reversed = next) {
    next = reversed->next_by_former;
    link_former(table, reversed);
  }
}

/* Doubles the buckets; without memory for it the table works on, slower. */
static void grow(lc_file_table *table) {
  uint32_t n = table->n_buckets * 2;
  lc_file **by_id = calloc(n, sizeof *by_id);
  lc_file **by_path = calloc(n, sizeof *by_path);
  lc_file **by_former = calloc(n, sizeof *by_former);
  if (by_id == NULL || by_path == NULL || by_former == NULL) {
    free(by_id);
    free(by_path);
    free(by_former);
    return;
  }
  lc_file_table old = *table;
  *table = (lc_file_table){
      .by_id = by_id, .by_path = by_path, .by_former = by_former, .n_buckets = n, .n_files = old.n_files};
  for (uint32_t i = 0; i < old.n_buckets; i++) {
    for (lc_file *file = old.by_id[i], *next; file != NULL; file = next) {
      next = file->next_by_id;
      link_id(table, file);
    }
    for (lc_file *file = old.by_path[i], *next; file != NULL; file = next) {
      next = file->next_by_path;
      link_path(table, file);
    }
    move_formers(table, old.by_former[i]);
  }
  lc_file_table_deinit(&old);
}

void lc_file_table_add(lc_file_table *table, lc_file *file) {
  if (table->n_files >= table->n_buckets) grow(table);
  link_id(table, file);
  if (!file->displaced) link_path(table, file);
  table->n_files++;
}

void lc_file_table_remove(lc_file_table *table, lc_file *file) {
  unlink_path(table, file);
  unlink_former(table, file);
  lc_file **at = &table->by_id[id_bucket(table, file->id)];
  while (*at != file) at = &(*at)->next_by_id;
  *at = file->next_by_id;
  table->n_files--;
}

lc_file *lc_file_table_by_id(const lc_file_table *table, lc_file_id id) {
  lc_file *newest = NULL;
  for (lc_file *file = table->by_id[id_bucket(table, id)]; file != NULL; file = file->next_by_id) {
    if (!lc_file_id_equal(file->id, id)) continue;
    if (newest == NULL || file->generation > newest->generation) newest = file;
  }
  return newest;
}

lc_file *lc_file_table_find(const lc_file_table *table, lc_file_id id, uint32_t generation) {
  lc_file *file = table->by_id[id_bucket(table, id)];
  while (file != NULL && (!lc_file_id_equal(file->id, id) || file->generation != generation)) file = file->next_by_id;
  return file;
}

lc_file *lc_file_table_by_path(const lc_file_table *table, const char *path) {
  for (lc_file *file = table->by_path[path_bucket(table, path)]; file != NULL; file = file->next_by_path) {
    if (strcmp(lc_file_path(file), path) == 0) return file;
  }
  return NULL;
}

lc_file *lc_file_table_by_former(const lc_file_table *table, const char *path) {
  uint64_t former = path_hash(path);
  lc_file *file = table->by_former[(uint32_t)former & (table->n_buckets - 1)];
  while (file != NULL && (file->former != former || file->ended)) file = file->next_by_former;
  return file;
}

void lc_file_table_set_former(lc_file_table *table, lc_file *file, uint64_t former) {
  unlink_former(table, file);
  file->former = former;
  if (former != 0) link_former(table, file);
}

void lc_file_table_displace(lc_file_table *table, lc_file *file) {
  if (file->in_paths) lc_file_table_set_former(table, file, path_hash(lc_file_path(file)));
  unlink_path(table, file);
  file->displaced = true;
}

int lc_file_table_rename(lc_file_table *table, lc_file *file, const char *path) {
  lc_file *other = lc_file_table_by_path(table, path);
  if (other == file) return 0;
  unlink_path(table, file);
  if (strcmp(lc_file_path(file), path) != 0 && lc_source_rename(&file->source, path) != 0) {
    if (!file->displaced) link_path(table, file);
    return LC_ENOMEM;
  }
  if (other != NULL) lc_file_table_displace(table, other);
  file->displaced = false;
  link_path(table, file);
  return 0;
}

void lc_file_table_each(lc_file_table *table, void (*each)(void *arg, lc_file *file), void *arg) {
  for (uint32_t i = 0; i < table->n_buckets; i++) {
    for (lc_file *file = table->by_id[i], *next; file != NULL; file = next) {
      next = file->next_by_id;
      each(arg, file);
    }
  }
}
