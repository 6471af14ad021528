/* The JSON slicer: finds the members of a record's object and leaves the text as it is.
 *
 *     if (lc_json_slice(batch, rec) == 0) {
 *       lc_field *level = lc_record_find(batch, rec, "level", 5, NULL);     // record/fields.h
 *       ...
 *     }
 *
 * What it accepts is RFC 8259 with these limits and liberties: nesting up to 256 levels, keys up to 65,535 bytes, up to
 * 65,532 members, a record of up to 2 GiB; bytes of 0x80 and above inside strings are not checked to be UTF-8, lone
 * surrogates may be written as escapes (both leave as they came), duplicate keys are kept.
 *
 * A text may be scanned up to 63 bytes beyond its end, and one byte behind it is overwritten for the time of the call.
 * So a body in the data block may end at data_cap (LC_BATCH_PADDING stands behind it); for one in the extra arena the
 * slicer makes room itself.
 *
 * Thread: whoever holds the batch. */
#ifndef LC_RECORD_JSON_H
#define LC_RECORD_JSON_H

#include "logcap/record.h"

/* When the record's body is one JSON object with blanks around it, makes its members the record's first fields, sets
 * LC_REC_OBJECT, and trims the body to the object's text; newlines between its tokens become spaces, so that the body
 * is one line. Fields that the record had stay behind the members, unless a member has the same key.
 * Returns LC_EINVAL when the body is something else, or LC_ENOMEM; the record is untouched then. */
int lc_json_slice(lc_batch *batch, lc_record *rec) LC_CHECK;

#endif
