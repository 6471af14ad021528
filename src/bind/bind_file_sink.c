/* logcap.file_sink { path = "out/{service}-%Y%m%d.ndjson", ... } */
#include <string.h>

#include "bind/kinds.h"
#include "sink/file_sink.h"

#define KIND "file_sink"

struct settings {
  const char *name;
  const char *mode, *folder_mode;
  lc_file_sink_options sink;
};

static const char *const compressions[] = {"none", "gzip", "zstd", NULL}; /* in the order of lc_file_compression */
static const char *const times[] = {"utc", "local", NULL};                 /* the index is local_time */

#define AT(member) offsetof(struct settings, sink.member)
#define BYTES(member) sizeof(((lc_file_sink_options *)NULL)->member)

static const lc_option rotate[] = {
    {.name = "size", .type = LC_OPT_SIZE, .at = AT(rotate.size), .size = BYTES(rotate.size), .least = 1},
    {.name = "age", .type = LC_OPT_DURATION, .at = AT(rotate.age_ns), .least = 1000000000},
    LC_OPTION_END,
};

static const lc_option retain[] = {
    {.name = "files", .type = LC_OPT_INTEGER, .at = AT(retain.files), .size = BYTES(retain.files), .least = 1},
    {.name = "size", .type = LC_OPT_SIZE, .at = AT(retain.size), .size = BYTES(retain.size), .least = 1},
    {.name = "age", .type = LC_OPT_DURATION, .at = AT(retain.age_ns), .least = 1000000000},
    LC_OPTION_END,
};

static const lc_option known[] = {
    LC_OPTION_NAME(struct settings, name),
    {.name = "path", .type = LC_OPT_PATH, .required = true, .at = AT(path), .example = "path = \"out/app.ndjson\""},
    {.name = "format", .type = LC_OPT_WORD, .at = AT(format), .size = BYTES(format), .words = lc_words_format},
    {.name = "metadata", .type = LC_OPT_BOOL, .at = AT(metadata)},
    {.name = "time", .type = LC_OPT_WORD, .at = AT(local_time), .size = BYTES(local_time), .words = times},
    {.name = "missing", .type = LC_OPT_STRING, .at = AT(missing)},
    {.name = "mode", .type = LC_OPT_STRING, .at = offsetof(struct settings, mode), .example = "mode = \"0640\""},
    {.name = "folder_mode", .type = LC_OPT_STRING, .at = offsetof(struct settings, folder_mode),
     .example = "folder_mode = \"0750\""},
    {.name = "rotate", .type = LC_OPT_TABLE, .options = rotate,
     .example = "rotate = { size = \"100MiB\", age = \"1h\" }"},
    {.name = "compress", .type = LC_OPT_WORD, .at = AT(compress), .size = BYTES(compress), .words = compressions},
    {.name = "retain", .type = LC_OPT_TABLE, .options = retain, .example = "retain = { files = 24, size = \"5GiB\" }"},
    {.name = "fsync", .type = LC_OPT_BOOL, .at = AT(fsync)},
    {.name = "max_open_files", .type = LC_OPT_INTEGER, .at = AT(max_open_files), .size = BYTES(max_open_files),
     .least = 1, .most = 1000000},
    {.name = "max_outputs", .type = LC_OPT_INTEGER, .at = AT(max_outputs), .size = BYTES(max_outputs), .least = 1,
     .most = 10000000},
    {.name = "min_free", .type = LC_OPT_SIZE, .at = AT(min_free), .size = BYTES(min_free)},
    LC_OPTION_END,
};

/* "0640": Lua has no octal numbers. */
static uint32_t read_mode(lua_State *L, const char *name, const char *text) {
  uint32_t mode = 0;
  size_t digits = 0;
  if (text == NULL) return 0;
  for (; text[digits] >= '0' && text[digits] <= '7' && digits < 5; digits++) {
    mode = mode * 8 + (uint32_t)(text[digits] - '0');
  }
  if (text[digits] != '\0' || digits < 3 || mode > 0777 || (mode & 0600) != 0600) {
    lc_raise(L, KIND ": option \"%s\" must be permissions in octal that let the owner read and write, got \"%.20s\"; "
             "write %s = \"0%o\"", name, text, name, strcmp(name, "mode") == 0 ? 0640u : 0750u);
  }
  return mode;
}

int lc_bind_file_sink(lua_State *L) {
  struct settings options = {0};
  char made_at[LC_WHERE_MAX];
  lc_sink *made = NULL;
  lc_error error = {0};
  lc_options_read(L, 1, KIND, known, &options);
  options.sink.mode = read_mode(L, "mode", options.mode);
  options.sink.folder_mode = read_mode(L, "folder_mode", options.folder_mode);
  lc_handle *handle = lc_handle_new(L, LC_ROLE_SINK);
  const char *claim = lua_pushfstring(L, "the path %s", options.sink.path);
  lc_handle_claim(L, lua_gettop(L) - 1, claim);
  lua_pop(L, 1);
  lc_state_where(L, made_at);
  int rc = lc_file_sink_create(&options.sink, lc_state_of(L)->registry, options.name, made_at, &made, &error);
  return lc_bind_finish(L, handle, KIND, rc, rc == 0 ? &made->resource : NULL, &error);
}
