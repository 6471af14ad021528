#include "app/query.h"

#include <stdint.h>
#include <string.h>
#include <time.h>

#include "app/control_client.h"
#include "app/control_socket.h"
#include "app/offline.h"
#include "app/render.h"
#include "base/buf.h"
#include "base/clock.h"
#include "io/state_dir.h"

#define STOP_PATIENCE (45 * LC_SECOND) /* the daemon takes at most 30 seconds, and closes what it holds */
#define RELOAD_PATIENCE_S 90u /* each file may load for 10 seconds, and what was removed before drain for 40 */
#define STOP_POLL_NS (10 * LC_MILLISECOND)

static int failed(const lc_error *error) {
  fprintf(stderr, "logcap: %s\n", error->message);
  return LC_EXIT_FAILED;
}

int lc_query_nobody(const char *folder, lc_error *error) {
  long owner = lc_state_dir_owner(folder);
  if (owner == 0) return lc_error_set(error, LC_ENOENT, "no logcap runs on state directory %s", folder);
  return lc_error_set(error, LC_EBUSY,
                      "the logcap that runs on %s (pid %ld) takes no commands: it is starting or stopping", folder,
                      owner);
}

/* Asks the daemon of the state directory. LC_ENOENT: none runs there; `folder` is set then, too. */
static int ask(const lc_cli *cli, const char *verb, lc_buf *folder, lc_buf *reply, lc_answer *ret, lc_error *error) {
  int rc = lc_state_dir_resolve(cli->state_dir, folder, error);
  if (rc != 0) return rc;
  unsigned patience_s = strcmp(verb, "reload") == 0 ? RELOAD_PATIENCE_S : LC_CONTROL_SOCKET_PATIENCE_S;
  rc = lc_control_ask_long(lc_buf_cstr(folder), verb, patience_s, reply, ret, error);
  return rc == LC_ENOENT ? lc_query_nobody(lc_buf_cstr(folder), error) : rc;
}

static int print(const lc_cli *cli, lc_answer answer, void (*render)(lc_answer answer, FILE *out)) {
  if (cli->json) fprintf(stdout, "%.*s\n", (int)answer.len, answer.at);
  else render(answer, stdout);
  if (fflush(stdout) == 0 && !ferror(stdout)) return LC_EXIT_FINE;
  fprintf(stderr, "logcap: cannot write to standard output\n");
  return LC_EXIT_FAILED;
}

int lc_query_status(const lc_cli *cli) {
  lc_buf folder = {0}, reply = {0};
  lc_answer answer;
  lc_error error = {0};
  int rc = ask(cli, "status", &folder, &reply, &answer, &error);
  int code = rc == 0 ? print(cli, answer, lc_render_status) : failed(&error);
  lc_buf_free(&folder);
  lc_buf_free(&reply);
  return code;
}

/* The daemon's answer, or, when none runs, what `offline` reads from the state directory. */
static int ask_or_read(const lc_cli *cli, const char *verb,
                       int (*offline)(const char *option, lc_buf *ret, lc_error *error), lc_buf *reply,
                       lc_answer *ret, lc_error *error) {
  lc_buf folder = {0};
  int rc = ask(cli, verb, &folder, reply, ret, error);
  lc_buf_free(&folder);
  if (rc != LC_ENOENT) return rc;
  rc = offline(cli->state_dir, reply, error);
  if (rc == 0) *ret = (lc_answer){reply->data, reply->len, LC_JSON_OBJECT};
  return rc;
}

int lc_query_audit(const lc_cli *cli) {
  lc_buf reply = {0};
  lc_answer answer;
  lc_error error = {0};
  int rc = ask_or_read(cli, "audit", lc_offline_audit, &reply, &answer, &error);
  int code = rc == 0 ? print(cli, answer, lc_render_audit) : failed(&error);
  if (code == LC_EXIT_FINE && !lc_answer_true(answer, "healthy")) code = LC_EXIT_FAILED;
  lc_buf_free(&reply);
  return code;
}

int lc_query_positions(const lc_cli *cli) {
  lc_buf reply = {0};
  lc_answer answer;
  lc_error error = {0};
  int rc = ask_or_read(cli, "positions", lc_offline_positions, &reply, &answer, &error);
  int code = rc == 0 ? print(cli, answer, lc_render_positions) : failed(&error);
  lc_buf_free(&reply);
  return code;
}

int lc_query_reload(const lc_cli *cli) {
  lc_buf folder = {0}, reply = {0};
  lc_answer answer;
  lc_error error = {0};
  int code = LC_EXIT_FINE;
  if (ask(cli, "reload", &folder, &reply, &answer, &error) != 0) code = failed(&error);
  else printf("reloaded: generation %lld, in %lld ms\n", (long long)lc_answer_count(answer, "generation"),
              (long long)(lc_answer_count(answer, "load_us") + lc_answer_count(answer, "switch_us") + 999) / 1000);
  lc_buf_free(&folder);
  lc_buf_free(&reply);
  return code;
}

/* Until nobody, or somebody else, holds the state directory. */
static bool wait_for_end(const char *folder, long pid) {
  const struct timespec pause = {.tv_nsec = STOP_POLL_NS};
  const int64_t deadline = lc_clock_mono() + STOP_PATIENCE;
  while (lc_state_dir_owner(folder) == pid) {
    if (lc_clock_mono() >= deadline) return false;
    (void)nanosleep(&pause, NULL); /* cut short: asks sooner */
  }
  return true;
}

int lc_query_stop(const lc_cli *cli) {
  lc_buf folder = {0}, reply = {0};
  lc_answer answer;
  lc_error error = {0};
  int code = LC_EXIT_FINE;
  if (ask(cli, "stop", &folder, &reply, &answer, &error) != 0) {
    code = failed(&error);
    goto out;
  }
  long pid = (long)lc_answer_count(answer, "pid");
  if (wait_for_end(lc_buf_cstr(&folder), pid)) {
    printf("logcap (pid %ld) stopped\n", pid);
  } else {
    fprintf(stderr, "logcap: pid %ld did not end in time; send it a second SIGTERM to stop it at once\n", pid);
    code = LC_EXIT_FAILED;
  }

out:
  lc_buf_free(&folder);
  lc_buf_free(&reply);
  return code;
}
