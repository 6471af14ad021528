#include "app/repl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/query.h"
#include "app/repl_client.h"
#include "app/repl_prompt.h"
#include "io/state_dir.h"

typedef struct repl {
  const lc_cli *cli;
  lc_repl_client client;
  lc_buf chunk; /* lines so far */
} repl;

static void complain(const char *message) { fprintf(stderr, "logcap: %s\n", message); }

static void print_text(const lc_buf *text, FILE *out) {
  if (text->len == 0) return;
  (void)fwrite(text->data, 1, text->len, out);
  fputc('\n', out);
}

/* Shows what became of a chunk; an incomplete one is an error by now. */
static int show(const repl *self, lc_reply *reply) {
  if (reply->lost) complain("the pipeline files were loaded anew: what this session had set is gone");
  print_text(&reply->printed, self->cli->json ? stderr : stdout);
  if (reply->kind == LC_REPLY_DONE) print_text(&reply->text, stdout);
  else complain(lc_buf_cstr(&reply->text));
  if (fflush(stdout) == 0 && !ferror(stdout)) return reply->kind == LC_REPLY_DONE ? LC_EXIT_FINE : LC_EXIT_FAILED;
  complain("cannot write to standard output");
  return LC_EXIT_FAILED;
}

static int eval(repl *self, const char *code, size_t len, lc_reply *reply, lc_error *error) {
  return lc_repl_client_eval(&self->client, code, len, self->cli->json, reply, error);
}

static int run_code(repl *self, const char *code) {
  lc_reply reply = {0};
  lc_error error = {0};
  int exit_code = LC_EXIT_FAILED;
  if (eval(self, code, strlen(code), &reply, &error) == 0) exit_code = show(self, &reply);
  else complain(error.message);
  lc_reply_free(&reply);
  return exit_code;
}

/* Adds a line to the chunk and runs that, unless it wants more lines. Returns 0 when the next line may come; LC_EINVAL
 * when the chunk failed, which was shown; else what ends the session. */
static int run_line(repl *self, const char *line, size_t len, bool *ret_whole, lc_error *error) {
  lc_reply reply = {0};
  lc_buf *chunk = &self->chunk;
  if (chunk->len > 0) lc_buf_addc(chunk, '\n');
  if (lc_buf_add(chunk, line, len) != 0) return lc_error_set(error, LC_ENOMEM, "out of memory for the chunk");
  int rc = chunk->len == 0 ? 0 : eval(self, chunk->data, chunk->len, &reply, error);
  *ret_whole = rc == 0 && reply.kind != LC_REPLY_INCOMPLETE;
  if (*ret_whole) lc_buf_clear(chunk);
  if (*ret_whole && chunk->data != NULL && show(self, &reply) != LC_EXIT_FINE) rc = LC_EINVAL;
  lc_reply_free(&reply);
  return rc;
}

static int run_input(repl *self) {
  char *line = NULL;
  size_t size = 0;
  ssize_t len = 0;
  lc_error error = {0};
  bool whole = true;
  int rc = 0;
  while (rc == 0 && (len = getline(&line, &size, stdin)) >= 0) {
    if (len > 0 && line[len - 1] == '\n') len--;
    rc = run_line(self, line, (size_t)len, &whole, &error);
  }
  if (rc == 0 && ferror(stdin)) rc = lc_error_sys(&error, EIO, "cannot read standard input");
  if (rc == 0 && !whole) rc = lc_error_set(&error, LC_EINVAL, "standard input ends in the middle of a chunk");
  if (error.message[0] != '\0') complain(error.message);
  free(line);
  return rc == 0 ? LC_EXIT_FINE : LC_EXIT_FAILED;
}

static int run_prompt(repl *self) {
  lc_error error = {0};
  bool whole = true, interrupted = false;
  int rc = 0;
  puts("Lua inside the running logcap; help() says what there is, Ctrl-D ends.");
  lc_repl_prompt_begin(&self->client);
  while (rc == 0 || rc == LC_EINVAL) {
    char *line = lc_repl_prompt_line(whole ? "logcap> " : "      > ", &interrupted);
    if (line == NULL) {
      puts(interrupted ? "^C" : "");
      if (!interrupted) break;
      lc_buf_clear(&self->chunk);
      whole = true;
      continue;
    }
    lc_repl_prompt_note(line);
    error = (lc_error){0};
    rc = run_line(self, line, strlen(line), &whole, &error);
    if (error.message[0] != '\0') complain(error.message);
    if (rc == LC_EINVAL && error.message[0] != '\0') lc_buf_clear(&self->chunk); /* it was refused as it is */
    free(line);
  }
  lc_repl_prompt_end();
  return rc == 0 || rc == LC_EINVAL ? LC_EXIT_FINE : LC_EXIT_FAILED;
}

int lc_repl_command(const lc_cli *cli) {
  repl self = {.cli = cli};
  lc_buf folder = {0};
  lc_error error = {0};
  int exit_code = LC_EXIT_FAILED;
  int rc = lc_state_dir_resolve(cli->state_dir, &folder, &error);
  if (rc == 0) rc = lc_repl_client_open(&self.client, lc_buf_cstr(&folder), &error);
  if (rc == LC_ENOENT && folder.len > 0) rc = lc_query_nobody(lc_buf_cstr(&folder), &error);
  if (rc != 0) {
    complain(error.message);
  } else {
    if (cli->code != NULL) exit_code = run_code(&self, cli->code);
    else if (isatty(STDIN_FILENO)) exit_code = run_prompt(&self);
    else exit_code = run_input(&self);
    lc_repl_client_close(&self.client);
  }
  lc_buf_free(&self.chunk);
  lc_buf_free(&folder);
  return exit_code;
}
