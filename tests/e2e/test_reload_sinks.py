"""Options that change by reload, under load and between kill -9: each sink has exactly the input in the end."""
import json
import os
import random
import subprocess
import time

from conftest import wait_until
from test_kill import SEED, Writer, check, lines_of

ROUNDS = int(os.environ.get("LOGCAP_KILLS", "8"))

PIPELINE = """
logcap.pipeline {
  name = "shop",
  from = logcap.file_monitor { paths = { "in/app.log*" }, start = "beginning" },
  stages = { logcap.json {}, logcap.dedup { name = "seen", ttl = "%s", max_entries = %d } },
  to = { logcap.file_sink { name = "split", %s }, logcap.file_sink { name = "all", %s } },
}
"""
SPLIT = [
    'path = "out/{service}.ndjson", rotate = { size = "50KiB" }, compress = "gzip"',
    'path = "out/new/{service}-%Y.ndjson", max_open_files = 1, metadata = true',
    'path = "out/{service}.ndjson", rotate = { size = "20KiB" }, fsync = true',
    'path = "out/{service}/{none}.ndjson", missing = "x", max_outputs = 2, retain = { files = 100000 }, '
    'rotate = { size = "30KiB", age = "1s" }, compress = "gzip"',
]
ALL = [
    'path = "all/all.log", format = "raw"',
    'path = "all/all.log", rotate = { size = "100KiB" }, compress = "gzip", mode = "0600"',
    'path = "all/deep/er/all.log", folder_mode = "0700", fsync = true',
]


def variant(rng):
    return PIPELINE % (rng.choice(["1s", "1m"]), rng.choice([10, 1000, 100000]), rng.choice(SPLIT), rng.choice(ALL))


def test_each_line_once(lc):
    rng = random.Random(SEED)
    lc.path("in").mkdir()
    writer = Writer(lc.path("in"), random.Random(SEED + 1))
    writer.start()
    reloads = 0
    lc.pipeline(variant(rng))
    for _ in range(ROUNDS):
        daemon = lc.start()
        daemon.ready()
        for _ in range(rng.randrange(6)):
            lc.pipeline(variant(rng))
            done = lc.call("reload")
            assert done.returncode == 0, (done.stdout, done.stderr, daemon.text()[-3000:])
            reloads += 1
            time.sleep(rng.uniform(0, 0.1))  # the moment is the input here
        assert daemon.process.poll() is None, daemon.text()[-4000:]
        daemon.kill()
    writer.stopping.set()
    writer.join()
    done = lc.once(timeout=120)
    check(lines_of(lc.path("out")), writer.count, "out")
    check(lines_of(lc.path("all")), writer.count, "all")
    audit = lc.json("audit")
    assert audit["healthy"], (audit, done.stderr[-3000:])
    assert reloads > ROUNDS / 2
    print(f"\n{writer.count} lines, {writer.rotations} rotations, {reloads} reloads, {ROUNDS} kills, seed {SEED}")


def test_standard_input_goes_on(lc):
    """One input through many reloads: no line is lost or cut, and what was read keeps its label."""
    def pipeline(n):
        lc.pipeline(f"""
          logcap.pipeline {{ name = "in", from = logcap.stdin_monitor {{ labels = {{ generation = "{n}" }},
              max_line = {1000 + n}, name = "in-{n}" }},
            to = logcap.file_sink {{ name = "out", path = "out.ndjson", metadata = true }} }}""")
    pipeline(0)
    daemon = lc.start(stdin=subprocess.PIPE)
    daemon.ready()
    lines, rng = 0, random.Random(SEED)
    for generation in range(1, 30):
        text = "".join(f"line {lines + i}\n" for i in range(200)).encode()
        cut = rng.randrange(len(text))
        daemon.process.stdin.write(text[:cut])
        daemon.process.stdin.flush()
        pipeline(generation)
        done = lc.call("reload")
        assert done.returncode == 0, (done.stdout, done.stderr)
        daemon.process.stdin.write(text[cut:])
        daemon.process.stdin.flush()
        lines += 200
    daemon.process.stdin.close()
    wait_until(lambda: daemon.process.poll() is not None, what="the end of the run")
    assert daemon.process.returncode == 0, daemon.text()[-3000:]
    records = [json.loads(line) for line in lc.read("out.ndjson").splitlines()]
    assert [record["message"] for record in records] == [f"line {i}" for i in range(lines)]
    generations = [int(record["@labels"]["generation"]) for record in records]
    assert generations == sorted(generations) and generations[-1] == 29


def test_an_output_keeps_its_owner(lc):
    """A path that another sink had: it waits until the file is moved away, and then begins anew."""
    def pipeline(first, second):
        lc.pipeline(f"""logcap.pipeline {{ name = "t",
          from = logcap.file_monitor {{ paths = {{ "in.log" }}, start = "beginning" }},
          to = {{ logcap.file_sink {{ name = "first", path = "{first}", format = "raw" }},
                  logcap.file_sink {{ name = "second", path = "{second}", format = "raw" }} }} }}""")
    lc.write("in.log", "")
    pipeline("a.log", "b.log")
    daemon = lc.start()
    daemon.ready()
    lc.append("in.log", "one\n")
    lc.wait_delivered(1)
    pipeline("c.log", "a.log")
    assert lc.call("reload").returncode == 0
    lc.append("in.log", "two\n")
    error = daemon.wait_log("cannot write; what is queued waits, and is tried again")["error"]
    assert "logcap itself already writes this file" in error
    lc.path("a.log").rename(lc.path("a.log.old"))
    lc.wait_delivered(2)
    lc.finish(daemon)
    wrote = {name: lc.read(name) for name in ("a.log.old", "b.log", "a.log", "c.log")}
    assert wrote == {"a.log.old": b"one\n", "b.log": b"one\n", "a.log": b"two\n", "c.log": b"two\n"}
