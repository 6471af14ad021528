/* What `logcap top` shows: pure text from two answers. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "app/top_view.h"

static lc_answer answer(const char *text) { return (lc_answer){text, strlen(text), LC_JSON_OBJECT}; }

static char *view(const char *before, const char *now, double seconds, unsigned columns, unsigned rows) {
  lc_buf text = {0};
  assert_int_equal(lc_top_view(answer(before), answer(now), seconds, (lc_top_size){columns, rows}, &text), 0);
  char *copy = strdup(lc_buf_cstr(&text));
  lc_buf_free(&text);
  assert_non_null(copy);
  return copy;
}

#define STATUS(pid, up, read, bytes, delivered, filtered, dead, errors)                                              \
  "{\"version\":\"1.2\",\"pid\":" pid ",\"uptime_s\":" up ",\"stopping\":false,\"resident_bytes\":31457280,"        \
  "\"open_descriptors\":21,\"held\":{\"resources\":7},\"pipelines\":[{\"name\":\"shop\",\"state\":\"running\","     \
  "\"sources\":3,\"batches\":{\"in_use\":2,\"bytes\":524288,\"budget\":16777216},\"sinks\":[{\"name\":\"a\\u001bb\"," \
  "\"deliveries\":1,\"in_flight\":250,\"read\":" read ",\"read_bytes\":" bytes ",\"delivered\":" delivered ","      \
  "\"dropped_filtered\":" filtered ",\"dropped_duplicate\":10,\"dead_lettered\":" dead "}]}],\"commits\":5,"         \
  "\"commit_failures\":0,\"resources\":[{\"id\":1,\"kind\":\"lua\",\"name\":\"f\",\"errors\":" errors "},"           \
  "{\"id\":2,\"kind\":\"json\",\"name\":\"json\",\"errors\":0}]}"

static const char head[] = "logcap 1.2  pid 7  up 1d 01:01:02  resident 30.0 MiB  descriptors 21  resources 7\n"
                           "\n"
                           "   READ/s    BYTES/s    OUT/s   DROP/s   DEAD/s   FLIGHT  QUEUE     DEAD  SINK\n"
                           "shop  running  sources 3  batches 2, 512.0 KiB of 16.0 MiB\n";

static void test_rates_are_differences_over_the_time_between(void **state) {
  (void)state;
  char *text = view(STATUS("7", "90000", "1000", "0", "900", "50", "1", "1"),
                    STATUS("7", "90062", "25690", "5242880", "1899", "51", "2", "3"), 2, 0, 0);
  char wanted[1024];
  snprintf(wanted, sizeof wanted, "%s%s\n%s%s", head,
           "    12.3k    2.5 MiB      500     0.50     0.50      250      1        2  a?b\n",
           "    ERR/s     ERRORS  OF\n", "     1.00          3  lua f\n");
  assert_string_equal(text, wanted);
  free(text);
}

static void test_what_cannot_be_told_is_a_dash(void **state) {
  (void)state;
  static const char now[] = STATUS("7", "90062", "25690", "5242880", "1899", "51", "2", "3");
  const char *befores[] = {
      STATUS("6", "90000", "1000", "0", "900", "50", "1", "1"), /* another process */
      STATUS("7", "90063", "1000", "0", "900", "50", "1", "1"), /* its pid again, but it began anew */
      "{\"pid\":7,\"uptime_s\":90000,\"pipelines\":[]}",        /* the pipeline is new */
      "{\"pid\":7,\"uptime_s\":90000,\"pipelines\":[{\"name\":\"shop\",\"sinks\":[]}]}", /* the sink is new */
  };
  for (size_t i = 0; i < sizeof befores / sizeof *befores; i++) {
    char *text = view(befores[i], now, 1, 0, 0);
    assert_non_null(strstr(text, "\n        -          -        -        -        -      250      1        2  a?b\n"));
    assert_non_null(strstr(text, "        -          3  lua f\n"));
    free(text);
  }
  char *text = view(STATUS("7", "90000", "25691", "0", "900", "50", "1", "1"), now, 1, 0, 0); /* counts backwards */
  assert_non_null(strstr(text, "\n        -    5.0 MiB      999"));
  free(text);
}

