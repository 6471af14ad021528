#include "monitor/discovery_tree.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"

#define FIRST_BUCKETS 64u

#define container_of(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

static lc_hash_link **bucket(const lc_hash_table *table, uint64_t hash) {
  return &table->buckets[hash & (table->cap - 1)];
}

/* Without memory the chains get longer, that is all. */
static void table_grow(lc_hash_table *table) {
  lc_hash_table grown = {calloc((size_t)table->cap * 2, sizeof *grown.buckets), table->cap * 2, table->n};
  if (grown.buckets == NULL) return;
  for (uint32_t i = 0; i < table->cap; i++) {
    for (lc_hash_link *link = table->buckets[i], *next; link != NULL; link = next) {
      next = link->next;
      lc_hash_link **to = bucket(&grown, link->hash);
      link->next = *to;
      *to = link;
    }
  }
  free(table->buckets);
  *table = grown;
}

static void table_add(lc_hash_table *table, lc_hash_link *link, uint64_t hash) {
  if (table->n >= table->cap && table->cap < UINT32_C(1) << 30) table_grow(table);
  lc_hash_link **to = bucket(table, hash);
  link->hash = hash;
  link->next = *to;
  *to = link;
  table->n++;
}

static void table_remove(lc_hash_table *table, lc_hash_link *link) {
  lc_hash_link **at = bucket(table, link->hash);
  while (*at != link) at = &(*at)->next;
  *at = link->next;
  table->n--;
}

static uint64_t name_hash(const lc_dir *dir, const char *name) {
  return lc_hash64_seed(name, strlen(name), (uint64_t)(uintptr_t)dir);
}

static uint64_t inode_hash(const lc_stat *stat) {
  uint64_t both[2] = {stat->device, stat->inode};
  return lc_hash64(both, sizeof both);
}

static uint64_t wd_hash(int wd) {
  return (uint64_t)(unsigned)wd;
} /* they count upwards */

int lc_tree_init(lc_tree *tree) {
  *tree = (lc_tree){0};
  lc_hash_table *tables[] = {&tree->entries, &tree->inodes, &tree->folders, &tree->watchers};
  for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
    tables[i]->buckets = calloc(FIRST_BUCKETS, sizeof *tables[i]->buckets);
    tables[i]->cap = FIRST_BUCKETS;
    if (tables[i]->buckets == NULL) {
      lc_tree_deinit(tree);
      return LC_ENOMEM;
    }
  }
  return 0;
}

static void free_entry(lc_entry *entry) {
  free(entry->moved_to);
  free(entry);
}

static void free_dir(lc_dir *dir) {
  for (lc_entry *entry = dir->entries, *next; entry != NULL; entry = next) {
    next = entry->next;
    free_entry(entry);
  }
  free(dir->names);
  free(dir);
}

static void free_dirs(lc_dir *dir) {
  for (lc_dir *next; dir != NULL; dir = next) {
    next = dir->next;
    free_dir(dir);
  }
}

void lc_tree_deinit(lc_tree *tree) {
  free_dirs(tree->dirs);
  free_dirs(tree->dead);
  free(tree->entries.buckets);
  free(tree->inodes.buckets);
  free(tree->folders.buckets);
  free(tree->watchers.buckets);
  *tree = (lc_tree){0};
}

static void link_dir(lc_tree *tree, lc_dir *dir) {
  if (dir->parent == NULL) {
    tree->root = dir;
  } else {
    dir->next_sibling = dir->parent->first_child;
    if (dir->next_sibling != NULL) dir->next_sibling->prev_sibling = dir;
    dir->parent->first_child = dir;
  }
  dir->next = tree->dirs;
  if (dir->next != NULL) dir->next->prev = dir;
  tree->dirs = dir;
  tree->n_dirs++;
  table_add(&tree->folders, &dir->by_name, name_hash(dir->parent, dir->name));
}

lc_dir *lc_tree_add_dir(lc_tree *tree, lc_dir *parent, const char *name, const uint64_t *states, uint32_t n_words) {
  size_t before = parent != NULL && parent->parent != NULL ? strlen(parent->path) : 0;
  size_t path_size = before + strlen(name) + 2;
  size_t base = (sizeof(lc_dir) + path_size + 7) & ~(size_t)7;
  lc_dir *dir = calloc(1, base + n_words * sizeof *states);
  if (dir == NULL) return NULL;
  if (before > 0) memcpy(dir->path, parent->path, before);
  dir->path[before] = '/';
  (void)strcpy(dir->path + before + 1, name);
  dir->name = dir->path + before + 1;
  dir->states = (uint64_t *)(void *)((char *)dir + base);
  memcpy(dir->states, states, n_words * sizeof *states);
  dir->parent = parent;
  dir->watcher = (lc_watcher){.wd = -1, .dir = dir};
  link_dir(tree, dir);
  return dir;
}

lc_dir *lc_tree_child(const lc_tree *tree, const lc_dir *dir, const char *name) {
  uint64_t hash = name_hash(dir, name);
  for (lc_hash_link *link = *bucket(&tree->folders, hash); link != NULL; link = link->next) {
    lc_dir *child = container_of(link, lc_dir, by_name);
    if (link->hash == hash && child->parent == dir && strcmp(child->name, name) == 0) return child;
  }
  return NULL;
}

