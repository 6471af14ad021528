-- Every example in the documentation is right: pipelines load, other blocks compile. The options that editors and
-- docs/lua-api.md know are those that the constructors take.

local logcap = require "logcap"
local feed = require "spec.feed"

local function read(name)
  local file = assert(io.open(name, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function list(command)
  local names = {}
  local pipe = assert(io.popen(command))
  for name in pipe:lines() do names[#names + 1] = name end
  pipe:close()
  assert(#names > 0, command)
  return names
end

describe("an example", function()
  after_each(feed.settle)

  for _, document in ipairs(list "ls README.md docs/*.md") do
    local number = 0
    for block in read(document):gmatch("\n```lua\n(.-)\n```") do
      number = number + 1
      it(("%d of %s is right"):format(number, document), function()
        assert(loadstring(block, "=" .. document))
        if not block:find("logcap.pipeline", 1, true) then return end
        local path = os.tmpname()
        local file = assert(io.open(path, "wb"))
        file:write(block)
        file:close()
        local n, message = feed.check(path)
        os.remove(path)
        assert.equal(1, n, message)
      end)
    end
  end

  for _, pipeline in ipairs(list "ls pipelines/*.lua") do
    it(pipeline .. " is right", function()
      local n, message = feed.check(pipeline)
      assert.truthy(n, message)
    end)
  end
end)

describe("the documentation", function()
  local classes = {
    file_monitor = "FileMonitorOptions", stdin_monitor = "StdinMonitorOptions", json = "JsonOptions",
    dedup = "DedupOptions", stage = "StageOptions", file_sink = "FileSinkOptions", stdout_sink = "StdoutSinkOptions",
    null_sink = "NullSinkOptions", limits = "LimitsOptions", admin = "AdminOptions",
    resource_monitor = "ResourceMonitorOptions",
  }
  local types, manual = read "lua/types/logcap.lua", read "docs/lua-api.md"

  for kind, class in pairs(classes) do
    it("has the options of " .. kind, function()
      local _, message = pcall(logcap[kind], { ["no such option"] = 1 })
      local taken = {}
      for name in message:match("its options are: (.*)$"):gmatch("[^, ]+") do taken[name] = true end
      local annotated = types:match("%-%-%-@class logcap%." .. class .. "\n(.-)\n\n")
      assert.truthy(annotated)
      local known = {}
      for name in annotated:gmatch("%-%-%-@field (%S+)") do known[name:gsub("%?$", "")] = true end
      assert.same(taken, known)
      for name in pairs(taken) do
        local described = manual:find("`" .. name .. "`", 1, true) or manual:find(name .. " = ...", 1, true)
        assert.truthy(name == "[1]" or described, name)
      end
    end)
  end
end)

describe("lua/types/testing.lua", function()
  it("has the functions of logcap.testing", function()
    local types, methods, functions = read "lua/types/testing.lua", {}, {}
    for name in types:gmatch("\nfunction Pipelines:(%w+)") do methods[name] = "function" end
    for name in types:gmatch("\nfunction testing%.(%w+)") do functions[name] = "function" end
    local path = os.tmpname()
    local file = assert(io.open(path, "wb"))
    file:write [[require("logcap").pipeline { name = "t", from = require("logcap").stdin_monitor {},
      to = require("logcap").null_sink {} }]]
    file:close()
    local testing = require "logcap.testing"
    local pipelines = testing.load(path)
    os.remove(path)
    local taken = {}
    for name, value in pairs(getmetatable(pipelines).__index) do
      if name ~= "__index" then taken[name] = type(value) end
    end
    pipelines:close()
    assert.same(taken, methods)
    assert.equal("function", type(testing.load))
    assert.same({ load = "function" }, functions)
  end)
end)
