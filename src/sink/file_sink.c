#include "sink/file_sink.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "sink/file_write.h"
#include "sink/output_idle.h"
#include "sink/output_pack.h"
#include "sink/output_recover.h"
#include "sink/output_retain.h"
#include "sink/output_sync.h"
#include "sink/writer.h"

#define TEND_LEAST_MS UINT64_C(1000)
#define TEND_MOST_MS UINT64_C(60000)
#define PACK_AGAIN_MS UINT64_C(30000)
#define PACK_WHEN_CLOSING (3 * LC_SECOND)

typedef struct file_sink {
  lc_writer writer; /* first */
  lc_file_sink_options options; /* with the defaults filled in; their texts are in the template */
  lc_retention retention;
  lc_path_template *template; /* owned */
  lc_output_set set;
  lc_file_writing writing;
  uv_timer_t timer;    /* upkeep */
  uint64_t tend_ms;    /* 0: there is none */
  bool moved_on;       /* the path changed: files of the old one need not stay open */
  _Atomic bool recall_due; /* finished files that nobody needed before have to be looked up */
  uv_work_t pack_job;
  lc_pack_rules pack_rules; /* the job's */
  _Atomic bool pack_anew;   /* they changed: the job stops, and begins again */
  lc_error pack_error;
  uint64_t pack_not_before; /* loop time, ms */
  int64_t pack_until_ns;    /* the job's; 0: not closing */
  bool tend_again;      /* the job's: upkeep was not done with all */
  uint32_t retained_at; /* how many rotations there were at the last commit */
  bool opened;
  _Atomic bool packing;
  bool in_commit;  /* between a snapshot and its end: the set is looked at by the pool */
  bool gone;       /* letting go, and past the last commit that has something of it */
  bool letting_go; /* the writer has ended: nothing is left but compression and what is held */
  uv_work_t end_job;
  bool ending; /* it runs */
} file_sink;

static file_sink *of_writer(lc_writer *writer) { return (file_sink *)(void *)writer; }
static file_sink *of_sink(lc_sink *sink) { return (file_sink *)(void *)sink; }

/* Pool thread. */

static int sink_write(lc_writer *writer, lc_delivery *delivery, lc_error *error) {
  file_sink *self = of_writer(writer);
  int rc = lc_file_write(&self->writing, delivery, lc_clock_wall(), error);
  if (rc == 0) delivery->at = delivery->batch->n_records;
  return rc;
}

static int sink_sync(lc_writer *writer, lc_error *error) {
  lc_output_set *set = &of_writer(writer)->set;
  int rc = lc_output_set_sync_before(set, error);
  return rc == 0 ? lc_output_set_sync(set, error) : rc;
}

/* What follows from options that changed. What fails is tried again with the next upkeep. */
static void catch_up(file_sink *self) {
  lc_error error = {0};
  lc_output_set_close_down(&self->set, self->moved_on ? 0 : self->set.max_open);
  self->moved_on = false;
  int rc = lc_output_set_sync_before(&self->set, &error);
  if (rc == 0 && atomic_load(&self->recall_due) && !atomic_load(&self->packing)) {
    rc = lc_outputs_remember(&self->set, &error);
    if (rc == 0) atomic_store(&self->recall_due, false);
  }
  uint64_t held = 0;
  if (rc == 0 || !lc_log_limit_pass(&self->set.log_limit, lc_clock_mono(), 10 * LC_SECOND, &held)) return;
  lc_log(LC_LOG_ERROR, "file_sink", "cannot take all new options over yet; it is tried again",
         LC_S("name", self->set.name), LC_S("error", error.message), LC_I("not_logged", held));
}

static void sink_tend(lc_writer *writer) {
  file_sink *self = of_writer(writer);
  int64_t now_ns = lc_clock_wall();
  bool half_written = self->writing.batch != NULL;
  self->tend_again = !half_written && lc_rotation_turn_aged(&self->writing.rotation, &self->set, now_ns);
  catch_up(self);
  bool all_known = !atomic_load(&self->recall_due);
  if (all_known && lc_retention_wanted(&self->retention)) {
    lc_retention_apply(&self->retention, &self->set, half_written, now_ns);
  }
}

/* When the sink closes, compression gets a little while, then stops: the next start goes on with what is left. */
static bool pack_stops(void *arg) {
  file_sink *self = arg;
  if (atomic_load(&self->pack_anew)) return true;
  if (!lc_writer_closing(&self->writer)) return false;
  if (self->pack_until_ns == 0) self->pack_until_ns = lc_clock_mono() + PACK_WHEN_CLOSING;
  return lc_clock_mono() > self->pack_until_ns;
}

