-- Completes what stands before the cursor of the prompt, by live names. It calls nothing of anybody: what would take a
-- function to find out is not found.

local native = require "logcap.native"
local logcap = require "logcap"

local pairs, rawget, type = pairs, rawget, type
local find, match, sub = string.find, string.match, string.sub
local sort = table.sort
local next, getmetatable = next, debug.getmetatable

local MOST = 200 -- words
local DEEP = 5   -- tables that stand behind one another as __index
local LINE = 200 -- bytes of the line that are looked at: patterns would take their time over long ones

local keywords = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return then true until
  while]]):gmatch("%a+") do keywords[#keywords + 1] = word end

local of_module = { "array", "null", "using" }
for name in pairs(native.module) do of_module[#of_module + 1] = name end
local of_handle = { "close", "kind", "name", "stats" }
local of_resource = {
  "age_s", "bytes", "close", "descriptors", "errors", "id", "identity", "kind", "made_at", "name", "records_in",
  "records_out", "refs", "state", "stats",
}
local take_names = { tap = true, try = true, resource = true, pause = true, resume = true }

-- The table that is asked for what a table does not have.
local function behind(value)
  local meta = getmetatable(value)
  local index = type(meta) == "table" and rawget(meta, "__index")
  return type(index) == "table" and index or nil
end

local function member(value, key)
  for _ = 1, DEEP do
    if type(value) ~= "table" then return nil end
    local found = rawget(value, key)
    if found ~= nil then return found end
    value = behind(value)
  end
end

local function add_keys(words, value)
  for _ = 1, DEEP do
    if type(value) ~= "table" then return end
    for key in next, value do
      if #words >= 10 * MOST then return end
      if type(key) == "string" and find(key, "^[%a_][%w_]*$") then words[#words + 1] = key end
    end
    value = behind(value)
  end
end

local function add_all(words, list)
  for i = 1, #list do words[#words + 1] = list[i] end
end

local function global(session, name)
  local value = rawget(session.env, name)
  if value == nil then value = session.offers[name] end
  if value == nil then value = member(session.globals, name) end
  return value
end

local function globals(session)
  local words = {}
  for key in next, session.env do
    if type(key) == "string" then words[#words + 1] = key end
  end
  add_keys(words, session.offers)
  add_keys(words, session.globals)
  add_all(words, keywords)
  return words
end

-- The members of what `path` names, such as "shop.limits" or "app".
local function members(session, path)
  local value
  for name in path:gmatch "[^.:]+" do
    if value == nil then value = global(session, name) else value = member(value, name) end
    if value == nil then return {} end
  end
  local words = {}
  if value == logcap then add_all(words, of_module)
  elseif type(value) == "userdata" then add_all(words, of_handle)
  elseif type(value) == "string" then add_keys(words, session.globals.string)
  else add_keys(words, value) end
  return words
end

-- Those that begin so, each once, in order.
local function matching(words, prefix)
  local list, known = {}, {}
  for _, word in pairs(words) do
    if not known[word] and sub(word, 1, #prefix) == prefix then
      known[word] = true
      list[#list + 1] = word
    end
  end
  sort(list)
  for i = #list, MOST + 1, -1 do list[i] = nil end
  return list
end

local function complete(session, line)
  local of, quoted = match(line, "([%a_][%w_]*)%s*%(?%s*[\"']([^\"']*)$")
  if of and take_names[of] then return #line - #quoted, matching(session.names(of), quoted) end
  local word = match(line, "resource%s*%b()[.:]([%w_]*)$")
  if word then return #line - #word, matching(of_resource, word) end
  local path
  path, word = match(line, "([%a_][%w_.:]*)[.:]([%w_]*)$")
  if path then return #line - #word, matching(members(session, path), word) end
  word = match(line, "[%a_][%w_]*$") or ""
  if word == "" and find(line, "[%w_)%]\"'.:]%s*$") then return #line, {} end
  return #line - #word, matching(globals(session), word)
end

---@param session logcap.Session
---@param line string what stands before the cursor
---@return integer from where the word begins, counted from 0
---@return string[] words that it may become
return function(session, line)
  local skipped = math.max(#line - LINE, 0)
  local from, words = complete(session, sub(line, skipped + 1))
  return skipped + from, words
end
