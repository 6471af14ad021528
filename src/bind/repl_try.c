/* tap() and try(): samples of a stage, and a function's trial on clones of them. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "bind/json_value.h"
#include "bind/repl_inside.h"
#include "logcap/source.h"
#include "pipeline/inspect.h"
#include "record/batch.h"
#include "record/encode.h"
#include "record/json.h"
#include "record/json_text.h"

#define COUNT_MAX 64 /* what a sampler keeps */

static lc_samples *samples_at(lua_State *L, lc_error *error) {
  lc_engine *engine = lc_repl_of(L)->engine;
  const char *name = luaL_checkstring(L, 1);
  double n = luaL_checknumber(L, 2);
  lc_sampler *sampler = lc_engine_find_sampler(engine, name, error);
  if (sampler == NULL) return NULL;
  lc_samples *samples = lc_sampler_copy(sampler, n < COUNT_MAX ? (uint32_t)n : COUNT_MAX);
  if (samples == NULL) (void)lc_error_set(error, LC_ENOMEM, "not enough memory for the samples");
  return samples;
}

static int refuse(lua_State *L, const lc_error *error) {
  lua_pushnil(L);
  lua_pushstring(L, error->message);
  return 2;
}

/* --- samples --- */

static const char trash[] = "logcap.samples"; /* a userdata that frees what it holds, also when Lua raises */

static int trash_gc(lua_State *L) {
  lc_samples **held = lua_touserdata(L, 1);
  lc_samples_destroy(*held);
  *held = NULL;
  return 0;
}

