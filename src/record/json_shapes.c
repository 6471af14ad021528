#include "record/json_shapes.h"

#include <stdlib.h>

void lc_json_shapes_free(void *shapes) { free(shapes); }

void lc_json_shapes_reset(void *shapes) { (void)shapes; }
