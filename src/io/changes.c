#include "io/changes.h"

#include <stdlib.h>
#include <string.h>

/* Grows both parts before anything is written, so that a failed call leaves the changes as they were. */
static lc_change *add_item(lc_changes *changes, lc_change_kind kind, size_t text_room) {
  if (changes->n == changes->cap) {
    if (changes->cap > UINT32_MAX / 2) return NULL;
    uint32_t cap = changes->cap != 0 ? changes->cap * 2 : 16;
    lc_change *items = realloc(changes->items, cap * sizeof *items);
    if (items == NULL) return NULL;
    changes->items = items;
    changes->cap = cap;
  }
  if (changes->text_cap - changes->text_len < text_room) {
    size_t cap = changes->text_cap != 0 ? changes->text_cap : 1024;
    while (cap - changes->text_len < text_room) {
      if (cap > SIZE_MAX / 2) return NULL;
      cap *= 2;
    }
    char *text = realloc(changes->text, cap);
    if (text == NULL) return NULL;
    changes->text = text;
    changes->text_cap = cap;
  }
  lc_change *item = &changes->items[changes->n++];
  memset(item, 0, sizeof *item);
  item->kind = kind;
  return item;
}

static size_t add_text(lc_changes *changes, const void *bytes, size_t len) {
  size_t at = changes->text_len;
  if (len > 0) memcpy(changes->text + at, bytes, len);
  changes->text_len += len;
  return at;
}

int lc_changes_source(lc_changes *changes, uint64_t id, uint32_t monitor_id, const char *key, const char *name,
                      int64_t seen_ns) {
  size_t key_size = strlen(key) + 1, name_size = strlen(name) + 1;
  lc_change *item = add_item(changes, LC_CHANGE_SOURCE, key_size + name_size);
  if (item == NULL) return LC_ENOMEM;
  item->id = id;
  item->source.monitor_id = monitor_id;
  item->value = (uint64_t)seen_ns;
  item->text = add_text(changes, key, key_size);
  item->text2 = add_text(changes, name, name_size);
  return 0;
}

int lc_changes_forget_source(lc_changes *changes, uint64_t id) {
  lc_change *item = add_item(changes, LC_CHANGE_FORGET_SOURCE, 0);
  if (item == NULL) return LC_ENOMEM;
  item->id = id;
  return 0;
}

int lc_changes_cursor(lc_changes *changes, uint64_t source_id, uint32_t sink_id, const lc_stored_cursor *cursor) {
  uint32_t mark_len = sizeof cursor->mark.bytes;
  while (mark_len > 0 && cursor->mark.bytes[mark_len - 1] == 0) mark_len--;
  lc_change *item = add_item(changes, LC_CHANGE_CURSOR, mark_len);
  if (item == NULL) return LC_ENOMEM;
  item->id = source_id;
  item->cursor.sink_id = sink_id;
  item->cursor.mark_len = mark_len;
  item->cursor.state = cursor->state;
  item->value = cursor->position;
  item->text = add_text(changes, cursor->mark.bytes, mark_len);
  return 0;
}

int lc_changes_output(lc_changes *changes, const lc_stored_output *output, bool with_length) {
  size_t path_size = strlen(output->path) + 1;
  size_t pending_size = output->pending != NULL ? strlen(output->pending) + 1 : 0;
  lc_change *item = add_item(changes, LC_CHANGE_OUTPUT, sizeof *output + path_size + pending_size);
  if (item == NULL) return LC_ENOMEM;
  item->id = output->id;
  item->output.with_length = with_length;
  item->text = add_text(changes, output, sizeof *output);
  item->text2 = add_text(changes, output->path, path_size);
  item->text3 = pending_size > 0 ? add_text(changes, output->pending, pending_size) : LC_CHANGES_NO_TEXT;
  return 0;
}

int lc_changes_output_length(lc_changes *changes, uint64_t id, uint64_t length, uint64_t tail_hash,
                             uint32_t tail_len) {
  lc_change *item = add_item(changes, LC_CHANGE_LENGTH, 0);
  if (item == NULL) return LC_ENOMEM;
  item->id = id;
  item->value = length;
  item->hash = tail_hash;
  item->length.tail_len = tail_len;
  return 0;
}

int lc_changes_forget_output(lc_changes *changes, uint64_t id) {
  lc_change *item = add_item(changes, LC_CHANGE_FORGET_OUTPUT, 0);
  if (item == NULL) return LC_ENOMEM;
  item->id = id;
  return 0;
}

int lc_changes_count(lc_changes *changes, const char *key, uint64_t value) {
  size_t key_size = strlen(key) + 1;
  lc_change *item = add_item(changes, LC_CHANGE_COUNT, key_size);
  if (item == NULL) return LC_ENOMEM;
  item->value = value;
  item->text = add_text(changes, key, key_size);
  return 0;
}

void lc_changes_clear(lc_changes *changes) {
  changes->n = 0;
  changes->text_len = 0;
}

void lc_changes_free(lc_changes *changes) {
  free(changes->items);
  free(changes->text);
  *changes = (lc_changes){0};
}
