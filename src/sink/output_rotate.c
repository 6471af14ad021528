#include "sink/output_rotate.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/durable.h"

#define AGAIN_AFTER (10 * LC_SECOND)
#define NAMES_MAX 100000u
#define AT_ONCE 100u /* rotations of one upkeep: nobody writes meanwhile */

bool lc_rotation_due(const lc_rotation *rotation, const lc_output *output, int64_t now_ns) {
  int64_t wait = rotation->not_before_ns - now_ns;
  if (output->id == 0 || output->end.length == 0 || (wait > 0 && wait <= AGAIN_AFTER)) return false;
  if (rotation->size > 0 && output->end.length >= rotation->size) return true;
  int64_t age = now_ns - output->made_ns; /* far below zero: made while the clock was wrong, and its age is unknown */
  return rotation->age_ns > 0 && (age >= rotation->age_ns || age <= -rotation->age_ns);
}

/* A name is free when neither it nor what it would be compressed to is there. */
static bool is_free(const char *name) {
  static const char *const endings[] = {"", ".gz", ".zst"};
  char path[PATH_MAX];
  for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
    int len = snprintf(path, sizeof path, "%s%s", name, endings[i]);
    if (len < 0 || (size_t)len >= sizeof path) return false;
    if (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT) return false;
  }
  return true;
}

static int choose_name(lc_rotation *rotation, const char *path, int64_t now_ns, char ret[PATH_MAX], lc_error *error) {
  time_t second = (time_t)(now_ns / LC_SECOND);
  struct tm tm;
  char stamp[32];
  (void)gmtime_r(&second, &tm);
  (void)strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%S", &tm);
  if (rotation->second != second) rotation->number = 0;
  rotation->second = second;
  for (uint32_t i = 0; i < NAMES_MAX; i++) {
    int len = snprintf(ret, PATH_MAX, "%s.%s-%u", path, stamp, ++rotation->number);
    if (len < 0 || len >= PATH_MAX) break;
    if (is_free(ret)) return 0;
  }
  return lc_error_set(error, LC_ELIMIT, "cannot find a free name beside %s to rotate it to", path);
}

static int commit_row(lc_output_set *set, const lc_stored_output *row, lc_error *error) {
  lc_changes changes = {0};
  int rc = lc_changes_output(&changes, row, false);
  if (rc != 0) rc = lc_error_set(error, rc, "no memory for a row");
  if (rc == 0) rc = lc_store_apply(set->store, &changes, lc_output_set_safety(set), error);
  lc_changes_free(&changes);
  return rc;
}

/* Never over another file. */
static int rename_new(const char *from, const char *to, lc_error *error) {
  if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return lc_error_sys(error, errno, "cannot rename %s to %s", from, to);
  /* a file system without it: the name was free a moment ago */
  if (rename(from, to) == 0) return 0;
  return lc_error_sys(error, errno, "cannot rename %s to %s", from, to);
}

static int turn(lc_rotation *rotation, lc_output_set *set, lc_output **output, int64_t now_ns, lc_error *error) {
  lc_output *old = *output;
  char name[PATH_MAX];
  int rc = choose_name(rotation, old->path, now_ns, name, error);
  if (rc != 0) return rc;
  char *path = strdup(name);
  lc_output *fresh = lc_output_create(old->path, strlen(old->path), old->hash);
  lc_stored_output row = lc_output_row(old, set->sink_id);
  row.pending = name;
  rc = path == NULL || fresh == NULL ? lc_error_set(error, LC_ENOMEM, "no memory to rotate %s", old->path) : 0;
  if (rc == 0) rc = commit_row(set, &row, error);
  if (rc == 0) rc = rename_new(old->path, name, error);
  if (rc != 0) {
    free(path);
    lc_output_destroy(fresh);
    return rc;
  }
  lc_output_set_remove(set, old, false);
  free(old->path);
  old->path = path;
  rc = lc_output_set_enter(set, fresh); /* where `old` was there is room */
  *output = fresh;
  if (rc == 0 && set->rules.durable) rc = lc_durable_sync_parent(path, error);
  /* Should this fail: the row still knows both names. */
  row = lc_output_row(old, set->sink_id);
  return rc == 0 ? commit_row(set, &row, error) : rc;
}

void lc_rotation_turn(lc_rotation *rotation, lc_output_set *set, lc_output **output, int64_t now_ns) {
  lc_error error = {0};
  lc_output *old = *output;
  int rc = turn(rotation, set, output, now_ns, &error);
  if (*output != old) lc_output_set_count(set, LC_COUNT_rotated, 1);
  if (rc == 0) return;
  rotation->not_before_ns = now_ns + AGAIN_AFTER;
  lc_output_set_count(set, LC_COUNT_rename_failures, 1);
  lc_log(LC_LOG_ERROR, "file_sink", "cannot rotate an output; it is written on and rotated later",
         LC_S("name", set->name), LC_S("path", (*output)->path), LC_S("error", error.message));
}

bool lc_rotation_turn_aged(lc_rotation *rotation, lc_output_set *set, int64_t now_ns) {
  if (rotation->age_ns == 0) return false;
  uint32_t turned = 0;
  for (uint32_t i = 0; i < set->cap && turned < AT_ONCE; i++) {
    lc_output *output = set->table[i];
    if (output == NULL || output->touched || !lc_rotation_due(rotation, output, now_ns)) continue;
    if (!lc_output_in_place(output)) continue;
    lc_rotation_turn(rotation, set, &output, now_ns);
    turned++;
  }
  return turned == AT_ONCE;
}

/* The text without the digits at its end; NULL when there are none, or not `n` of them (0: any number). */
static const char *before_digits(const char *start, const char *end, size_t n) {
  const char *at = end;
  while (at > start && at[-1] >= '0' && at[-1] <= '9') at--;
  return at == end || (n > 0 && (size_t)(end - at) != n) ? NULL : at;
}

bool lc_rotation_gave(const char *path) {
  const char *end = path + strlen(path);
  if (end - path > 3 && strcmp(end - 3, ".gz") == 0) {
    end -= 3;
  } else if (end - path > 4 && strcmp(end - 4, ".zst") == 0) {
    end -= 4;
  }
  const char *number = before_digits(path, end, 0);
  if (number == NULL || number == path || number[-1] != '-') return false;
  const char *time = before_digits(path, number - 1, 6);
  if (time == NULL || time == path || time[-1] != 'T') return false;
  const char *date = before_digits(path, time - 1, 8);
  return date != NULL && date > path && date[-1] == '.';
}
