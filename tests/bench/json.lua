-- JSON in, debug lines dropped, one field set in Lua, JSON out.
local logcap = require "logcap"

logcap.pipeline {
  name = "bench",
  from = logcap.file_monitor { paths = { os.getenv "BENCH_SRC" }, start = "beginning" },
  stages = {
    logcap.json {},
    function(rec)
      if rec.level == "debug" then return false end
      rec.env = "prod"
    end,
  },
  to = logcap.file_sink { path = os.getenv "BENCH_DST", format = "json" },
}
