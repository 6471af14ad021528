/* The command line: which verb, with which options.
 *
 *     lc_cli cli;
 *     int code = lc_cli_parse(argc, argv, &cli, stderr);
 *     if (code >= 0) return code;                 // help was shown (0), or the usage was wrong (2)
 *     ... cli.verb, cli.files ...
 *     lc_cli_free(&cli);
 *
 * Options follow the verb, as `--name value` or `--name=value`; `--` ends them. Behind it stand files, or, with `test`,
 * what busted gets. What is unknown is refused with the
 * nearest name.
 *
 * Thread: main. */
#ifndef LC_APP_CLI_H
#define LC_APP_CLI_H

#include <stdbool.h>
#include <stdio.h>

#include "base/log.h"

/* Exit codes. */
#define LC_EXIT_FINE 0
#define LC_EXIT_FAILED 1
#define LC_EXIT_USAGE 2

typedef enum lc_verb {
  LC_VERB_RUN,
  LC_VERB_CHECK,
  LC_VERB_STATUS,
  LC_VERB_AUDIT,
  LC_VERB_POSITIONS,
  LC_VERB_RELOAD,
  LC_VERB_STOP,
  LC_VERB_TOP,
  LC_VERB_TEST,
  LC_VERB_REPL,
  LC_VERB_VERSION,
  LC_VERB_HELP,
  LC_VERBS
} lc_verb;

typedef struct lc_cli {
  lc_verb verb;
  bool once, watch, json;
  const char *state_dir; /* NULL: not given */
  const char *code;      /* of `repl -e`; NULL: not given */
  int log_level;         /* lc_log_level */
  int log_format;        /* lc_log_format */
  const char **allow;    /* owned; the strings are argv's */
  size_t n_allow;
  const char **files; /* owned; the strings are argv's; for `help`: the verb asked about */
  size_t n_files;
  const char *filter, *interval; /* NULL: not given */
  const char **rest; /* owned; the strings are argv's; what stands behind `--` with `test` */
  size_t n_rest;
} lc_cli;

/* Returns -1 when there is a verb to run, which must be freed then; else the exit code. Help goes to stdout, errors to
 * `err`. */
int lc_cli_parse(int argc, char **argv, lc_cli *ret, FILE *err);
void lc_cli_free(lc_cli *cli);

const char *lc_verb_name(lc_verb verb);
/* Help on one verb, or on all with LC_VERBS. */
void lc_help_print(lc_verb verb, FILE *out);

#endif
