-- The module `logcap.testing`, for specs: feeds lines through the pipelines of a file, with doubles in the place of
-- their monitors and sinks, and a clock that the spec drives. See docs/testing.md.

local native = require "logcap.native"
local trial = require "logcap.testing.native"

local error, getinfo, ipairs, pairs, pcall, tostring, type = error, debug.getinfo, ipairs, pairs, pcall, tostring, type
local setmetatable, time = setmetatable, os.time
local concat, format, sort = table.concat, string.format, table.sort
local encode, nearest = native.json_encode, native.nearest

-- Those that are not closed yet, each with the line that loaded it.
local open = {}

local function hint(name, names)
  sort(names)
  local meant = nearest(tostring(name), names)
  return meant and format("did you mean %q?", meant) or "there is " .. concat(names, ", ")
end

-- Raises an error of the native half, with the line of the spec.
local function check(level, ok, ...)
  if not ok then error((...), level + 1) end
  return ...
end

-- Paths are relative to the folder of the spec's file.
local function resolve(path, level)
  local source = getinfo(level + 1, "S").source
  local folder = source:match "^@(.*/)" or ""
  return path:sub(1, 1) == "/" and path or folder .. path
end

---@class logcap.testing.Pipelines
local Pipelines = {}
Pipelines.__index = Pipelines

local function alive(self, use, level)
  if not self.trial then error(format("%s: these pipelines were closed before", use), level + 1) end
  return self.trial
end

