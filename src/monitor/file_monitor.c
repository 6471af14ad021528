#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "monitor/file_inside.h"
#include "monitor/file_options.h"

/* --- the resource --- */

static void destroy_monitor(lc_resource *res) {
  lc_file_monitor *monitor = (lc_file_monitor *)res;
  lc_file_table_deinit(&monitor->files);
  lc_file_free_stored(monitor);
  lc_file_folder_free(monitor->folder);
  lc_file_copies_destroy(monitor->copies);
  lc_multiline_destroy(monitor->multiline);
  lc_file_options_free(&monitor->options);
  lc_labels_release(monitor->base.labels);
  free(monitor);
}

static void one_closed(lc_file_monitor *monitor) {
  monitor->n_closing--;
  lc_file_check_stopped(monitor);
}

static void on_timer_closed(uv_handle_t *timer) { one_closed(timer->data); }

static void on_discovery_closed(void *arg) { one_closed(arg); }

static void drop_file(void *arg, lc_file *file) { lc_file_drop(arg, file); }

/* Closes what is left once no job is under way. */
static void close_rest(lc_file_monitor *monitor) {
  monitor->closing = false;
  lc_file_forget_described(monitor);
  monitor->n_closing++; /* until all is asked for */
  lc_file_table_each(&monitor->files, drop_file, monitor);
  lc_file_free_stored(monitor);
  if (monitor->discovery != NULL) {
    monitor->n_closing++;
    lc_discovery_close(monitor->discovery, on_discovery_closed);
    monitor->discovery = NULL;
  }
  if (monitor->timer_open) {
    monitor->timer_open = false;
    monitor->n_closing++;
    uv_close((uv_handle_t *)&monitor->timer, on_timer_closed);
  }
  monitor->closed_rest = true;
  one_closed(monitor);
}

void lc_file_check_stopped(lc_file_monitor *monitor) {
  if (!monitor->stopping || monitor->jobs > 0 || monitor->n_closing > 0) return;
  if (monitor->resolve != NULL || monitor->sweep != NULL) return;
  if (monitor->closing) {
    close_rest(monitor);
    return;
  }
  if (monitor->closed_rest) {
    monitor->closed_rest = false;
    atomic_store(&monitor->base.resource.descriptors, 0);
    lc_resource_closed(&monitor->base.resource);
  }
  if (!monitor->stopped && monitor->stop_asked) { /* also when somebody closed it in use, before it was to stop */
    monitor->stopped = true;
    lc_monitor_stopped(&monitor->base);
  }
}

static void close_monitor(lc_resource *res) {
  lc_file_monitor *monitor = (lc_file_monitor *)res;
  monitor->stopping = true;
  monitor->closing = true;
  lc_file_check_stopped(monitor);
}

static int write_stats(lc_resource *res, lc_buf *ret) {
  const lc_file_monitor *monitor = (const lc_file_monitor *)res;
  const lc_file_stats *stats = &monitor->stats;
  lc_buf_addf(ret, "{\"files\":%u,\"open\":%u,\"waiting\":%u,\"held\":%u,\"resting\":%u",
              monitor->files.n_files - monitor->n_resting, monitor->permits_used, monitor->ready.n + monitor->urgent.n,
              monitor->n_held, monitor->n_resting);
  lc_buf_addf(ret, ",\"deleted_held\":%u,\"jobs_running\":%u", monitor->n_deleted, monitor->jobs);
  lc_buf_addf(ret, ",\"waits_for_room\":%s", monitor->starved ? "true" : "false");
  const struct {
    const char *name;
    uint64_t value;
  } counts[] = {{"found", stats->found},
                {"rotated", stats->rotated},
                {"truncated", stats->truncated},
                {"deleted", stats->deleted},
                {"drained", stats->drained},
                {"copies", stats->copies},
                {"abandoned_files", stats->abandoned_files},
                {"abandoned_bytes", stats->abandoned_bytes},
                {"own_files_skipped", stats->own},
                {"bytes", stats->bytes},
                {"lines_cut", stats->cut_lines},
                {"bytes_skipped", stats->skipped_bytes},
                {"pattern_failures", stats->pattern_failures},
                {"read_failures", stats->failures},
                {"jobs", stats->jobs},
                {"looks", stats->looks}};
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    lc_buf_addf(ret, ",\"%s\":%llu", counts[i].name, (unsigned long long)counts[i].value);
  }
  if (monitor->discovery != NULL) {
    lc_buf_adds(ret, ",\"discovery\":{");
    int rc = lc_discovery_stats(monitor->discovery, ret);
    if (rc != 0) return rc;
    lc_buf_addc(ret, '}');
  }
  return lc_buf_addc(ret, '}');
}

static const lc_resource_ops resource_ops = {
    .close = close_monitor, .destroy = destroy_monitor, .stats = write_stats, .fit = lc_file_fit,
    .adopt = lc_file_adopt};

/* --- the monitor --- */

