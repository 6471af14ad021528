-- Created, dropped without closing, collected: as often as $LOGCAP_LIVES says, for each kind. The registry, descriptors
-- and resident memory end where they were. scripts/life-test is the long form.

local logcap = require "logcap"
local feed = require "spec.feed"
local lfs = require "lfs"

local LIVES = tonumber(os.getenv("LOGCAP_LIVES") or 300)
local SLACK = 1.5e6 -- bytes of resident memory: what the allocators keep varies by that much

local kinds = {
  file_monitor = { args = '{ paths = { "/nowhere/*.log" }, labels = { a = "b" }, multiline = { start = "^x" } }' },
  stdin_monitor = { args = "{}" },
  json = { args = "{}" },
  dedup = { args = "{ max_entries = 1000 }" },
  stage = { args = "{ function(rec) return rec ~= nil end }", kind = "lua" },
  file_sink = { args = '{ path = "/nowhere/{a}-%Y.log", rotate = { size = "1MiB" }, compress = "zstd" }' },
  stdout_sink = { args = "{}" },
  null_sink = { args = "{}" },
}
-- These are made only while a file loads.
local services = {
  admin = '{ listen = "127.0.0.1:9600", token = "secret-secret-secret" }',
  resource_monitor = '{ memory = "1GiB" }',
}

local function descriptors()
  local n = 0
  for _ in lfs.dir("/proc/self/fd") do n = n + 1 end
  return n
end

local function resident()
  local file = assert(io.open("/proc/self/statm"))
  local pages = file:read("*a"):match("^%d+ (%d+)")
  file:close()
  return tonumber(pages) * 4096
end

-- What is freed stays resident under AddressSanitizer; its own check for leaks tells there.
local function is_sanitized()
  local file = assert(io.open("/proc/self/maps"))
  local text = file:read("*a")
  file:close()
  return text:find("libasan", 1, true) ~= nil or text:find("libtsan", 1, true) ~= nil
end

local sanitized = is_sanitized()

-- Lives through `live` LIVES times, and compares what the process holds with what it held after the first tenth.
local function lives(what, live)
  local function some(n)
    for i = 1, n do
      live()
      if i % 100 == 0 then feed.settle() end
    end
    feed.settle()
  end
  local resources = #logcap.resources()
  some(math.max(200, math.ceil(LIVES / 10))) -- as many at a time as later
  local open, before = descriptors(), resident()
  some(LIVES)
  local after = resident()
  assert.equal(resources, #logcap.resources())
  assert.equal(open, descriptors())
  if LIVES >= 5000 then
    print(string.format("%s: %d lives, descriptors %d, resident %.1f to %.1f MB", what, LIVES, open, before / 1e6,
      after / 1e6))
  end
  if not sanitized then assert.is_true(after - before < SLACK, before .. " to " .. after) end
end

describe("many lives", function()
  before_each(feed.settle)

  for name, entry in pairs(kinds) do
    local make = assert(loadstring("return function(logcap) return logcap." .. name .. " " .. entry.args .. " end"))()
    it("of " .. name .. " leave nothing", function()
      local list = #logcap.resources()
      local one = make(logcap)
      assert.equal(entry.kind or name, one.kind)
      assert.equal(list + 1, #logcap.resources())
      one:close()
      feed.settle()
      lives(name, function() make(logcap) end)
    end)
  end

  it("that an error ends leave nothing", function()
    lives("using with an error", function()
      pcall(function()
        local a, b = logcap.null_sink {}, logcap.dedup { max_entries = 1000 }
        logcap.using(a, b, function() error("x") end)
      end)
    end)
  end)
end)

describe("many generations", function()
  local folder

  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
    assert(lfs.mkdir(folder))
    feed.settle()
  end)

  after_each(function()
    os.remove(folder .. "/p.lua")
    lfs.rmdir(folder)
  end)

  local function load_many(what, text, message)
    local path = folder .. "/p.lua"
    local file = assert(io.open(path, "w"))
    file:write('local logcap = require "logcap"\n', text)
    file:close()
    lives(what, function()
      local made, why = feed.check(path)
      if message == nil then assert.equal(1, made, why)
      else assert.truthy(why:find(message, 1, true), why) end
    end)
  end

  local function all()
    local lines = {}
    local function make(name, args) lines[#lines + 1] = ("local %s = logcap.%s %s"):format(name, name, args) end
    for name, entry in pairs(kinds) do make(name, entry.args) end
    for name, args in pairs(services) do make(name, args) end
    lines[#lines + 1] = [[logcap.on_alert(function() end)
      logcap.pipeline { name = "p", from = { file_monitor, stdin_monitor }, to = { file_sink, stdout_sink, null_sink },
        stages = { json, dedup, stage, function() end } }]]
    return table.concat(lines, "\n")
  end

  it("with a pipeline of all kinds leave nothing", function() load_many("generations", all()) end)

  it("whose files drop what they make leave nothing", function()
    load_many("generations that drop", all():gsub("logcap%.pipeline.*", "") .. [[
      for _ = 1, 10 do logcap.dedup {} logcap.file_sink { path = "x" } end
      logcap.pipeline { name = "p", from = logcap.file_monitor { paths = { "x" } }, to = logcap.null_sink {} }]])
  end)

  -- A stage whose function refers to its own handle stays as long as its generation does.
  it("with circles leave nothing", function()
    load_many("generations with circles", all() .. [[
      for _ = 1, 10 do
        local box = {}
        box.stage = logcap.stage { function() return box.sink ~= box.stage end }
        box.sink = logcap.null_sink {}
      end]])
  end)

  it("that fail behind all of it leave nothing", function()
    load_many("generations that fail", all() .. "\nerror('at the end')", "at the end")
  end)
end)
