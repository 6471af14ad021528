-- What the prompt offers beside Lua and the globals of the pipeline files: a look at resources, pipelines and records,
-- and a hand on them. Results are plain tables, for code and for JSON; how they look stands in session.views.

local native = require "logcap.native"
local logcap = require "logcap"
local record = require "logcap.record"
local printer = require "logcap.printer"

local collectgarbage, error, ipairs, pairs, pcall, setmetatable, tostring, type =
  collectgarbage, error, ipairs, pairs, pcall, setmetatable, tostring, type
local concat, sort = table.concat, table.sort
local format = string.format
local array, json_encode, list_resources = native.array, native.json_encode, native.module.resources

local help = [[
resources()         all that this logcap holds: id, kind, name, state, age, place, descriptors, bytes, records, errors
resource(id|name)   one of them: its fields, :stats(), :close()
leaks()             resources that nothing refers to any more: there should be none
pipelines()         the pipelines: state, sources, batches, and what became of their records
audit()             the ledgers: is every record accounted for?
tap(stage, n)       the last n (10) samples of a stage, before and after it
try(stage, fn, n)   what fn would do with n (10) of these records; nothing of it reaches the stream
pause(pipeline)     it reads no more, until
resume(pipeline)    it goes on
reload()            loads the pipeline files anew, as `logcap reload` does
gc()                collects the garbage of the Lua state
print(...)          shows values here

A stage is named by its name, by the FILE:LINE of its function, or by its place: "shop:2" is the second one of pipeline
"shop". Globals of the pipeline files are here by their names; what you set is yours alone, but for _G.name = value.
Examples:  pipelines()   resource("dedup").errors   tap("shop:2", 3)   try("shop:2", function(rec) rec.x = 1 end)]]

local function age(seconds)
  if seconds < 120 then return format("%ds", seconds) end
  if seconds < 7200 then return format("%dm", seconds / 60) end
  if seconds < 172800 then return format("%dh", seconds / 3600) end
  return format("%dd", seconds / 86400)
end

local function bytes(n)
  local unit = 1
  local units = { "B", "KiB", "MiB", "GiB", "TiB" }
  while n >= 1024 and unit < #units do n, unit = n / 1024, unit + 1 end
  return unit == 1 and format("%.0f B", n) or format("%.1f %s", n, units[unit])
end

local function text_of(list, titles, row, nothing)
  if #list == 0 then return nothing end
  local rows = {}
  for i, entry in ipairs(list) do rows[i] = row(entry) end
  return printer.table(titles, rows)
end

local resource_titles = { "id", "kind", "name", "state", "age", "made at", "fds", "bytes", "in", "out", "errors" }

local counted = { "descriptors", "bytes", "records_in", "records_out", "errors" }

local function resource_row(entry)
  local name = printer.cut(entry.name, 60)
  return { entry.id, entry.kind, name, entry.state, age(entry.age_s), entry.made_at, entry.descriptors,
    bytes(entry.bytes), entry.records_in, entry.records_out, entry.errors }
end

local pipeline_titles =
  { "name", "state", "sources", "batches", "sink", "read", "delivered", "dropped", "dead", "in flight" }

local function dropped(sink)
  local sum = 0
  for key, count in pairs(sink) do
    if key:find "^dropped_" then sum = sum + count end
  end
  return sum
end

local function pipelines_text(list)
  local rows = {}
  for _, pipeline in ipairs(list) do
    for i, sink in ipairs(pipeline.sinks) do
      local first = i == 1
      local name = printer.cut(sink.name, 60)
      rows[#rows + 1] = { first and pipeline.name or "", first and pipeline.state or "",
        first and pipeline.sources or "", first and bytes(pipeline.batches.bytes) or "", name, sink.read,
        sink.delivered, dropped(sink), sink.dead_lettered, sink.in_flight }
    end
  end
  return printer.table(pipeline_titles, rows)
end

