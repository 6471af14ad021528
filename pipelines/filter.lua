-- JSON lines: drop what is not worth keeping, hide what must not leave, add what helps.
--   logcap run --once --state-dir ./state filter.lua
local logcap = require "logcap"

local minimum = { debug = 0, info = 1, warn = 2, error = 3 }

logcap.pipeline {
  name = "filter",
  from = logcap.file_monitor { paths = { "in/*.ndjson" }, start = "beginning", labels = { team = "shop" } },
  stages = {
    logcap.json { on_error = "dlq" },                       -- a line that is no JSON object is a dead letter
    function(rec)
      if (minimum[rec.level] or 3) < minimum.info then return false end
      rec:remove("user", "password")                        -- nested; what is not there is fine
      if rec.email then rec.email = rec.email:gsub("^[^@]+", "***") end
      rec.slow = (rec.took_ms or 0) > 1000 or nil           -- nil removes: only slow ones have the field
      rec.team = rec:source_labels().team
    end,
  },
  to = logcap.file_sink { path = "out/filtered.ndjson" },
}
