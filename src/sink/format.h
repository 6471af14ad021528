/* How a sink that writes lines spells a record. Any thread. */
#ifndef LC_SINK_FORMAT_H
#define LC_SINK_FORMAT_H

typedef enum lc_sink_format {
  LC_SINK_JSON, /* the default: one object a line, the record's fields in order */
  LC_SINK_RAW   /* the message's bytes and a newline */
} lc_sink_format;

#endif
