/* What a set of changes looks like inside; lc_store_apply reads it. The public face is in io/store.h.
 *
 * Strings, marks and whole output rows stand in lc_changes.text and are referred to by offset, so that the commonest
 * items, ten thousand output lengths a second, stay small. Thread: whoever holds the changes. */
#ifndef LC_IO_CHANGES_H
#define LC_IO_CHANGES_H

#include "io/store.h"

typedef enum lc_change_kind {
  LC_CHANGE_SOURCE,
  LC_CHANGE_FORGET_SOURCE,
  LC_CHANGE_CURSOR,
  LC_CHANGE_OUTPUT,
  LC_CHANGE_LENGTH,
  LC_CHANGE_FORGET_OUTPUT,
  LC_CHANGE_COUNT
} lc_change_kind;

#define LC_CHANGES_NO_TEXT SIZE_MAX

typedef struct lc_change {
  lc_change_kind kind;
  union {
    struct {
      uint32_t monitor_id;
    } source;
    struct {
      uint32_t sink_id;
      uint32_t mark_len; /* without the zeroes at its end */
      lc_cursor_state state;
    } cursor;
    struct {
      uint32_t tail_len;
    } length;
    struct {
      bool with_length;
    } output;
  };
  uint64_t id;    /* of the source or the output */
  uint64_t value; /* source: seen_ns; cursor: position; length; count */
  uint64_t hash;  /* length: of the tail */
  size_t text;    /* source: key, NUL, name; cursor: mark; output: the row; count: key */
  size_t text2;   /* source: name; output: path */
  size_t text3;   /* output: pending, or LC_CHANGES_NO_TEXT */
} lc_change;

#endif
