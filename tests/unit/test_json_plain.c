/* The tests of the slicer once more, without SSE2: what other machines run. */
#define LC_JSON_PLAIN 1
#include "record/json.c"
#include "record/json_check.c"
#include "record/json_shapes.c"
#include "record/json_string.c"

#include "test_json.c"
