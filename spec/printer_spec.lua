-- What the prompt shows of values: bounded, stable, and never in the hands of what it shows.

local printer = require "logcap.printer"

local show = printer.value

describe("the printer", function()
  it("shows plain values", function()
    assert.equal("nil", show(nil))
    assert.equal("true", show(true))
    assert.equal("42", show(42))
    assert.equal("-0.5", show(-0.5))
    assert.equal("9007199254740991", show(2 ^ 53 - 1))
    assert.equal("1e+300", show(1e300))
    assert.equal("inf", show(math.huge))
    assert.equal("text as it is", show("text as it is"))
    assert.equal("function (built in)", show(print))
    assert.truthy(show(function() end):find "^function at spec/printer_spec.lua:%d+$")
  end)

  it("shows tables with their keys in order", function()
    assert.equal("{}", show {})
    assert.equal('{ 1, 2, "three" }', show { 1, 2, "three" })
    assert.equal('{ 1, [5] = 5, a = "x", ["b c"] = {}, ["end"] = 1, [true] = false }',
      show { 1, [5] = 5, ["b c"] = {}, a = "x", ["end"] = 1, [true] = false })
    local keys = {}
    for i = 1, 50 do keys["key" .. i] = i end
    local other = {}
    for i = 50, 1, -1 do other["key" .. i] = i end
    assert.equal(show(keys), show(other))
  end)

  it("breaks what is too wide for a line", function()
    local text = show { first = ("x"):rep(60), second = ("y"):rep(60), third = { 1, 2 } }
    assert.equal(('{\n  first = "%s",\n  second = "%s",\n  third = { 1, 2 }\n}'):format(("x"):rep(60), ("y"):rep(60)),
      text)
  end)

  it("shows what a terminal would obey as escapes", function()
    assert.equal("\\027[31mred\\007", show "\27[31mred\7")
    assert.equal("tab\tline\nend", show "tab\tline\nend")
    assert.equal("\\u{9b}", show "\194\155")
    assert.equal('{ "tab\\tline\\n\\027\\"\\\\" }', show { "tab\tline\n\27\"\\" })
    assert.equal('{ ["\\027"] = 1 }', show { ["\27"] = 1 })
    assert.equal("\\027", show(setmetatable({}, { __tostring = function() return "\27" end })))
    assert.equal("\195\164\226\130\172", show "\195\164\226\130\172") -- other characters stay
  end)

  it("follows no cycle", function()
    local loop = { 1 }
    loop.self, loop.list = loop, { loop }
    assert.equal("{ 1, list = { <cycle> }, self = <cycle> }", show(loop))
    local shared = { 1 }
    assert.equal("{ { 1 }, { 1 } }", show { shared, shared }) -- twice is no cycle
  end)

  it("cuts what is deep, wide and long", function()
    local deep = {}
    local at = deep
    for _ = 1, 1000 do
      at.next = {}
      at = at.next
    end
    assert.truthy(show(deep):find("{ ... }", 1, true))
    local wide = {}
    for i = 1, 5000 do wide[i] = i end
    assert.truthy(show(wide):find("200,\n  ... 4800 more\n}", 1, true))
    for i = 5001, 100000 do wide[i] = i end
    assert.truthy(show(wide):find("... many more", 1, true))
    assert.truthy(#show(("x"):rep(10 ^ 7)) < 300000)
    assert.truthy(#show { ("x"):rep(10 ^ 7) } < 5000)
    local square = {}
    for i = 1, 200 do
      square[i] = {}
      for k = 1, 200 do square[i][k] = ("y"):rep(4000) end
    end
    assert.truthy(#show(square) < 600000)
    local tree = {}
    for _ = 1, 60 do tree = { tree, tree, tree, tree, tree, tree, tree, tree, tree, tree } end
    assert.truthy(#show(tree) < 10 ^ 6) -- ten to the power of sixty leaves
  end)

  it("cuts at the beginning of a character", function()
    assert.equal("\195\164...", (printer.cut("\195\164\195\164", 3)))
    assert.equal("aa...", (printer.cut("aaa", 2)))
    assert.equal("aaa", (printer.cut("aaa", 3)))
  end)

  it("calls no __index and survives a __tostring that fails", function()
    local touchy = setmetatable({ 1, a = 2 }, { __index = error, __newindex = error, __len = error, __pairs = error })
    assert.equal("{ 1, a = 2 }", show(touchy))
    local broken = setmetatable({}, { __tostring = function() error("boo") end })
    assert.truthy(show(broken):find "^<table whose __tostring fails: .*boo>$")
    local silent = setmetatable({}, { __tostring = function() return nil end })
    assert.truthy(show(silent):find "^<table whose __tostring fails")
    assert.equal("fine", show(setmetatable({}, { __tostring = function() return "fine" end })))
    local nasty = setmetatable({}, { __tostring = function() error(setmetatable({}, { __tostring = error })) end })
    assert.truthy(show(nasty):find "^<table whose")
    assert.equal("{ x = 1 }", show(setmetatable({ x = 1 }, { __metatable = "locked" })))
    local proxy = newproxy(true)
    getmetatable(proxy).__tostring = error
    assert.truthy(show(proxy):find "^<userdata whose")
  end)

  it("puts tables into columns", function()
    assert.equal("name   n\na     12\nlong   3", printer.table({ "name", "n" }, { { "a", 12 }, { "long", 3 } }))
    assert.equal("name  x\n\195\164     1\nbb    2", printer.table({ "name", "x" }, { { "\195\164", 1 }, { "bb", 2 } }))
    assert.equal("name\n\\027", printer.table({ "name" }, { { "\27" } }))
  end)
end)
