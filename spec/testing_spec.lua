-- logcap.testing: pipeline files in the real engine, with doubles for their monitors and sinks.
local testing = require "logcap.testing"

local open, files = {}, {}

local function write(text)
  local path = os.tmpname()
  files[#files + 1] = path
  local file = assert(io.open(path, "wb"))
  file:write('local logcap = require "logcap"\n', text)
  file:close()
  return path
end

local function load(text, options)
  local p = testing.load(write(text), options)
  open[#open + 1] = p
  return p
end

local function fails(message, fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.truthy(err:find(message, 1, true), err)
end

local copy = [[
  logcap.pipeline { name = "copy", from = logcap.file_monitor { paths = { "/nowhere/*.log" } },
    to = logcap.file_sink { path = "/nowhere/out.log", format = "raw" } }
]]

describe("logcap.testing", function()
  after_each(function()
    for i, p in ipairs(open) do
      open[i] = nil
      p:close()
    end
    for i, path in ipairs(files) do
      files[i] = nil
      os.remove(path)
    end
  end)

  it("feeds lines as they are and gives out what the sink would write", function()
    local p = load(copy)
    p:feed("copy", { "a\r", "", "\0\255", '{"a": 1}' })
    local out = p:drain()
    assert.same({ "a\r", "", "\0\255", '{"a": 1}' }, out.lines.file_sink)
    assert.same({ "/nowhere/out.log", "/nowhere/out.log", "/nowhere/out.log", "/nowhere/out.log" }, out.paths.file_sink)
    assert.same({}, out.dropped)
    assert.same({}, out.dead_letters)
    assert.is_nil(out.stopped)
    assert.same({}, p:drain().lines.file_sink)
  end)

  it("takes more lines than the pipeline has memory for", function()
    local lines = {}
    for i = 1, 200000 do lines[i] = ("line %d of many, which is a little longer than it would have to be"):format(i) end
    lines[100000] = "x"
    local function feed_with(memory)
      local p, began = load(([[
        logcap.pipeline { name = "big", memory = "%s", from = logcap.stdin_monitor {},
          stages = { function(rec) return rec.message ~= "x" end }, to = logcap.null_sink {} }
      ]]):format(memory)), os.time()
      p:feed("big", lines)
      return p, os.time() - began
    end
    local _, plenty = feed_with("256MiB")
    local p, took = feed_with("2MiB")
    assert.truthy(took < 6 + 2 * plenty) -- it waits for no commit, once a second, to have room
    local out = p:drain()
    assert.equal(199999, #out.records.null_sink)
    for i, record in ipairs(out.records.null_sink) do
      if record.message ~= lines[i < 100000 and i or i + 1] then error("line " .. i) end
    end
    assert.same({ filtered = 1 }, out.dropped)
  end)

  it("cuts lines as the monitor would", function()
    local p = load [[
      logcap.pipeline { name = "cut", from = logcap.file_monitor { paths = { "/x" }, max_line = 10 },
        to = logcap.stdout_sink { format = "raw" } }
      logcap.pipeline { name = "long", from = logcap.file_monitor { paths = { "/y" }, max_line = "300KiB" },
        to = logcap.null_sink {} }
      logcap.pipeline { name = "refused", from = logcap.file_monitor { paths = { "/z" }, max_line = "300KiB" },
        stages = { logcap.json { on_error = "dlq" } }, to = logcap.null_sink { name = "none" } }
    ]]
    p:feed("cut", { "0123456789", "0123456789a", "b" })
    local size = 300 * 1024
    local long = { ("a"):rep(size), ("b"):rep(size + 1), ("c"):rep(3 * size), "d" }
    p:feed("long", long)
    p:feed("refused", long)
    local out = p:drain()
    for i, cut in ipairs { false, true, true, false } do
      assert.equal(cut, out.dead_letters[i].truncated or false)
    end
    assert.same({ "0123456789", "0123456789", "b" }, out.lines.stdout_sink)
    for i, length in ipairs { size, size, size, 1 } do assert.equal(length, #out.records.null_sink[i].message) end
  end)

  it("joins lines as the monitor would, within its limits", function()
    local p = load [[
      logcap.pipeline { name = "m", from = logcap.stdin_monitor { multiline = { start = "^\\S", max_lines = 3,
        timeout = "250ms" } }, to = logcap.null_sink {} }
    ]]
    p:feed("m", { "a", " 1", "b", " 1", " 2", " 3", "c" })
    assert.same({ { message = "a\n 1" }, { message = "b\n 1\n 2" }, { message = " 3" } }, p:drain().records.null_sink)
    p:advance("0.2s")
    p:feed("m", " 4") -- it waits anew
    p:advance("200ms")
    assert.same({}, p:drain().records.null_sink)
    p:advance("50ms")
    assert.same({ { message = "c\n 4" } }, p:drain().records.null_sink)
    p:feed("m", "d")
    p:flush()
    p:flush()
    assert.same({ { message = "d" } }, p:drain().records.null_sink)
  end)

  it("drives the clock of stages, records and the file's os.time", function()
    local p = load([[
      local loaded = os.time()
      logcap.pipeline { name = "t", from = logcap.stdin_monitor {},
        stages = { function(rec)
          rec.loaded, rec.now, rec.read, rec.day = loaded, os.time(), rec:event_time(), os.date("!%F")
          rec.fixed, rec.epoch = os.time { year = 2001, month = 1, day = 1, hour = 12 } > 9e8, os.date("!%F", 0)
        end },
        to = logcap.null_sink {} }
    ]], { clock = 1700000000.5 })
    assert.equal(1700000000.5, p:clock())
    p:advance(86400)
    p:feed("t", "x")
    assert.same({ {
      message = "x", loaded = 1700000000, now = 1700086400, read = 1700086400.5, day = "2023-11-15", fixed = true,
      epoch = "1970-01-01",
    } }, p:drain().records.null_sink)
  end)

  it("runs several pipelines, monitors and sinks, also one sink for two pipelines", function()
    local p = load [[
      local both = logcap.null_sink { name = "both" }
      logcap.pipeline { name = "one", to = { both, logcap.null_sink {} },
        from = { logcap.file_monitor { paths = { "/a" }, name = "a", labels = { from = "a" } },
                 logcap.file_monitor { paths = { "/b" } }, logcap.file_monitor { paths = { "/c" } } },
        stages = { function(rec) rec.label, rec.source = rec:source_labels().from, rec:source_name() end } }
      logcap.pipeline { name = "two", from = logcap.stdin_monitor {}, to = both }
    ]]
    p:feed("one", "1", { monitor = "a", source = "/a" })
    p:feed("one", "2", { monitor = "file_monitor" })
    p:feed("one", "3", { monitor = "file_monitor#2" })
    p:feed("two", "4")
    local out = p:drain()
    assert.same({
      { message = "1", label = "a", source = "/a" }, { message = "2", source = "test.log" },
      { message = "3", source = "test.log" }, { message = "4" },
    }, out.records.both)
    assert.equal(3, #out.records.null_sink)
    fails('has several monitors; say which: { monitor = "a" }', p.feed, p, "one", "5")
    fails('no monitor "b"; ', p.feed, p, "one", "5", { monitor = "b" })
  end)

  it("counts what is dropped and dead-lettered since the last time", function()
    local p = load [[
      logcap.pipeline { name = "d", from = logcap.stdin_monitor {}, to = { logcap.null_sink {}, logcap.stdout_sink {} },
        stages = { logcap.json { on_error = "dlq" }, logcap.dedup {}, function(rec)
          if rec.bad then error "bad" end
          return rec.keep
        end } }
    ]]
    p:feed("d", { { keep = false }, { keep = false }, { keep = false, n = 2 }, { keep = true }, { bad = true }, "no" })
    local out = p:drain()
    assert.same({ filtered = 2, duplicate = 1 }, out.dropped)
    assert.same({ { keep = true } }, out.records.null_sink)
    assert.same(out.records.null_sink, out.records.stdout_sink)
    assert.equal(2, #out.dead_letters)
    assert.same({ "no", "json", "d" }, { out.dead_letters[1].message, out.dead_letters[1].stage,
      out.dead_letters[1].pipeline })
    assert.same({ bad = true }, out.dead_letters[2].record)
    assert.truthy(out.dead_letters[2].reason:find(":%d+: bad$"))
    p:feed("d", { { keep = false, n = 3 } })
    out = p:drain()
    assert.same({ filtered = 1 }, out.dropped)
    assert.same({}, out.dead_letters)
  end)

  it("says why a pipeline stopped, and lets the others go on", function()
    local p = load [[
      logcap.pipeline { name = "stops", from = logcap.stdin_monitor {}, to = logcap.null_sink { name = "first" },
        on_error = "stop", stages = { function(rec) if rec.message == "3" then error "enough" end end } }
      logcap.pipeline { name = "goes on", from = logcap.file_monitor { paths = { "/a" } }, to = logcap.null_sink {} }
    ]]
    p:feed("stops", { "1" })
    p:feed("stops", { "2", "3", "4" })
    fails('pipeline "stops" is stopped: pipeline stops stopped: ', p.feed, p, "stops", { "5" })
    p:feed("goes on", { "6" })
    local out = p:drain()
    assert.truthy(out.stopped:find("^pipeline stops stopped: .*:%d+: enough"), out.stopped)
    assert.same({ { message = "1" } }, out.records.first)
    assert.same({ { message = "6" } }, out.records.null_sink)
  end)

  it("lets the clock of a stopped pipeline go on", function()
    local p = load [[
      logcap.pipeline { name = "s", to = logcap.null_sink {}, on_error = "stop",
        from = logcap.stdin_monitor { multiline = { start = "^a", timeout = "1s" } },
        stages = { function() error "never" end } }
      logcap.pipeline { name = "other", from = logcap.file_monitor { paths = { "/a" } }, to = logcap.stdout_sink {} }
    ]]
    p:feed("s", { "a1", "a2" })
    p:advance(10)
    assert.truthy(p:drain().stopped)
  end)

  it("lets nothing be fed when all is stopped", function()
    local p = load [[
      logcap.pipeline { name = "s", from = logcap.stdin_monitor {}, to = logcap.null_sink {}, on_error = "stop",
        stages = { function() error "never" end } }
    ]]
    p:feed("s", "1")
    fails('pipeline "s" is stopped', p.feed, p, "s", "2")
    p:advance(1)
    p:flush()
    assert.truthy(p:drain().stopped)
  end)

  it("gives the errors of a file with its line", function()
    fails(":2: file_monitor: unknown option", load, 'logcap.file_monitor { pats = {} }')
    fails("unexpected symbol", load, "return return")
    fails("cannot read pipeline file /nowhere/x.lua", testing.load, "/nowhere/x.lua")
    fails("no pipeline is made here", load, "")
    fails("cannot be told apart", load, copy .. copy:gsub('"copy"', '"other"'))
    fails("no pipeline file is given", testing.load, {})
  end)

  it("shows files the curated environment, and what is allowed", function()
    fails("--allow io", load, "io.open('x')")
    load("assert(io.open)" .. copy, { allow = { "io" } })
    fails("this cannot be granted", load, copy, { allow = { "everything" } })
  end)

  it("says what is wrong with a call", function()
    local p = load(copy)
    fails('unknown option "clok"; did you mean "clock"?', testing.load, "x.lua", { clok = 1 })
    fails('option "clock" must be a number, got a string', testing.load, "x.lua", { clock = "now" })
    fails("seconds since 1970", load, copy, { clock = -1 })
    fails('no pipeline "cpy"; did you mean "copy"?', p.feed, p, "cpy", {})
    fails('unknown option "sorce"; did you mean "source"?', p.feed, p, "copy", {}, { sorce = "x" })
    fails("a line is a string or a table, got a number", p.feed, p, "copy", { 1 })
    fails("cannot be JSON", p.feed, p, "copy", { { print } })
    fails("lines are a list, got a nil", p.feed, p, "copy")
    fails("forty", p.advance, p, "forty")
    fails("a duration is not negative", p.advance, p, -1)
    fails("no further than the year 2262", p.advance, p, 8.9e9)
    fails('no sink "file"; ', function() return p:drain().lines.file end)
    local _, err = pcall(function() p:feed("cpy", {}) end)
    assert.truthy(err:find("^%S*testing_spec.lua:%d+: there is no pipeline"), err)
  end)

  it("closes once, and says so when it is used afterwards", function()
    local p = load(copy)
    p:feed("copy", "x")
    p:close()
    p:close()
    for _, use in ipairs { "feed", "advance", "flush", "drain", "clock" } do
      fails(use .. ": these pipelines were closed before", p[use], p, "copy", "x")
    end
  end)

  it("keeps pipelines that are loaded at the same time apart", function()
    local one, two = load(copy, { clock = 1000 }), load(copy, { clock = 2000 })
    one:feed("copy", "1")
    two:feed("copy", "2")
    one:advance(5)
    assert.same({ "1" }, one:drain().lines.file_sink)
    assert.same({ "2" }, two:drain().lines.file_sink)
    assert.same({ 1005, 2000 }, { one:clock(), two:clock() })
  end)

  it("ticks each second: what is expired leaves the memory of dedup", function()
    local p = load [[
      local dedup = logcap.dedup { ttl = "10s", fields = { "message" } }
      logcap.pipeline { name = "e", from = logcap.stdin_monitor {}, to = logcap.null_sink {},
        stages = { function(rec) rec.entries = dedup:stats().entries end, dedup } }
    ]]
    p:feed("e", { "a" })
    p:feed("e", { "b" })
    p:advance("11s")
    p:feed("e", { "c" })
    local entries = {}
    for i, record in ipairs(p:drain().records.null_sink) do entries[i] = record.entries end
    assert.same({ 0, 1, 0 }, entries)
  end)
end)
