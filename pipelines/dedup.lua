-- A service that says the same thing again and again: each message passes once a minute for each host.
--   logcap run --once --state-dir ./state dedup.lua
local logcap = require "logcap"

logcap.pipeline {
  name = "dedup",
  from = logcap.file_monitor { paths = { "in/*.ndjson" }, start = "beginning" },
  stages = {
    logcap.json {},
    logcap.dedup { fields = { "host", "message" }, ttl = "1m", max_entries = 100000 },
  },
  to = logcap.file_sink { path = "out/once.ndjson" },
}
