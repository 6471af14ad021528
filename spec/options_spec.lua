local logcap = require "logcap"
local feed = require "spec.feed"

-- The least that each constructor takes.
local least = {
  file_monitor = { paths = { "/var/log/*.log" } },
  stdin_monitor = {},
  json = {},
  dedup = {},
  stage = { function() end },
  file_sink = { path = "/tmp/x.log" },
  stdout_sink = {},
  null_sink = {},
}

-- kind, option, value, what the message must say
local wrong = {
  { "file_monitor", "paths", "x", "must be a list of strings, got a string; write paths = {" },
  { "file_monitor", "paths", {}, "must not be an empty list" },
  { "file_monitor", "paths", { "a", 3 }, "must be a list of strings, got a number" },
  { "file_monitor", "paths", { "a", x = "b" }, "without named entries" },
  { "file_monitor", "paths", { "" }, "must not be empty" },
  { "file_monitor", "paths", { "a\0b" }, "NUL byte" },
  { "file_monitor", "start", "begin", 'must be one of "end", "beginning", got "begin"' },
  { "file_monitor", "start", "begining", 'did you mean "beginning"?' },
  { "file_monitor", "start", true, 'must be one of "end", "beginning", got a boolean' },
  { "file_monitor", "hidden", "yes", "must be true or false, got a string" },
  { "file_monitor", "max_open_files", 0, "must be from 1 to 1000000, got 0" },
  { "file_monitor", "max_open_files", 1.5, "must be a whole number, got 1.5" },
  { "file_monitor", "max_open_files", "10", "must be a whole number, got a string" },
  { "file_monitor", "max_line", "10 parsecs", '"10 parsecs" is not a size' },
  { "file_monitor", "max_line", -1, "must not be negative" },
  { "file_monitor", "max_line", 0 / 0, "must be a size" },
  { "file_monitor", "labels", { "x" }, "a name, got a number" },
  { "file_monitor", "labels", { a = 1 }, "must be a table of strings by name, got a number" },
  { "file_monitor", "paths", { "/a/[b" }, 'pattern "/a/[b": [ without a matching ]' },
  { "file_monitor", "exclude", { "[b" }, 'pattern "[b": [ without a matching ]' },
  { "file_monitor", "multiline", {}, "must not be an empty table; write multiline = {" },
  { "file_monitor", "multiline", { negate = true }, "needs either start or continuation" },
  { "file_monitor", "multiline", { start = "a", continuation = "b" }, "needs either start or continuation" },
  { "file_monitor", "multiline", { strat = "a" }, 'unknown option "multiline.strat"; did you mean "start"?' },
  { "file_monitor", "multiline", { start = "a", timeout = "soon" }, 'option "multiline.timeout" is wrong' },
  { "file_monitor", "multiline", true, "must be a table, got a boolean; write multiline = {" },
  { "dedup", "ttl", -5, "must be a number of seconds, not negative" },
  { "dedup", "ttl", {}, 'must be a duration, that is, seconds or a string such as "250ms"' },
  { "dedup", "max_entries", 2 ^ 40, "must be from 1 to 67108864, got 1099511627776" },
  { "dedup", "fields", { {} }, "must be a list of strings, got a table" },
  { "json", "on_error", "ignore", 'must be one of "dlq", "pass", "drop", "stop", got "ignore"' },
  { "stage", 1, "x", 'option "[1]" must be a function, got a string; write logcap.stage { function(rec) ... end' },
  { "file_sink", "path", false, "must be a string, got a boolean; write path = " },
  { "file_sink", "format", "jsn", 'got "jsn"; did you mean "json"?' },
  { "file_sink", "mode", "0999", 'must be permissions in octal that let the owner read and write, got "0999"' },
  { "file_sink", "mode", 420, "must be a string, got a number; write mode = \"0640\"" },
  { "file_sink", "rotate", {}, 'option "rotate" must not be an empty table; write rotate = { size = "100MiB"' },
  { "file_sink", "retain", {}, 'option "retain" must not be an empty table' },
  { "file_sink", "rotate", { size = 0 }, 'option "rotate.size" must be at least 1 bytes, got 0' },
  { "file_sink", "rotate", { age = "10ms" }, 'option "rotate.age" must be at least 1 seconds, got 0.01' },
  { "file_sink", "rotate", { seize = 1 },
    'unknown option "rotate.seize"; did you mean "size"? its options are: size, age' },
  { "file_sink", "retain", { files = 0 }, 'option "retain.files" must be from 1 to' },
  { "stdout_sink", "metadata", 1, "must be true or false, got a number" },
}

local function copy(from)
  local to = {}
  for key, value in pairs(from) do to[key] = value end
  return to
