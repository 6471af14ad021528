/* How a sink that writes lines spells a record. Any thread. */
#ifndef LC_SINK_FORMAT_H
#define LC_SINK_FORMAT_H

#include "record/encode.h"

typedef lc_format lc_sink_format;
#define LC_SINK_JSON LC_FORMAT_JSON
#define LC_SINK_RAW LC_FORMAT_RAW

#endif
