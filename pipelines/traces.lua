-- Java logs: a stack trace is one record, and only errors are shown.
--   logcap run --once --state-dir ./state traces.lua
local logcap = require "logcap"

logcap.pipeline {
  name = "traces",
  from = logcap.file_monitor {
    paths = { "in/**/*.log" },
    start = "beginning",
    -- A line that begins with a date begins a record; all others belong to the one before.
    multiline = { start = [[^\d{4}-\d\d-\d\d ]], max_lines = 500, timeout = "2s" },
  },
  stages = {
    function(rec)
      local date, level, logger, rest = rec.message:match("^(%S+ %S+) (%u+) (%S+): (.*)$")
      if level ~= "ERROR" then return false end
      rec.date, rec.level, rec.logger = date, level, logger
      rec.exception = rest:match("\n([%w%.$]+Exception)") or rest:match("\n([%w%.$]+Error)")
    end,
  },
  to = logcap.file_sink { path = "out/errors.ndjson", metadata = true }, -- metadata: @timestamp, @source, @labels
}