static void pack_run(uv_work_t *job) {
  file_sink *self = job->data;
  self->pack_error = (lc_error){0};
  int rc;
  do {
    rc = lc_output_pack_next(&self->set, &self->pack_rules, pack_stops, self, &self->pack_error);
  } while (rc == 0);
  if (rc == LC_ENOENT || rc == LC_ECANCELED) self->pack_error.code = LC_OK;
}

/* Loop thread. */

/* Whether something is left to be done that follows from changed options. */
static bool is_behind(const file_sink *self) {
  return atomic_load(&self->recall_due) || atomic_load(&self->set.sync_due);
}

static void let_go(file_sink *self);
static void pack_done(uv_work_t *job, int status);

static lc_pack_rules rules_of(const lc_file_sink_options *options) {
  return (lc_pack_rules){.kind = options->compress, .mode = options->mode, .durable = options->fsync};
}

static void start_packing(file_sink *self) {
  if (self->options.compress == LC_FILE_PLAIN || self->packing || lc_writer_closing(&self->writer)) return;
  if (atomic_load(&self->recall_due)) return;
  if (uv_now(self->writer.runtime->loop) < self->pack_not_before || !lc_output_pack_waits(&self->set)) return;
  self->packing = true;
  self->pack_rules = rules_of(&self->options);
  atomic_store(&self->pack_anew, false);
  self->pack_job.data = self;
  int rc = uv_queue_work(self->writer.runtime->loop, &self->pack_job, pack_run, pack_done);
  lc_require(rc == 0);
}

static void pack_done(uv_work_t *job, int status) {
  file_sink *self = job->data;
  lc_require(status == 0);
  self->packing = false;
  if (self->pack_error.code != LC_OK) {
    self->pack_not_before = uv_now(self->writer.runtime->loop) + PACK_AGAIN_MS;
    lc_log(LC_LOG_ERROR, "file_sink", "cannot compress a rotated output; it stays as it is, and is tried again",
           LC_S("name", self->writer.sink.resource.name), LC_S("error", self->pack_error.message));
  }
  if (self->letting_go) {
    let_go(self);
  } else if (!lc_writer_closing(&self->writer)) {
    if (lc_retention_wanted(&self->retention) || is_behind(self)) lc_writer_tend(&self->writer);
    start_packing(self);
  }
}

static void timer_fired(uv_timer_t *timer);

static void start_timer(file_sink *self, uint64_t ms) {
  bool wanted = self->tend_ms > 0 || self->options.compress != LC_FILE_PLAIN || is_behind(self);
  int rc = wanted ? uv_timer_start(&self->timer, timer_fired, ms, 0) : uv_timer_stop(&self->timer);
  lc_require(rc == 0); /* they cannot fail */
}

static void timer_fired(uv_timer_t *timer) {
  file_sink *self = timer->data;
  start_packing(self);
  if (self->tend_ms > 0 || is_behind(self)) lc_writer_tend(&self->writer);
  uint64_t every = self->tend_ms > 0 ? self->tend_ms : PACK_AGAIN_MS;
  start_timer(self, is_behind(self) ? TEND_LEAST_MS : every);
}

static void sink_publish(lc_writer *writer) {
  file_sink *self = of_writer(writer);
  lc_output_set_publish(&self->set);
  writer->sink.durable = self->options.fsync && !atomic_load(&self->set.sync_due);
  start_packing(self);
  if (self->tend_again && !lc_writer_closing(writer)) lc_writer_tend(writer);
  self->tend_again = false;
}

static int sink_snapshot(lc_sink *sink, struct lc_changes *changes, lc_error *error) {
  file_sink *self = of_sink(sink);
  if (self->gone) return 0;
  self->in_commit = true;
  return lc_output_set_snapshot(&self->set, changes, error);
}

static void sink_committed(lc_sink *sink, bool ok) {
  file_sink *self = of_sink(sink);
  uint32_t rotated = (uint32_t)atomic_load(&self->set.counts[LC_COUNT_rotated]);
  if (self->gone) return;
  self->in_commit = false;
  lc_output_set_committed(&self->set, ok);
  if (self->letting_go) {
    let_go(self);
    return;
  }
  if (!ok) return;
  start_packing(self);
  lc_output_set_trim(&self->set);
  /* Finished files may be removed only now that they are committed. */
  if (rotated != self->retained_at && lc_retention_wanted(&self->retention)) lc_writer_tend(&self->writer);
  self->retained_at = rotated;
}

