#include "monitor/file_copies.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/hash.h"

#define BUCKETS 1024u

typedef struct head {
  uint64_t hash;
  uint32_t len, files;
  struct head *next;
} head;

struct lc_file_copies {
  pthread_mutex_t lock;
  head *buckets[BUCKETS];
  uint32_t of_len[LC_FILE_HEAD + 1]; /* heads of each length */
};

int lc_file_copies_create(lc_file_copies **ret) {
  lc_file_copies *copies = calloc(1, sizeof *copies);
  if (copies == NULL) return LC_ENOMEM;
  if (pthread_mutex_init(&copies->lock, NULL) != 0) {
    free(copies);
    return LC_ENOMEM;
  }
  *ret = copies;
  return 0;
}

void lc_file_copies_destroy(lc_file_copies *copies) {
  if (copies == NULL) return;
  for (uint32_t i = 0; i < BUCKETS; i++) {
    for (head *at = copies->buckets[i], *next; at != NULL; at = next) {
      next = at->next;
      free(at);
    }
  }
  pthread_mutex_destroy(&copies->lock);
  free(copies);
}

/* The link to the head, or to the end of its bucket. */
static head **find(lc_file_copies *copies, uint64_t hash, uint32_t len) {
  head **at = &copies->buckets[hash % BUCKETS];
  while (*at != NULL && ((*at)->hash != hash || (*at)->len != len)) at = &(*at)->next;
  return at;
}

void lc_file_copies_add(lc_file_copies *copies, const lc_file_mark *mark) {
  if (mark->head_len < LC_FILE_HEAD_LEAST) return;
  pthread_mutex_lock(&copies->lock);
  head **at = find(copies, mark->head, mark->head_len);
  if (*at == NULL && (*at = calloc(1, sizeof **at)) != NULL) {
    **at = (head){.hash = mark->head, .len = mark->head_len};
    copies->of_len[mark->head_len]++;
  }
  if (*at != NULL) (*at)->files++;
  pthread_mutex_unlock(&copies->lock);
}

void lc_file_copies_remove(lc_file_copies *copies, const lc_file_mark *mark) {
  if (mark->head_len < LC_FILE_HEAD_LEAST) return;
  pthread_mutex_lock(&copies->lock);
  head **at = find(copies, mark->head, mark->head_len);
  if (*at != NULL && --(*at)->files == 0) {
    head *gone = *at;
    *at = gone->next;
    copies->of_len[gone->len]--;
    free(gone);
  }
  pthread_mutex_unlock(&copies->lock);
}

bool lc_file_copies_suspect(lc_file_copies *copies, const char *bytes, uint32_t len) {
  bool suspect = false;
  if (len > LC_FILE_HEAD) len = LC_FILE_HEAD;
  pthread_mutex_lock(&copies->lock);
  for (uint32_t n = LC_FILE_HEAD_LEAST; n <= len && !suspect; n++) {
    if (copies->of_len[n] > 0) suspect = *find(copies, lc_hash64(bytes, n), n) != NULL;
  }
  pthread_mutex_unlock(&copies->lock);
  return suspect;
}
