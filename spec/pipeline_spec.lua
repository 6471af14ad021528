local logcap = require "logcap"
local feed = require "spec.feed"

local folder

local function write(name, text)
  local file = assert(io.open(folder .. "/" .. name, "wb"))
  file:write(text)
  file:close()
  return folder .. "/" .. name
end

local head = 'local logcap = require "logcap"\n'
local good = [[
logcap.pipeline {
  name = "good",
  from = logcap.file_monitor { paths = { "in/*.log" } },
  to = logcap.file_sink { path = "out/x.log" },
}
]]

-- Loads a pipeline file of this text; the number of pipelines, or nil and the message.
local function check(text, ...) return feed.check(write("p.lua", head .. text), ...) end

local function fails(text, expected, ...)
  local n, message = check(text, ...)
  assert.is_nil(n)
  assert.truthy(message:find(expected, 1, true), message)
  return message
end

local monitor = 'logcap.file_monitor { paths = { "a/*.log" } }'
local sink = 'logcap.null_sink {}'

describe("a pipeline file", function()
  setup(function()
    folder = os.tmpname()
    os.remove(folder)
    assert(os.execute("mkdir -p " .. folder .. "/lib/deep") == 0)
  end)
  teardown(function() os.execute("rm -rf " .. folder) end)
  after_each(feed.settle)

  it("describes pipelines, and leaves nothing behind", function()
    local before = #logcap.resources()
    assert.equal(1, check(good))
    assert.equal(2, check(good .. good:gsub("good", "two"):gsub("in/", "in2/"):gsub("x.log", "y.log")))
    assert.equal(before, #logcap.resources())
  end)

  it("may list several monitors, stages and sinks", function()
    assert.equal(1, check([[
      logcap.pipeline { name = "all", memory = "4MiB", on_error = "pass",
        from = { logcap.file_monitor { paths = { "a" } }, logcap.stdin_monitor {} },
        stages = {
          logcap.json {}, function() end, logcap.stage { function() end, on_error = "drop" }, logcap.dedup {},
        },
        to = { logcap.null_sink {}, logcap.stdout_sink {} } }]]))
  end)

  it("may share stages and sinks between pipelines", function()
    assert.equal(2, check([[
      local sink, stage = logcap.null_sink {}, logcap.stage { function() end }
      logcap.pipeline { name = "a", from = logcap.file_monitor { paths = { "a" } }, stages = { stage }, to = sink }
      logcap.pipeline { name = "b", from = logcap.file_monitor { paths = { "b" } }, stages = { stage }, to = sink }]]))
  end)

  it("must exist, be readable text, and make a pipeline", function()
    local n, message = feed.check(folder .. "/none.lua")
    assert.is_nil(n)
    assert.truthy(message:find("cannot read pipeline file " .. folder .. "/none.lua: No such file", 1, true), message)
    n, message = feed.check(folder)
    assert.is_nil(n)
    assert.truthy(message:find("is a folder", 1, true), message)
    n, message = feed.check("/dev/null")
    assert.is_nil(n)
    assert.truthy(message:find("not a regular file", 1, true), message)
    n, message = feed.check(write("b.lua", string.dump(function() end)))
    assert.is_nil(n)
    assert.truthy(message:find("compiled Lua", 1, true), message)
    n, message = feed.check(write("latin1.lua", head .. "-- gr\252n\n"))
    assert.is_nil(n)
    assert.truthy(message:find("/latin1.lua:2: this is not UTF-8 text; save the file as UTF-8", 1, true), message)
    message = fails("-- nothing", "no pipeline is made here; end the file with logcap.pipeline {")
    assert.truthy(message:find(folder .. "/p.lua: ", 1, true))
    fails("", "no pipeline is made here")
    assert.is_nil((feed.check(write("empty.lua", ""))))
    n, message = feed.check(write("good.lua", head .. good), write("e.lua", ""))
    assert.is_nil(n)
    assert.truthy(message:find("/e.lua: no pipeline", 1, true), message)
  end)

  it("reports errors with file and line", function()
    fails("local x = = 1", folder .. "/p.lua:2: unexpected symbol near '='")
    fails("error 'boom'", folder .. "/p.lua:2: boom")
    fails("\nlocal function f() error('deep') end\n\nf()",
      folder .. "/p.lua:3: deep; called from " .. folder .. "/p.lua:5")
    fails("error({})", "the error is a table")
    fails("error()", "the error is a nil")
    fails("\n\nlogcap.file_monitor { pathes = {} }", folder .. '/p.lua:4: file_monitor: unknown option "pathes"')
    fails("return logcap.pipeline {}", folder .. '/p.lua: pipeline: option "name" is missing')
    local message = fails("logcap.pipline {}", "p.lua:2: there is no logcap.pipline; did you mean logcap.pipeline?")
    assert.is_nil(message:find("called from", 1, true)) -- not where logcap's own module says so
    fails("x.y = 1", "p.lua:2: attempt to index global 'x' (a nil value)")
  end)

  it("reports whole names of files in long folders", function()
    local deep = folder .. "/" .. ("x"):rep(100)
    assert(os.execute("mkdir -p " .. deep) == 0)
    local name = deep:sub(#folder + 2) .. "/p.lua"
    local _, message = feed.check(write(name, "error 'boom'"))
    assert.equal(deep .. "/p.lua:1: boom", message)
    _, message = feed.check(write(name, "x x"))
    assert.equal(deep .. "/p.lua:1: '=' expected near 'x'", message)
    _, message = feed.check(write(name, head .. "logcap.json { x = 1 }"))
    assert.truthy(message:find(deep .. "/p.lua:2: json: unknown option", 1, true), message)
  end)

  describe("has strict pipelines", function()
    local cases = {
      { "", 'option "name" is missing; write name = "shop"' },
      { 'name = "a"', 'option "from" is missing; write from = ' },
      { 'name = "a", from = ' .. monitor, 'option "to" is missing; write to = ' },
      { 'name = "", from = 1, to = 1', 'option "name" must not be empty' },
      { 'name = "a", form = 1', 'unknown option "form"; did you mean "from"?' },
      { 'name = "a", from = 1, to = ' .. sink, 'option "from" must be a monitor or a list of them, got number' },
      { 'name = "a", from = ' .. sink .. ", to = " .. sink,
        'option "from" must be a monitor or a list of them, got null_sink' },
      { 'name = "a", from = {}, to = ' .. sink, 'option "from" must not be an empty list' },
      { 'name = "a", from = { ' .. monitor .. ", 5 }, to = " .. sink,
        'option "from[2]" must be a monitor, got number' },
      { 'name = "a", from = { x = ' .. monitor .. " }, to = " .. sink,
        'option "from" must be a list without named entries' },
      { 'name = "a", from = ' .. monitor .. ", to = " .. monitor,
        'option "to" must be a sink or a list of them, got file_monitor' },
      { 'name = "a", from = ' .. monitor .. ", stages = function() end, to = " .. sink,
        'option "stages" must be a list, got a function' },
      { 'name = "a", from = ' .. monitor .. ", stages = { " .. sink .. " }, to = " .. sink,
        'option "stages[1]" must be a stage or a function, got null_sink' },
      { 'name = "a", from = ' .. monitor .. ", stages = { 'json' }, to = " .. sink,
        'option "stages[1]" must be a stage or a function, got string' },
      { 'name = "a", from = ' .. monitor .. ", stages = { logcap.json }, to = " .. sink,
        'option "stages[1]" must be a stage or a function, got a constructor that is not called' },
      { 'name = "a", from = logcap.stdin_monitor, to = ' .. sink, "got a constructor that is not called" },
      { 'name = "a", from = ' .. monitor .. ", to = " .. sink .. ", memory = 1",
        'option "memory" must be at least 2097152 bytes, got 1' },
      { 'name = "a", from = ' .. monitor .. ", to = " .. sink .. ", on_error = 'dlx'", 'did you mean "dlq"?' },
    }
    for _, case in ipairs(cases) do
      it(case[2], function()
        local message = fails("logcap.pipeline { " .. case[1] .. " }", case[2])
        assert.truthy(message:find("/p.lua:2: pipeline: ", 1, true), message)
      end)
    end

    it("with names of their own", function()
      fails(good .. good, 'p.lua:7: pipeline: there is a pipeline "good" already, made at ' .. folder .. "/p.lua:2")
    end)

    it("with a monitor for each", function()
      fails(([[
local m = %s
logcap.pipeline { name = "a", from = m, to = %s }
logcap.pipeline { name = "b", from = m, to = %s }]]):format(monitor, sink, sink),
        "p.lua:4: pipeline: the file_monitor made at " .. folder .. '/p.lua:2 already feeds pipeline "a"')
      fails(("local m = %s\nlogcap.pipeline { name = 'a', from = { m, m }, to = %s }"):format(monitor, sink),
        "the same one twice")
    end)

    it("with outputs that have one owner", function()
      local two = good .. good:gsub('"good"', '"two"'):gsub("in/", "in2/"):gsub("path =", 'name = "other", path =')
      fails(two, ("pipeline: two resources have the path %s/out/x.log: the file_sink made at %s/p.lua:5 "
        .. "and the one made at %s/p.lua:10"):format(folder, folder, folder))
      fails(('logcap.pipeline { name = "a", from = %s, to = { logcap.file_sink { path = "x" }, '
        .. 'logcap.file_sink { path = "./x", name = "other" } } }'):format(monitor), "two resources have the path")
    end)

    it("whose parts can be told apart", function()
      local two = good:gsub('"good"', '"two"'):gsub("out/x", "out/y")
      fails(good .. two, "cannot be told apart; give each a name of its own")
      assert.equal(2, check(good .. two:gsub("paths =", 'name = "m2", paths =')))
    end)

    it("of open parts", function()
      fails(("local s = %s\ns:close()\nlogcap.pipeline { name = 'a', from = %s, to = s }"):format(sink, monitor),
        "one that was closed before")
      fails(("local s = %s\nlogcap.pipeline { name = 'a', from = %s, to = s }\ns:close()"):format(sink, monitor),
        'p.lua:2: this null_sink is closed, but pipeline "a" needs it')
    end)
  end)
end)

describe("the environment of pipeline files", function()
  setup(function()
    folder = os.tmpname()
    os.remove(folder)
    assert(os.execute("mkdir -p " .. folder .. "/lib/deep") == 0)
  end)
  teardown(function() os.execute("rm -rf " .. folder) end)
  after_each(feed.settle)

  it("has what the design allows", function()
    assert.equal(1, check([[
      assert(string.format("%d", 1) == "1" and ("x"):rep(2) == "xx" and table.concat { 1, 2 } == "12")
      assert(math.floor(1.5) == 1 and bit.band(6, 3) == 2 and coroutine.wrap(function() return 1 end)() == 1)
      assert(os.time() > 0 and os.date("%Y") and os.clock() and os.getenv("PATH"))
      assert(select("#", pcall(error)) == 2 and tostring(1) == "1" and _G._G == _G and _VERSION)
      assert(load("return 1")() == 1 and loadstring("return 2")() == 2 and require("string") == string)
      assert(load("return x", "c", "t", { x = 5 })() == 5)
      x = 7
      assert(loadstring("return x")() == 7 and _G.x == 7 and coroutine.wrap(function() return x end)() == 7)
      assert(collectgarbage("count") > 0)
      assert(("a.b"):find(".", 1, true) == 2 and ("a.b"):find("b") == 3 and ("a.b"):find(".") == 1)
      assert(("a.b"):find("%.") == 2 and string.find(125, 2) == 2 and not ("a"):find("b", 1, true))
      assert(select(2, ("xay"):find("(%a)y")) == 3 and not pcall(string.find, "a") and ("ab"):find("b", -1) == 2)
    ]] .. good))
  end)

  it("hides the rest, also from code that is loaded, and from coroutines", function()
    local hidden = {
      "io", "ffi", "debug", "package", "jit", "getfenv", "setfenv", "newproxy", "dofile", "loadfile", "module",
      "gcinfo",
    }
    for _, name in ipairs(hidden) do
      assert.equal(1, check(([[
        assert(%s == nil and _G.%s == nil)
        assert(loadstring("return %s")() == nil and load("return %s")() == nil)
        assert(coroutine.wrap(function() return %s end)() == nil)
        assert(coroutine.wrap(function() return loadstring("return %s")() end)() == nil)
        assert(not pcall(require, "%s"))
      ]]):gsub("%%s", name) .. good), name)
    end
    for _, name in ipairs { "execute", "exit", "remove", "rename", "tmpname", "setlocale" } do
      assert.equal(1, check(("assert(os.%s == nil)"):format(name) .. good))
    end
    assert.equal(1, check("assert(string.dump == nil and ('').dump == nil)" .. good))
    assert.equal(1, check("assert(not pcall(collectgarbage, 'stop'))" .. good))
  end)

  it("has nothing else", function()
    assert.equal(1, check([[
      local known = {}
      for name in ("_G _VERSION assert bit collectgarbage coroutine error getmetatable ipairs load loadstring math " ..
        "next os pairs pcall print rawequal rawget rawset require select setmetatable string table tonumber " ..
        "tostring type unpack xpcall"):gmatch("%S+") do known[name] = true end
      for name in pairs(_G) do assert(known[name], name) known[name] = nil end
      assert(next(known) == nil, next(known))
      for name in pairs(os) do assert(("time date clock getenv"):find(name, 1, true), name) end
    ]] .. good))
  end)

  it("has an xpcall whose handler is called when the error has unwound", function()
    assert.equal(1, check([[
      local function show(...) return select("#", ...) .. table.concat({ ... }, ",") end
      assert(show(tostring(xpcall(function(a, b) return a, b end, print, 1, 2))) == "1true")
      assert(show(select(2, xpcall(function(a, b) return a, b, 3 end, print, 1, 2))) == "31,2,3")
      local ok, why = xpcall(error, function(e) return "handled " .. e end, "x", 0)
      assert(ok == false and why == "handled x")
      ok, why = xpcall(error, function(e) error("again " .. e, 0) end, "x", 0)
      assert(ok == false and why == "again x")
      ok, why = pcall(xpcall, error)
      assert(not ok and why:find("bad argument #2 to 'xpcall' (function expected, got nil)", 1, true), why)
    ]] .. good))
  end)

  it("takes a stage with memory once a pipeline", function()
    local text = [[
      local seen = logcap.dedup {}
      logcap.pipeline { name = "p", from = %s, stages = { seen, seen }, to = %s }
    ]]
    fails(text:format(monitor, sink), "the same one twice")
  end)

  it("says how to get what is hidden", function()
    fails("io.open('x')", "attempt to index global 'io' (a nil value); "
      .. "pipeline files see no io unless logcap is started with --allow io")
  end)

  it("grants what is allowed, and knows what can be", function()
    assert.equal(1, check("assert(io.open and os.execute and require('ffi').new)" .. good, { "io", "os", "ffi" }))
    assert.equal(1, check("assert(io == nil and debug.traceback and require('debug') == debug)" .. good, { "debug" }))
    fails(good, "--allow everything: this cannot be granted; what can is debug, dofile, ffi, ", { "everything" })
  end)

  it("grants each name alone", function()
    local granted = {
      io = "io.open", os = "os.execute", ffi = "ffi.new and require 'ffi' == ffi", debug = "debug.sethook",
      package = "package.loaded", jit = "jit.off", getfenv = "getfenv(0)", setfenv = "setfenv", newproxy = "newproxy()",
      dofile = "dofile", loadfile = "loadfile",
    }
    for name, proof in pairs(granted) do
      assert.equal(1, check(("assert(%s)"):format(proof) .. good, { name }), name)
      for other in pairs(granted) do
        local hidden = other == "os" and "os.execute" or other
        if other ~= name then assert.equal(1, check(("assert(%s == nil)"):format(hidden) .. good, { name }), other) end
      end
    end
  end)

  it("loads no bytecode", function()
    local code = string.dump(function() end):gsub(".", function(c) return ("\\%03d"):format(c:byte()) end)
    local try = 'assert(not load("%s") and not loadstring("%s") and not load("%s", "x", "b"))'
    try = try:format(code, code, code)
    assert.equal(1, check(try .. good))
    write("bad.lua", string.dump(function() end))
    fails('require "bad"', "is compiled Lua; a module is Lua text: " .. folder .. "/bad.lua")
  end)

  it("keeps the library tables of the runtime out of reach", function()
    assert.equal(1, check([[
      string.format, table.concat, math.floor = nil, nil, nil
      assert(not pcall(function() logcap.json = nil end))
      assert(getmetatable(logcap) == "logcap")
      local s = logcap.null_sink {}
      assert(getmetatable(s) == "logcap.handle" and not pcall(setmetatable, s, {}))
      assert(getmetatable("") == "string")
    ]] .. good))
  end)

  it("finds modules beside the pipeline file, also from modules", function()
    write("lib/a.lua", "local b = require 'lib.deep.b'; return { name = ..., b = b, count = (count or 0) + 1 }")
    write("lib/deep/b.lua", "return 'b'")
    write("lib/deep/init.lua", "return 'package'")
    assert.equal(1, check([[
      local a = require "lib.a"
      assert(a.name == "lib.a" and a.b == "b" and require "lib.a" == a and require "lib.deep" == "package")
    ]] .. good))
  end)

  it("finds modules of a function that runs later", function()
    write("late.lua", "return 42")
    write("wrong.lua", "return = 1")
    write("fails.lua", "\nerror 'inside'")
    write("loop1.lua", "return require 'loop2'")
    write("loop2.lua", "return require 'loop1'")
    assert.equal(1, check("local f = function() return require 'late' end; assert(f() == 42)" .. good))
    fails("require 'nothing'",
      'p.lua:2: module "nothing" is not beside the pipeline file; looked for ' .. folder .. "/nothing.lua and ")
    fails("require 'wrong'", folder .. "/wrong.lua:1: unexpected symbol")
    fails("require 'fails'", folder .. "/fails.lua:2: inside")
    fails("pcall(require, 'fails') require 'fails'", folder .. "/fails.lua:2: inside")
    fails("require 'loop1'", 'module "loop1" requires itself')
    for _, name in ipairs { "../x", "/etc/passwd", "a..b", "", "a b" } do
      fails(("require %q"):format(name), "is no module's name")
    end
    fails("require(5)", "require takes a module's name, got a number")
  end)

  it("has relative paths begin at the file's folder", function()
    write("lib/sinks.lua", 'return require("logcap").file_sink { path = "out/y.log" }')
    assert.equal(1, check([[
      local sink = logcap.file_sink { path = "./out/x.log" }
      assert(sink.name:find("]] .. folder .. [[/out/x.log", 1, true), sink.name)
      assert(logcap.file_sink { path = "/abs/x.log" }.name:find("/abs/x.log", 1, true))
      assert((require "lib.sinks").name:find("]] .. folder .. [[/out/y.log", 1, true))
    ]] .. good))
  end)
end)
