local logcap = require "logcap"
local feed = require "spec.feed"
local dkjson = require "dkjson"

-- Runs a function on lines and returns what became of them.
local function run(fn, lines, options)
  local no_limit = { time = 0 } -- under sanitizers some of it takes long
  local stage = logcap.stage { fn, on_error = options and options.on_error, limits = no_limit }
  local out, stopped = feed.records(stage, lines, options or { json = true })
  stage:close()
  return out, stopped
end

-- Runs it on one line of JSON; an error in it fails the spec.
local function with(line, fn, options)
  options = options or { json = true }
  local out = run(fn, { line }, options)
  assert.is_nil(out[1].dead)
  return out[1]
end

describe("a record", function()
  after_each(feed.settle)

  it("gives fields by name as Lua values", function()
    local seen = {}
    with('{"s":"text","e":"a\\nb\\u00e9","n":42,"f":-1.5e3,"t":true,"no":false,"z":null,"":1}', function(rec)
      seen = { rec.s, rec.e, rec.n, rec.f, rec.t, rec.no, rec.z, rec[""], rec.missing == nil }
    end)
    assert.same({ "text", "a\nb\195\169", 42, -1500, true, false, logcap.null, 1, true }, seen)
  end)

  it("has a plain line as its message", function()
    local message
    local out = with("just text \255", function(rec)
      message = rec.message
      rec.extra = 1
    end, {})
    assert.equal("just text \255", message)
    assert.equal("just text \255", out.raw)
    assert.equal('{"message":"just text \239\191\189","extra":1}', out.json)
  end)

  it("lets the message of a plain line be replaced and removed", function()
    assert.equal("new", with("old", function(rec) rec.message = "new" end, {}).raw)
    assert.equal('{"message":5}', with("old", function(rec) rec.message = 5 end, {}).json)
    assert.equal('{"a":1}', with("old", function(rec) rec.message = nil; rec.a = 1 end, {}).json)
  end)

  it("takes an empty message", function()
    assert.equal("", with("old", function(rec) rec.message = "" end, {}).raw)
  end)

  it("loses no byte by removing what is not there", function()
    local line = '{"a": {"b" : 1} , "l":[ ]}'
    assert.equal(line, with(line, function(rec)
      rec:remove("a", "none")
      rec:set("l", 3, nil)
      rec.none = nil
    end).json)
    assert.equal("plain", with("plain", function(rec) rec:remove("message", "x") end, {}).raw)
  end)

  it("refuses tables whose text would be beyond all bounds", function()
    local many = { "x" }
    for _ = 1, 60 do many = { many, many } end
    local out = run(function(rec) rec.x = many end, { '{"a":1}' })
    assert.truthy(out[1].dead:find("record_spec.lua:%d+: a value of more than 16 MiB of JSON cannot be set"))
  end)

  it("says where a value was read that no table can hold", function()
    local out = run(function(rec)
      local deep = {}
      for _ = 1, 250 do deep = { x = deep } end
      rec.a = {}
      rec:set("a", "k", "k", "k", "k", "k", "k", deep)
      return rec.a
    end, { "{}" })
    assert.truthy(out[1].dead:find("record_spec.lua:%d+: JSON is nested deeper than 255 levels"), out[1].dead)
  end)

  it("gives integers beyond 2^53 as their digits", function()
    local seen
    local line = '{"id":9007199254740993,"ok":9007199254740992,"neg":-9223372036854775808,"f":12345678901234567890.0}'
    local out = with(line, function(rec) seen = { rec.id, rec.ok, rec.neg, rec.f } end)
    assert.same({ "9007199254740993", 9007199254740992, "-9223372036854775808", 12345678901234567890.0 }, seen)
    assert.equal(line, out.json)
  end)

  it("takes strings, numbers, booleans, null and tables", function()
    local out = with('{"a":1.0,"b":2}', function(rec)
      rec.s = "prod"
      rec.q = 'say "hi"\n'
      rec.i = 3
      rec.f = 0.1
      rec.big = 2 ^ 53
      rec.t = true
      rec.n = logcap.null
      rec.list = { 1, "two", { x = 3 } }
      rec.obj = { z = 1, a = { true } }
      rec.none = logcap.array {}
      rec.empty = {}
      rec.b = nil
    end)
    assert.equal('{"a":1.0,"s":"prod","q":"say \\"hi\\"\\n","i":3,"f":0.1,"big":9007199254740992,"t":true,"n":null,'
      .. '"list":[1,"two",{"x":3}],"obj":{"a":[true],"z":1},"none":[],"empty":{}}', out.json)
  end)

  it("replaces what is there in its place", function()
    assert.equal('{"a":1,"b":"x","c":3}', with('{"a":1,"b":2,"c":3}', function(rec) rec.b = "x" end).json)
  end)

  it("leaves what nobody touched as it came", function()
    local line = '{"n":1.50, "e":1E2,"k":"\\u0041" , "big":123456789012345678901234567890}'
    assert.equal(line, with(line, function(rec) return rec.n ~= nil and rec.k == "A" end).json)
  end)

  it("gives nested values as copies", function()
    local out = with('{"user":{"name":"ann","roles":["a","b"],"none":[],"deep":{"x":null}}}', function(rec)
      local user = rec.user
      assert(user.name == "ann" and user.roles[2] == "b" and #user.roles == 2 and user.deep.x == logcap.null)
      user.name = "bob"
      assert(rec.user.name == "ann")
      rec.user = user
    end)
    assert.equal('{"user":{"deep":{"x":null},"name":"bob","none":[],"roles":["a","b"]}}', out.json)
  end)

  it("is read by path", function()
    local seen
    with('{"user":{"name":"ann","roles":["a",{"n":7}]}}', function(rec)
      seen = { rec:get("user", "name"), rec:get("user", "roles", 1), rec:get("user", "roles", 2, "n"),
        rec:get("user", "none") == nil, rec:get("nobody", "x") == nil, rec:get("user", "name", "x") == nil }
    end)
    assert.same({ "ann", "a", 7, true, true, true }, seen)
  end)

  it("is changed by path, and the rest of the field keeps its text", function()
    local out = with('{"user":{"id":9007199254740993, "roles":["a"]}}', function(rec)
      rec:set("user", "roles", 2, "b")
      rec:set("user", "name", "ann")
      rec:set("new", "deep", "x", { 1 })
      rec:set("flat", true)
      rec:set("user", "gone", nil)
    end)
    assert.same({ user = { roles = { "a", "b" }, name = "ann", id = dkjson.decode("9007199254740993") },
      new = { deep = { x = { 1 } } }, flat = true }, (dkjson.decode(out.json)))
    assert.truthy(out.json:find('"id":9007199254740993', 1, true))
    out = with('{"user":{"a":1,"b":[1,2,3]}}', function(rec)
      rec:remove("user", "a")
      rec:remove("user", "b", 2)
      rec:remove("none", "b", 2)
      rec:remove("nothing")
    end)
    assert.equal('{"user":{"b":[1,3]}}', out.json)
  end)

  it("refuses a path that does not fit", function()
    local out = run(function(rec) rec:set("n", "x", 1) end, { '{"n":5}' })
    assert.truthy(out[1].dead:find('record_spec.lua:%d+: the path does not fit the value of "n"'))
    out = run(function(rec) rec:set("n", 0, 1) end, { '{"n":[5]}' })
    assert.truthy(out[1].dead:find("is no index into a list", 1, true))
    out = run(function(rec) rec:set("n", {}, 1) end, { '{"n":[5]}' })
    assert.truthy(out[1].dead:find("record_spec.lua:%d+: a step of a path is a string or a number, got a table"))
  end)

  it("walks over its fields in their order", function()
    local keys, values = {}, {}
    with('{"b":1,"a":"x","c\\u0041":null,"d":[1]}', function(rec)
      rec.a = nil
      rec.z = true
      for key, value in rec:pairs() do
        keys[#keys + 1], values[#values + 1] = key, value
      end
    end)
    assert.same({ "b", "cA", "d", "z" }, keys)
    assert.same({ 1, logcap.null, { 1 }, true }, values)
    keys = {}
    with("line", function(rec)
      rec.x = 1
      for key in pairs(rec) do keys[#keys + 1] = key end
    end, {})
    assert.same({ "message", "x" }, keys)
  end)

  it("becomes a table, as another JSON library reads it", function()
    local line = '{"s":"\\ud83d\\ude00\\t","n":-0.125,"l":[1,[2,{}],[]],"o":{"a":{"b":[true,false]}},"d":1,"d":2}'
    local copy
    with(line, function(rec) copy = rec:totable() end)
    local expected = dkjson.decode(line)
    assert.same(expected, copy)
  end)

  it("knows its source, its labels and its time", function()
    local seen
    with("x", function(rec)
      seen = { rec:source_name(), rec:source_labels(), rec:event_time() }
    end, { source = "/var/log/a.log", labels = { host = "h1", team = "ops" } })
    assert.same({ "/var/log/a.log", { host = "h1", team = "ops" }, 1700000000.25 }, seen)
  end)

  it("keeps method names for methods", function()
    local out = with('{"get":1,"pairs":2}', function(rec)
      assert(type(rec.get) == "function" and rec:get("get") == 1 and rec:get("pairs") == 2)
      rec:set("get", 5)
    end)
    assert.equal('{"get":5,"pairs":2}', out.json)
    out = run(function(rec) rec.get = 1 end, { "{}" })
    assert.truthy(out[1].dead:find("record_spec.lua:%d+: rec.get is a method; "))
    assert.truthy(out[1].dead:find('to set a field of this name write rec:set("get", value)', 1, true))
  end)

  it("raises when it is kept past its function", function()
    local kept
    local out = run(function(rec)
      if kept then return kept.a end
      kept = rec
    end, { '{"a":1}', '{"a":2}' })
    assert.is_nil(out[1].dead)
    assert.truthy(out[2].dead:find("record_spec.lua:%d+: this record is not in hand any more"))
    assert.has_error(function() return kept.a end)
    assert.has_error(function() kept.a = 1 end)
    assert.has_error(function() kept:remove("a") end)
    assert.has_error(function() for _ in kept:pairs() do error("never") end end)
  end)

  it("refuses values and keys that JSON does not know, at the script's line", function()
    local loop = {}
    loop.loop = loop
    for problem, value in pairs {
      ["a function cannot be JSON"] = print,
      ["a thread cannot be JSON"] = coroutine.create(print),
      ["a table that contains itself"] = loop,
      ["a list with holes"] = { 1, nil, 3 },
      ["both a list and named fields"] = { 1, x = 2 },
      ["an infinite number or NaN"] = 0 / 0,
      ["number or NaN cannot be JSON"] = { math.huge },
      ["with a boolean for a key"] = { [true] = 1 },
    } do
      local out = run(function(rec) rec.x = value end, { '{"a":1}' })
      assert.truthy(out[1].dead, problem)
      assert.truthy(out[1].dead:find(problem, 1, true), out[1].dead)
      assert.truthy(out[1].dead:find("^[^:]*record_spec.lua:%d+: "), out[1].dead)
      assert.equal('{"a":1}', out[1].json)
    end
    local out = run(function(rec) rec[1] = 1 end, { "{}" })
    assert.truthy(out[1].dead:find("record_spec.lua:%d+: a field's name is a string, got a number"))
    out = run(function(rec) return rec[{}] end, { "{}" })
    assert.truthy(out[1].dead:find("record_spec.lua:%d+: a field's name is a string, got a table"))
  end)

  it("shows no pointer, and cannot be indexed, moved or followed as one", function()
    local shown
    with("{}", function(rec) shown = tostring(rec) end)
    assert.equal("record", shown)
    local misused = {
      function(rec) return rec[0] end,
      function(rec) rec[0] = {} end,
      function(rec) return rec + 1 end,
      function(rec) return 1 + rec end,
      function(rec) return rec - rec end,
      function(rec) return #rec end,
      function(rec) return rec .. "" end,
      function(rec) return rec < 1 end,
      function(rec) return -rec end,
      function(rec) local _ = rec.get(rec + 0, "a") end,
      function(rec) local _ = rec.get(1, "a") end,
    }
    for i, fn in ipairs(misused) do
      local out = run(fn, { '{"a":1}' })
      assert.truthy(out[1].dead, "misuse " .. i)
      assert.truthy(out[1].dead:find("record_spec.lua:%d+: "), out[1].dead)
    end
    with("{}", function(rec) assert(rec == rec and rec ~= nil and rec ~= 1 and rec ~= "x") end)
    assert.truthy(run(function(rec) return rec() end, { "{}" })[1].dead:find("is not callable", 1, true))
  end)

  it("makes nothing on the heap in compiled code, however often it is used", function()
    local lines = {}
    for i = 1, 5000 do lines[i] = '{"level":"info","n":1}' end
    -- The least of several tries, each with no machine code from before: what LuaJIT compiles first, and so what it
    -- inlines, depends on counters that functions share, and on chance.
    local function made(fn)
      local least = math.huge
      for _ = 1, 10 do
        jit.flush()
        run(fn, lines) -- compiles it
        collectgarbage()
        collectgarbage("stop")
        local before = collectgarbage("count")
        run(fn, lines)
        least = math.min(least, collectgarbage("count") - before)
        collectgarbage("restart")
      end
      return least * 1024 / #lines
    end
    local once = made(function(rec) rec.env = "prod" end)
    local often = made(function(rec)
      if rec.level == "debug" then return false end
      rec.env = "prod"
      return rec.level ~= "debug" and rec.n > 0
    end)
    assert.is_true(often - once < 8, ("%.1f bytes more a record"):format(often - once))
  end)

  it("reads many records through compiled code as through the interpreter", function()
    local lines, expected = {}, {}
    for i = 1, 5000 do
      local level = i % 3 == 0 and "debug" or "info"
      lines[i] = ('{"level":"%s","n":%d,"text":"%s"}'):format(level, i, ("x"):rep(i % 50))
      expected[i] = i % 3 ~= 0 and lines[i]:gsub("}$", ',"env":"prod"}') or nil
    end
    local out = run(function(rec)
      if rec.level == "debug" then return false end
      rec.env = "prod"
    end, lines)
    for i = 1, 5000 do
      if expected[i] then assert.equal(expected[i], out[i].json) else assert.equal("filtered", out[i].dropped) end
    end
  end)
end)