/* The file of a fixed path is taken at once when it is there, so that a second owner hears of it at its start. */
static int take_fixed(file_sink *self, lc_error *error) {
  lc_file_id file = {0};
  lc_buf path = {0};
  lc_path_values values = {0};
  if (!lc_path_template_is_fixed(self->template)) return 0;
  int rc = lc_path_template_render(self->template, &values, &path);
  if (rc == 0 && lc_file_id_of(lc_buf_cstr(&path), &file, NULL) == 0) {
    bool replaced;
    lc_output *output = lc_output_set_find(&self->set, path.data, path.len);
    rc = output == NULL ? LC_ENOMEM : lc_output_set_use(&self->set, &output, &replaced, error);
    if (rc != LC_EBUSY && rc != LC_ENOMEM) rc = 0; /* what else is wrong may be right when the first line comes */
  }
  if (rc == LC_ENOMEM) rc = lc_error_set(error, rc, "no memory for an output");
  lc_buf_free(&path);
  return rc;
}

static int sink_open(lc_writer *writer, lc_runtime *runtime, lc_error *error) {
  file_sink *self = of_writer(writer);
  lc_output_set *set = &self->set;
  set->name = writer->sink.resource.name;
  set->sink_id = writer->sink.store_id;
  set->store = runtime->store;
  set->rules.own = runtime->own;
  set->descriptors = &writer->sink.resource.descriptors;
  set->memory = &writer->sink.resource.bytes;
  int rc = uv_timer_init(runtime->loop, &self->timer);
  lc_require(rc == 0); /* it cannot fail */
  self->timer.data = self;
  self->opened = true;
  uv_unref((uv_handle_t *)&self->timer); /* upkeep keeps nobody waiting */
  rc = lc_output_set_init(set, error);
  if (rc == 0) rc = lc_outputs_recover(set, writer->sink.replayable, error);
  if (rc == 0) rc = take_fixed(self, error);
  if (rc == 0) start_timer(self, TEND_LEAST_MS);
  return rc;
}

static void timer_closed(uv_handle_t *handle) {
  file_sink *self = handle->data;
  lc_output_set_deinit(&self->set);
  lc_writer_closed(&self->writer);
}

static void end_run(uv_work_t *job) {
  file_sink *self = job->data;
  lc_error error = {0};
  if (lc_file_take_back(&self->writing, &error) == 0) return;
  self->writing.batch = NULL;
  lc_log(LC_LOG_ERROR, "file_sink", "cannot take back what is half written; its lines may be there twice",
         LC_S("name", self->set.name), LC_S("error", error.message));
}

static void end_done(uv_work_t *job, int status) {
  file_sink *self = job->data;
  lc_require(status == 0);
  self->ending = false;
  let_go(self);
}

/* Ends when no job is under way any more, what is half written is taken back, and what was settled is saved: whoever
 * follows finds outputs that end where the cursors stand. */
static void let_go(file_sink *self) {
  if (self->packing || self->in_commit || self->ending || self->gone) return;
  if (self->writing.batch != NULL) {
    self->ending = true;
    self->end_job.data = self;
    int rc = uv_queue_work(self->writer.runtime->loop, &self->end_job, end_run, end_done);
    lc_require(rc == 0);
    return;
  }
  if (lc_output_set_unsaved(&self->set) && lc_sink_commit(&self->writer.sink)) return;
  self->gone = true;
  if (self->opened) {
    uv_close((uv_handle_t *)&self->timer, timer_closed);
  } else {
    lc_writer_closed(&self->writer);
  }
}

static void sink_close(lc_writer *writer) {
  file_sink *self = of_writer(writer);
  self->letting_go = true;
  let_go(self);
}

static void sink_destroy(lc_writer *writer) {
  file_sink *self = of_writer(writer);
  lc_output_set_deinit(&self->set);
  lc_file_writing_deinit(&self->writing);
  lc_path_template_destroy(self->template);
  free(self);
}

static int sink_stats(lc_writer *writer, lc_buf *ret) {
  file_sink *self = of_writer(writer);
  return lc_output_set_stats(&self->set, ret);
}

/* Options. */

