/* The prompt's sessions on the control socket: who asks, and in which generation it is answered. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/app.h"
#include "app/reload.h"
#include "app/repl_message.h"
#include "bind/repl.h"

typedef struct lc_app_session {
  lc_app *app;
  lc_repl *repl; /* owned; in the live generation; NULL: not yet, or not any more */
  bool lost;     /* it had one, whose generation is gone */
  lc_control_client *waits; /* for a reload */
  bool json;
  struct lc_app_session *prev, *next; /* app->sessions */
} lc_app_session;

/* --- answers --- */

static void add_text(lc_buf *ret, const char *before, const lc_buf *text) {
  lc_buf_adds(ret, before);
  lc_buf_add_json_string(ret, text->data, text->len);
}

static void answer(lc_control_client *client, lc_buf *result) {
  if (result->failed) lc_control_refuse(client, "out of memory for an answer");
  else lc_control_answer(client, result);
  lc_buf_free(result);
}

static void answer_outcome(lc_app_session *self, lc_control_client *client, const lc_repl_outcome *outcome) {
  static const char *const names[] = {
      [LC_REPL_DONE] = "{\"text\":", [LC_REPL_ERROR] = "{\"error\":", [LC_REPL_INCOMPLETE] = "{\"incomplete\":"};
  lc_buf result = {0};
  add_text(&result, names[outcome->kind], &outcome->text);
  add_text(&result, ",\"printed\":", &outcome->printed);
  if (self->lost) lc_buf_adds(&result, ",\"lost\":true");
  lc_buf_addc(&result, '}');
  self->lost = false;
  answer(client, &result);
}

/* --- evaluating --- */

/* The session's environment in the live generation; made when it is first needed. */
static int enter(lc_app_session *self, lc_error *error) {
  lc_app *app = self->app;
  if (self->repl != NULL) return 0;
  if (app->finished || app->generation == NULL) return lc_error_set(error, LC_ECLOSED, "this logcap is about to end");
  return lc_repl_create(app->generation, app->engine, &self->repl, error);
}

static void settle(lc_app_session *self, lc_control_client *client, lc_repl_outcome *outcome);

/* What became of the reload that the session's chunk waits for. */
static void after_reload(void *arg, const lc_reload_outcome *reload) {
  lc_app_session *self = arg;
  lc_repl_outcome outcome = {0};
  lc_control_client *client = self->waits;
  self->waits = NULL;
  if (self->repl != NULL && !reload->ok) { /* the chunk's generation lives on */
    lc_repl_resume(self->repl, reload->message, &outcome);
  } else if (reload->ok) {
    lc_buf_addf(&outcome.text, self->json ? "\"generation %u runs\"" : "generation %u runs", reload->generation);
  } else {
    outcome.kind = LC_REPL_ERROR;
    lc_buf_adds(&outcome.text, reload->message);
  }
  self->lost = false; /* who asked for it knows */
  settle(self, client, &outcome);
}

/* The session lives until its answer is given, and so until after_reload is called. */
static void begin_reload(lc_app_session *self, lc_control_client *client) {
  self->waits = client;
  lc_app_reload(self->app, "reload() at the prompt", after_reload, self);
}

static void settle(lc_app_session *self, lc_control_client *client, lc_repl_outcome *outcome) {
  if (outcome->kind == LC_REPL_RELOAD) begin_reload(self, client);
  else answer_outcome(self, client, outcome);
  lc_repl_outcome_deinit(outcome);
}

static void evaluate(lc_app_session *self, lc_control_client *client, const lc_repl_message *message) {
  lc_repl_outcome outcome = {0};
  self->json = message->json;
  lc_repl_eval(self->repl, message->text.data != NULL ? message->text.data : "", message->text.len, message->json,
               &outcome);
  settle(self, client, &outcome);
}

static void complete(lc_app_session *self, lc_control_client *client, const lc_repl_message *message) {
  lc_buf words = {0};
  lc_error error = {0};
  const char *line = message->text.data != NULL ? message->text.data : "";
  if (lc_repl_complete(self->repl, line, message->text.len, &words, &error) == 0) {
    answer(client, &words);
    return;
  }
  lc_buf_free(&words);
  lc_control_refuse(client, error.message);
}

static void on_message(void *arg, lc_control_client *client, const char *text, size_t len) {
  lc_app_session *self = arg;
  lc_repl_message message;
  lc_error error = {0};
  if (lc_repl_message_parse(text, len, &message, &error) != 0) {
    lc_control_refuse(client, error.message);
    return;
  }
  if (enter(self, &error) != 0) lc_control_refuse(client, error.message);
  else if (message.verb == LC_REPL_EVAL) evaluate(self, client, &message);
  else complete(self, client, &message);
  lc_repl_message_deinit(&message);
}

/* --- lifetime --- */

static void on_gone(void *arg) {
  lc_app_session *self = arg;
  if (self->prev != NULL) self->prev->next = self->next;
  else self->app->sessions = self->next;
  if (self->next != NULL) self->next->prev = self->prev;
  lc_repl_destroy(self->repl);
  free(self);
}

void lc_app_begin_session(lc_app *app, lc_control_client *client) {
  lc_app_session *self = calloc(1, sizeof *self);
  if (self == NULL) {
    lc_control_refuse(client, "out of memory for a session");
    return;
  }
  *self = (lc_app_session){.app = app, .next = app->sessions};
  if (self->next != NULL) self->next->prev = self;
  app->sessions = self;
  lc_buf hello = {0};
  lc_buf_addf(&hello, "{\"version\":\"%s\",\"pid\":%ld}", LC_VERSION, (long)getpid());
  const lc_control_session session = {.message = on_message, .gone = on_gone, .arg = self};
  if (lc_control_hold(client, &session, &hello) != 0) on_gone(self);
  lc_buf_free(&hello);
}

void lc_app_detach_sessions(lc_app *app) {
  for (lc_app_session *self = app->sessions; self != NULL; self = self->next) {
    self->lost = self->lost || self->repl != NULL;
    lc_repl_destroy(self->repl);
    self->repl = NULL;
  }
}
