-- The interruptible string functions do what LuaJIT's own do, which are their oracle.

local ours = require "logcap.native".string
local theirs = string
local feed = require "spec.feed"

local function pack(...) return { n = select("#", ...), ... } end

local function show(results)
  local parts = {}
  for i = 1, results.n do
    parts[i] = type(results[i]) == "string" and ("%q"):format(results[i]) or tostring(results[i])
  end
  return table.concat(parts, ", ")
end

-- What LuaJIT says only when it comes across it, and ours at once.
local early = { "malformed pattern", "unfinished capture", "invalid pattern capture", "invalid capture index",
  "missing '['", "unbalanced pattern", "too many captures", "pattern too complex" }

local function is_early(results)
  for _, text in ipairs(early) do
    if tostring(results[2]):find(text, 1, true) then return true end
  end
end

local function compare(name, ...)
  local mine, reference = pack(pcall(ours[name], ...)), pack(pcall(theirs[name], ...))
  if not mine[1] and is_early(mine) then return end
  assert.equal(reference[1], mine[1], name .. "(" .. show(pack(...)) .. "): " .. show(mine) .. " / " .. show(reference))
  if mine[1] then assert.equal(show(reference), show(mine), name .. "(" .. show(pack(...)) .. ")") end
end

local function iterate(gmatch, s, pattern)
  local found = {}
  for a, b, c in gmatch(s, pattern) do
    found[#found + 1] = show(pack(a, b, c))
    if #found > 100 then break end
  end
  return table.concat(found, ";")
end

local pieces = {
  "a", "b", "ab", ".", "%a", "%d", "%s", "%w", "%p", "%x", "%c", "%g", "%l", "%u", "%z", "%A", "%D", "%S", "%W", "%G",
  "%P", "%Z", "[ab]", "[^ab]", "[a-c]", "[^%d]", "[%w_]", "[]]", "[^]]", "[a-]", "[%-x]", "[.-9]", "%.", "%%", "%-",
  "%[", "a*", "a+", "a-", "a?", ".*", ".-", ".+", "%d*", "[ab]+", "%s*", "[^a]-", "(", ")", "()", "(a)", "(.-)", "%1",
  "(%d+)", "%2", "%b()", "%bxx", "%f[%a]", "%f[^%w]", "^", "$", "-", "*", "+", "?", "]", "%", "[", "\0", "\255",
  "[\128-\255]",
}
local bytes = { "a", "b", "c", "A", "1", "9", " ", "_", ".", "-", "(", ")", "[", "]", "%", "x", "\0", "\n", "\255" }
local templates = { "x", "%0", "<%1>", "%%", "%2", "", "%0%0", "%x" }

local function build(from, most)
  local parts = {}
  for _ = 1, math.random(0, most) do parts[#parts + 1] = from[math.random(#from)] end
  return table.concat(parts)
end

describe("the string functions of pipeline files", function()
  after_each(feed.settle)

  it("do what LuaJIT's do", function()
    local seed = tonumber(os.getenv "LOGCAP_SEED") or os.time()
    math.randomseed(seed)
    local answers = { __index = function(_, k) return k == "x" and "y" end }
    local table_of = setmetatable({ a = "1", b = false, c = 5 }, answers)
    for _ = 1, tonumber(os.getenv "LOGCAP_PATTERNS") or 20000 do
      local pattern, s = build(pieces, 5), build(bytes, 12)
      compare("match", s, pattern)
      compare("match", s, pattern, math.random(-15, 15))
      -- What has no special character is a text, not a pattern; the sandbox does not ask us for it.
      if pattern:find("[%^%$%*%+%?%.%(%[%%%-]") and not pattern:find("%z") then compare("find", s, pattern) end
      compare("gsub", s, pattern, templates[math.random(#templates)], math.random(4) == 1 and math.random(0, 3) or nil)
      compare("gsub", s, pattern, table_of)
      compare("gsub", s, pattern, function(a, b) return b or a ~= "a" and a end)
      local ok, mine = pcall(iterate, ours.gmatch, s, pattern)
      if ok then
        assert.equal(iterate(theirs.gmatch, s, pattern), mine, ("gmatch(%q, %q), seed %d"):format(s, pattern, seed))
      end
    end
  end)

  it("know the classes of all bytes", function()
    for class in ("acdglpsuwxzACDGLPSUWXZ"):gmatch(".") do
      for byte = 0, 255 do
        local c = string.char(byte)
        assert.equal(theirs.match(c, "^%" .. class), ours.match(c, "^%" .. class), class .. byte)
        assert.equal(theirs.match(c, "^[%" .. class .. "]"), ours.match(c, "^[%" .. class .. "]"), class .. byte)
      end
    end
  end)

  it("say what is wrong", function()
    for pattern, message in pairs {
      ["a%"] = "malformed pattern (ends with '%')", ["[a"] = "malformed pattern (missing ']')",
      ["a)"] = "invalid pattern capture", ["%1"] = "invalid capture index", ["(a"] = "unfinished capture",
      ["%bx"] = "unbalanced pattern", ["%f"] = "missing '[' after '%f' in pattern",
      [("()"):rep(33)] = "too many captures", [("a?"):rep(201)] = "pattern too complex",
    } do
      local ok, why = pcall(ours.match, "a", pattern)
      assert.is_false(ok)
      assert.truthy(why:find(message, 1, true), why)
    end
    for _, call in ipairs {
      function() ours.gsub("a", "a", true) end, function() ours.gsub("a", "a", function() return {} end) end,
      function() ours.gsub("a", "a") end, function() ours.match({}, "a") end, function() ours.gmatch("a") end,
      function() ours.gsub("a", "a", "%2") end,
    } do
      assert.is_false(pcall(call))
    end
    local _, why = pcall(ours.gsub, "a", "a", true)
    assert.truthy(why:find("string/function/table expected, got boolean", 1, true), why)
  end)

  it("take long patterns and subjects, and numbers", function()
    local long = ("%d%a"):rep(5000)
    assert.equal(("1x"):rep(5000), ours.match(("1x"):rep(5000), long))
    assert.equal("23", ours.match(12345, "23"))
    assert.equal("1-5", ours.gsub(125, 2, "-"))
    local n = 0
    for a in ours.gmatch(1213, 1) do n = n + tonumber(a) end
    assert.equal(2, n)
  end)
end)
