"""Lives of resources in a running logcap: made and dropped by reload after reload, and closed by somebody in use.

Short here; LOGCAP_LIVES=1000 (scripts/life-test) is the long form.
"""
import collections
import json
import os
import pathlib
import random
import statistics
import subprocess
import time

import pytest

from conftest import wait_until
from test_reload import Writer, reload

LIVES = int(os.environ.get("LOGCAP_LIVES", "40"))
LONG = LIVES >= 500
ROUNDS = max(6, LIVES // 10)
SEED = int(os.environ.get("LOGCAP_SEED", "1"))
SANITIZED = "asan" in os.environ.get("LOGCAP", "") or "tsan" in os.environ.get("LOGCAP", "")


def repl(lc, code, exit_code=0):
    done = lc.call("repl", "--json", "-e", code)
    assert done.returncode == exit_code, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def resident(daemon):
    return int(pathlib.Path(f"/proc/{daemon.process.pid}/statm").read_text().split()[1]) * 4096 / 1e6


def descriptors(lc):
    """How many it has open, with one client: this one, and none that is being let go."""
    def alone():
        status = lc.status()
        control = next(r for r in status["resources"] if r["kind"] == "control")
        return control["stats"]["clients"] == 1 and status["open_descriptors"]
    return wait_until(alone, what="that nobody else asks")


# --- made, started, dropped ---------------------------------------------------------------------------------------------

FIXED = """
logcap.resource_monitor { interval = "1h" }
logcap.pipeline { name = "fixed", from = logcap.file_monitor { name = "fixed", paths = { "in/fixed.log" } },
  to = logcap.null_sink { name = "fixed" } }
"""


def visitor(number):
    """A pipeline of one reload, with a name, paths and parts of its own."""
    return FIXED + f"""
    logcap.admin {{ listen = "unix:admin-{number % 2}.sock" }}
    logcap.pipeline {{ name = "p{number}",
      from = {{ logcap.file_monitor {{ name = "m{number}", paths = {{ "in/{number}/*.log" }}, start = "beginning",
        multiline = {{ start = "^{{", timeout = "50ms" }}, labels = {{ number = "{number}" }} }},
        logcap.stdin_monitor {{ name = "stdin{number}" }} }},
      stages = {{ logcap.json {{}}, logcap.dedup {{ name = "d{number}", max_entries = 1000 }},
        logcap.stage {{ name = "s{number}", function(rec) rec.more = {number} end }},
        function(rec) return rec.n ~= -1 end }},
      to = {{ logcap.file_sink {{ path = "out/{number}.ndjson", rotate = {{ size = "1MiB" }}, compress = "zstd" }},
        logcap.stdout_sink {{ name = "stdout{number}" }}, logcap.null_sink {{ name = "null{number}" }} }} }}
    """


def kinds_left(lc):
    """What is held but for the prompt's own session; waits until what drains has gone."""
    found = repl(lc, "gc() return resources()")[-1]
    return sorted((r["kind"], r["name"]) for r in found)


def test_reloads_that_add_and_remove_all_kinds(lc):
    """A line goes through each visitor, which the next reload removes: what is held afterwards is what was before."""
    lc.write("in/fixed.log", "")
    lc.pipeline(FIXED)
    daemon = lc.start().ready()
    before = kinds_left(lc)
    at_start, memory = descriptors(lc), []
    began = time.monotonic()
    for number in range(1, LIVES + 1):
        lc.write(f"in/{number}/a.log", json.dumps({"n": number}) + "\n")
        lc.pipeline(visitor(number))
        reload(lc)
        wait_until(lambda: lc.path(f"out/{number}.ndjson").exists() and lc.read(f"out/{number}.ndjson"), what="the line")
        if number % 2:  # and every second one goes by the reload that brings its successor
            lc.pipeline(FIXED)
            reload(lc)
        if number % 10 == 0:
            memory.append(resident(daemon))
    lc.pipeline(FIXED)
    reload(lc)
    wait_until(lambda: kinds_left(lc) == before, what="that all visitors have gone")
    wait_until(lambda: descriptors(lc) == at_start, what="that the descriptors are those of the start")
    assert repl(lc, "leaks()") == [[]]
    assert [p["name"] for p in lc.status()["pipelines"]] == ["fixed"]
    tenth = memory[len(memory) // 10]
    print(f"\n{LIVES} visitors in {time.monotonic() - began:.1f} s, {len(before)} resources before and after, "
          f"{at_start} descriptors before and after, resident {tenth:.1f} to {memory[-1]:.1f} MB")
    if LONG and not SANITIZED:
        part = max(1, len(memory) // 5)
        assert statistics.median(memory[-part:]) <= statistics.median(memory[part:2 * part]) + 3, memory
    lc.finish(daemon)
    for number in range(1, LIVES + 1):
        lines = [json.loads(line) for line in lc.read(f"out/{number}.ndjson").splitlines()]
        assert [(r["n"], r["more"]) for r in lines] == [(number, number)]


# --- closed in use ------------------------------------------------------------------------------------------------------

CLOSABLE = ["ma", "mb", "json", "d", "tag", "oa", "ob", "both", "raw"]

USED = """
ma = logcap.file_monitor { name = "ma", paths = { "in/a.log*" }, start = "beginning" }
mb = logcap.file_monitor { name = "mb", paths = { "in/b.log*" }, start = "beginning" }
json = logcap.json {}
d = logcap.dedup { name = "d", fields = { "source", "n" } }
tag = logcap.stage { name = "tag", function(rec)
  if rec.close and os.getenv("CALM") == nil then
    for name in rec.close:gmatch("%a+") do _G[name]:close() end
  end
end }
oa = logcap.file_sink { path = "out/a.ndjson" }
ob = logcap.file_sink { path = "out/b.ndjson", rotate = { size = "64KiB" } }
both = logcap.file_sink { path = "out/both.ndjson" }
raw = logcap.file_sink { path = "out/raw.log", format = "raw", fsync = true }
logcap.pipeline { name = "a", from = ma, stages = { json, d, tag }, to = { oa, both } }
logcap.pipeline { name = "b", from = mb, stages = { logcap.json {}, tag }, to = { ob, both, raw } }
"""


def lines_of(lc, pattern):
    for path in sorted(lc.path("out").glob(pattern)):
        yield from (json.loads(line) for line in path.read_bytes().splitlines())


def assert_once(lc, pattern, writers):
    """Each line of these writers exactly once."""
    seen = collections.Counter((r["source"], r["n"]) for r in lines_of(lc, pattern) if "n" in r)
    wanted = {(writer.path.stem, n) for writer in writers for n in range(writer.count)}
    twice = sorted(key for key, times in seen.items() if times > 1)
    lost = sorted(wanted - set(seen))
    assert not twice and not lost, f"{pattern}: {len(lost)} lost {lost[:3]}, {len(twice)} twice {twice[:3]}"


def all_once(lc, writers):
    a, b = writers
    assert_once(lc, "a.ndjson", [a])
    assert_once(lc, "b.ndjson*", [b])
    assert_once(lc, "both.ndjson", [a, b])
    assert_once(lc, "raw.log", [b])


def closings(rng):
    """Some of them in some order, some twice."""
    names = rng.sample(CLOSABLE, rng.randint(1, len(CLOSABLE)))
    return names + rng.sample(names, rng.randint(0, len(names)))


@pytest.mark.parametrize("reloads", [True, False], ids=["with reloads", "until the end"])
def test_closed_in_use(lc, reloads):
    """Whatever is closed under load, in whatever order: nothing crashes, and nothing is lost or comes twice."""
    rng = random.Random(SEED)
    lc.path("in").mkdir()
    lc.pipeline(USED)
    writers = [Writer(lc.path("in/a.log"), 2000), Writer(lc.path("in/b.log"), 2000)]
    for writer in writers:
        writer.start()
    for number in range(ROUNDS if reloads else max(3, ROUNDS // 10)):
        daemon = lc.start().ready()
        for _ in range(rng.randint(1, 4) if reloads else 1):
            names = closings(rng)
            if rng.random() < 0.5:
                repl(lc, " ".join(f"{name}:close()" for name in names) + " return 1")
            else:
                lc.append(f"in/{rng.choice('ab')}.log", json.dumps({"close": " ".join(names)}) + "\n")
            time.sleep(rng.random() * 0.1)  # under load, at no particular moment
            if reloads:
                reload(lc)
        if daemon.process.poll() is None:
            done = lc.call("audit", "--json")  # not when the last pipeline has stopped just now
            assert all(entry["balanced"] for entry in json.loads(done.stdout or '{"ledger": []}')["ledger"]), done.stdout
        code = daemon.stop(25)  # not by its deadline
        assert code in (0, 1), daemon.text()[-4000:]
        assert code == 0 or "closed" in daemon.text(), daemon.text()[-4000:]
        assert "Sanitizer" not in daemon.text() and "was left" not in daemon.text(), daemon.text()[-6000:]
    for writer in writers:
        writer.stopping.set()
        writer.join()
    lc.once(env=dict(os.environ, CALM="1"))
    all_once(lc, writers)
    assert lc.audit()["healthy"]


def test_what_is_gone_before_the_reload_is_counted(lc):
    """What the stopped pipeline had read, and can be read no more, is not forgotten."""
    lc.write("in.log", "1\n2\n3\n")
    lc.pipeline("""
    out = logcap.file_sink { name = "out", path = "out.log", format = "raw" }
    logcap.pipeline { name = "p", from = logcap.file_monitor { paths = { "in.log" }, start = "beginning" },
      stages = { function(rec) if rec.message == "4" then out:close() end end }, to = out }
    """)
    daemon = lc.start().ready()
    lc.wait_delivered(3)
    wait_until(lambda: [c["position"] for s in lc.positions()["sources"] for c in s["cursors"]] == [6], what="a commit")
    lc.append("in.log", "4\n5\n")
    assert daemon.wait_log("stopped")["error"] == 'sink "out" was closed in use'
    lc.path("in.log").unlink()
    reload(lc)
    gone = daemon.wait_log("source is gone before it was read to its end")
    assert gone["lost_bytes"] >= 1  # at least: nobody knows what the file had in the end
    assert daemon.stop() == 0
    assert not lc.audit(code=1)["healthy"] and lc.read("out.log") == b"1\n2\n3\n"


def test_closed_standard_input_gives_out_what_it_had(lc):
    """What was taken from a pipe is nowhere else: a line without its end is delivered when the monitor is closed."""
    lc.pipeline("""
    input = logcap.stdin_monitor {}
    logcap.pipeline { name = "p", from = { input, logcap.file_monitor { paths = { "none" } } },
      to = logcap.file_sink { path = "out.log", format = "raw" } }
    """)
    daemon = lc.start(stdin=subprocess.PIPE).ready()
    daemon.process.stdin.write(b"a\nb")
    daemon.process.stdin.flush()
    lc.wait_delivered(1)
    repl(lc, "input:close() input:close() return 1")
    lc.wait_delivered(2)
    reload(lc)
    wait_until(lambda: repl(lc, "#leaks()") == [0], what="no leak")
    lc.finish(daemon)
    assert lc.read("out.log") == b"a\nb\n"
