-- logcap test pipelines/services.lua
local testing = require "logcap.testing"

describe("services", function()
  local p
  before_each(function() p = testing.load("../services.lua", { clock = 1772366400 }) end) -- 2026-03-01 12:00 UTC
  after_each(function() p:close() end)

  -- The files below the pipeline file's folder.
  local function paths()
    local relative = {}
    for i, path in ipairs(p:drain().paths.file_sink) do relative[i] = path:match "/pipelines/(.*)" end
    return relative
  end

  it("writes a file for each service and day", function()
    p:feed("services", { { service = "shop" }, { service = "cart" } })
    p:advance("11h")
    p:feed("services", { { service = "shop" } })
    p:advance("1h")
    p:feed("services", { { service = "shop" } })
    assert.same({
      "out/shop/2026-03-01.ndjson", "out/cart/2026-03-01.ndjson", "out/shop/2026-03-01.ndjson",
      "out/shop/2026-03-02.ndjson",
    }, paths())
  end)

  it("has a file for what has no service", function()
    p:feed("services", { { message = "lost" }, "no JSON" })
    assert.same({ "out/unknown/2026-03-01.ndjson", "out/unknown/2026-03-01.ndjson" }, paths())
  end)

  it("lets no service out of its folder", function()
    p:feed("services", { { service = "../../etc" }, { service = ".." } })
    for _, path in ipairs(paths()) do assert.truthy(path:find "^out/[^/]+/2026%-03%-01%.ndjson$", path) end
  end)

  it("writes records as they came", function()
    local line = '{"service":"shop", "big":12345678901234567890,"z":1.50,"a":null}'
    p:feed("services", line)
    assert.same({ line }, p:drain().lines.file_sink)
  end)
end)
