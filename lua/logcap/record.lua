-- What a Lua function gets as its record: a pointer whose address is the record's serial number, to a struct that
-- nobody knows, so that it cannot be followed, moved or indexed.
--
-- The number is compared in C (src/bind/record_view.c) at each use, so a value that was kept past its record raises.
-- Each change of a record is one C call. A pointer is a value, which compiled code need not make on the heap; a struct
-- would be read again after each C call, and so had to be there.

local ffi = require "ffi"
local native = require "logcap.native"

local error, pcall, select, tostring, type = error, pcall, select, tostring, type
local format = string.format
local ffi_string = ffi.string
local null, json_encode, decode, failure = native.null, native.json_encode, native.view_decode, native.view_error
local address = native.view

-- Mirrors the first part of lc_view in src/bind/record_view.h.
ffi.cdef [[
typedef struct lc_view {
  uint64_t serial;
  const char *text;
  double number;
  uint32_t len;
  const char *key;
  uint32_t key_len;
  uint32_t next_index;
} lc_view;
struct logcap_record;
]]

local view = ffi.cast("lc_view *", address.view)

local function bind(name, signature) return ffi.cast(signature, address[name]) end

local get = bind("view_get", "int (*)(lc_view *, uint64_t, const char *, size_t)")
local member = bind("view_member", "int (*)(lc_view *, uint64_t, uint32_t)")
local source_name = bind("view_source", "int (*)(lc_view *, uint64_t)")
local event_time = bind("view_time", "int (*)(lc_view *, uint64_t)")
local label = bind("view_label", "int (*)(lc_view *, uint64_t, uint32_t)")
local set_string = bind("view_set_string", "int (*)(lc_view *, uint64_t, const char *, size_t, const char *, size_t)")
local set_number = bind("view_set_number", "int (*)(lc_view *, uint64_t, const char *, size_t, double)")
local set_bool = bind("view_set_bool", "int (*)(lc_view *, uint64_t, const char *, size_t, bool)")
local set_json = bind("view_set_json", "int (*)(lc_view *, uint64_t, const char *, size_t, const char *, size_t)")
local remove = bind("view_remove", "int (*)(lc_view *, uint64_t, const char *, size_t)")
local path = bind("view_path", "void (*)(lc_view *)")
local path_key = bind("view_path_key", "int (*)(lc_view *, const char *, size_t)")
local path_index = bind("view_path_index", "int (*)(lc_view *, double)")
local path_get = bind("view_path_get", "int (*)(lc_view *, uint64_t, const char *, size_t)")
local path_set = bind("view_path_set", "int (*)(lc_view *, uint64_t, const char *, size_t, const char *, size_t)")

-- lc_view_kind
local MISSING, STRING, NUMBER, TRUE, FALSE, NULL, NESTED, EXPIRED = 0, 1, 2, 3, 4, 5, 6, -9

local cast = ffi.cast
local serial_t, record_t = ffi.typeof("uint64_t"), ffi.typeof("struct logcap_record *")

-- Errors point at the line of the script: the functions that scripts call stand two levels above.
local function fail(code)
  if code == EXPIRED then
    error("this record is not in hand any more: a record may be used only until its function returns", 3)
  end
  error(failure(), 3)
end

local BAD_KEY = "a field's name is a string, got a %s"

local function bad_key(key) error(format(BAD_KEY, type(key)), 3) end

-- An error may be anything, and its __tostring may fail as well. What is said of rec[1] are LuaJIT's own words: a
-- pointer with a number never asks __index.
local function describe(err)
  local ok, text = pcall(tostring, err)
  if not ok or type(text) ~= "string" then return "an error that cannot be shown" end
  return (text:gsub("size of C type is unknown or too large$", format(BAD_KEY, "number")))
end

-- The value that the last read found.
local function value_of(kind)
  if kind == STRING then
    return ffi_string(view.text, view.len)
  elseif kind == MISSING then
    return nil
  elseif kind == NUMBER then
    return view.number
  elseif kind == TRUE then
    return true
  elseif kind == FALSE then
    return false
  elseif kind == NULL then
    return null
  elseif kind == NESTED then
    return decode()
  end
  if kind == EXPIRED then
    error("this record is not in hand any more: a record may be used only until its function returns", 3)
  end
  error("not enough memory to read the record", 3)
end

---@class logcap.Record
local methods = {}

local function encode(value, level)
  local ok, text = pcall(json_encode, value)
  if not ok then error(text, level) end
  return text
end

