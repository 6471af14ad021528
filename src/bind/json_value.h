/* Lua values from JSON text and back.
 *
 * Objects and arrays become tables; arrays carry a metatable (logcap.array) so that an empty one stays an array. null
 * is logcap.null. A number becomes a Lua number, but an integer beyond 2^53, which a Lua number cannot hold exactly,
 * becomes a string with its digits.
 *
 * Thread: the loop thread. */
#ifndef LC_BIND_JSON_VALUE_H
#define LC_BIND_JSON_VALUE_H

#include <lua.h>

#include "base/buf.h"
#include "logcap/record.h"

#define LC_LUA_ARRAY "logcap.array" /* the metatable of arrays, for luaL_setmetatable */
#define LC_LUA_DEPTH 255 /* levels of tables that are encoded or decoded: what the slicer takes for a field */

/* Makes the metatable of arrays and the null value, and sets both in the table on the top: `array` and `null`. */
void lc_json_value_setup(lua_State *L);

/* Pushes the value of valid JSON text. Raises when it is nested too deeply. */
void lc_json_push(lua_State *L, const char *text, size_t len, lc_json_type type);
/* The same for a whole buffer, which is freed whatever happens. */
void lc_json_push_buf(lua_State *L, lc_buf *text);

/* Whether a number's text is an integer that a Lua number cannot hold. */
bool lc_json_beyond_double(const char *text, size_t len);

/* json_encode(value): pushes the text of the value at index 1. Raises "cannot be JSON: ..." for what has none. */
int lc_json_encode_value(lua_State *L);

#endif
