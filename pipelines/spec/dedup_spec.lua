-- logcap test pipelines/dedup.lua
local testing = require "logcap.testing"

describe("dedup", function()
  local p
  before_each(function() p = testing.load "../dedup.lua" end)
  after_each(function() p:close() end)

  local failed = { host = "a", message = "disk full" }

  it("lets a message pass once for each host", function()
    p:feed("dedup", { failed, failed, { host = "b", message = "disk full" }, { host = "a", message = "disk empty" } })
    local out = p:drain()
    assert.same({
      failed, { host = "b", message = "disk full" }, { host = "a", message = "disk empty" },
    }, out.records.file_sink)
    assert.same({ duplicate = 1 }, out.dropped)
  end)

  it("knows them through all sources", function()
    p:feed("dedup", { failed }, { source = "one.ndjson" })
    p:feed("dedup", { failed }, { source = "two.ndjson" })
    assert.same({ failed }, p:drain().records.file_sink)
  end)

  it("lets it pass again after a minute", function()
    p:feed("dedup", { failed })
    p:advance("59s")
    p:feed("dedup", { failed })
    local out = p:drain()
    assert.equal(1, #out.records.file_sink)
    assert.same({ duplicate = 1 }, out.dropped)
    p:advance("1s")
    p:feed("dedup", { failed })
    assert.same({ failed }, p:drain().records.file_sink)
  end)
end)
