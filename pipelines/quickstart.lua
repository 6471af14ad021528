-- Follows this machine's own logs, shows them, and writes them to files: what `scripts/run` runs.
-- Everything it writes lies in ./logcap-data, or where $LOGCAP_DATA says.
local logcap = require "logcap"

local data = os.getenv "LOGCAP_DATA" or (os.getenv "PWD" or ".") .. "/logcap-data"

logcap.pipeline {
  name = "quickstart",
  from = logcap.file_monitor {
    paths = { "/var/log/*.log", "/var/log/syslog", "/var/log/messages", data .. "/generated/*.log" },
    start = "beginning",
  },
  stages = {
    logcap.json {},                                     -- lines that are no JSON pass as they are
    function(rec)
      if rec.level == "debug" then return false end     -- false drops the record
      rec.collected_by = "logcap"
    end,
  },
  to = {
    logcap.stdout_sink {},
    logcap.file_sink { path = data .. "/out/%Y-%m-%d.ndjson", rotate = { size = "100MiB" } },
  },
}
