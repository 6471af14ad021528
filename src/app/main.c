/* logcap: the command. What it can do stands in cli_table.c. */
#include <signal.h>
#include <stdio.h>

#include "app/check.h"
#include "app/cli.h"
#include "app/query.h"
#include "app/repl.h"
#include "app/run.h"
#include "app/test.h"
#include "app/top.h"

static int print_version(void) {
  printf("logcap %s\n", LC_VERSION);
  return fflush(stdout) == 0 ? LC_EXIT_FINE : LC_EXIT_FAILED;
}

static int run_verb(const lc_cli *cli) {
  switch (cli->verb) {
    case LC_VERB_RUN:
      return lc_run(cli);
    case LC_VERB_CHECK:
      return lc_check_files(cli);
    case LC_VERB_STATUS:
      return lc_query_status(cli);
    case LC_VERB_AUDIT:
      return lc_query_audit(cli);
    case LC_VERB_POSITIONS:
      return lc_query_positions(cli);
    case LC_VERB_RELOAD:
      return lc_query_reload(cli);
    case LC_VERB_STOP:
      return lc_query_stop(cli);
    case LC_VERB_TOP:
      return lc_top(cli);
    case LC_VERB_TEST:
      return lc_test_specs(cli);
    case LC_VERB_REPL:
      return lc_repl_command(cli);
    case LC_VERB_VERSION:
    default:
      return print_version();
  }
}

int main(int argc, char **argv) {
  lc_cli cli;
  int code = lc_cli_parse(argc, argv, &cli, stderr);
  if (code >= 0) return code;
  (void)signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of write */
  code = run_verb(&cli);
  lc_cli_free(&cli);
  return code;
}