void lc_tree_remove_dir(lc_tree *tree, lc_dir *dir) {
  lc_assert(dir->entries == NULL && dir->first_child == NULL && dir->watcher.wd < 0 && !dir->queued && !dir->dead);
  table_remove(&tree->folders, &dir->by_name);
  if (dir->prev_sibling != NULL) dir->prev_sibling->next_sibling = dir->next_sibling;
  else if (dir->parent != NULL) dir->parent->first_child = dir->next_sibling;
  if (dir->next_sibling != NULL) dir->next_sibling->prev_sibling = dir->prev_sibling;
  if (dir->prev != NULL) dir->prev->next = dir->next;
  else tree->dirs = dir->next;
  if (dir->next != NULL) dir->next->prev = dir->prev;
  if (tree->root == dir) tree->root = NULL;
  if (dir->polled) tree->n_polled--;
  tree->n_dirs--;
  dir->dead = true;
  dir->next = tree->dead;
  tree->dead = dir;
}

void lc_tree_bury(lc_tree *tree) {
  free_dirs(tree->dead);
  tree->dead = NULL;
}

lc_entry *lc_tree_add_entry(lc_tree *tree, lc_dir *dir, const char *name) {
  size_t size = strlen(name) + 1;
  lc_entry *entry = calloc(1, sizeof *entry + size);
  if (entry == NULL) return NULL;
  memcpy(entry->name, name, size);
  entry->dir = dir;
  entry->kind = LC_NAME_ABSENT;
  entry->watcher = (lc_watcher){.wd = -1, .entry = entry};
  entry->next = dir->entries;
  if (entry->next != NULL) entry->next->prev = entry;
  dir->entries = entry;
  dir->n_entries++;
  table_add(&tree->entries, &entry->by_name, name_hash(dir, name));
  return entry;
}

lc_entry *lc_tree_entry(const lc_tree *tree, const lc_dir *dir, const char *name) {
  uint64_t hash = name_hash(dir, name);
  for (lc_hash_link *link = *bucket(&tree->entries, hash); link != NULL; link = link->next) {
    lc_entry *entry = container_of(link, lc_entry, by_name);
    if (link->hash == hash && entry->dir == dir && strcmp(entry->name, name) == 0) return entry;
  }
  return NULL;
}

void lc_tree_set_entry(lc_tree *tree, lc_entry *entry, lc_name_kind kind, const lc_stat *stat) {
  bool moved = entry->kind != kind || !lc_stat_same_file(&entry->stat, stat);
  if (moved && entry->kind == LC_NAME_FILE) table_remove(&tree->inodes, &entry->by_inode);
  if (moved && kind == LC_NAME_FILE) table_add(&tree->inodes, &entry->by_inode, inode_hash(stat));
  int dangling = (kind == LC_NAME_DANGLING) - (entry->kind == LC_NAME_DANGLING);
  entry->dir->n_dangling += (uint32_t)dangling;
  tree->n_dangling += (uint32_t)dangling;
  if (kind != LC_NAME_FILE) entry->reported = false;
  entry->kind = kind;
  entry->stat = *stat;
}

void lc_tree_remove_entry(lc_tree *tree, lc_entry *entry) {
  lc_assert(entry->watcher.wd < 0);
  lc_tree_set_entry(tree, entry, LC_NAME_ABSENT, &(lc_stat){0});
  table_remove(&tree->entries, &entry->by_name);
  if (entry->prev != NULL) entry->prev->next = entry->next;
  else entry->dir->entries = entry->next;
  if (entry->next != NULL) entry->next->prev = entry->prev;
  entry->dir->n_entries--;
  free_entry(entry);
}

lc_entry *lc_tree_same_file(const lc_tree *tree, const lc_stat *stat, const lc_entry *but) {
  uint64_t hash = inode_hash(stat);
  lc_entry *any = NULL;
  for (lc_hash_link *link = *bucket(&tree->inodes, hash); link != NULL; link = link->next) {
    lc_entry *entry = container_of(link, lc_entry, by_inode);
    if (entry == but || !lc_stat_same_file(&entry->stat, stat)) continue;
    if (entry->reported) return entry;
    any = entry;
  }
  return any;
}

lc_watcher *lc_tree_watcher(const lc_tree *tree, int wd) {
  lc_hash_link *link = *bucket(&tree->watchers, wd_hash(wd));
  while (link != NULL && container_of(link, lc_watcher, link)->wd != wd) link = link->next;
  return link != NULL ? container_of(link, lc_watcher, link) : NULL;
}

lc_watcher *lc_tree_next_watcher(const lc_watcher *watcher) {
  const lc_hash_link *link = watcher->link.next;
  while (link != NULL && container_of(link, lc_watcher, link)->wd != watcher->wd) link = link->next;
  return link != NULL ? container_of(link, lc_watcher, link) : NULL;
}

int lc_tree_watch(lc_tree *tree, lc_watcher *watcher, int wd) {
  int former = watcher->wd;
  if (former == wd) return -1;
  if (former >= 0) table_remove(&tree->watchers, &watcher->link);
  watcher->wd = wd;
  if (wd >= 0) table_add(&tree->watchers, &watcher->link, wd_hash(wd));
  return former >= 0 && lc_tree_watcher(tree, former) == NULL ? former : -1;
}
