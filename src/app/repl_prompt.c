#include "app/repl_prompt.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

#include <editline/readline.h>

#include "io/durable.h"
#include "io/state_dir.h"
#include "record/json_text.h"

#define HISTORY_MAX 1000 /* lines */

/* libedit calls back without an argument. */
static struct {
  lc_repl_client *client; /* borrowed */
  volatile sig_atomic_t interrupted;
  lc_buf history;         /* owned: the file's path; empty: there is none */
  char *last;             /* owned: the line that was noted last */
} prompt;

static void on_interrupt(int number) {
  (void)number;
  prompt.interrupted = 1;
}

/* --- reading --- */

/* A character; EOF at the end and when interrupted. Waits in read() itself, which a signal ends. */
static int next_char(FILE *in) {
  mbstate_t state = {0};
  wchar_t wide = 0;
  for (;;) {
    char byte = 0;
    ssize_t n = prompt.interrupted ? 0 : read(fileno(in), &byte, 1);
    if (n < 0 && errno == EINTR && !prompt.interrupted) continue;
    if (n <= 0) return EOF;
    size_t used = mbrtowc(&wide, &byte, 1, &state);
    if (used == (size_t)-2) continue;
    return used == (size_t)-1 ? '?' : (int)wide;
  }
}

char *lc_repl_prompt_line(const char *text, bool *ret_interrupted) {
  prompt.interrupted = 0;
  char *line = readline(text);
  *ret_interrupted = prompt.interrupted != 0;
  prompt.interrupted = 0;
  if (!*ret_interrupted) return line;
  free(line);
  return NULL;
}

/* --- completion --- */

/* What libedit shall put in the place of its word, which begins at `start`, for one that begins at `from`. */
static char *fitting(const char *word, size_t len, const char *text, size_t start, size_t from) {
  size_t skip = start > from ? start - from : 0, keep = from > start ? from - start : 0;
  if (skip > len || keep > strlen(text)) return NULL;
  char *fit = malloc(keep + len - skip + 1);
  if (fit == NULL) return NULL;
  memcpy(fit, text, keep);
  memcpy(fit + keep, word + skip, len - skip);
  fit[keep + len - skip] = '\0';
  return fit;
}

static size_t common_length(char **words, size_t n) {
  size_t len = strlen(words[0]);
  for (size_t i = 1; i < n; i++) {
    size_t same = 0;
    while (same < len && words[i][same] == words[0][same]) same++;
    len = same;
  }
  return len;
}

/* The list that libedit wants: the common beginning, the words, NULL; all of it is its to free. */
static char **list_of(lc_answer words, const char *text, size_t start, size_t from) {
  size_t most = 1, n = 0;
  lc_buf word = {0};
  for (lc_json_members it = lc_json_open(words.at, words.len); lc_json_next(&it);) most++;
  char **list = calloc(most + 1, sizeof *list);
  lc_json_members it = lc_json_open(words.at, words.len);
  while (list != NULL && lc_json_next(&it)) {
    if (lc_answer_string((lc_answer){it.value, it.value_len, it.type}, &word) != 0) break;
    char *fit = fitting(word.data, word.len, text, start, from);
    if (fit != NULL) list[1 + n++] = fit;
  }
  lc_buf_free(&word);
  if (n > 0) list[0] = strndup(list[1], common_length(list + 1, n));
  if (n > 0 && list[0] != NULL) return list;
  for (size_t i = 0; i < n; i++) free(list[1 + i]);
  free(list);
  return NULL;
}

static char **complete(const char *text, int start, int end) {
  size_t from = 0;
  lc_answer words;
  lc_error error = {0};
  rl_attempted_completion_over = 1; /* no names of files */
  if (start < 0 || end < start) return NULL;
  if (lc_repl_client_complete(prompt.client, rl_line_buffer, (size_t)end, &from, &words, &error) != 0) return NULL;
  return list_of(words, text, (size_t)start, from);
}

/* --- history --- */

/* Without a place for it, the history lives as long as the prompt. */
static void open_history(void) {
  lc_error error = {0};
  using_history();
  stifle_history(HISTORY_MAX);
  if (lc_state_dir_home(&prompt.history, &error) == 0 && !prompt.history.failed &&
      lc_durable_mkdirs(lc_buf_cstr(&prompt.history), 0700, &error) == 0 &&
      lc_buf_adds(&prompt.history, "/repl_history") == 0) {
    (void)read_history(lc_buf_cstr(&prompt.history)); /* the first time there is none */
  } else {
    lc_buf_free(&prompt.history);
  }
}

static void save_history(void) {
  if (prompt.history.len == 0) return;
  const char *path = lc_buf_cstr(&prompt.history);
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  bool ours = fd >= 0 && fchmod(fd, 0600) == 0;
  if (fd >= 0) (void)close(fd); /* libedit opens it anew */
  if (!ours || write_history(path) != 0) fprintf(stderr, "logcap: cannot save the history in %s\n", path);
}

void lc_repl_prompt_note(const char *line) {
  if (line[strspn(line, " \t")] == '\0' || (prompt.last != NULL && strcmp(prompt.last, line) == 0)) return;
  (void)add_history(line);
  free(prompt.last);
  prompt.last = strdup(line); /* without memory for it a line may stand twice */
}

/* --- lifetime --- */

void lc_repl_prompt_begin(lc_repl_client *client) {
  const struct sigaction interrupt = {.sa_handler = on_interrupt}; /* no SA_RESTART: it ends what waits */
  if (setlocale(LC_CTYPE, "") == NULL || MB_CUR_MAX == 1) (void)setlocale(LC_CTYPE, "C.UTF-8");
  prompt.client = client;
  client->interrupted = &prompt.interrupted;
  (void)sigaction(SIGINT, &interrupt, NULL);
  rl_readline_name = "logcap";
  rl_catch_signals = 0;
  rl_getc_function = next_char;
  rl_attempted_completion_function = complete;
  rl_basic_word_break_characters = " \t\n\"'`;|&{}()[]<>=+-*/%^#~,.:";
  rl_completion_append_character = '\0';
  open_history();
}

void lc_repl_prompt_end(void) {
  const struct sigaction usual = {.sa_handler = SIG_DFL};
  save_history();
  (void)sigaction(SIGINT, &usual, NULL);
  prompt.client->interrupted = NULL;
  lc_buf_free(&prompt.history);
  free(prompt.last);
  prompt.last = NULL;
}
