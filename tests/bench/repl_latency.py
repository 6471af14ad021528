"""1,000 calls of the prompt while 50,000 lines a second flow through a Lua stage: answers in under 20 ms at the 99th
percentile. Exit 1 when they take longer. scripts/repl-latency builds the program and calls it."""
import json
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from conftest import Logcap  # noqa: E402
from repl_session import Flow, answer_times  # noqa: E402

CALLS, RATE, BOUND = 1000, 50000, 0.020
PIPELINE = '''
  logcap.pipeline { name = "shop", from = logcap.file_monitor { paths = { "in.log" }, start = "beginning" },
    stages = { logcap.json {}, logcap.stage { name = "tag", function(rec)
      if rec.level == "debug" then return false end
      rec.env = "prod"
    end } },
    to = logcap.file_sink { path = "out.log" } }
'''


def main():
    block = "".join(json.dumps({"level": "debug" if n % 2 else "info", "n": n, "message": "x" * 150}) + "\n"
                    for n in range(250))
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        lc = Logcap(pathlib.Path(folder))
        lc.pipeline(PIPELINE)
        lc.write("in.log", "")
        daemon = lc.start().ready()
        with Flow(lc.path("in.log"), block, RATE) as flow:
            time.sleep(1)
            began, before = time.monotonic(), flow.written
            took = answer_times(lc, CALLS, 0.005)
            rate = (flow.written - before) / (time.monotonic() - began)
        lc.wait_delivered(flow.written // 2, seconds=60)
        lc.finish(daemon)
    figures = [("median", 0.5), ("99th percentile", 0.99), ("99.9th", 0.999)]
    text = ", ".join(f"{name} {took[int(CALLS * part)] * 1000:.2f} ms" for name, part in figures)
    print(f"{CALLS} calls at {rate:.0f} lines/s: {text}, longest {took[-1] * 1000:.2f} ms")
    return 0 if took[int(CALLS * 0.99)] < BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