static int open_monitor(lc_monitor *base, lc_runtime *runtime, lc_feed *feed, lc_error *error) {
  lc_file_monitor *monitor = lc_file_monitor_of(base);
  base->feed = feed;
  monitor->runtime = runtime;
  monitor->max_open = monitor->options.max_open_files;
  uint32_t block = lc_feed_block_size(feed);
  monitor->how =
      (lc_file_how){.feed = feed,
                    .own = runtime->own,
                    .multiline = monitor->multiline,
                    .copies = monitor->copies,
                    .max_line = monitor->options.max_line < block ? (uint32_t)monitor->options.max_line : block,
                    .job_bytes = LC_FILE_JOB_BYTES};
  const lc_file_monitor_options *options = &monitor->options;
  lc_discovery_options discovery = {.paths = options->paths,
                                    .n_paths = options->n_paths,
                                    .exclude = options->exclude,
                                    .n_exclude = options->n_exclude,
                                    .hidden = options->hidden,
                                    .follow_symlinks = options->follow_symlinks,
                                    .once = runtime->once};
  int rc = lc_resource_opened(&base->resource, error); /* from now on, closing it closes what is there */
  if (rc == 0) rc = lc_file_timer_open(monitor, error);
  if (rc != 0) return rc;
  return lc_discovery_create(&discovery, runtime->loop, &lc_file_discovery_events, monitor, &monitor->discovery, error);
}

static void start_monitor(lc_monitor *base) {
  lc_file_monitor *monitor = lc_file_monitor_of(base);
  lc_error error = {0};
  lc_file_folder_free(monitor->folder);
  monitor->folder = NULL;
  if (lc_file_load_stored(monitor, &error) != 0) lc_log(LC_LOG_ERROR, LC_FILE_LOG, error.message);
  monitor->started = true;
  lc_discovery_start(monitor->discovery);
}

static void room_again(lc_monitor *base) {
  lc_file_monitor *monitor = lc_file_monitor_of(base);
  monitor->starved = false;
  lc_file_schedule(monitor);
}

static void stop_monitor(lc_monitor *base) {
  lc_file_monitor *monitor = lc_file_monitor_of(base);
  monitor->stopping = true;
  monitor->stop_asked = true;
  if (monitor->timer_open) uv_timer_stop(&monitor->timer);
  lc_file_check_stopped(monitor);
}

static const struct lc_multiline *get_multiline(const lc_monitor *base) {
  return ((const lc_file_monitor *)(const void *)base)->multiline;
}

static const lc_monitor_ops monitor_ops = {.open = open_monitor,
                                           .start = start_monitor,
                                           .room = room_again,
                                           .settled = lc_file_settled,
                                           .stop = stop_monitor,
                                           .retire = lc_file_retire,
                                           .replayable = lc_file_replayable,
                                           .multiline = get_multiline};

/* --- creation --- */

/* The kind and the patterns: the same files, the same cursors. */
static const char *make_identity(const lc_file_monitor_options *options, const char *name, lc_buf *buf) {
  lc_buf_adds(buf, "file_monitor:");
  if (name != NULL) {
    lc_buf_adds(buf, name);
  } else {
    for (uint32_t i = 0; i < options->n_paths; i++) lc_buf_addf(buf, "%s%s", i > 0 ? "," : "", options->paths[i]);
  }
  return lc_buf_cstr(buf);
}

static int fill(lc_file_monitor *monitor, const lc_file_monitor_options *options, lc_error *error) {
  if (options->multiline.start != NULL || options->multiline.continuation != NULL) {
    int rc = lc_multiline_create(&options->multiline, &monitor->multiline, error);
    if (rc != 0) return lc_error_context(error, "file_monitor");
  }
  if (lc_file_options_copy(options, &monitor->options) != 0 || lc_file_table_init(&monitor->files) != 0 ||
      lc_file_copies_create(&monitor->copies) != 0 ||
      lc_labels_create(options->labels, options->n_labels, &monitor->base.labels) != 0) {
    return lc_error_set(error, LC_ENOMEM, "file_monitor: out of memory");
  }
  return 0;
}

static void free_parts(lc_file_monitor *monitor) {
  lc_labels_release(monitor->base.labels);
  lc_file_copies_destroy(monitor->copies);
  lc_file_table_deinit(&monitor->files);
  lc_file_options_free(&monitor->options);
  lc_multiline_destroy(monitor->multiline);
  free(monitor);
}

int lc_file_monitor_create(const lc_file_monitor_options *options, lc_registry *registry, const char *name,
                           const char *made_at, lc_monitor **ret, lc_error *error) {
  int rc = lc_file_options_check(options, error);
  if (rc != 0) return rc;
  lc_file_monitor *monitor = calloc(1, sizeof *monitor);
  if (monitor == NULL) return lc_error_set(error, LC_ENOMEM, "file_monitor: out of memory");
  rc = fill(monitor, options, error);
  if (rc == 0) {
    lc_buf identity = {0};
    const char *text = make_identity(options, name, &identity);
    rc = identity.failed ? lc_error_set(error, LC_ENOMEM, "file_monitor: out of memory")
                         : lc_resource_init(&monitor->base.resource, registry, &resource_ops, "file_monitor", name,
                                            text, made_at, error);
    lc_buf_free(&identity);
  }
  if (rc != 0) {
    free_parts(monitor);
    return rc;
  }
  monitor->base.ops = &monitor_ops;
  monitor->base.line_max = (uint32_t)monitor->options.max_line;
  *ret = &monitor->base;
  return 0;
}
