/* The command line: what is understood, what is refused and with which hint, and that the help is whole. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "app/cli.h"
#include "app/cli_table.h"

#define WORDS_MAX 20

/* Parses "run --once a.lua"; *ret_err is what was said, to be freed. */
static int parse(const char *line, lc_cli *ret, char **ret_err) {
  static char words[512]; /* the parsed command line refers to it */
  char *argv[WORDS_MAX + 1] = {"logcap"};
  int argc = 1;
  size_t len = 0;
  assert_true(strlen(line) < sizeof words);
  strcpy(words, line);
  for (char *word = strtok(words, " "); word; word = strtok(NULL, " ")) {
    assert_true(argc < WORDS_MAX);
    argv[argc++] = strcmp(word, "''") == 0 ? "" : word;
  }
  FILE *err = open_memstream(ret_err, &len);
  assert_non_null(err);
  int code = lc_cli_parse(argc, argv, ret, err);
  assert_int_equal(fclose(err), 0);
  return code;
}

static void test_run(void **state) {
  (void)state;
  lc_cli cli;
  char *err = NULL;
  assert_int_equal(parse("run --once --state-dir=st --log-level warn --log-format json --allow io --allow os a.lua -- -b",
                         &cli, &err), -1);
  assert_int_equal(cli.verb, LC_VERB_RUN);
  assert_true(cli.once);
  assert_string_equal(cli.state_dir, "st");
  assert_int_equal(cli.log_level, LC_LOG_WARN);
  assert_int_equal(cli.log_format, LC_LOG_JSON);
  assert_int_equal(cli.n_allow, 2);
  assert_string_equal(cli.allow[1], "os");
  assert_int_equal(cli.n_files, 2);
  assert_string_equal(cli.files[0], "a.lua");
  assert_string_equal(cli.files[1], "-b");
  assert_string_equal(err, "");
  lc_cli_free(&cli);
  free(err);
}

static void test_defaults(void **state) {
  (void)state;
  lc_cli cli;
  char *err = NULL;
  assert_int_equal(parse("run a.lua", &cli, &err), -1);
  assert_false(cli.once);
  assert_null(cli.state_dir);
  assert_int_equal(cli.log_level, LC_LOG_INFO);
  assert_int_equal(cli.log_format, LC_LOG_AUTO);
  assert_int_equal(cli.n_allow, 0);
  lc_cli_free(&cli);
  free(err);
}

static void test_test_hands_on_what_follows(void **state) {
  (void)state;
  lc_cli cli;
  char *err = NULL;
  assert_int_equal(parse("test a.lua --filter=x b_spec.lua --allow io -- --output=TAP -- c", &cli, &err), -1);
  assert_int_equal(cli.verb, LC_VERB_TEST);
  assert_int_equal(cli.log_level, LC_LOG_ERROR);
  assert_string_equal(cli.filter, "x");
  assert_int_equal(cli.n_files, 2);
  assert_string_equal(cli.files[1], "b_spec.lua");
  assert_int_equal(cli.n_rest, 3);
  assert_string_equal(cli.rest[0], "--output=TAP");
  assert_string_equal(cli.rest[2], "c");
  lc_cli_free(&cli);
  free(err);
  assert_int_equal(parse("test --log-level info", &cli, &err), -1);
  assert_int_equal(cli.log_level, LC_LOG_INFO);
  assert_int_equal(cli.n_files + cli.n_rest, 0);
  lc_cli_free(&cli);
  free(err);
}