static void test_numbers_stay_short(void **state) {
  (void)state;
  static const struct {
    const char *read, *shown;
  } cases[] = {{"0", "       0"},      {"1", "    1.00"},       {"12", "    12.0"},         {"100", "     100"},
               {"999", "     999"},    {"1000", "   1.00k"},    {"99949", "   99.9k"},      {"999499", "    999k"},
               {"999500", "   1.00M"}, {"12345678", "   12.3M"}, {"98765432100", "   98.8G"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char now[200], wanted[40];
    const char *form = "{\"pid\":1,\"pipelines\":[{\"name\":\"p\",\"sinks\":[{\"name\":\"s\",\"read\":%s}]}]}";
    char before[200];
    snprintf(before, sizeof before, form, "0");
    snprintf(now, sizeof now, form, cases[i].read);
    char *text = view(before, now, 1, 0, 0);
    snprintf(wanted, sizeof wanted, "\n %s ", cases[i].shown);
    if (strstr(text, wanted) == NULL) fail_msg("%s is not shown as \"%s\" in\n%s", cases[i].read, wanted, text);
    free(text);
  }
}

static void test_fits_the_terminal(void **state) {
  (void)state;
  static const char before[] = STATUS("7", "90000", "1000", "0", "900", "50", "1", "1");
  static const char now[] = STATUS("7", "90062", "25690", "5242880", "1899", "51", "2", "3");
  for (unsigned rows = 1; rows < 9; rows++) {
    for (unsigned columns = 1; columns < 100; columns += 7) {
      char *text = view(before, now, 1, columns, rows);
      unsigned n = 0;
      for (const char *line = text; *line != '\0'; n++) {
        const char *end = strchr(line, '\n');
        assert_non_null(end);
        assert_true((unsigned)(end - line) <= columns);
        line = end + 1;
      }
      assert_int_equal(n, rows < 8 ? rows : 8);
      free(text);
    }
  }
  char *text = view("{}", "{\"pipelines\":[{\"name\":\"\xc3\xa4\xc3\xb6\xc3\xbc\xc2\x9bx\",\"sinks\":[]}]}", 1, 3, 0);
  assert_non_null(strstr(text, "\n\xc3\xa4\xc3\xb6\xc3\xbc\n")); /* characters are counted, and not cut */
  free(text);
  text = view("{}", "{\"pipelines\":[{\"name\":\"\xc2\x9b[2J\",\"sinks\":[]}]}", 1, 0, 0);
  assert_non_null(strstr(text, "\n?\?[2J  ")); /* a control character of eight bits, too */
  free(text);
}

static void test_answers_without_sense_do_no_harm(void **state) {
  (void)state;
  const char *odd[] = {"{}", "[]", "1", "{\"pipelines\":1}", "{\"pipelines\":[1,{}],\"resources\":[{},1]}"};
  for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
    for (size_t k = 0; k < sizeof odd / sizeof *odd; k++) free(view(odd[i], odd[k], 0, 80, 24));
  }
}

static void test_says_what_is_wrong(void **state) {
  (void)state;
  char *text = view("{}", "{\"stopping\":true,\"commit_failures\":3}", 1, 0, 0);
  assert_non_null(strstr(text, "  stopping  "));
  assert_non_null(strstr(text, "  FAILED COMMITS 3\n"));
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      lc_test_case(test_rates_are_differences_over_the_time_between),
      lc_test_case(test_what_cannot_be_told_is_a_dash),
      lc_test_case(test_numbers_stay_short),
      lc_test_case(test_fits_the_terminal),
      lc_test_case(test_answers_without_sense_do_no_harm),
      lc_test_case(test_says_what_is_wrong),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