static lc_samples **push_holder(lua_State *L) {
  lc_samples **held = lua_newuserdata(L, sizeof *held);
  *held = NULL;
  if (luaL_newmetatable(L, trash)) {
    lua_pushcfunction(L, trash_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  return held;
}

static void set_text(lua_State *L, const char *key, const lc_buf *text) {
  lua_pushlstring(L, text->len > 0 ? text->data : "", text->len);
  lua_setfield(L, -2, key);
}

/* A whole record as a table, a cut one as the text that is left of it. */
static void set_record(lua_State *L, const char *key, const lc_buf *text, bool cut) {
  if (cut) lua_pushlstring(L, text->data, text->len);
  else lc_json_push(L, text->data, text->len, LC_JSON_OBJECT);
  lua_setfield(L, -2, key);
}

static void set_flag(lua_State *L, const char *key, bool value) {
  lua_pushboolean(L, value);
  lua_setfield(L, -2, key);
}

static void push_sample(lua_State *L, const lc_sample *sample) {
  lua_newtable(L);
  if (sample->source != NULL) {
    lua_pushstring(L, sample->source);
    lua_setfield(L, -2, "source");
  }
  lua_pushnumber(L, (double)sample->time_ns / (double)LC_SECOND);
  lua_setfield(L, -2, "time");
  set_record(L, "before", &sample->before, sample->before_cut);
  if (sample->fate == LC_SAMPLE_KEPT) set_record(L, "after", &sample->after, sample->after_cut);
  else set_text(L, sample->fate == LC_SAMPLE_DROPPED ? "dropped" : "dead", &sample->after);
}

static void push_texts(lua_State *L, const lc_sample *sample) {
  lua_newtable(L);
  set_text(L, "before", &sample->before);
  set_text(L, "after", &sample->after);
  set_flag(L, "before_cut", sample->before_cut);
  set_flag(L, "after_cut", sample->after_cut);
}

int lc_repl_samples(lua_State *L) {
  lc_error error = {0};
  lc_samples **held = push_holder(L);
  *held = samples_at(L, &error);
  const lc_samples *samples = *held;
  if (samples == NULL) return refuse(L, &error);
  lua_newtable(L);
  luaL_setmetatable(L, LC_LUA_ARRAY);
  lua_newtable(L);
  for (uint32_t i = 0; i < samples->n; i++) {
    push_sample(L, &samples->items[i]);
    lua_rawseti(L, -3, (int)i + 1);
    push_texts(L, &samples->items[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
  lc_samples_destroy(*held);
  *held = NULL;
  return 2;
}

/* --- trials --- */

typedef struct lc_trial {
  lc_samples *samples; /* owned; those whose text is whole */
  lc_batch *batch;     /* owned; the clones, one record for each of them */
  bool in_hand;        /* the state's view is on the batch */
} lc_trial;

static void destroy_source(lc_source *source) {
  lc_source_deinit(source);
  free(source);
}

static int add_clone(lc_batch *batch, const lc_sample *sample) {
  lc_source *source = calloc(1, sizeof *source);
  if (source == NULL) return LC_ENOMEM;
  if (lc_source_init(source, "", sample->source != NULL ? sample->source : "", destroy_source) != 0) {
    free(source);
    return LC_ENOMEM;
  }
  lc_range *range = lc_batch_add_range(batch, source, 0); /* which keeps the source */
  lc_source_release(source);
  lc_record *rec = range != NULL ? lc_batch_add_record(batch) : NULL;
  if (rec == NULL) return LC_ENOMEM;
  memcpy(batch->base[0] + batch->data_len, sample->before.data, sample->before.len);
  rec->body = batch->data_len;
  rec->body_len = (uint32_t)sample->before.len;
  rec->time_ns = sample->time_ns;
  batch->data_len += rec->body_len + 1;
  batch->base[0][batch->data_len - 1] = '\n';
  return lc_json_slice(batch, rec);
}

/* Samples that were cut cannot be cloned: they leave the list. */
static int clone_all(lc_trial *trial) {
  lc_samples *samples = trial->samples;
  uint32_t whole = 0;
  int rc = 0;
  trial->batch = lc_batch_create(COUNT_MAX * (LC_SAMPLER_TEXT + 1));
  if (trial->batch == NULL) return LC_ENOMEM;
  for (uint32_t i = 0; i < samples->n && rc == 0; i++) {
    lc_sample sample = samples->items[i];
    if (sample.before_cut) continue;
    samples->items[i] = samples->items[whole];
    samples->items[whole++] = sample;
    rc = add_clone(trial->batch, &sample);
  }
  trial->batch->read_ns = lc_clock_wall();
  for (uint32_t i = whole; i < samples->n; i++) {
    free(samples->items[i].source);
    lc_buf_free(&samples->items[i].before);
    lc_buf_free(&samples->items[i].after);
  }
  samples->n = whole;
  return rc;
}

void lc_repl_try_clean(lc_repl *repl) {
  lc_trial *trial = repl->trial;
  if (trial == NULL) return;
  if (trial->in_hand) lc_view_end(&repl->state->view);
  lc_samples_destroy(trial->samples);
  lc_batch_destroy(trial->batch);
  free(trial);
  repl->trial = NULL;
}

int lc_repl_try_begin(lua_State *L) {
  lc_error error = {0};
  lc_repl *repl = lc_repl_of(L);
  if (repl->trial != NULL) {
    (void)lc_error_set(&error, LC_EBUSY, "try() cannot be used in the function that it tries");
    return refuse(L, &error);
  }
  repl->trial = calloc(1, sizeof *repl->trial);
  if (repl->trial == NULL) return luaL_error(L, "not enough memory");
  repl->trial->samples = samples_at(L, &error);
  if (repl->trial->samples == NULL || clone_all(repl->trial) != 0) {
    if (error.code == 0) (void)lc_error_set(&error, LC_ENOMEM, "not enough memory for the clones");
    lc_repl_try_clean(repl);
    return refuse(L, &error);
  }
  lc_view_begin(&repl->state->view, NULL, repl->trial->batch, 0, repl->trial->batch->n_records, INT64_MAX / 2);
  repl->trial->in_hand = true;
  lua_pushboolean(L, 1);
  return 1;
}

static lc_repl *in_trial(lua_State *L) {
  lc_repl *repl = lc_repl_of(L);
  if (repl->trial == NULL) luaL_error(L, "this trial is over");
  return repl;
}

int lc_repl_try_next(lua_State *L) {
  lua_pushboolean(L, lc_view_next(&in_trial(L)->state->view));
  return 1;
}

int lc_repl_try_drop(lua_State *L) {
  lc_view_drop(&in_trial(L)->state->view);
  return 0;
}

static void push_outcome(lua_State *L, const lc_trial *trial, uint32_t i) {
  const lc_record *rec = &trial->batch->records[i];
  const lc_sample *sample = &trial->samples->items[i];
  lua_newtable(L);
  if (sample->source != NULL) {
    lua_pushstring(L, sample->source);
    lua_setfield(L, -2, "source");
  }
  set_record(L, "before", &sample->before, false);
  if (!lc_record_live(rec)) {
    set_flag(L, "dropped", true);
    return;
  }
  lc_buf text = {0};
  if (lc_encode_json(trial->batch, rec, &text) == 0 && !text.failed) {
    lc_json_push_buf(L, &text);
    lua_setfield(L, -2, "after");
  }
  lc_buf_free(&text);
}

int lc_repl_try_end(lua_State *L) {
  lc_repl *repl = in_trial(L);
  const lc_trial *trial = repl->trial;
  lua_newtable(L);
  luaL_setmetatable(L, LC_LUA_ARRAY);
  for (uint32_t i = 0; i < trial->batch->n_records; i++) {
    push_outcome(L, trial, i);
    lua_rawseti(L, -2, (int)i + 1);
  }
  lc_repl_try_clean(repl);
  return 1;
}