static void test_wrong_usage(void **state) {
  (void)state;
  static const struct {
    const char *line, *says;
  } wrong[] = {
      {"", "Usage: logcap VERB"},
      {"rnu a.lua", "unknown command \"rnu\"; did you mean \"run\"?"},
      {"frobnicate", "unknown command \"frobnicate\"; see: logcap --help"},
      {"run", "\"run\" needs a pipeline file: logcap run FILE..."},
      {"check", "\"check\" needs a pipeline file"},
      {"run --onec a.lua", "unknown option --onec of \"run\"; did you mean \"--once\"?"},
      {"run --zzzzzzzz a.lua", "unknown option --zzzzzzzz of \"run\"; see: logcap run --help"},
      {"run --once=yes a.lua", "option --once takes no value"},
      {"run a.lua --state-dir", "option --state-dir needs a value: --state-dir DIR"},
      {"run --state-dir '' a.lua", "option --state-dir has an empty value"},
      {"run --state-dir= a.lua", "option --state-dir has an empty value"},
      {"run --log-level warm a.lua", "--log-level cannot be \"warm\"; did you mean \"warn\"?"},
      {"check --once a.lua", "unknown option --once of \"check\""},
      {"top a.lua", "\"top\" does not take \"a.lua\""},
      {"top --intervl 1s", "unknown option --intervl of \"top\"; did you mean \"--interval\"?"},
      {"test --once", "unknown option --once of \"test\""},
      {"run --filter x a.lua", "unknown option --filter of \"run\""},
      {"status --once", "unknown option --once of \"status\""},
      {"stop --json", "unknown option --json of \"stop\""},
      {"status now", "\"status\" does not take \"now\""},
      {"version 2", "\"version\" does not take \"2\""},
      {"help frob", "unknown command \"frob\""},
      {"help run stop", "\"help\" does not take \"stop\""},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    lc_cli cli;
    char *err = NULL;
    assert_int_equal(parse(wrong[i].line, &cli, &err), LC_EXIT_USAGE);
    if (!strstr(err, wrong[i].says)) fail_msg("\"%s\" says: %s", wrong[i].line, err);
    free(err);
  }
}

static char *help_of(lc_verb verb) {
  char *text = NULL;
  size_t len = 0;
  FILE *out = open_memstream(&text, &len);
  assert_non_null(out);
  lc_help_print(verb, out);
  assert_int_equal(fclose(out), 0);
  return text;
}

/* Every verb has an example that this parser takes, and every option of it stands in its help. */
static void test_help_teaches(void **state) {
  (void)state;
  for (int verb = 0; verb < LC_VERBS; verb++) {
    char *text = help_of((lc_verb)verb), usage[64];
    snprintf(usage, sizeof usage, "Usage: logcap %s", lc_verb_name((lc_verb)verb));
    assert_non_null(strstr(text, usage));
    assert_non_null(strstr(text, "Example"));
    for (const lc_cli_option *option = lc_cli_options; option->name; option++) {
      bool listed = strstr(text, option->name) != NULL;
      if (option->verbs & (1u << verb)) assert_true(listed);
    }
    free(text);
  }
  char *all = help_of(LC_VERBS);
  for (int verb = 0; verb < LC_VERBS; verb++) assert_non_null(strstr(all, lc_verb_name((lc_verb)verb)));
  free(all);
}

static void test_lines_fit_a_terminal(void **state) {
  (void)state;
  for (int verb = 0; verb <= LC_VERBS; verb++) {
    char *text = help_of((lc_verb)verb);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
      if (strlen(line) > 115) fail_msg("too long: %s", line);
    }
    free(text);
  }
}

static void test_out_of_memory(void **state) {
  (void)state;
  char *argv[] = {"logcap", "run", "--allow", "io", "a.lua", NULL};
  for (unsigned n = 1; n <= 2; n++) {
    lc_cli cli;
    char text[256] = "";
    FILE *err = fmemopen(text, sizeof text, "w");
    assert_non_null(err);
    lc_fault_after(n);
    int code = lc_cli_parse(5, argv, &cli, err);
    assert_true(lc_fault_off());
    assert_int_equal(fclose(err), 0);
    assert_int_equal(code, LC_EXIT_USAGE);
    assert_non_null(strstr(text, "out of memory"));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_run),          lc_test_case(test_defaults),          lc_test_case(test_test_hands_on_what_follows),
      lc_test_case(test_wrong_usage),
      lc_test_case(test_help_teaches), lc_test_case(test_lines_fit_a_terminal), lc_test_case(test_out_of_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
