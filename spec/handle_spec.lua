local logcap = require "logcap"
local feed = require "spec.feed"

local makers = {
  file_monitor = function() return logcap.file_monitor { paths = { "/var/log/*.log" } } end,
  stdin_monitor = function() return logcap.stdin_monitor {} end,
  json = function() return logcap.json {} end,
  dedup = function() return logcap.dedup {} end,
  lua = function() return logcap.stage { function() end } end,
  file_sink = function() return logcap.file_sink { path = "/tmp/x.log" } end,
  stdout_sink = function() return logcap.stdout_sink {} end,
  null_sink = function() return logcap.null_sink {} end,
}

local function count() return #logcap.resources() end

describe("a handle", function()
  before_each(feed.settle)

  for kind, make in pairs(makers) do
    describe("of kind " .. kind, function()
      it("has a kind, a name and figures", function()
        local res = make()
        assert.equal(kind, res.kind)
        assert.equal("string", type(res.name))
        local stats = res:stats()
        assert.equal("described", stats.life)
        assert.equal(0, stats.records_in)
        assert.equal(kind .. ' "' .. res.name .. '"', tostring(res))
        res:close()
      end)

      it("closes twice, and raises when used afterwards", function()
        local res = make()
        res:close()
        res:close()
        assert.equal(kind .. " (closed)", tostring(res))
        local uses = { function() return res.name end, function() return res.kind end, function() res:stats() end }
        for _, use in ipairs(uses) do
          local ok, message = pcall(use)
          assert.is_false(ok)
          assert.truthy(message:find("handle_spec.lua:%d+: %w+: this " .. kind .. " was closed before"), message)
        end
      end)

      it("leaves the registry when it is collected", function()
        local before = count()
        for _ = 1, 50 do make() end
        feed.settle()
        assert.equal(before, count())
      end)

      it("leaves the registry when it is closed", function()
        local before = count()
        local res = make()
        assert.equal(before + 1, count())
        res:close()
        feed.settle()
        assert.equal(before, count())
      end)

      it("stands in the registry with its line", function()
        local res = make()
        local list = logcap.resources()
        local entry = list[#list]
        assert.equal(kind, entry.kind)
        assert.equal(res.name, entry.name)
        assert.equal("described", entry.state)
        assert.truthy(entry.made_at:find("handle_spec.lua:%d+$"), entry.made_at)
        res:close()
      end)
    end)
  end

  it("takes its finalizer, close and __close as one", function()
    local res = logcap.null_sink {}
    local meta = debug.getmetatable(res)
    meta.__close(res)
    meta.__gc(res)
    res:close()
    meta.__gc(res)
    assert.equal("null_sink (closed)", tostring(res))
    assert.equal("logcap.handle", getmetatable(res))
  end)

  it("names what it does not have", function()
    local res = logcap.null_sink {}
    assert.has_error(function() return res.nmae end)
    assert.has_error(function() res.name = "x" end)
    assert.has_error(function() res.close() end)
    assert.has_error(function() res.close(io.stdout) end)
    res:close()
  end)
end)

describe("using", function()
  before_each(feed.settle)

  local function closed(res) return tostring(res):find("closed", 1, true) ~= nil end

  it("hands the resources over, returns what the function returns, and closes", function()
    local a, b = logcap.null_sink { name = "a" }, logcap.null_sink { name = "b" }
    local got = { logcap.using(a, b, function(x, y)
      assert.equal(a, x)
      assert.equal("b", y.name)
      return 1, nil, 3
    end) }
    assert.equal(1, got[1])
    assert.equal(3, got[3])
    assert.is_true(closed(a) and closed(b))
  end)

  it("closes on error, and raises it again as it was", function()
    local a = logcap.null_sink {}
    local err = {}
    local ok, got = pcall(logcap.using, a, function() error(err) end)
    assert.is_false(ok)
    assert.equal(err, got)
    assert.is_true(closed(a))
  end)

  it("closes when its coroutine dies without being resumed", function()
    local a = logcap.null_sink {}
    local co = coroutine.create(function() logcap.using(a, function() coroutine.yield() end) end)
    assert.is_true(coroutine.resume(co))
    assert.is_false(closed(a))
    co = nil -- luacheck: ignore
    feed.settle()
    assert.is_true(closed(a))
  end)

  it("lets the function yield", function()
    local a = logcap.null_sink {}
    local co = coroutine.wrap(function() return logcap.using(a, function(x) return coroutine.yield(x.name) end) end)
    assert.equal(a.name, co())
    assert.equal("done", co("done"))
    assert.is_true(closed(a))
  end)

  it("takes resources that the function closed already, and nested ones", function()
    local a, b = logcap.null_sink { name = "a" }, logcap.null_sink { name = "b" }
    logcap.using(a, function(x)
      x:close()
      logcap.using(b, function() end)
    end)
    assert.is_true(closed(a) and closed(b))
    logcap.using(function() end)
  end)

  it("says what it needs", function()
    assert.has_error(function() logcap.using() end)
    assert.has_error(function() logcap.using(logcap.null_sink {}) end)
    assert.has_error(function() logcap.using("x", function() end) end)
    local a = logcap.null_sink {}
    a:close()
    assert.has_error(function() logcap.using(a, function() end) end)
  end)
end)
