-- Shows any value as text for people: for the prompt, which shows what others made.
--
-- It never calls __index, never fails on a __tostring that does, never follows a cycle, and never writes more than its
-- budget: what is deep, wide or long is cut, and says so. Keys come in an order, so that the same table always looks
-- the same. Control characters are shown as escapes: what is printed may come from a log, and the terminal must not
-- obey it.

local ipairs, pairs, pcall, rawget, tostring, type = ipairs, pairs, pcall, rawget, tostring, type
local byte, floor, format, gsub, rep, sub = string.byte, math.floor, string.format, string.gsub, string.rep, string.sub
local concat, sort = table.concat, table.sort
local next, getinfo, getmetatable = next, debug.getinfo, debug.getmetatable

local BUDGET = 256 * 1024 -- bytes of one value's text, about
local DEPTH = 8           -- levels of tables
local WIDTH = 200         -- entries of one table that are shown
local KEYS = 10000        -- entries of one table that are looked at
local STRING = 4096       -- bytes of a string inside a table
local LINE = 100          -- columns that a table may take to stand in one line

local named = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ['"'] = '\\"', ["\\"] = "\\\\" }
local keywords = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return then true until
  while]]):gmatch("%a+") do keywords[word] = true end

local function escape(char) return named[char] or format("\\%03d", byte(char)) end

-- Text as it is, but for what a terminal would obey: control characters, also those beyond ASCII (U+0080 to U+009F).
local function plain(text)
  text = gsub(text, "[%z\1-\8\11-\31\127]", escape)
  return (gsub(text, "\194[\128-\159]", function(char) return format("\\u{%x}", byte(char, 2)) end))
end

local function quote(text)
  text = gsub(text, '[%c"\\]', escape)
  return '"' .. plain(text) .. '"'
end

-- Cuts at a character's beginning.
local function cut(text, most)
  if #text <= most then return text end
  local at = most
  while at > most - 4 and at > 0 and byte(text, at + 1) >= 0x80 and byte(text, at + 1) < 0xC0 do at = at - 1 end
  return sub(text, 1, at) .. "...", true
end

local function number(value)
  if value == floor(value) and value > -2^53 and value < 2^53 then return format("%.0f", value) end
  return format("%.14g", value)
end

-- What tostring says; an error of it is shown in its place.
local function told(value)
  local ok, text = pcall(tostring, value)
  if ok and type(text) == "string" then return plain((cut(text, STRING))) end
  local why = ok and "it gives no string" or type(text) == "string" and text or "with a " .. type(text)
  return format("<%s whose __tostring fails: %s>", type(value), plain((cut(why, 200))))
end

local function describe_function(value)
  local info = getinfo(value, "S")
  if info.what == "C" then return "function (built in)" end
  return format("function at %s:%d", plain((gsub(info.source, "^[@=]", ""))), info.linedefined)
end

local function leaf(value, kind)
  if kind == "string" then return quote((cut(value, STRING))) end
  if kind == "number" then return number(value) end
  if kind == "function" then return describe_function(value) end
  if kind == "nil" or kind == "boolean" then return tostring(value) end
  return told(value) -- userdata, cdata, threads
end

local ranks = { number = 1, string = 2, boolean = 3 }

local function before(a, b)
  local x, y = type(a), type(b)
  if x ~= y then return (ranks[x] or 4) < (ranks[y] or 4) or ((ranks[x] or 4) == (ranks[y] or 4) and x < y) end
  if x == "number" or x == "string" then return a < b end
  if x == "boolean" then return a and not b end
  return format("%p", a) < format("%p", b)
end

local function key_text(key)
  local kind = type(key)
  if kind == "string" then
    if key:find "^[%a_][%w_]*$" and not keywords[key] then return key end
    return "[" .. quote((cut(key, 200))) .. "]"
  end
  return "[" .. ((kind == "number" or kind == "boolean") and leaf(key, kind) or kind) .. "]"
end

