/* What a Lua function sees of a record: a window on the record in hand, shared with Lua through its FFI.
 *
 * In Lua a record is a pointer whose address is only a serial number (lua/logcap/record.lua); each use passes it to one
 * of the functions here, which compare it to the serial of the record in hand. A value that was kept past its record
 * finds another serial and raises. Each change of a record is one call, so that an interruption of Lua code finds it
 * done or not begun.
 *
 * The struct is mirrored in lua/logcap/record.lua: change both.
 *
 * Thread: the loop thread. */
#ifndef LC_BIND_RECORD_VIEW_H
#define LC_BIND_RECORD_VIEW_H

#include <stdint.h>

#include "base/buf.h"
#include "logcap/stage.h"
#include "record/json_text.h"
#include "record/undo.h"

/* What a read found. */
typedef enum lc_view_kind {
  LC_VIEW_MISSING = 0,
  LC_VIEW_STRING = 1, /* text, len: decoded; also integers that a Lua number cannot hold */
  LC_VIEW_NUMBER = 2, /* number */
  LC_VIEW_TRUE = 3,
  LC_VIEW_FALSE = 4,
  LC_VIEW_NULL = 5,
  LC_VIEW_NESTED = 6,   /* text, len: the JSON of an object or array */
  LC_VIEW_EXPIRED = LC_ECLOSED, /* not the record in hand */
  LC_VIEW_FAILED = LC_ENOMEM    /* no memory to decode it */
} lc_view_kind;

#define LC_VIEW_STEPS 64 /* longest path */
#define LC_VIEW_HINTS 64 /* power of two */

/* Where a key stood last time, by the address of the Lua string. A wrong guess costs a search, never a wrong answer. */
typedef struct lc_view_hint {
  const char *key;
  uint32_t index;
} lc_view_hint;

typedef struct lc_view {
  /* Seen by Lua. */
  uint64_t serial;  /* of the record in hand; never used twice; 0 before the first */
  const char *text; /* results of the last read; hold until the next call */
  double number;
  uint32_t len;
  const char *key; /* of lc_view_member and lc_view_label */
  uint32_t key_len;
  uint32_t next_index; /* of lc_view_member: where to look next */
  lc_error error;      /* why a change failed, or the pipeline has to stop */
  /* Not seen by Lua. */
  lc_batch *batch; /* borrowed; NULL: no record is in hand */
  lc_record *rec;
  uint32_t at, to;      /* index of the next record, end of the piece */
  lc_stage *stage;      /* borrowed: whose function runs */
  uint32_t stride;      /* records between two looks at the clock */
  uint32_t until_look;
  int64_t looked_ns;    /* monotonic: when the clock was looked at */
  int64_t breathe_ns;   /* monotonic: when to let the loop breathe */
  bool breathe;
  int stopped;          /* an lc_err: the pipeline has to stop */
  bool held;            /* the stage has something to do before the next record, or once more with this one */
  uint64_t seen, dropped, refused; /* records of this piece */
  uint64_t gone;                   /* refused and not passed on */
  lc_json_step steps[LC_VIEW_STEPS];
  uint32_t n_steps;
  lc_buf decoded, spliced; /* owned */
  lc_undo undo;            /* owned: the record in hand as it came */
  lc_view_hint hints[LC_VIEW_HINTS];
} lc_view;

void lc_view_deinit(lc_view *view);

/* Puts the records [at, to) in hand, one after the other, for at most `turn_ns`. */
void lc_view_begin(lc_view *view, lc_stage *stage, lc_batch *batch, uint32_t at, uint32_t to, int64_t turn_ns);
/* No record is in hand any more. */
void lc_view_end(lc_view *view);

/* Moves to the next live record; false at the end, or to breathe, or when the pipeline has to stop. */
bool lc_view_next(lc_view *view);
/* Drops the record in hand. */
void lc_view_drop(lc_view *view);
/* Takes back what was changed of the record in hand. */
void lc_view_undo(lc_view *view);

/* Reads; all return an lc_view_kind. */
int lc_view_get(lc_view *view, uint64_t serial, const char *key, size_t key_len);
/* The field at `index` or behind it, with its key. */
int lc_view_member(lc_view *view, uint64_t serial, uint32_t index);
int lc_view_source(lc_view *view, uint64_t serial);                /* LC_VIEW_STRING or missing */
int lc_view_time(lc_view *view, uint64_t serial);                  /* LC_VIEW_NUMBER: seconds since 1970 */
int lc_view_label(lc_view *view, uint64_t serial, uint32_t index); /* LC_VIEW_STRING, with its key, or missing */

/* Changes; all return 0, or LC_VIEW_EXPIRED, or another lc_err, for which lc_view.error is filled. */
int lc_view_set_string(lc_view *view, uint64_t serial, const char *key, size_t key_len, const char *bytes, size_t len);
int lc_view_set_number(lc_view *view, uint64_t serial, const char *key, size_t key_len, double number);
int lc_view_set_bool(lc_view *view, uint64_t serial, const char *key, size_t key_len, bool value);
int lc_view_set_json(lc_view *view, uint64_t serial, const char *key, size_t key_len, const char *text, size_t len);
int lc_view_remove(lc_view *view, uint64_t serial, const char *key, size_t key_len);

/* Paths into nested values: begin with the field's key, add steps, then read, set (`text` is JSON) or remove (NULL). */
void lc_view_path(lc_view *view);
int lc_view_path_key(lc_view *view, const char *key, size_t key_len);
int lc_view_path_index(lc_view *view, double index);
int lc_view_path_get(lc_view *view, uint64_t serial, const char *key, size_t key_len);
int lc_view_path_set(lc_view *view, uint64_t serial, const char *key, size_t key_len, const char *text, size_t len);

#endif
