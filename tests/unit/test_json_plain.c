/* The tests of the slicer once more, without SSE2: what other machines run. */
#define LC_JSON_PLAIN 1
#include "record/json.c"
#include "record/json_check.c"
#include "record/json_shapes.c"
#include "record/json_string.c"

#define main lc_test_json
#include "test_json.c"
#undef main
#define main lc_test_json_check
#include "test_json_check.c"
#undef main
#define main lc_test_json_shapes
#include "test_json_shapes.c"
#undef main

int main(void) {
  return lc_test_json() + lc_test_json_check() + lc_test_json_shapes();
}
