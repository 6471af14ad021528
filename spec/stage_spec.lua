local logcap = require "logcap"
local feed = require "spec.feed"

local lines = { '{"n":1}', '{"n":2}', '{"n":3}', '{"n":4}' }

local function fail_on_even(rec)
  if rec.n % 2 == 0 then error("even: " .. rec.n) end
  if rec.n == 3 then return false end
  rec.seen = true
end

local function run(on_error, fn)
  local stage = logcap.stage { fn or fail_on_even, on_error = on_error, name = "spec" }
  local out, stopped = feed.records(stage, lines, { json = true })
  local stats = stage:stats()
  stage:close()
  return out, stopped, stats
end

describe("a Lua stage", function()
  after_each(feed.settle)

  it("keeps what returns nothing or true and drops what returns false", function()
    local out = run(nil, function(rec)
      if rec.n == 1 then return true end
      if rec.n == 2 then return false end
      if rec.n == 3 then return "anything" end
    end)
    assert.same({ nil, "filtered", nil, nil }, { out[1].dropped, out[2].dropped, out[3].dropped, out[4].dropped })
  end)

  it("dead-letters records that it fails on, with file and line, and goes on", function()
    local out, stopped, stats = run()
    assert.is_nil(stopped)
    assert.truthy(out[2].dead:find("stage_spec.lua:7: even: 2", 1, true))
    assert.truthy(out[4].dead:find("stage_spec.lua:7: even: 4", 1, true))
    assert.equal('{"n":1,"seen":true}', out[1].json)
    assert.equal("filtered", out[3].dropped)
    assert.same({ 4, 1, 2, 1, 2 }, { stats.records_in, stats.records_out, stats.errors, stats.dropped, stats.refused })
  end)

  it("passes them on, marked, when told so", function()
    local out, stopped, stats = run("pass")
    assert.is_nil(stopped)
    assert.same({ false, true, false, true }, { out[1].unparsed, out[2].unparsed, out[3].unparsed, out[4].unparsed })
    assert.is_nil(out[2].dead)
    assert.is_nil(out[2].dropped)
    assert.equal(3, stats.records_out)
  end)

  it("drops them when told so", function()
    local out = run("drop")
    assert.equal("error", out[2].dropped)
    assert.equal("error", out[4].dropped)
    assert.is_nil(out[1].dropped)
  end)

  it("stops the pipeline when told so", function()
    local out, stopped = run("stop")
    assert.truthy(stopped:find("even: 2", 1, true))
    assert.is_nil(out[4].dropped)
    assert.equal('{"n":4}', out[4].json)
  end)

  it("describes errors that are not strings", function()
    local failing = setmetatable({}, { __tostring = function() error "again" end })
    for expected, err in pairs {
      ["readable"] = setmetatable({}, { __tostring = function() return "readable" end }),
      ["an error that cannot be shown"] = failing,
      ["table: "] = {},
      ["false"] = false,
    } do
      local out = run(nil, function() error(err) end)
      assert.truthy(out[1].dead:find(expected, 1, true), out[1].dead)
      assert.truthy(out[4].dead)
    end
    local out = run(nil, function() error() end)
    assert.equal("nil", out[1].dead)
  end)

  it("survives functions that misbehave", function()
    local out = run(nil, function() coroutine.yield() end)
    assert.truthy(out[1].dead:find("yield", 1, true))
    local function deep(n) return 1 + deep(n + 1) end
    out = run(nil, function() return deep(1) end)
    assert.truthy(out[4].dead:find("stack overflow", 1, true))
    out = run(nil, function(rec) rec.x = rec.missing.field end)
    assert.truthy(out[1].dead:find("attempt to index field 'missing'", 1, true))
  end)

  it("gives a record that it fails on back as it came", function()
    local function change_and_fail(rec)
      rec.n, rec.o, rec.new = 9, nil, true
      rec:set("deep", "x", 1)
      rec.message = {}
      error "too late"
    end
    for _, line in ipairs { '{"n": 1,"o":{"x":1}}', "plain \255" } do
      for _, on_error in ipairs { "dlq", "pass", "drop", "stop" } do
        local stage = logcap.stage { change_and_fail, on_error = on_error }
        local out = feed.records(stage, { line }, { json = true })
        stage:close()
        assert.equal(line, out[1].raw)
      end
    end
  end)

  it("hurts no other record, nor stops, when the room for changes is used up", function()
    local out, stopped = run(nil, function(rec)
      if rec.n == 1 then rec.big = ("x"):rep(2 ^ 24 - 100) end
      if rec.n == 2 then rec.small = ("x"):rep(300) end
      if rec.n == 3 then error(("e"):rep(5000)) end
      rec.n = nil
    end)
    assert.is_nil(stopped)
    assert.truthy(out[2].dead:find("no room for the change", 1, true))
    assert.truthy(out[3].dead:find("stage_spec.lua:%d+: eeee"))
    assert.equal("{}", out[4].json)
  end)

  it("keeps stages with different functions apart", function()
    local stages = {}
    for i = 1, 5 do stages[i] = logcap.stage { function(rec) rec.by = i end } end
    for _ = 1, 20 do
      for i = 1, 5 do
        local out = feed.records(stages[i], lines, { json = true })
        assert.equal(('{"n":4,"by":%d}'):format(i), out[4].json)
      end
    end
    for i = 1, 5 do stages[i]:close() end
  end)

  it("works on when its handle is collected", function()
    local out = feed.records(logcap.stage { function(rec) rec.x = 1 end }, lines, { json = true })
    assert.equal('{"n":1,"x":1}', out[1].json)
  end)
end)
