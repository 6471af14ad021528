-- logcap test pipelines/quickstart.lua
local testing = require "logcap.testing"

describe("quickstart", function()
  local p
  before_each(function() p = testing.load("../quickstart.lua", { clock = 1772366400 }) end)
  after_each(function() p:close() end)

  it("shows and writes the same", function()
    p:feed("quickstart", { { level = "info", order = 7 }, "Mar  1 12:00:00 host kernel: up" })
    local out = p:drain()
    assert.same({
      { level = "info", order = 7, collected_by = "logcap" },
      { message = "Mar  1 12:00:00 host kernel: up", collected_by = "logcap" },
    }, out.records.file_sink)
    assert.same(out.lines.file_sink, out.lines.stdout_sink)
  end)

  it("drops debug records", function()
    p:feed("quickstart", { { level = "debug" }, "level=debug" })
    local out = p:drain()
    assert.equal(1, #out.records.stdout_sink)
    assert.same({ filtered = 1 }, out.dropped)
  end)

  it("has a file for each day", function()
    p:feed("quickstart", "line")
    assert.truthy(p:drain().paths.file_sink[1]:find("/out/2026-03-01.ndjson", 1, true))
  end)
end)
