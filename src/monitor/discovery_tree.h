/* What discovery knows: the folders that patterns lead through, the names in them that matter, and who is watched. Only
 * memory: no I/O, no events.
 *
 * Thread: the loop thread. A job may read `path` and `states` of a folder that it was given: neither changes, and
 * folders are freed between jobs only. */
#ifndef LC_MONITOR_DISCOVERY_TREE_H
#define LC_MONITOR_DISCOVERY_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "logcap/error.h"

/* A link in a hash table, embedded in what is in the table. */
typedef struct lc_hash_link {
  struct lc_hash_link *next;
  uint64_t hash;
} lc_hash_link;

typedef struct lc_hash_table {
  lc_hash_link **buckets; /* owned */
  uint32_t cap, n;
} lc_hash_table;

typedef struct lc_dir lc_dir;
typedef struct lc_entry lc_entry;

/* Who gets the events of a watch; the same file under several names has several. */
typedef struct lc_watcher {
  lc_hash_link link; /* in tree->watchers, while wd >= 0 */
  int wd;            /* -1: not watched */
  lc_dir *dir;       /* whose member it is, or NULL */
  lc_entry *entry;   /* whose member it is, or NULL */
} lc_watcher;

/* What stands under a name. From LC_NAME_FOLDER on: not to be read. */
typedef enum lc_name_kind {
  LC_NAME_ABSENT,
  LC_NAME_UNKNOWN, /* it could not be looked at: what was known stands */
  LC_NAME_DESCEND, /* a folder that patterns lead into */
  LC_NAME_FILE,
  LC_NAME_FOLDER,
  LC_NAME_FIFO,
  LC_NAME_SOCKET,
  LC_NAME_DEVICE,
  LC_NAME_LINK,     /* and links are not followed */
  LC_NAME_DANGLING, /* a link to nothing */
  LC_NAME_LOOP,     /* a link that leads to itself */
  LC_NAME_KINDS
} lc_name_kind;

typedef struct lc_stat {
  uint64_t device, inode;
  int64_t birth_ns; /* 0: not known */
  uint64_t size;
  int64_t mtime_ns;
} lc_stat;

/* A wanted name in a folder: a file, or something that cannot be read. */
struct lc_entry {
  lc_hash_link by_name, by_inode; /* by_inode: files only */
  lc_watcher watcher;             /* of a link's target */
  lc_dir *dir;
  lc_entry *prev, *next; /* in the folder */
  lc_stat stat;
  char *moved_to;    /* owned; where a rename put it; NULL: not renamed, as far as is known */
  uint32_t seen;     /* in this scan */
  uint32_t changed;  /* reported in this round of events */
  lc_name_kind kind; /* LC_NAME_FILE or later */
  bool is_link;
  bool reported; /* the name by which the reader knows the inode; others are its aliases */
  char name[];
};

struct lc_dir {
  lc_hash_link by_name;
  lc_watcher watcher;
  lc_dir *parent; /* NULL: "/" */
  lc_dir *first_child, *prev_sibling, *next_sibling;
  lc_dir *prev, *next;               /* in tree->dirs; when dead, `next` in tree->dead */
  lc_dir *prev_queued, *next_queued; /* in the queue of those to scan */
  lc_entry *entries;
  uint32_t n_entries, n_dangling;
  char *names; /* owned; to be looked at, each terminated */
  uint32_t names_len, names_cap, n_names, last_name;
  uint32_t seen;
  int64_t retry_ns; /* monotonic; 0: no retry */
  uint8_t tries;    /* failures in a row that may pass soon */
  int failed;       /* errno of the last scan; 0: it worked */
  bool queued;
  bool want_list;     /* all of it, not only `names` */
  bool scanned;       /* once at least, with success */
  bool polled;        /* cannot be watched */
  bool busy;          /* a job has it */
  bool dead;          /* removed: freed by lc_tree_bury */
  bool names_watched; /* its watch tells of names, not only of itself */
  bool wild, files;
  uint64_t *states; /* behind the struct */
  const char *name; /* the end of `path` */
  char path[];      /* no slash at the end, but for "/" */
};

typedef struct lc_tree {
  lc_hash_table entries, inodes, folders, watchers;
  lc_dir *root, *dirs, *dead;
  uint32_t n_dirs, n_polled;
  uint32_t n_dangling;
} lc_tree;

int lc_tree_init(lc_tree *tree) LC_CHECK;
/* Frees everything that is in it. */
void lc_tree_deinit(lc_tree *tree);

/* NULL: out of memory. `states` are copied. */
lc_dir *lc_tree_add_dir(lc_tree *tree, lc_dir *parent, const char *name, const uint64_t *states, uint32_t n_words);
lc_dir *lc_tree_child(const lc_tree *tree, const lc_dir *dir, const char *name);
/* Takes out a folder that has neither entries nor children; it stays in memory until lc_tree_bury. */
void lc_tree_remove_dir(lc_tree *tree, lc_dir *dir);
void lc_tree_bury(lc_tree *tree);

lc_entry *lc_tree_add_entry(lc_tree *tree, lc_dir *dir, const char *name);
lc_entry *lc_tree_entry(const lc_tree *tree, const lc_dir *dir, const char *name);
void lc_tree_remove_entry(lc_tree *tree, lc_entry *entry);
/* Sets what is known of it, and keeps the table of inodes and the counts. */
void lc_tree_set_entry(lc_tree *tree, lc_entry *entry, lc_name_kind kind, const lc_stat *stat);
/* Of the entries that are this file, the reported one, or else any; NULL: none. `but` is left out. */
lc_entry *lc_tree_same_file(const lc_tree *tree, const lc_stat *stat, const lc_entry *but);
static inline bool lc_stat_same_file(const lc_stat *a, const lc_stat *b) {
  return a->inode == b->inode && a->device == b->device && a->birth_ns == b->birth_ns;
}

/* Sets the watch, -1 for none. Returns a watch that nobody needs any more, or -1. */
int lc_tree_watch(lc_tree *tree, lc_watcher *watcher, int wd) LC_CHECK;
/* The first who gets the events of this watch, and the next one. */
lc_watcher *lc_tree_watcher(const lc_tree *tree, int wd);
lc_watcher *lc_tree_next_watcher(const lc_watcher *watcher);

#endif