-- The part number of the monitor that is meant.
local function find_monitor(self, pipeline, monitor, level)
  local monitors = self.monitors[pipeline]
  if not monitors then
    local names = {}
    for name in pairs(self.monitors) do names[#names + 1] = name end
    error(format("there is no pipeline %q; %s", tostring(pipeline), hint(pipeline, names)), level + 1)
  end
  local names = {}
  for name in pairs(monitors) do names[#names + 1] = name end
  if monitor == nil and #names == 1 then return monitors[names[1]] end
  if monitor == nil then
    sort(names)
    local why = "pipeline %q has several monitors; say which: { monitor = %q }; there is %s"
    error(format(why, pipeline, names[1], concat(names, ", ")), level + 1)
  end
  if not monitors[monitor] then
    error(format("pipeline %q has no monitor %q; %s", pipeline, tostring(monitor), hint(monitor, names)), level + 1)
  end
  return monitors[monitor]
end

-- A line as it is; a table as a line of JSON.
local function line_of(item, level)
  if type(item) == "string" then return item end
  if type(item) ~= "table" then error(format("a line is a string or a table, got a %s", type(item)), level + 1) end
  local text = check(level + 1, pcall(encode, item)) -- no tail call: the level counts this function
  return text
end

---Feeds lines to a pipeline, and returns when all of them are settled.
---@param pipeline string its name
---@param lines string|table[]|string[] a line, or a list of them; a table is fed as a line of JSON
---@param where? { source?: string, monitor?: string } the source's name (default "test.log"), and which monitor
function Pipelines:feed(pipeline, lines, where)
  alive(self, "feed", 2)
  where = where or {}
  for key in pairs(where) do
    if key ~= "source" and key ~= "monitor" then
      error(format("feed: unknown option %q; %s", tostring(key), hint(key, { "source", "monitor" })), 2)
    end
  end
  local part = find_monitor(self, pipeline, where.monitor, 2)
  if type(lines) == "string" then lines = { lines } end
  if type(lines) ~= "table" then error(format("feed: lines are a list, got a %s", type(lines)), 2) end
  local text = {}
  for i, item in ipairs(lines) do text[i] = line_of(item, 2) end
  text[#text + 1] = ""
  check(2, pcall(trial.feed, self.trial, part, where.source or "test.log", concat(text, "\n")))
end

---Moves the clock: what is due meanwhile happens, such as the end of a multi-line group.
---@param by string|number such as "10s", or seconds
function Pipelines:advance(by)
  check(2, pcall(trial.advance, alive(self, "advance", 2), by))
end

---Closes multi-line groups that are open, as the end of a file does.
function Pipelines:flush()
  check(2, pcall(trial.flush, alive(self, "flush", 2)))
end

---What the clock says: seconds since 1970.
---@return number
function Pipelines:clock()
  return trial.clock(alive(self, "clock", 2))
end

-- A list for each sink; a name that no sink has is an error.
local function by_sink(names)
  return setmetatable({}, {
    __index = function(_, name) error(format("there is no sink %q; %s", tostring(name), hint(name, names)), 2) end,
  })
end

-- What the ledgers counted since the last time, by reason. Each sink of a pipeline counts what its stages dropped: the
-- first one is asked.
local function count_dropped(self, audit)
  local dropped, seen = {}, {}
  for _, entry in ipairs(audit.ledger) do
    local before = self.counted[entry.pipeline] or {}
    if not seen[entry.pipeline] then
      seen[entry.pipeline] = entry
      for key, count in pairs(entry) do
        local reason = key:match "^dropped_(.*)"
        local more = reason and count - (before[key] or 0) or 0
        if more > 0 then dropped[reason] = (dropped[reason] or 0) + more end
      end
    end
  end
  self.counted = seen
  return dropped
end

local function check_ledger(audit)
  for _, entry in ipairs(audit.ledger) do
    if not entry.balanced or entry.in_flight > 0 then
      error(format("the ledger of pipeline %q and sink %q does not balance: %s", entry.pipeline, entry.sink,
        concat(entry.reasons, "; ")), 3)
    end
  end
end

---What came out since the last call.
---@return logcap.testing.Output
function Pipelines:drain()
  local at = alive(self, "drain", 2)
  local audit, stopped = trial.audit(at)
  if not stopped then check_ledger(audit) end
  local out = { records = by_sink(self.sink_names), lines = by_sink(self.sink_names), paths = by_sink(self.sink_names) }
  for part, name in pairs(self.sinks) do
    local records, lines, paths = trial.take(at, part)
    if paths[1] == "" then paths = {} end
    rawset(out.records, name, records)
    rawset(out.lines, name, lines)
    rawset(out.paths, name, paths)
  end
  out.dropped = count_dropped(self, audit)
  out.dead_letters = trial.dead_letters(at)
  for _, letter in ipairs(out.dead_letters) do letter.time = nil end -- the machine's, not the test's
  out.stopped = stopped
  return out
end

---Stops the pipelines and lets go of all they hold. Raises when something is left. Closing twice is fine.
function Pipelines:close()
  local at = self.trial
  self.trial, open[self] = nil, nil
  if at then check(2, pcall(trial.close, at)) end
end

local testing = {}

local known = { clock = "number", allow = "table" }

---Loads pipeline files. What is wrong with them is an error with file and line.
---@param files string|string[] relative to the folder of the spec
---@param options? { clock?: number, allow?: string[] } the time at the start, in seconds since 1970 (default: now)
---@return logcap.testing.Pipelines
function testing.load(files, options)
  options = options or {}
  for key, value in pairs(options) do
    if not known[key] then
      error(format("load: unknown option %q; %s", tostring(key), hint(key, { "clock", "allow" })), 2)
    end
    if type(value) ~= known[key] then
      error(format("load: option %q must be a %s, got a %s", key, known[key], type(value)), 2)
    end
  end
  local paths = {}
  for i, path in ipairs(type(files) == "string" and { files } or files) do paths[i] = resolve(path, 2) end
  local ok, at = pcall(trial.open, paths, options.allow or trial.allow, options.clock or time())
  if not ok then error(at, 0) end
  local self = setmetatable({ trial = at, monitors = {}, sinks = {}, sink_names = {}, counted = {} }, Pipelines)
  for number, part in ipairs(trial.parts(at)) do
    if part.sink then
      self.sinks[number] = part[1]
      self.sink_names[#self.sink_names + 1] = part[1]
    else
      self.monitors[part.pipeline] = self.monitors[part.pipeline] or {}
      self.monitors[part.pipeline][part[1]] = number
    end
  end
  local info = getinfo(2, "Sl")
  open[self] = format("%s:%d", info.short_src, info.currentline)
  return self
end

-- Says which pipelines were loaded and not closed, closes them, and returns whether there were any.
function testing.report_unclosed()
  local found = false
  for self, where in pairs(open) do
    found = true
    io.stderr:write(format("%s: what was loaded here was not closed: call :close(), best in after_each\n", where))
    pcall(self.close, self)
  end
  return found
end

return testing