-- The keys that do not belong to the list part 1 .. n, in order; and whether there are more than were looked at.
local function other_keys(value, n)
  local keys, seen = {}, 0
  for key in next, value do
    local in_list = type(key) == "number" and key >= 1 and key <= n and key == floor(key)
    seen = seen + 1
    if seen > KEYS then break end
    if not in_list then keys[#keys + 1] = key end
  end
  sort(keys, before)
  return keys, seen > KEYS
end

local show -- of a value inside a table

local function join(parts, depth)
  local length = 0
  for i = 1, #parts do
    length = length + #parts[i] + 2
    if parts[i]:find("\n", 1, true) then length = LINE + 1 end
  end
  if length + 2 * depth + 2 <= LINE then return "{ " .. concat(parts, ", ") .. " }" end
  local inner = "\n" .. rep("  ", depth + 1)
  return "{" .. inner .. concat(parts, "," .. inner) .. "\n" .. rep("  ", depth) .. "}"
end

local function show_entries(value, state, depth)
  local parts, n = {}, 0
  while n < WIDTH and state.left > 0 and rawget(value, n + 1) ~= nil do
    n = n + 1
    parts[n] = show(rawget(value, n), state, depth + 1)
  end
  local length = #parts
  local keys, many = other_keys(value, n)
  local shown = 0
  while shown < #keys and length + shown < WIDTH and state.left > 0 do
    shown = shown + 1
    local text = key_text(keys[shown])
    state.left = state.left - #text
    parts[#parts + 1] = text .. " = " .. show(rawget(value, keys[shown]), state, depth + 1)
  end
  if many then parts[#parts + 1] = "... many more"
  elseif shown < #keys then parts[#parts + 1] = format("... %d more", #keys - shown) end
  return parts
end

local function show_table(value, state, depth)
  local meta = getmetatable(value)
  if type(meta) == "table" and rawget(meta, "__tostring") ~= nil then return told(value) end
  if state.open[value] then return "<cycle>" end
  if next(value) == nil then return "{}" end
  if depth >= DEPTH then return "{ ... }" end
  state.open[value] = true
  local text = join(show_entries(value, state, depth), depth)
  state.open[value] = nil
  return text
end

function show(value, state, depth)
  if state.left <= 0 then return "..." end
  local kind = type(value)
  if kind == "table" then
    state.left = state.left - 8 - 2 * depth -- braces and indentation
    return show_table(value, state, depth)
  end
  local text = leaf(value, kind)
  state.left = state.left - #text
  return text
end

---The text of a value. A string comes as it is, without quotes.
---@param value any
---@return string
local function print_value(value)
  if type(value) == "string" then return plain((cut(value, BUDGET))) end
  return show(value, { left = BUDGET, open = {} }, 0)
end

local function width(text) -- characters, not bytes
  local _, continued = gsub(text, "[\128-\191]", "")
  return #text - continued
end

---Rows in columns, with a line of titles over them. What is numeric stands right.
---@param titles string[]
---@param rows table[] lists of strings and numbers
---@return string
local function print_table(titles, rows)
  local widths, right = {}, {}
  for c, title in pairs(titles) do widths[c] = width(title) end
  for _, row in pairs(rows) do
    for c in pairs(titles) do
      right[c] = right[c] ~= false and type(row[c]) == "number"
      row[c] = type(row[c]) == "number" and number(row[c]) or plain(tostring(row[c]))
      if width(row[c]) > widths[c] then widths[c] = width(row[c]) end
    end
  end
  local lines = {}
  local function add(row)
    local cells = {}
    for c = 1, #titles do
      local pad = rep(" ", widths[c] - width(row[c]))
      cells[c] = right[c] and pad .. row[c] or row[c] .. pad
    end
    lines[#lines + 1] = (gsub(concat(cells, "  "), "%s+$", ""))
  end
  add(titles)
  for _, row in ipairs(rows) do add(row) end
  return concat(lines, "\n")
end

return { value = print_value, table = print_table, plain = plain, quote = quote, cut = cut, number = number }