static int check_options(const lc_file_sink_options *options, lc_error *error) {
  if (options->path == NULL || options->path[0] == '\0') {
    return lc_error_set(error, LC_EINVAL, "file_sink needs a path");
  }
  if (options->rotate.age_ns < 0) return lc_error_set(error, LC_EINVAL, "rotate.age must not be negative");
  if (options->retain.age_ns < 0) return lc_error_set(error, LC_EINVAL, "retain.age must not be negative");
  if ((options->mode & ~07777u) != 0 || (options->folder_mode & ~07777u) != 0) {
    return lc_error_set(error, LC_EINVAL, "a mode is at most 7777 (octal)");
  }
  if (options->mode != 0 && (options->mode & 0600u) != 0600u) {
    return lc_error_set(error, LC_EINVAL, "mode must let the owner read and write: logcap checks what it wrote");
  }
  if (options->metadata && options->format != LC_SINK_JSON) {
    return lc_error_set(error, LC_EINVAL, "metadata needs format = \"json\": raw output is the message alone");
  }
  bool rotates = options->rotate.size > 0 || options->rotate.age_ns > 0;
  if (options->compress != LC_FILE_PLAIN && !rotates) {
    return lc_error_set(error, LC_EINVAL, "compress works on rotated files: set rotate.size or rotate.age, too");
  }
  return 0;
}

/* Retention of a path that is never finished would be a promise that nobody keeps. */
static int check_retention(const file_sink *self, lc_error *error) {
  const lc_rotation *rotation = &self->writing.rotation;
  if (!lc_retention_wanted(&self->retention) || rotation->size > 0 || rotation->age_ns > 0) return 0;
  if (!lc_path_template_is_fixed(self->template)) return 0;
  return lc_error_set(error, LC_EINVAL, "retain works on finished files: set rotate, or a path with a date, too");
}

static uint64_t upkeep_every(const file_sink *self) {
  uint64_t ms = 0;
  if (self->writing.rotation.age_ns > 0) {
    ms = (uint64_t)(self->writing.rotation.age_ns / LC_MILLISECOND) / 20;
    if (ms < TEND_LEAST_MS) ms = TEND_LEAST_MS;
  }
  if (ms > TEND_MOST_MS || (ms == 0 && lc_retention_wanted(&self->retention))) ms = TEND_MOST_MS;
  return ms;
}

/* As they are compared, and taken over. */
static lc_file_sink_options filled_in(const lc_file_sink_options *given) {
  lc_file_sink_options options = *given;
  options.path = options.missing = NULL;
  if (options.mode == 0) options.mode = 0640;
  if (options.folder_mode == 0) options.folder_mode = 0750;
  if (options.max_open_files == 0) options.max_open_files = LC_FILE_SINK_OPEN_DEFAULT;
  if (options.max_outputs == 0) options.max_outputs = LC_FILE_SINK_OUTPUTS_DEFAULT;
  return options;
}

/* Between two jobs; nothing may fail. A job that compresses may run. */
static void take_options(file_sink *self, const lc_file_sink_options *options) {
  self->options = *options;
  self->retention = (lc_retention){options->retain.files, options->retain.size, options->retain.age_ns};
  self->writing.template = self->template;
  self->writing.set = &self->set;
  self->writing.min_free = options->min_free;
  self->writing.rotation.size = options->rotate.size;
  self->writing.rotation.age_ns = options->rotate.age_ns;
  self->writing.format = options->format;
  self->writing.metadata = options->metadata;
  self->set.most = options->max_outputs;
  self->set.keep_finished = lc_retention_wanted(&self->retention);
  self->set.packs = options->compress != LC_FILE_PLAIN;
  self->set.max_open = options->max_open_files;
  self->set.rules.mode = options->mode;
  self->set.rules.folder_mode = options->folder_mode;
  self->set.rules.durable = options->fsync;
  self->tend_ms = upkeep_every(self);
}

/* A reload. */

static bool same_options(const lc_file_sink_options *a, const lc_file_sink_options *b) {
  return a->format == b->format && a->metadata == b->metadata && a->fsync == b->fsync && a->mode == b->mode &&
         a->folder_mode == b->folder_mode && a->max_open_files == b->max_open_files &&
         a->max_outputs == b->max_outputs && a->min_free == b->min_free && a->rotate.size == b->rotate.size &&
         a->rotate.age_ns == b->rotate.age_ns && a->compress == b->compress && a->retain.files == b->retain.files &&
         a->retain.size == b->retain.size && a->retain.age_ns == b->retain.age_ns;
}

/* `local_time` and `missing` are the template's. All can be taken over: never two sinks have the same files. */
static lc_fit sink_fit(const lc_writer *writer, const lc_writer *described) {
  const file_sink *self = (const file_sink *)(const void *)writer;
  const file_sink *other = (const file_sink *)(const void *)described;
  bool same = lc_path_template_same(self->template, other->template) && same_options(&self->options, &other->options);
  return same ? LC_FIT_SAME : LC_FIT_CHANGED;
}

