/* The JSON slicer's memory that travels with a batch (lc_batch.json_shapes): which key followed which in the records
 * seen so far, and the texts of fields that were set lately.
 *
 * Keys are nodes of a graph. A node's text is everything between two values, `,"key":` with the blanks as the input
 * writes them, so that one comparison stands for separator, key and colon. Each node remembers up to four successors,
 * the frequent ones first.
 *
 *     lc_json_shapes *shapes = lc_json_shapes_of(batch);          // made when first asked for; NULL: no memory
 *     const lc_json_node *next = lc_json_shapes_follow(shapes, node, p);
 *
 * Thread: whoever holds the batch. */
#ifndef LC_RECORD_JSON_SHAPES_H
#define LC_RECORD_JSON_SHAPES_H

#include "logcap/record.h"
#include "record/json_scan.h"

#define LC_JSON_NODES 256u
#define LC_JSON_SUCCESSORS 4u
#define LC_JSON_SLOTS 1024u /* of the hash table of nodes; a power of two, at most 1/4 full */
#define LC_JSON_SETS 64u    /* remembered set fields, in pairs; a power of two */
#define LC_JSON_ROOT 0u     /* the node before a record's first key */
#define LC_JSON_STRAY 1u    /* stands for every key that is not remembered */

typedef struct lc_json_node {
  char text[LC_SCAN_KEY];
  uint32_t mask; /* its bytes that count */
  uint8_t len;
  uint8_t key_at, key_len; /* where the key's bytes stand in the text */
  uint8_t n_next;
  uint16_t next[LC_JSON_SUCCESSORS];
  uint64_t bit;   /* one bit per distinct key; the top bit is shared by all beyond the 63rd */
  uint32_t later; /* hits behind the first successor: now and then one of them moves forward */
} lc_json_node;

/* A field that was set: its text stands in the extra arena as `"key":value`. */
typedef struct lc_json_set {
  lc_ref key;
  uint32_t value_len;
  uint16_t key_len;
  uint8_t type;
  bool filled;
} lc_json_set;

typedef struct lc_json_shapes {
  lc_json_node nodes[LC_JSON_NODES];
  uint16_t slots[LC_JSON_SLOTS]; /* node + 1, or 0 */
  uint32_t n_nodes;
  uint32_t strays;   /* keys met since the table was full */
  uint32_t expected; /* fields that the next record may have */
  lc_json_set sets[LC_JSON_SETS];
} lc_json_shapes;

lc_json_shapes *lc_json_shapes_of(lc_batch *batch);
/* Forgets the graph when it is full and of no use any more. Between records only. */
void lc_json_shapes_renew(lc_json_shapes *shapes);
/* Finds or makes the node of a text (its key at `key_at`) and makes it a successor of `before`. Returns the node, or
 * the stray node when the text is too long or the table is full. */
const lc_json_node *lc_json_shapes_learn(lc_json_shapes *shapes, const lc_json_node *before, const char *text,
                                         size_t len, size_t key_at, size_t key_len);
/* The successors of `node` but the first, which did not match. NULL: none stands at `p`. */
const lc_json_node *lc_json_shapes_other(lc_json_shapes *shapes, const lc_json_node *node, const char *p);

/* The successor of `node` whose text stands at `p`, or NULL. */
static inline const lc_json_node *lc_json_shapes_follow(lc_json_shapes *shapes, const lc_json_node *node,
                                                        const char *p) {
  const lc_json_node *next = &shapes->nodes[node->next[0]];
  if (lc_likely(lc_scan_matches(p, next->text, next->mask))) return next;
  return node->n_next > 1 ? lc_json_shapes_other(shapes, node, p) : NULL;
}

void lc_json_shapes_free(void *shapes);  /* NULL is allowed */
void lc_json_shapes_reset(void *shapes); /* the batch's extra arena was emptied; NULL is allowed */

#endif
