-- logcap test pipelines/traces.lua
local testing = require "logcap.testing"

local trace = {
  "2026-03-01 12:00:00,123 ERROR c.example.Shop: order 7 failed",
  "java.lang.IllegalStateException: no stock",
  "\tat com.example.Shop.order(Shop.java:42)",
}

describe("traces", function()
  local p
  before_each(function() p = testing.load("../traces.lua", { clock = 1772366400 }) end)
  after_each(function() p:close() end)

  it("makes one record of a stack trace, when the next one begins", function()
    p:feed("traces", trace)
    assert.same({}, p:drain().records.file_sink)
    p:feed("traces", { "2026-03-01 12:00:01,000 INFO c.example.Shop: fine" })
    local records = p:drain().records.file_sink
    assert.equal(1, #records)
    assert.equal(table.concat(trace, "\n"), records[1].message)
    assert.equal("2026-03-01 12:00:00,123", records[1].date)
    assert.equal("c.example.Shop", records[1].logger)
    assert.equal("java.lang.IllegalStateException", records[1].exception)
  end)

  it("ends a trace when nothing comes for two seconds", function()
    p:feed("traces", trace)
    p:advance("1.9s")
    assert.equal(0, #p:drain().records.file_sink)
    p:advance("100ms")
    assert.equal(1, #p:drain().records.file_sink)
  end)

  it("keeps the traces of different files apart", function()
    p:feed("traces", { trace[1], trace[2] }, { source = "a.log" })
    p:feed("traces", { trace[1] }, { source = "b.log" })
    p:feed("traces", { trace[3] }, { source = "a.log" })
    p:flush()
    local exceptions = {}
    for i, record in ipairs(p:drain().records.file_sink) do exceptions[i] = record.exception or "none" end
    table.sort(exceptions)
    assert.same({ "java.lang.IllegalStateException", "none" }, exceptions)
  end)

  it("finds errors that are no exceptions, and shows only errors", function()
    p:feed("traces", {
      "2026-03-01 12:00:00,000 WARN a.B: slow",
      "2026-03-01 12:00:00,000 ERROR a.B: bad",
      "java.lang.OutOfMemoryError: heap",
      "2026-03-01 12:00:00,000 INFO a.B: ERROR is only a word here",
    })
    p:flush()
    local out = p:drain()
    assert.equal(1, #out.records.file_sink)
    assert.equal("java.lang.OutOfMemoryError", out.records.file_sink[1].exception)
    assert.same({ filtered = 2 }, out.dropped)
  end)

  it("says when and where it was read", function()
    p:feed("traces", trace, { source = "/var/log/shop/a.log" })
    p:flush()
    local line = p:drain().lines.file_sink[1]
    assert.truthy(line:find('"@timestamp":"2026-03-01T12:00:00Z"', 1, true), line)
    assert.truthy(line:find('"@source":"/var/log/shop/a.log"', 1, true), line)
  end)
end)
