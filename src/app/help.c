#include <string.h>

#include "app/cli.h"
#include "app/cli_table.h"

static void print_option(const lc_cli_option *option, FILE *out) {
  char left[40];
  snprintf(left, sizeof left, "%s%s%s", option->name, option->value ? " " : "", option->value ? option->value : "");
  const char *line = option->help;
  for (const char *before = left; line; before = "") {
    const char *end = strchr(line, '\n');
    fprintf(out, "  %-22s %.*s\n", before, end ? (int)(end - line) : (int)strlen(line), line);
    line = end ? end + 1 : NULL;
  }
}

static void print_verb(lc_verb verb, FILE *out) {
  const lc_cli_verb *self = &lc_cli_verbs[verb];
  bool any = false;
  for (const lc_cli_option *option = lc_cli_options; option->name; option++) {
    any = any || (option->verbs & (1u << verb)) != 0;
  }
  fprintf(out, "Usage: logcap %s%s%s%s\n\n%s.\n\n%s", self->name, any ? " [OPTION...]" : "",
          self->arguments[0] ? " " : "", self->arguments, self->summary, self->text);
  if (any) fputs("\nOptions:\n", out);
  for (const lc_cli_option *option = lc_cli_options; option->name; option++) {
    if (option->verbs & (1u << verb)) print_option(option, out);
  }
}

static void print_all(FILE *out) {
  fputs("logcap collects logs: it follows files, runs each line through a pipeline written in Lua, and delivers it\n"
        "exactly once into files, with a ledger that accounts for every byte.\n\n"
        "Usage: logcap VERB [OPTION...] [FILE...]\n\n", out);
  for (int verb = 0; verb < LC_VERBS; verb++) {
    fprintf(out, "  %-10s %s\n", lc_cli_verbs[verb].name, lc_cli_verbs[verb].summary);
  }
  fputs("\nExit codes: 0 fine (a stop by signal too), 1 a pipeline or run error, 2 wrong usage.\n"
        "Start with:  logcap help run\n", out);
}

void lc_help_print(lc_verb verb, FILE *out) {
  if (verb < LC_VERBS) print_verb(verb, out);
  else print_all(out);
}
