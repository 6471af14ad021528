-- The environment of pipeline files: an allow-list. It replaces the globals of the whole state, so that code which is
-- loaded later, or started in a coroutine, sees no more.

local native = require "logcap.native"
local logcap = require "logcap"

local assert, error, ipairs, pairs, select, tostring, type = assert, error, ipairs, pairs, select, tostring, type
local collectgarbage, load, pcall = collectgarbage, load, pcall
local concat, format, open, sort = table.concat, string.format, io.open, table.sort
local folder, log = native.folder, native.log
local all = _G

local plain = {
  "_VERSION", "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "rawset",
  "select", "setmetatable", "tonumber", "tostring", "type", "unpack", "xpcall",
}
local libraries = { "string", "table", "math", "bit", "coroutine" }
local of_os = { "time", "date", "clock", "getenv" }

-- What --allow NAME grants.
local grants = {
  io = true, os = true, ffi = true, debug = true, package = true, jit = true, getfenv = true, setfenv = true,
  newproxy = true, dofile = true, loadfile = true,
}

local function copy(from, names)
  local to = {}
  if names then
    for _, name in ipairs(names) do to[name] = from[name] end
  else
    for name, value in pairs(from) do to[name] = value end
  end
  return to
end

-- Text only: bytecode can do what no check sees.
local function load_text(chunk, name, _, ...)
  if select("#", ...) > 0 then return load(chunk, name, "t", (...)) end
  return load(chunk, name, "t")
end

local function print_to_log(...)
  local parts = {}
  for i = 1, select("#", ...) do parts[i] = tostring((select(i, ...))) end
  log(concat(parts, "\t"))
end

local function collect(what)
  if what ~= nil and what ~= "collect" and what ~= "count" then
    local why = 'collectgarbage(%q) is not available to pipeline files; there are "collect" and "count"'
    error(format(why, tostring(what)), 2)
  end
  return collectgarbage(what)
end

-- LuaJIT's own functions cannot be interrupted while they match a pattern; what finds a plain text it compiles.
local function replace_string_functions(library)
  local plain_find, pattern_find = library.find, native.string.find
  for name, fn in pairs(native.string) do library[name] = fn end
  local plain_texts, n = {}, 0
  local function is_plain(pattern)
    if n == 1000 then plain_texts, n = {}, 0 end
    plain_texts[pattern], n = not plain_find(pattern, "[%^%$%*%+%?%.%(%[%%%-]"), n + 1
    return plain_texts[pattern]
  end
  function library.find(s, pattern, init, is_text)
    if is_text then return plain_find(s, pattern, init, true) end
    is_text = plain_texts[pattern]
    if is_text == nil and type(pattern) == "string" then is_text = is_plain(pattern) end
    if is_text then return plain_find(s, pattern, init, true) end
    return pattern_find(s, pattern, init)
  end
end

local function answer(handler, ok, ...)
  if ok then return true, ... end
  local _, handled = pcall(handler, (...))
  return false, handled
end

-- Calls the handler when the error has unwound. The real one calls it where it was raised: when a function is
-- interrupted, that is inside of a hook, and nothing would interrupt the handler.
local function xpcall_unwound(fn, handler, ...)
  if type(handler) ~= "function" then
    error(format("bad argument #2 to 'xpcall' (function expected, got %s)", type(handler)), 2)
  end
  return answer(handler, pcall(fn, ...))
end

local function read_module(name, root)
  local relative = name:gsub("%.", "/")
  local tried = {}
  for i, form in ipairs { "%s/%s.lua", "%s/%s/init.lua" } do
    local path = format(form, root, relative)
    tried[i] = path
    local file = open(path, "rb")
    local text = file and file:read("*a")
    if file then file:close() end
    if text and text:byte() == 27 then
      error(format("module %q is compiled Lua; a module is Lua text: %s", name, path), 3)
    end
    if text then return path, text end
  end
  error(format("module %q is not beside the pipeline file; looked for %s", name, concat(tried, " and ")), 3)
end

-- Finds modules beside the pipeline file that asks, whichever of its modules it asks from.
local function make_require(env, builtin, roots)
  local loaded, busy = {}, {}
  return function(name)
    if type(name) ~= "string" then error(format("require takes a module's name, got a %s", type(name)), 2) end
    if builtin[name] ~= nil then return builtin[name] end
    if not name:find("^[%w_%-][%w_%-%.]*$") or name:find("..", 1, true) then
      error(format("%q is no module's name: letters, digits, _ and -, folders apart by dots", name), 2)
    end
    local root = folder()
    local key = root .. "\0" .. name
    if loaded[key] ~= nil then return loaded[key] end
    if busy[key] then error(format("module %q requires itself", name), 2) end
    local path, text = read_module(name, root)
    roots["@" .. path] = root -- also of one that does not compile: it may be watched
    local chunk, err = load(text, "@" .. path, "t", env)
    if not chunk then error(err, 0) end
    busy[key] = true
    local ok, value = pcall(chunk, name)
    busy[key] = nil
    if not ok then error(value, 0) end
    if value == nil then value = true end
    loaded[key] = value
    return value
  end
end

---@param allowed string[] names to grant beyond the allow-list
---@param roots table<string, string> chunk name to folder, for require
---@return table env
return function(allowed, roots)
  local env = copy(all, plain)
  replace_string_functions(all.string) -- that is where ("x"):find looks
  for _, name in ipairs(libraries) do env[name] = copy(all[name]) end
  env.string.dump, all.string.dump = nil, nil -- strings reach the latter: ("").dump
  debug.getmetatable("").__metatable = "string"
  env.os = copy(all.os, of_os)
  env.load, env.loadstring = load_text, load_text
  env.print, env.collectgarbage = print_to_log, collect
  env.xpcall = xpcall_unwound
  env._G = env
  local builtin = { logcap = logcap }
  for _, name in ipairs(allowed) do
    if not grants[name] then
      local names = {}
      for grant in pairs(grants) do names[#names + 1] = grant end
      sort(names)
      error(format("--allow %s: this cannot be granted; what can is %s", name, concat(names, ", ")), 0)
    end
    local value = all[name]
    if name == "ffi" then value = require "ffi" end
    if name == "os" then value = copy(all.os) end
    if name == "debug" then env.xpcall = all.xpcall end -- for tracebacks
    assert(value ~= nil, name)
    env[name] = value
    if type(value) == "table" then builtin[name] = value end
  end
  for _, name in ipairs(libraries) do builtin[name] = env[name] end
  builtin.os = env.os
  env.require = make_require(env, builtin, roots)
  return env
end
