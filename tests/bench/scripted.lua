-- fixed.lua with a function that reads one field of each record.
local logcap = require "logcap"

logcap.pipeline {
  name = "bench",
  from = logcap.file_monitor { paths = { os.getenv "BENCH_SRC" }, start = "beginning" },
  stages = {
    logcap.json {},
    function(rec)
      if rec.level == "no such level" then return false end
    end,
  },
  to = logcap.file_sink { path = os.getenv "BENCH_DST", format = "json" },
}
