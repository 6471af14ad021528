-- Many files of one line each, each to an output of its own.
local logcap = require "logcap"

logcap.pipeline {
  name = "bench",
  from = logcap.file_monitor { paths = { os.getenv "BENCH_SRC" }, start = "beginning" },
  stages = { logcap.json {} },
  to = logcap.file_sink { path = os.getenv "BENCH_DST" .. "/{name}.ndjson", fsync = false },
}
