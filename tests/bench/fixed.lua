-- JSON in, JSON out, no Lua: what scripted.lua is compared with.
local logcap = require "logcap"

logcap.pipeline {
  name = "bench",
  from = logcap.file_monitor { paths = { os.getenv "BENCH_SRC" }, start = "beginning" },
  stages = { logcap.json {} },
  to = logcap.file_sink { path = os.getenv "BENCH_DST", format = "json" },
}
