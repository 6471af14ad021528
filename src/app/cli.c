#include "app/cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "app/cli_table.h"
#include "bind/nearest.h"

typedef struct parser {
  int argc, at;
  char **argv;
  lc_cli *cli;
  FILE *err;
} parser;

static int usage(parser *self, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int usage(parser *self, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("logcap: ", self->err);
  vfprintf(self->err, format, arguments);
  va_end(arguments);
  fputc('\n', self->err);
  return LC_EXIT_USAGE;
}

/* " did you mean X?", or where help is. */
static const char *hint(const char *nearest, const char *verb, char ret[160]) {
  if (nearest) snprintf(ret, 160, "did you mean \"%s\"?", nearest);
  else if (verb) snprintf(ret, 160, "see: logcap %s --help", verb);
  else snprintf(ret, 160, "see: logcap --help");
  return ret;
}

const char *lc_verb_name(lc_verb verb) {
  return verb < LC_VERBS ? lc_cli_verbs[verb].name : "";
}

static int find_verb(parser *self, const char *word, lc_verb *ret) {
  lc_nearest nearest = {.name = word};
  char text[160];
  for (int verb = 0; verb < LC_VERBS; verb++) {
    if (strcmp(word, lc_cli_verbs[verb].name) == 0) {
      *ret = (lc_verb)verb;
      return -1;
    }
    lc_nearest_offer(&nearest, lc_cli_verbs[verb].name);
  }
  return usage(self, "unknown command \"%.200s\"; %s", word, hint(nearest.best, NULL, text));
}

/* The option of this verb whose name is the first `len` bytes of `word`; NULL, and said so, when there is none. */
static const lc_cli_option *find_option(parser *self, const char *word, size_t len) {
  char name[80], text[160];
  snprintf(name, sizeof name, "%.*s", (int)(len < sizeof name ? len : sizeof name - 1), word);
  lc_nearest nearest = {.name = name};
  for (const lc_cli_option *option = lc_cli_options; option->name; option++) {
    if ((option->verbs & (1u << self->cli->verb)) == 0) continue;
    if (strlen(option->name) == len && strncmp(option->name, word, len) == 0) return option;
    lc_nearest_offer(&nearest, option->name);
  }
  const char *verb = lc_verb_name(self->cli->verb);
  (void)usage(self, "unknown option %s of \"%s\"; %s", name, verb, hint(nearest.best, verb, text));
  return NULL;
}

/* Appends to a list that has room: there are no more arguments than argc. */
static int add_to_list(parser *self, const char ***list, size_t *n, const char *value) {
  if (!*list) *list = calloc((size_t)self->argc, sizeof **list);
  if (!*list) return usage(self, "out of memory");
  (*list)[(*n)++] = value;
  return -1;
}

static int set_word(parser *self, const lc_cli_option *option, const char *value) {
  lc_nearest nearest = {.name = value};
  char text[160];
  for (int i = 0; option->words[i]; i++) {
    if (strcmp(option->words[i], value) == 0) {
      *(int *)(void *)((char *)self->cli + option->at) = i;
      return -1;
    }
    lc_nearest_offer(&nearest, option->words[i]);
  }
  const char *verb = lc_verb_name(self->cli->verb);
  return usage(self, "%s cannot be \"%.200s\"; %s", option->name, value, hint(nearest.best, verb, text));
}

static int set_option(parser *self, const lc_cli_option *option, const char *value) {
  char *at = (char *)self->cli + option->at;
  if (value[0] == '\0') return usage(self, "option %s has an empty value", option->name);
  if (option->kind == LC_CLI_WORD) return set_word(self, option, value);
  if (option->kind == LC_CLI_LIST) return add_to_list(self, &self->cli->allow, &self->cli->n_allow, value);
  memcpy(at, &value, sizeof value);
  return -1;
}

static int parse_option(parser *self, const char *word) {
  const char *equals = strchr(word, '=');
  const lc_cli_option *option = find_option(self, word, equals ? (size_t)(equals - word) : strlen(word));
  if (!option) return LC_EXIT_USAGE;
  if (option->kind == LC_CLI_FLAG) {
    if (equals) return usage(self, "option %s takes no value", option->name);
    *(bool *)((char *)self->cli + option->at) = true;
    return -1;
  }
  if (equals) return set_option(self, option, equals + 1);
  if (self->at < self->argc) return set_option(self, option, self->argv[self->at++]);
  return usage(self, "option %s needs a value: %s %s", option->name, option->name, option->value);
}

static bool asks_help(const char *word) {
  return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static int parse_words(parser *self) {
  bool options = true;
  while (self->at < self->argc) {
    const char *word = self->argv[self->at++];
    int code = -1;
    if (options && strcmp(word, "--") == 0) {
      options = false;
    } else if (!options && self->cli->verb == LC_VERB_TEST) {
      code = add_to_list(self, &self->cli->rest, &self->cli->n_rest, word);
    } else if (options && asks_help(word)) {
      lc_help_print(self->cli->verb, stdout);
      return LC_EXIT_FINE;
    } else if (options && word[0] == '-' && word[1] != '\0') {
      code = parse_option(self, word);
    } else {
      code = add_to_list(self, &self->cli->files, &self->cli->n_files, word);
    }
    if (code >= 0) return code;
  }
  return -1;
}

static int check_count(parser *self) {
  const lc_cli_verb *verb = &lc_cli_verbs[self->cli->verb];
  if (self->cli->n_files < verb->least) {
    return usage(self, "\"%s\" needs a pipeline file: logcap %s %s", verb->name, verb->name, verb->arguments);
  }
  if (self->cli->n_files > verb->most) {
    return usage(self, "\"%s\" does not take \"%.200s\"; see: logcap %s --help", verb->name,
                 self->cli->files[verb->most], verb->name);
  }
  return -1;
}

static int show_help(parser *self) {
  lc_verb verb = LC_VERBS;
  if (self->cli->n_files > 0) {
    int code = find_verb(self, self->cli->files[0], &verb);
    if (code >= 0) return code;
  }
  lc_help_print(verb, stdout);
  return LC_EXIT_FINE;
}

int lc_cli_parse(int argc, char **argv, lc_cli *ret, FILE *err) {
  *ret = (lc_cli){.log_level = LC_LOG_INFO, .log_format = LC_LOG_AUTO};
  parser self = {.argc = argc, .at = 2, .argv = argv, .cli = ret, .err = err};
  if (argc < 2) {
    lc_help_print(LC_VERBS, err);
    return LC_EXIT_USAGE;
  }
  if (asks_help(argv[1])) {
    lc_help_print(LC_VERBS, stdout);
    return LC_EXIT_FINE;
  }
  const char *word = strcmp(argv[1], "--version") == 0 ? "version" : argv[1];
  int code = find_verb(&self, word, &ret->verb);
  if (code < 0 && ret->verb == LC_VERB_TEST) ret->log_level = LC_LOG_ERROR; /* what specs provoke is no news */
  if (code < 0) code = parse_words(&self);
  if (code < 0) code = check_count(&self);
  if (code < 0 && ret->verb == LC_VERB_HELP) code = show_help(&self);
  if (code >= 0) lc_cli_free(ret);
  return code;
}

void lc_cli_free(lc_cli *cli) {
  free(cli->allow);
  free(cli->files);
  free(cli->rest);
  cli->allow = cli->files = cli->rest = NULL;
  cli->n_allow = cli->n_files = cli->n_rest = 0;
}
