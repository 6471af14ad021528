#include "record/json_shapes.h"

#include <stdlib.h>

#include "base/hash.h"

#define RENEW_AFTER 4096u /* strays in a full table before it is forgotten */

/* A node that is no key's: no text matches its impossible pattern. A follower that was never learned is node 1. */
static void make_impossible(lc_json_node *node) {
  memset(node, 0, sizeof *node);
  node->mask = 1;
  node->bit = UINT64_C(1) << 63;
  for (unsigned i = 0; i < LC_JSON_SUCCESSORS; i++) node->next[i] = LC_JSON_STRAY;
}

static void forget_nodes(lc_json_shapes *shapes) {
  make_impossible(&shapes->nodes[LC_JSON_ROOT]);
  make_impossible(&shapes->nodes[LC_JSON_STRAY]);
  memset(shapes->slots, 0, sizeof shapes->slots);
  shapes->n_nodes = 2;
  shapes->strays = 0;
}

lc_json_shapes *lc_json_shapes_of(lc_batch *batch) {
  if (lc_likely(batch->json_shapes != NULL)) return batch->json_shapes;
  lc_json_shapes *shapes = calloc(1, sizeof *shapes);
  if (shapes == NULL) return NULL;
  forget_nodes(shapes);
  shapes->expected = 16;
  batch->json_shapes = shapes;
  return shapes;
}

void lc_json_shapes_renew(lc_json_shapes *shapes) {
  if (lc_unlikely(shapes->strays > RENEW_AFTER)) forget_nodes(shapes);
}

void lc_json_shapes_free(void *shapes) {
  free(shapes);
}

void lc_json_shapes_reset(void *shapes) {
  if (shapes == NULL) return;
  lc_json_shapes *self = shapes;
  for (unsigned i = 0; i < LC_JSON_SETS; i++) self->sets[i].filled = false;
}

/* Two nodes may hold the same key: first in a record and later on, or with blanks and without. They share the bit. */
static uint64_t bit_of_key(const lc_json_shapes *shapes, const char *key, size_t len) {
  uint64_t used = 0;
  for (uint32_t i = 2; i < shapes->n_nodes; i++) {
    const lc_json_node *node = &shapes->nodes[i];
    if (node->key_len == len && memcmp(node->text + node->key_at, key, len) == 0) return node->bit;
    used |= node->bit;
  }
  uint64_t free_bits = ~used & ~(UINT64_C(1) << 63);
  return free_bits != 0 ? free_bits & (~free_bits + 1) : UINT64_C(1) << 63;
}

static lc_json_node *find_or_make(lc_json_shapes *shapes, const char *text, size_t len, size_t key_at, size_t key_len) {
  uint32_t slot = (uint32_t)lc_hash64(text, len) & (LC_JSON_SLOTS - 1);
  for (; shapes->slots[slot] != 0; slot = (slot + 1) & (LC_JSON_SLOTS - 1)) {
    lc_json_node *node = &shapes->nodes[shapes->slots[slot] - 1];
    if (node->len == len && memcmp(node->text, text, len) == 0) return node;
  }
  if (shapes->n_nodes == LC_JSON_NODES) {
    shapes->strays++;
    return NULL;
  }
  lc_json_node *node = &shapes->nodes[shapes->n_nodes];
  make_impossible(node);
  memcpy(node->text, text, len);
  node->mask = len == 32 ? UINT32_MAX : (1u << len) - 1;
  node->len = (uint8_t)len;
  node->key_at = (uint8_t)key_at;
  node->key_len = (uint8_t)key_len;
  node->bit = bit_of_key(shapes, text + key_at, key_len);
  shapes->slots[slot] = (uint16_t)++shapes->n_nodes;
  return node;
}

const lc_json_node *lc_json_shapes_learn(lc_json_shapes *shapes, const lc_json_node *before, const char *text,
                                         size_t len, size_t key_at, size_t key_len) {
  const lc_json_node *stray = &shapes->nodes[LC_JSON_STRAY];
  if (len > LC_SCAN_KEY) return stray;
  for (size_t i = 0; i < len; i++) {
    if ((unsigned char)text[i] < 0x20) return stray; /* the end of a record must never match */
  }
  lc_json_node *node = find_or_make(shapes, text, len, key_at, key_len);
  if (node == NULL) return stray;
  if (before == stray) return node;
  lc_json_node *from = &shapes->nodes[before - shapes->nodes];
  unsigned place = from->n_next < LC_JSON_SUCCESSORS ? from->n_next++ : LC_JSON_SUCCESSORS - 1;
  from->next[place] = (uint16_t)(node - shapes->nodes);
  return node;
}

const lc_json_node *lc_json_shapes_other(lc_json_shapes *shapes, const lc_json_node *node, const char *p) {
  for (unsigned i = 1; i < node->n_next; i++) {
    const lc_json_node *next = &shapes->nodes[node->next[i]];
    if (!lc_scan_matches(p, next->text, next->mask)) continue;
    lc_json_node *self = &shapes->nodes[node - shapes->nodes];
    if ((++self->later & 15u) == 0) {
      uint16_t ahead = self->next[i - 1];
      self->next[i - 1] = self->next[i];
      self->next[i] = ahead;
    }
    return next;
  }
  return NULL;
}
