-- logcap test pipelines/filter.lua
local testing = require "logcap.testing"

describe("filter", function()
  local p
  before_each(function() p = testing.load "../filter.lua" end)
  after_each(function() p:close() end)

  it("drops what is below info and keeps levels that it does not know", function()
    p:feed("filter", { { level = "debug" }, { level = "info" }, { level = "notice" }, { message = "none" } })
    local out = p:drain()
    assert.same({
      { level = "info", team = "shop" },
      { level = "notice", team = "shop" },
      { message = "none", team = "shop" },
    }, out.records.file_sink)
    assert.same({ filtered = 1 }, out.dropped)
  end)

  it("hides what must not leave", function()
    p:feed("filter", { { email = "ann.b@example.org", user = { name = "ann", password = "secret" } } })
    local out = p:drain()
    assert.same({ { email = "***@example.org", user = { name = "ann" }, team = "shop" } }, out.records.file_sink)
    assert.is_nil(out.lines.file_sink[1]:find("secret", 1, true))
  end)

  it("marks only what took more than a second", function()
    p:feed("filter", { { took_ms = 1000 }, { took_ms = 1001 }, { slow = true } })
    local records = p:drain().records.file_sink
    assert.same({ false, true, false }, {
      records[1].slow or false, records[2].slow or false, records[3].slow or false,
    })
  end)

  it("dead-letters what is no JSON object", function()
    p:feed("filter", { "plain text", "[1]", '{"level":"info"}' }, { source = "shop.ndjson" })
    local out = p:drain()
    assert.equal(1, #out.records.file_sink)
    assert.equal(2, #out.dead_letters)
    assert.same({
      pipeline = "filter", stage = "json", reason = "not a JSON object", source = "shop.ndjson", position = 11,
      message = "plain text",
    }, out.dead_letters[1])
  end)

  it("dead-letters a record that its function fails on", function()
    p:feed("filter", { { email = { "a", "b" } } })
    local out = p:drain()
    assert.same({}, out.records.file_sink)
    assert.truthy(out.dead_letters[1].reason:find("filter.lua:%d+: "))
  end)
end)
