#include "pipeline/sampler.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "logcap/source.h"
#include "record/encode.h"

struct lc_sampler {
  _Atomic int64_t next_ns; /* not before this time */
  pthread_mutex_t lock;
  /* Under the lock: */
  lc_sample kept[LC_SAMPLER_KEPT]; /* a ring */
  uint32_t first, n;
};

lc_sampler *lc_sampler_create(void) {
  lc_sampler *sampler = calloc(1, sizeof *sampler);
  if (sampler == NULL || pthread_mutex_init(&sampler->lock, NULL) == 0) return sampler;
  free(sampler);
  return NULL;
}

static void free_sample(lc_sample *sample) {
  free(sample->source);
  lc_buf_free(&sample->before);
  lc_buf_free(&sample->after);
}

void lc_sampler_destroy(lc_sampler *sampler) {
  if (sampler == NULL) return;
  for (uint32_t i = 0; i < sampler->n; i++) free_sample(&sampler->kept[(sampler->first + i) % LC_SAMPLER_KEPT]);
  (void)pthread_mutex_destroy(&sampler->lock);
  free(sampler);
}

void lc_samples_destroy(lc_samples *samples) {
  if (samples == NULL) return;
  for (uint32_t i = 0; i < samples->n; i++) free_sample(&samples->items[i]);
  free(samples);
}

/* Appends the record's JSON as far as it is kept; a text that is cut is no JSON any more. */
static bool encode(const lc_batch *batch, const lc_record *rec, lc_buf *ret, bool *ret_cut) {
  lc_buf text = {0};
  int rc = lc_encode_json(batch, rec, &text);
  *ret_cut = text.len > LC_SAMPLER_TEXT;
  if (rc == 0) rc = lc_buf_add(ret, text.data, *ret_cut ? LC_SAMPLER_TEXT : text.len);
  lc_buf_free(&text);
  return rc == 0;
}

static bool take(const lc_batch *batch, uint32_t index, int64_t now_ns, lc_sample *ret) {
  const lc_record *rec = &batch->records[index];
  *ret = (lc_sample){.taken_ns = now_ns, .time_ns = rec->time_ns != 0 ? rec->time_ns : batch->read_ns, .record = index};
  if (!encode(batch, rec, &ret->before, &ret->before_cut)) return false;
  const lc_source *source = rec->range < batch->n_ranges ? batch->ranges[rec->range].source : NULL;
  const char *name = source != NULL ? atomic_load(&source->name) : NULL;
  if (name != NULL) ret->source = strdup(name);
  return name == NULL || ret->source != NULL;
}

/* The turn belongs to whoever moves the time on. */
static bool is_time(lc_sampler *sampler, int64_t now_ns) {
  int64_t next = atomic_load_explicit(&sampler->next_ns, memory_order_relaxed);
  if (now_ns < next && next - now_ns <= LC_SAMPLER_EVERY_NS) return false; /* else the clock was set back */
  return atomic_compare_exchange_strong(&sampler->next_ns, &next, now_ns + LC_SAMPLER_EVERY_NS);
}

/* Spread over the batch, with uneven steps: records often alternate. */
static uint32_t place_of(uint32_t nth, uint32_t n_records) {
  uint32_t step = n_records / LC_SAMPLER_RECORDS;
  return (uint32_t)((uint64_t)nth * n_records / LC_SAMPLER_RECORDS) + (step > 1 ? nth % step : 0);
}

lc_samples *lc_sampler_begin(lc_sampler *sampler, const lc_batch *batch, int64_t now_ns) {
  if (batch->n_records == 0 || !is_time(sampler, now_ns)) return NULL;
  lc_samples *samples = malloc(sizeof *samples + LC_SAMPLER_RECORDS * sizeof samples->items[0]);
  if (samples == NULL) return NULL;
  samples->n = 0;
  for (uint32_t i = 0; i < batch->n_records && samples->n < LC_SAMPLER_RECORDS; i++) {
    uint32_t place = place_of(samples->n, batch->n_records);
    if (i < place) i = place;
    if (!lc_record_live(&batch->records[i])) continue;
    if (!take(batch, i, now_ns, &samples->items[samples->n++])) {
      lc_samples_destroy(samples);
      return NULL;
    }
  }
  if (samples->n > 0) return samples;
  lc_samples_destroy(samples);
  return NULL;
}

static bool see_dead(const lc_batch *batch, lc_sample *sample) {
  sample->fate = LC_SAMPLE_DEAD;
  for (uint32_t i = 0; i < batch->n_dead; i++) {
    const lc_dead *dead = &batch->dead[i];
    if (dead->record != sample->record) continue;
    return lc_buf_add(&sample->after, lc_batch_at(batch, dead->reason), dead->reason_len) == 0;
  }
  return true;
}

static bool see_after(const lc_batch *batch, lc_sample *sample) {
  const lc_record *rec = &batch->records[sample->record];
  if (rec->flags & LC_REC_DEAD) return see_dead(batch, sample);
  if (!(rec->flags & LC_REC_DROPPED)) return encode(batch, rec, &sample->after, &sample->after_cut);
  sample->fate = LC_SAMPLE_DROPPED;
  return lc_buf_adds(&sample->after, lc_drop_name((lc_drop)(rec->flags >> LC_REC_REASON_SHIFT))) == 0;
}

/* Moves a sample into the ring, in the place of the oldest when it is full. */
static void keep(lc_sampler *sampler, lc_sample *sample) {
  lc_sample *place = &sampler->kept[(sampler->first + sampler->n) % LC_SAMPLER_KEPT];
  if (sampler->n == LC_SAMPLER_KEPT) {
    free_sample(place);
    sampler->first = (sampler->first + 1) % LC_SAMPLER_KEPT;
  } else {
    sampler->n++;
  }
  *place = *sample;
  *sample = (lc_sample){0};
}

void lc_sampler_end(lc_sampler *sampler, lc_samples *samples, const lc_batch *batch) {
  if (samples == NULL) return;
  bool whole = true;
  for (uint32_t i = 0; i < samples->n; i++) whole = whole && see_after(batch, &samples->items[i]);
  pthread_mutex_lock(&sampler->lock);
  for (uint32_t i = 0; whole && i < samples->n; i++) keep(sampler, &samples->items[i]);
  pthread_mutex_unlock(&sampler->lock);
  lc_samples_destroy(samples);
}

static bool copy(const lc_sample *from, lc_sample *to) {
  *to = *from;
  to->before = to->after = (lc_buf){0};
  to->source = from->source != NULL ? strdup(from->source) : NULL;
  lc_buf_add(&to->before, from->before.data, from->before.len);
  lc_buf_add(&to->after, from->after.data, from->after.len);
  return !to->before.failed && !to->after.failed && (from->source == NULL || to->source != NULL);
}

lc_samples *lc_sampler_copy(lc_sampler *sampler, uint32_t n) {
  lc_samples *samples = malloc(sizeof *samples + LC_SAMPLER_KEPT * sizeof samples->items[0]);
  if (samples == NULL) return NULL;
  samples->n = 0;
  bool whole = true;
  pthread_mutex_lock(&sampler->lock);
  if (n > sampler->n) n = sampler->n;
  for (uint32_t i = sampler->n - n; i < sampler->n && whole; i++) {
    whole = copy(&sampler->kept[(sampler->first + i) % LC_SAMPLER_KEPT], &samples->items[samples->n++]);
  }
  pthread_mutex_unlock(&sampler->lock);
  if (whole) return samples;
  lc_samples_destroy(samples);
  return NULL;
}
