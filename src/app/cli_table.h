/* What each verb takes: the one table that the parser and the help read. Thread: any; all of it is constant. */
#ifndef LC_APP_CLI_TABLE_H
#define LC_APP_CLI_TABLE_H

#include <stddef.h>

#include "app/cli.h"

typedef enum lc_cli_kind {
  LC_CLI_FLAG,  /* bool */
  LC_CLI_VALUE, /* const char * */
  LC_CLI_WORD,  /* int: the index of the value in `words` */
  LC_CLI_LIST   /* may come several times: const char **, and the number behind it */
} lc_cli_kind;

typedef struct lc_cli_option {
  const char *name; /* "--once"; NULL ends the table */
  lc_cli_kind kind;
  unsigned verbs;           /* bits 1 << lc_verb */
  size_t at;                /* offset into lc_cli */
  const char *value;        /* its name in the help */
  const char *const *words; /* ends with NULL */
  const char *help;
} lc_cli_option;

typedef struct lc_cli_verb {
  const char *name;
  const char *arguments; /* as in a usage line */
  size_t least, most;    /* arguments that are no options */
  const char *summary;
  const char *text; /* what it does, and examples */
} lc_cli_verb;

extern const lc_cli_option lc_cli_options[];
extern const lc_cli_verb lc_cli_verbs[LC_VERBS];

#endif