-- Sets a field by one call, whatever the type of the value.
local function put(serial, key, value)
  local kind = type(value)
  if kind == "string" then
    return set_string(view, serial, key, #key, value, #value)
  elseif kind == "number" then
    return set_number(view, serial, key, #key, value)
  elseif kind == "boolean" then
    return set_bool(view, serial, key, #key, value)
  elseif kind == "nil" then
    return remove(view, serial, key, #key)
  end
  local text = encode(value, 4)
  return set_json(view, serial, key, #key, text, #text)
end

-- Adds steps 1 to n of a path to the view.
local function add_steps(n, ...)
  path(view)
  for i = 1, n do
    local step = select(i, ...)
    local code
    if type(step) == "string" then
      code = path_key(view, step, #step)
    elseif type(step) == "number" then
      code = path_index(view, step)
    else
      error(format("a step of a path is a string or a number, got a %s", type(step)), 3)
    end
    if code ~= 0 then error(failure(), 3) end
  end
end

---The value of a field, or of what is nested in it: rec:get("user", "roles", 1).
---@param key string
---@param ... string|integer
---@return any
function methods.get(rec, key, ...)
  if type(key) ~= "string" then bad_key(key) end
  local n = select("#", ...)
  local value
  if n == 0 then
    value = value_of(get(view, cast(serial_t, rec), key, #key))
  else
    add_steps(n, ...)
    value = value_of(path_get(view, cast(serial_t, rec), key, #key))
  end
  return value
end

---Sets a field, or what is nested in it: rec:set("user", "roles", 1, "admin"). The rest of the field keeps its text;
---objects that are missing on the way are made. nil removes.
---@param key string
---@param ... any steps, then the value
function methods.set(rec, key, ...)
  if type(key) ~= "string" then bad_key(key) end
  local n = select("#", ...)
  if n == 0 then error("set needs a field's name and a value", 2) end
  local value = select(n, ...)
  local code
  if n == 1 then
    code = put(cast(serial_t, rec), key, value)
  else
    local text = value ~= nil and encode(value, 3) or nil
    add_steps(n - 1, ...)
    code = path_set(view, cast(serial_t, rec), key, #key, text, text and #text or 0)
  end
  if code ~= 0 then fail(code) end
end

---Removes a field, or what is nested in it. What is not there is fine.
---@param key string
---@param ... string|integer
function methods.remove(rec, key, ...)
  if type(key) ~= "string" then bad_key(key) end
  local n = select("#", ...)
  local code
  if n == 0 then
    code = remove(view, cast(serial_t, rec), key, #key)
  else
    add_steps(n, ...)
    code = path_set(view, cast(serial_t, rec), key, #key, nil, 0)
  end
  if code ~= 0 then fail(code) end
end

---Walks over the fields in their order: for name, value in rec:pairs() do ... end
---@return fun(): string?, any
function methods.pairs(rec)
  local index = 0
  return function()
    local kind = member(view, cast(serial_t, rec), index)
    if kind == MISSING then return nil end
    local value = value_of(kind)
    index = view.next_index
    return ffi_string(view.key, view.key_len), value
  end
end

---A table with all fields: a copy.
---@return table<string, any>
function methods.totable(rec)
  local copy, index = {}, 0
  while true do
    local kind = member(view, cast(serial_t, rec), index)
    if kind == MISSING then return copy end
    local value = value_of(kind)
    index = view.next_index
    copy[ffi_string(view.key, view.key_len)] = value
  end
end

---The name of the source, such as the path of its file; nil for records that have none.
---@return string?
function methods.source_name(rec)
  local name = value_of(source_name(view, cast(serial_t, rec)))
  return name
end

---The time of the event, or when it was read: seconds since 1970, with a fraction, as os.date takes them.
---@return number
function methods.event_time(rec)
  local time = value_of(event_time(view, cast(serial_t, rec)))
  return time
end

---The labels of the monitor that read the record: a copy.
---@return table<string, string>
function methods.source_labels(rec)
  local copy, index = {}, 0
  while true do
    local kind = label(view, cast(serial_t, rec), index)
    if kind == MISSING then return copy end
    local value = value_of(kind)
    index = index + 1
    copy[ffi_string(view.key, view.key_len)] = value
  end
end

ffi.metatype("struct logcap_record", {
  __index = function(rec, key)
    local method = methods[key]
    if method then return method end
    if type(key) ~= "string" then bad_key(key) end
    local value = value_of(get(view, cast(serial_t, rec), key, #key))
    return value
  end,
  __newindex = function(rec, key, value)
    if type(key) ~= "string" then bad_key(key) end
    if methods[key] then
      error(format("rec.%s is a method; to set a field of this name write rec:set(%q, value)", key, key), 2)
    end
    local code = put(cast(serial_t, rec), key, value)
    if code ~= 0 then fail(code) end
  end,
  __pairs = methods.pairs,
  __tostring = function() return "record" end,
})

return {
  describe = describe,
  of = function(serial) return cast(record_t, serial) end,
  view = view,
  next = bind("view_next", "bool (*)(lc_view *)"),
  drop = bind("view_drop", "void (*)(lc_view *)"),
  refuse = bind("lua_stage_refuse", "void (*)(lc_view *, const char *, size_t)"),
}
