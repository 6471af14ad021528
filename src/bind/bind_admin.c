/* logcap.admin { listen = "127.0.0.1:9600", token_file = "admin.token" } */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "bind/collect.h"
#include "bind/kinds.h"
#include "io/http_server.h"

#define KIND "admin"
#define TOKEN_LEAST 8
#define TOKEN_MOST 1024

struct settings {
  const char *listen, *token, *token_file;
};

#define AT(member) offsetof(struct settings, member)

static const lc_option known[] = {
    {.name = "listen", .type = LC_OPT_STRING, .required = true, .at = AT(listen),
     .example = "listen = \"127.0.0.1:9600\""},
    {.name = "token", .type = LC_OPT_STRING, .at = AT(token)},
    {.name = "token_file", .type = LC_OPT_PATH, .at = AT(token_file), .example = "token_file = \"admin.token\""},
    LC_OPTION_END,
};

/* "unix:admin.sock" is beside the pipeline file. */
static const char *absolute_listen(lua_State *L, const char *listen) {
  if (strncmp(listen, "unix:", 5) != 0 || listen[5] == '/' || listen[5] == '\0') return listen;
  lc_state_push_folder(L);
  return lua_pushfstring(L, "unix:%s/%s", lua_tostring(L, -1), listen + 5);
}

/* The first line of the file. It is read while the pipeline file loads, so that a file that is not there is an error
 * with a line, and so that a reload takes a new token over. */
static const char *read_token(lua_State *L, const char *path, char text[TOKEN_MOST + 2]) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  ssize_t len = fd >= 0 ? read(fd, text, TOKEN_MOST + 1) : -1;
  int sys = errno;
  if (fd >= 0) (void)close(fd); /* only read */
  if (len < 0) lc_raise(L, KIND ": cannot read the token from %s: %s", path, strerror(sys));
  text[len > 0 ? len : 0] = '\0';
  text[strcspn(text, "\r\n")] = '\0';
  return text;
}

static void check_token(lua_State *L, const char *token) {
  size_t len = strlen(token);
  if (len < TOKEN_LEAST || len > TOKEN_MOST) {
    lc_raise(L, KIND ": a token has from %d to %d characters, this one has %d", TOKEN_LEAST, TOKEN_MOST, (int)len);
  }
  for (size_t i = 0; i < len; i++) {
    if (token[i] <= ' ' || token[i] > '~') lc_raise(L, KIND ": a token has only visible ASCII characters, no blanks");
  }
}

int lc_bind_admin(lua_State *L) {
  struct settings options = {0};
  char made_at[LC_WHERE_MAX], text[TOKEN_MOST + 2];
  lc_service *made = NULL;
  lc_error error = {0};
  lc_state *state = lc_state_of(L);
  lc_options_read(L, 1, KIND, known, &options);
  if (state->generation == NULL) return lc_raise(L, KIND ": it is made only while a pipeline file loads");
  if (options.token != NULL && options.token_file != NULL) {
    return lc_raise(L, KIND ": token and token_file are both given; one of them is enough");
  }
  lc_http_server_options server = {.listen = absolute_listen(L, options.listen), .token = options.token};
  if (options.token_file != NULL) server.token = read_token(L, options.token_file, text);
  if (server.token != NULL) check_token(L, server.token);
  lc_handle *handle = lc_handle_new(L, LC_ROLE_SERVICE);
  lc_state_where(L, made_at);
  int rc = lc_http_server_create(&server, state->registry, made_at, &made, &error);
  lc_bind_finish(L, handle, KIND, rc, rc == 0 ? &made->resource : NULL, &error);
  if (lc_generation_add_service(state->generation, made, &error) != 0) return lc_raise(L, KIND ": %s", error.message);
  return 1;
}
