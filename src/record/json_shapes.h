/* The JSON slicer's memory that travels with a batch (lc_batch.json_shapes). Thread: whoever holds the batch. */
#ifndef LC_RECORD_JSON_SHAPES_H
#define LC_RECORD_JSON_SHAPES_H

void lc_json_shapes_free(void *shapes);  /* NULL is allowed */
void lc_json_shapes_reset(void *shapes); /* the batch's extra arena was emptied; NULL is allowed */

#endif