/* Outputs of the old path stay ours: their rows, what is not committed of them, rotation by age, compression, and
 * retention once they were idle for an hour. */
static void swap_templates(file_sink *self, file_sink *other) {
  if (lc_path_template_same(self->template, other->template)) return;
  lc_path_template *before = self->template;
  self->template = other->template;
  other->template = before;
  self->moved_on = self->writing.redo = true;
}

static void sink_adopt(lc_writer *writer, lc_writer *described) {
  file_sink *self = of_writer(writer), *other = of_writer(described);
  const lc_file_sink_options before = self->options;
  const bool kept = self->set.keep_finished, packed = self->set.packs;
  const lc_pack_rules rules = rules_of(&before), now = rules_of(&other->options);
  swap_templates(self, other);
  take_options(self, &other->options);
  writer->ops = described->ops; /* with or without sync */
  if (self->options.fsync && !before.fsync) atomic_store(&self->set.sync_due, true);
  if (!self->options.fsync) atomic_store(&self->set.sync_due, false);
  writer->sink.durable = writer->sink.durable && self->options.fsync; /* if it is new: once all is synced */
  if (rules.kind != now.kind || rules.mode != now.mode || rules.durable != now.durable) {
    atomic_store(&self->pack_anew, true);
  }
  if (!kept && (self->set.keep_finished || (self->set.packs && !packed))) {
    atomic_store(&self->recall_due, true);
    atomic_store(&self->pack_anew, true);
  }
  self->set.sought_ns = 0;
  start_timer(self, TEND_LEAST_MS);
}

static int sink_show(lc_sink *sink, const lc_batch *batch, const lc_record *rec, lc_buf *line, lc_buf *place) {
  const file_sink *self = of_sink(sink);
  lc_encoder encoder = {.format = self->options.format, .metadata = self->options.metadata};
  lc_path_values values;
  lc_path_values_reset(&values);
  (void)lc_path_values_take(self->template, batch, rec, &values);
  int rc = lc_path_template_render(self->template, &values, place);
  if (rc == 0) rc = lc_encode_record(&encoder, batch, rec, line);
  lc_encoder_deinit(&encoder);
  return rc;
}

static const lc_writer_ops plain_ops = {.open = sink_open,
                                        .write = sink_write,
                                        .tend = sink_tend,
                                        .publish = sink_publish,
                                        .close = sink_close,
                                        .destroy = sink_destroy,
                                        .stats = sink_stats,
                                        .fit = sink_fit,
                                        .adopt = sink_adopt,
                                        .snapshot = sink_snapshot,
                                        .committed = sink_committed,
                                        .show = sink_show};
static const lc_writer_ops synced_ops = {.open = sink_open,
                                         .write = sink_write,
                                         .sync = sink_sync,
                                         .tend = sink_tend,
                                         .publish = sink_publish,
                                         .close = sink_close,
                                         .destroy = sink_destroy,
                                         .stats = sink_stats,
                                         .fit = sink_fit,
                                         .adopt = sink_adopt,
                                         .snapshot = sink_snapshot,
                                         .committed = sink_committed,
                                        .show = sink_show};

int lc_file_sink_create(const lc_file_sink_options *options, lc_registry *registry, const char *name,
                        const char *made_at, lc_sink **ret, lc_error *error) {
  int rc = check_options(options, error);
  if (rc != 0) return rc;
  file_sink *self = calloc(1, sizeof *self);
  char *identity = NULL;
  if (self == NULL || asprintf(&identity, "file_sink:%s", name != NULL ? name : options->path) < 0) {
    free(self);
    return lc_error_set(error, LC_ENOMEM, "no memory for a file_sink");
  }
  rc = lc_path_template_parse(options->path, options->missing, options->local_time, &self->template, error);
  if (rc == 0) {
    const lc_file_sink_options all = filled_in(options);
    take_options(self, &all);
    rc = check_retention(self, error);
  }
  const lc_writer_ops *ops = options->fsync ? &synced_ops : &plain_ops;
  if (rc == 0) {
    rc = lc_writer_init(&self->writer, ops, registry, "file_sink", name, identity, made_at, error);
  }
  free(identity);
  if (rc != 0) {
    lc_path_template_destroy(self->template);
    free(self);
    return rc;
  }
  self->writer.sink.durable = options->fsync;
  *ret = &self->writer.sink;
  return 0;
}