end

-- The message of a constructor's error, which must begin with the file and line of the call.
local function message_of(kind, options)
  local ok, message = pcall(function()
    logcap[kind](options) -- the line that every message names
  end)
  assert.is_false(ok)
  local line = debug.getinfo(1, "l").currentline - 3
  assert.truthy(message:find("options_spec.lua:" .. line .. ": " .. kind .. ": ", 1, true), message)
  return message
end

describe("options", function()
  after_each(feed.settle)

  for kind, options in pairs(least) do
    it("of " .. kind .. " may be the least", function() logcap[kind](copy(options)):close() end)

    it("of " .. kind .. " know no other names", function()
      local more = copy(options)
      more.nonsense = true
      local message = message_of(kind, more)
      assert.truthy(message:find('unknown option "nonsense"; its options are: ', 1, true), message)
    end)

    it("of " .. kind .. " are a table, and the only argument", function()
      assert.has_error(function() logcap[kind]("x") end)
      assert.has_error(function() logcap[kind](copy(options), 2) end)
    end)
  end

  for _, case in ipairs(wrong) do
    local kind, option, value, expected = unpack(case)
    it(("say what is wrong with %s.%s (%s)"):format(kind, option, expected), function()
      local options = copy(least[kind])
      options[option] = value
      local message = message_of(kind, options)
      assert.truthy(message:find(expected, 1, true), message)
    end)
  end

  it("say what is missing", function()
    assert.truthy(message_of("file_monitor", {}):find('option "paths" is missing; write paths = {', 1, true))
    assert.truthy(message_of("file_sink", {}):find('option "path" is missing; write path = ', 1, true))
    assert.truthy(message_of("stage", {}):find('option "[1]" is missing', 1, true))
  end)

  it("name the nearest option", function()
    for typo, meant in pairs { pathes = "paths", excldue = "exclude", Start = "start", label = "labels" } do
      local options = copy(least.file_monitor)
      options[typo] = {}
      local message = message_of("file_monitor", options)
      assert.truthy(message:find(('unknown option "%s"; did you mean "%s"?'):format(typo, meant), 1, true), message)
    end
  end)

  it("refuse odd keys", function()
    for key, shown in pairs { [5] = "[5]", [true] = "[a boolean]" } do
      local options = copy(least.dedup)
      options[key] = 1
      assert.truthy(message_of("dedup", options):find(('unknown option "%s"'):format(shown), 1, true))
    end
  end)

  it("take every form of a duration and a size", function()
    for _, ttl in ipairs { 1, 0.5, "250ms", "10s", "5m", "1h", "7d" } do logcap.dedup { ttl = ttl }:close() end
    for _, size in ipairs { 4096, "64KiB", "10MiB" } do
      logcap.file_sink { path = "/tmp/x", rotate = { size = size } }:close()
    end
  end)

  it("take all that is documented", function()
    logcap.file_monitor {
      name = "all", paths = { "/a/*.log", "rel/**/*.log", "./x" }, exclude = { "*.gz", "/a/b*" }, start = "beginning",
      hidden = true, follow_symlinks = false, max_line = "64KiB", max_open_files = 10, rotated_wait = "1s",
      deleted_bytes = "1GiB", deleted_age = "1h", labels = { team = "ops", host = "h" },
      multiline = { start = "^\\d", max_lines = 10, max_bytes = "64KiB", timeout = "2s", negate = false },
    }:close()
    logcap.stdin_monitor {
      name = "in", max_line = 1000, labels = { a = "b" }, multiline = { continuation = "^\\s" },
    }:close()
    logcap.dedup { name = "d", ttl = "1m", max_entries = 10, fields = { "a", "b" }, per_source = true }:close()
    logcap.file_sink {
      name = "out", path = "out/{service}-%Y%m%d.ndjson", format = "raw", time = "local", missing = "none",
      mode = "0600", folder_mode = "0700", rotate = { size = "1MiB", age = "1h" }, compress = "zstd",
      retain = { files = 3, size = "1GiB", age = "7d" }, fsync = true, max_open_files = 5,
      max_outputs = 1000, min_free = "1GiB",
    }:close()
    logcap.stdout_sink { name = "o", format = "json", metadata = true }:close()
  end)

  it("name the constructor that was meant", function()
    local ok, message = pcall(function() logcap.file_sinc {} end)
    assert.is_false(ok)
    local expected = "options_spec.lua:%d+: there is no logcap.file_sinc; did you mean logcap.file_sink%?"
    assert.truthy(message:find(expected), message)
    assert.has_error(function() logcap.new = 1 end)
  end)
end)
