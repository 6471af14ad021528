-- logcap.using(res, ..., function(res, ...) end): closes the resources in reverse order when the function is left.

local native = require "logcap.native"

local error, pcall, select, tostring, type, unpack = error, pcall, select, tostring, type, unpack
local format, guard = string.format, native.guard

---@param resources logcap.Resource[]
---@param n integer
local function close_all(resources, n)
  for i = n, 1, -1 do resources[i]:close() end
end

-- What pcall returned, handed on after the closing.
local function leave(resources, n, ok, ...)
  close_all(resources, n)
  if not ok then error((...), 0) end
  return ...
end

local function skip_first(_, ...) return ... end

-- `keeper` stays on the stack while the body runs.
local function run(keeper, body, ...) return skip_first(keeper, body(...)) end

---Calls the last argument, a function, with the resources before it, and closes them in reverse order when it returns
---or raises. If a coroutine dies inside, the garbage collector closes them.
---@param ... any resources, then a function
---@return any ... what the function returns
local function using(...)
  local n = select("#", ...) - 1
  local body = n >= 0 and select(n + 1, ...) or nil
  if type(body) ~= "function" then
    error(format("using: the last argument must be a function, got a %s", type(body)), 2)
  end
  local resources = { ... }
  for i = 1, n do
    local ok, kind = pcall(function() return resources[i].kind end)
    if not ok or type(resources[i]) ~= "userdata" or type(kind) ~= "string" then
      local got = type(resources[i]) == "userdata" and tostring(resources[i]) or type(resources[i])
      error(format("using: argument %d must be an open resource, got %s", i, got), 2)
    end
  end
  local keeper = guard(unpack(resources, 1, n)) -- closes them if this coroutine is never resumed
  return leave(resources, n, pcall(run, keeper, body, unpack(resources, 1, n)))
end

return using
