-- A file to a file, byte for byte.
local logcap = require "logcap"

logcap.pipeline {
  name = "bench",
  from = logcap.file_monitor { paths = { os.getenv "BENCH_SRC" }, start = "beginning" },
  to = logcap.file_sink { path = os.getenv "BENCH_DST", format = "raw" },
}