local function audit_text(audit)
  local lines = {}
  for _, entry in ipairs(audit.ledger) do
    lines[#lines + 1] = format("%s -> %s: %s", entry.pipeline, entry.sink,
      entry.balanced and "balanced" or "DOES NOT BALANCE")
    lines[#lines + 1] = format("  read %.0f + created %.0f = delivered %.0f + dropped %.0f + dead-lettered %.0f" ..
      " + abandoned %.0f + in flight %.0f", entry.read, entry.created, entry.delivered, dropped(entry),
      entry.dead_lettered, entry.abandoned, entry.in_flight)
    for _, reason in ipairs(entry.reasons) do lines[#lines + 1] = "  ! " .. reason end
  end
  lines[#lines + 1] = audit.healthy and "healthy" or "NOT healthy"
  return printer.plain(concat(lines, "\n"))
end

-- The JSON of a sample's record, as text for people.
local function line(text, was_cut) return printer.plain(text) .. (was_cut and "..." or "") end

local function samples_text(samples, texts)
  local lines = {}
  for i, sample in ipairs(samples) do
    local text = texts[i]
    lines[#lines + 1] = format("%d  %s", i, printer.plain(sample.source or "no source"))
    lines[#lines + 1] = "   before  " .. line(text.before, text.before_cut)
    local after = sample.dropped and "dropped (" .. sample.dropped .. ")"
      or sample.dead and "to the dead letters: " .. printer.plain(sample.dead)
      or text.after == text.before and "the same" or line(text.after, text.after_cut)
    lines[#lines + 1] = "   after   " .. after
  end
  return #lines > 0 and concat(lines, "\n") or "no sample yet: no record came since the files were loaded"
end

-- How two records differ: { field = { before =, after = } }, or nil.
local function difference(before, after)
  local changes
  local function compare(key)
    local old, new = before[key], after[key]
    if old == nil or new == nil or json_encode(old) ~= json_encode(new) then
      changes = changes or {}
      changes[key] = { before = old, after = new }
    end
  end
  for key in pairs(before) do compare(key) end
  for key in pairs(after) do
    if before[key] == nil then compare(key) end
  end
  return changes
end

local function changes_text(changes)
  local keys, parts = {}, {}
  for key in pairs(changes) do keys[#keys + 1] = key end
  sort(keys)
  for i, key in ipairs(keys) do
    local change = changes[key]
    local new = change.after ~= nil and printer.cut(json_encode(change.after), 200)
    if change.before == nil then parts[i] = format("+ %s = %s", key, new)
    elseif not new then parts[i] = "- " .. key
    else parts[i] = format("~ %s = %s (was %s)", key, new, (printer.cut(json_encode(change.before), 200))) end
  end
  return printer.plain(concat(parts, "   "))
end

local function trials_text(trials)
  if #trials == 0 then return "no sample yet: no record came since the files were loaded" end
  local counts = { dropped = 0, failed = 0, changed = 0, unchanged = 0 }
  local lines = {}
  for i, trial in ipairs(trials) do
    local what = trial.error and "failed" or trial.dropped and "dropped" or trial.changes and "changed" or "unchanged"
    counts[what] = counts[what] + 1
    local text = what == "failed" and "failed: " .. printer.plain(trial.error)
      or what == "changed" and changes_text(trial.changes) or what
    lines[i] = format("%d  %s", i, text)
  end
  local records = #trials == 1 and "1 record" or #trials .. " records"
  return format("%s: %d changed, %d unchanged, %d dropped, %d failed\n%s", records, counts.changed, counts.unchanged,
    counts.dropped, counts.failed, concat(lines, "\n"))
end

local function count_of(n, what)
  if n == nil then return 10 end
  if type(n) ~= "number" or n < 1 or n ~= n then error(what .. ": the number of records is 1 or more", 0) end
  return n
end

local function name_of(name, what, kind)
  if type(name) == "string" then return name end
  error(format("%s takes the name of a %s, got %s", what, kind, name == nil and "nothing" or "a " .. type(name)), 0)
end

---@param host table<string, function>
---@param session logcap.Session
---@return table<string, any>
return function(host, session)
  local views = session.views
  local offers = { logcap = logcap }

  local function with_view(value, view)
    views[value] = function() return view(value) end
    return value
  end

  local function resource_list(list, nothing)
    return with_view(list, function() return text_of(list, resource_titles, resource_row, nothing) end)
  end

  local resource_methods = {
    stats = function(self) -- as they are now, like those of a handle
      for _, entry in ipairs(list_resources()) do
        if entry.id == self.id then
          local stats = { life = entry.state }
          for _, key in ipairs(counted) do stats[key] = entry[key] end
          for key, value in pairs(entry.stats or {}) do stats[key] = value end
          return stats
        end
      end
      error(format("%s %q is gone", self.kind, self.name), 0)
    end,
    close = function(self)
      local ok, why = host.close(self.id)
      if not ok then error(why, 0) end
    end,
  }
  local resource_meta = { __index = resource_methods, __metatable = "logcap.resource" }

  function offers.help() return help end

  function offers.resources() return resource_list(list_resources(), "nothing is held") end

  function offers.resource(which)
    local found = {}
    for _, entry in ipairs(list_resources()) do
      if entry.id == which or entry.name == which or entry.identity == which then found[#found + 1] = entry end
    end
    if #found == 1 then
      found[1].stats = nil -- that is the method's
      return setmetatable(found[1], resource_meta)
    end
    if #found == 0 then error(format("no resource is called %s; see resources()", printer.value(which)), 0) end
    local ids = {}
    for i, entry in ipairs(found) do ids[i] = format("%.0f (%s)", entry.id, entry.kind) end
    error(format("several resources are called %q: take one by its id, %s", tostring(which), concat(ids, ", ")), 0)
  end

  function offers.leaks()
    collectgarbage()
    collectgarbage() -- what a finalizer let go
    local held, list = host.held(), {}
    for _, entry in ipairs(list_resources()) do
      if entry.made_at ~= "" and not held[entry.id] then list[#list + 1] = entry end
    end
    return resource_list(array(list), "no leaks")
  end

  function offers.pipelines() return with_view(host.status().pipelines, pipelines_text) end

  function offers.audit() return with_view(host.audit(), audit_text) end

  function offers.tap(stage, n)
    local samples, texts = host.samples(name_of(stage, "tap", "stage"), count_of(n, "tap"))
    if not samples then error(texts, 0) end
    return with_view(samples, function() return samples_text(samples, texts) end)
  end

  -- Each record of the private batch passes fn, as in the loop of a stage. What moves on is asked of the C side, which
  -- knows whether that batch is in hand: a function may yield, and be resumed who knows where.
  local function run_trials(fn)
    local errors, at = {}, 0
    session.trying = true
    while host.try_next() do
      at = at + 1
      local ok, verdict = pcall(fn, record.of(record.view.serial))
      if not ok then errors[at] = printer.value(type(verdict) == "string" and record.describe(verdict) or verdict)
      elseif verdict == false then host.try_drop() end
    end
    session.trying = false
    return errors
  end

  function offers.try(stage, fn, n)
    name_of(stage, "try", "stage")
    if type(fn) ~= "function" then
      error("try needs a function of a record: try(\"shop:2\", function(rec) rec.env = \"prod\" end)", 0)
    end
    local ok, why = host.try_begin(stage, count_of(n, "try"))
    if not ok then error(why, 0) end
    local errors = run_trials(fn)
    local trials = host.try_end()
    for i, trial in ipairs(trials) do
      trial.error = errors[i]
      if trial.error then trial.after = nil end
      if trial.after then trial.changes = difference(trial.before, trial.after) end
    end
    return with_view(trials, trials_text)
  end

  local function hold(what, paused)
    return function(name)
      local ok, why = host.pause(name_of(name, what, "pipeline"), paused)
      if not ok then error(why, 0) end
      return format("%s is %s", name, paused and "paused" or "running")
    end
  end
  offers.pause, offers.resume = hold("pause", true), hold("resume", false)

  function offers.gc()
    local before = collectgarbage "count"
    collectgarbage()
    collectgarbage()
    local after = collectgarbage "count"
    return with_view({ before_bytes = before * 1024, after_bytes = after * 1024 }, function(sizes)
      return format("Lua holds %s, before %s", bytes(sizes.after_bytes), bytes(sizes.before_bytes))
    end)
  end

  -- What the strings that these functions take may be.
  function session.names(of)
    local names, parts = {}, host.parts()
    for _, part in ipairs(parts) do
      if part.index > 0 and (of == "tap" or of == "try") then
        names[#names + 1] = format("%s:%d", part.pipeline, part.index)
        names[#names + 1] = part.name
      elseif part.kind == "pipeline" and of ~= "resource" then
        names[#names + 1] = part.name
      end
    end
    if of == "resource" then
      for _, entry in ipairs(list_resources()) do names[#names + 1] = entry.name end
    end
    return names
  end

  return offers
end
