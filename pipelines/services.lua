-- A file for each service and day, finished at 100 MiB or after an hour, compressed, and kept for a week.
--   logcap run --once --state-dir ./state services.lua
local logcap = require "logcap"

logcap.pipeline {
  name = "services",
  from = logcap.file_monitor { paths = { "in/*.ndjson" }, exclude = { "debug-*" }, start = "beginning" },
  stages = { logcap.json {} },
  to = logcap.file_sink {
    path = "out/{service}/%Y-%m-%d.ndjson",   -- {service} is the record's field; folders are made
    missing = "unknown",                      -- stands for a field that a record lacks
    rotate = { size = "100MiB", age = "1h" },
    compress = "zstd",
    retain = { files = 500, size = "20GiB", age = "7d" },
    min_free = "1GiB",                        -- with less room on the disk writing waits, and nothing is lost
    max_open_files = 100,
  },
}
