"""Hot reload of a running logcap: no gap, nothing lost or twice, nothing left behind, and failure changes nothing.

Short here; LOGCAP_RELOADS=1000 (scripts/reload-test) is the long form.
"""
import collections
import json
import os
import pathlib
import signal
import statistics
import subprocess
import threading
import time

import pytest

from conftest import PROGRAM, wait_until

RELOADS = int(os.environ.get("LOGCAP_RELOADS", "60"))
LONG = RELOADS >= 500
RATE = 20000  # lines a second, over both files
BENCH = pathlib.Path(PROGRAM).parent / "bench"


def reload(lc, code=0):
    done = lc.call("reload", timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def ndjson(data):
    return [json.loads(line) for line in data.splitlines()]


# --- a thousand reloads -------------------------------------------------------------------------------------------------

class Writer(threading.Thread):
    """Appends numbered lines to a file at a steady rate, and rotates it by rename now and then."""

    def __init__(self, path, rate):
        super().__init__(daemon=True)
        self.path, self.rate = path, rate
        self.count, self.stopping = 0, threading.Event()
        self.file = open(path, "ab", buffering=0)

    def run(self):
        began, rotations = time.monotonic(), 0
        while not self.stopping.wait(0.01):
            until = int((time.monotonic() - began) * self.rate)
            source = self.path.stem
            block = "".join(f'{{"source":"{source}","n":{n}}}\n' for n in range(self.count, until))
            self.file.write(block.encode())
            self.count = until
            if until // (self.rate * 2) > rotations:
                rotations += 1
                os.rename(self.path, f"{self.path}.{rotations}")
                self.file.close()
                self.file = open(self.path, "ab", buffering=0)


def generation(number, extra):
    """The pipeline of one generation: another function each time, sometimes a second monitor and sink."""
    return f"""
    local from = {{ logcap.file_monitor {{ name = "first", paths = {{ "in/a.log*" }}, start = "beginning",
      max_open_files = 2 }} }}
    local to = {{ logcap.file_sink {{ path = "out/all.ndjson", rotate = {{ size = "1MiB" }} }} }}
    if {str(extra).lower()} then
      from[2] = logcap.file_monitor {{ name = "second", paths = {{ "in/b.log*" }}, start = "beginning",
        max_open_files = 2 }}
      to[2] = logcap.file_sink {{ path = "out/extra.ndjson" }}
    end
    logcap.pipeline {{ name = "p", from = from, to = to,
      stages = {{ logcap.json {{}}, function(rec) rec.generation = {number} end }} }}
    """


class Figures:
    """What the process holds, looked at after each reload."""

    def __init__(self, daemon):
        self.daemon, self.descriptors, self.resident, self.calls = daemon, [], [], []

    def look(self):
        self.descriptors.append(len(self.daemon.descriptors()))
        pages = int(pathlib.Path(f"/proc/{self.daemon.process.pid}/statm").read_text().split()[1])
        self.resident.append(pages * 4096 / 1e6)

    def flat(self, values, slack):
        """Whether the last fifth is no higher than the first fifth behind the beginning."""
        values = values[len(values) // 10:]
        part = max(1, len(values) // 5)
        return statistics.median(values[-part:]) <= statistics.median(values[:part]) + slack


def outputs(lc, name):
    """The lines of an output with all of its rotated files, in order: by the stamp and the number in their names."""
    def place(path):
        stamp, _, number = path.name.removeprefix(f"{name}.ndjson").rpartition("-")
        return stamp == "", stamp, int(number or 0)
    files = sorted(lc.path("out").glob(f"{name}*"), key=place)
    return [record for path in files for record in ndjson(path.read_bytes())]


def test_many_reloads_under_load(lc):
    lc.path("in").mkdir()
    writers = [Writer(lc.path("in/a.log"), RATE // 2), Writer(lc.path("in/b.log"), RATE // 2)]
    lc.pipeline(generation(1, True))
    daemon = lc.start().ready()
    figures, extra, began = Figures(daemon), True, time.monotonic()
    for writer in writers:
        writer.start()
    for number in range(2, RELOADS + 2):
        if number % 10 == 0:
            extra = not extra
        lc.pipeline(generation(number, extra))
        start = time.monotonic()
        reload(lc)
        figures.calls.append(time.monotonic() - start)
        figures.look()
    for writer in writers:
        writer.stopping.set()
        writer.join()
    lc.pipeline(generation(RELOADS + 2, True))
    reload(lc)
    total = sum(writer.count for writer in writers)
    wait_until(lambda: sum(entry["delivered"] for p in lc.status()["pipelines"] for entry in p["sinks"]
                           if "all.ndjson" in entry["name"]) >= total, 120, "the delivery of all lines")
    print(f"\n{RELOADS} reloads in {time.monotonic() - began:.1f} s, {total} lines; logcap reload takes "
          f"{statistics.median(figures.calls) * 1000:.1f} ms (median), {max(figures.calls) * 1000:.1f} ms (worst); descriptors "
          f"{figures.descriptors[0]} to {figures.descriptors[-1]}, resident {figures.resident[len(figures.resident) // 10]:.1f} to "
          f"{figures.resident[-1]:.1f} MB")
    lc.finish(daemon)
    seen = collections.defaultdict(list)
    for record in outputs(lc, "all"):
        seen[record["source"]].append((record["n"], record["generation"]))
    for writer in writers:
        mine = seen[writer.path.stem]
        assert [n for n, _ in mine] == list(range(writer.count))  # each once, in order
        assert all(a[1] <= b[1] for a, b in zip(mine, mine[1:]))  # and no batch overtook an older one
    assert seen["a"][-1][1] > 1
    mine = collections.defaultdict(list)
    for record in ndjson(lc.read("out/extra.ndjson")):
        mine[record["source"]].append(record["n"])
    for numbers in mine.values():  # it came and went: but what it got, it got once and in order
        assert all(a < b for a, b in zip(numbers, numbers[1:]))
    assert figures.flat(figures.descriptors, 2), figures.descriptors
    if LONG:
        assert figures.flat(figures.resident, 3), figures.resident


@pytest.mark.skipif(not (BENCH / "latency").exists(), reason="the benchmarks are not built")
def test_pause_in_delivery(lc):
    """Lines are stamped when they are appended, and seen again in the output, while the files reload all the time."""
    lc.write("in/p.log", "")
    lc.write("in/quiet.log", "")
    number = [1]

    def next_generation():
        number[0] += 1
        lc.pipeline("".join(f"""logcap.pipeline {{ name = "{name}",
          from = logcap.file_monitor {{ paths = {{ "in/{name}.log*" }} }},
          stages = {{ function(rec) local n = {number[0]} return rec.message ~= "" end }},
          to = logcap.file_sink {{ path = "{name}.out", format = "raw" }} }}
        """ for name in ("p", "quiet")))

    def measure(name, seconds, meanwhile):
        bench = subprocess.Popen([BENCH / "latency", lc.path(f"in/{name}.log"), lc.path(f"{name}.out"), str(RATE),
                                  str(seconds), "1"], stdout=subprocess.PIPE, text=True)
        while bench.poll() is None:
            meanwhile()
        found = json.loads(bench.stdout.read())
        assert bench.returncode == 0 and found["lost"] == found["twice"] == found["foreign"] == 0, found
        return found

    def one_more():
        next_generation()
        reload(lc)

    next_generation()
    daemon = lc.start().ready()
    quiet = measure("quiet", 2, lambda: time.sleep(0.05))
    found = measure("p", 20 if LONG else 4, one_more)
    print(f"\n{number[0]} reloads: {found}\nwithout: {quiet}")
    # The short form runs beside other tests, and where lines are late without reloads they are later with them.
    assert found["p99_ms"] < (50 if LONG else 250 + 5 * quiet["p99_ms"]), (found, quiet)
    lc.finish(daemon)


# --- what survives ------------------------------------------------------------------------------------------------------

def pipeline(stages="", monitor="", sink='path = "out/all.log", format = "raw"', memory=""):
    return f"""
    logcap.pipeline {{ name = "p", {memory}
      from = logcap.file_monitor {{ name = "m", paths = {{ "in/*.log" }}, start = "beginning", {monitor} }},
      stages = {{ {stages} }}, to = logcap.file_sink {{ {sink} }} }}
    """


def test_an_unlinked_file_with_an_unread_tail_survives(lc):
    lines = "".join(f"{n:09} {'x' * 190}\n" for n in range(50000))  # 10 MB, of which 2 MiB are read
    lc.write("in/a.log", lines)
    lc.write("out", "in the way")  # so that the sink waits
    lc.pipeline(pipeline(memory='memory = "2MiB",'))
    daemon = lc.start().ready()
    wait_until(lambda: lc.status()["pipelines"][0]["sinks"][0]["in_flight"] > 0, what="a batch that waits")
    os.unlink(lc.path("in/a.log"))
    for number in range(3):
        lc.pipeline(pipeline(stages=f"function(rec) local n = {number} end", memory='memory = "2MiB",'))
        reload(lc)
    os.unlink(lc.path("out"))
    lc.wait_delivered(50000)
    lc.finish(daemon)
    assert lc.read("out/all.log").decode() == lines
    lc.audit(code=0)


def test_dedup_entries_survive(lc):
    stages = 'logcap.dedup {{ ttl = "1h", max_entries = {entries} }}, function(rec) local n = {number} end'
    lc.write("in/a.log", "one\n")
    lc.pipeline(pipeline(stages=stages.format(entries=1000, number=1)))
    daemon = lc.start().ready()
    lc.wait_delivered(1)
    for number, entries in enumerate([1000, 2000, 500], 2):  # as it was, then with other options
        lc.pipeline(pipeline(stages=stages.format(entries=entries, number=number)))
        reload(lc)
        lc.append("in/a.log", f"one\nfresh {number}\n")
        lc.wait_delivered(number)
    lc.finish(daemon)
    assert lc.read("out/all.log").decode().splitlines() == ["one", "fresh 2", "fresh 3", "fresh 4"]


def test_an_open_group_survives(lc):
    monitor = 'multiline = { start = "^BEGIN", timeout = "1h" }'
    lc.write("in/a.log", "BEGIN 1\n one\nBEGIN 2\n two\n")
    lc.pipeline(pipeline(monitor=monitor, sink='path = "out/all.ndjson"'))
    daemon = lc.start().ready()
    lc.wait_delivered(1)
    lc.pipeline(pipeline(stages="function(rec) rec.new = true end", monitor=monitor, sink='path = "out/all.ndjson"'))
    reload(lc)
    lc.append("in/a.log", " three\nBEGIN 3\n")
    lc.wait_delivered(2)
    lc.finish(daemon)
    assert [r["message"] for r in ndjson(lc.read("out/all.ndjson"))] == ["BEGIN 1\n one", "BEGIN 2\n two\n three"]


def test_a_whole_pipeline_comes_and_goes(lc):
    other = """logcap.pipeline { name = "q", from = logcap.file_monitor { paths = { "in2/*.log" }, start = "beginning" },
      to = logcap.file_sink { path = "out/q.log", format = "raw" } }"""
    lc.write("in/a.log", "a\n")
    lc.write("in2/b.log", "b 1\n")
    lc.pipeline(pipeline())
    daemon = lc.start().ready()
    for number in (1, 2, 3):
        lc.pipeline(pipeline() + other)
        reload(lc)
        lc.wait_delivered(number, pipeline="q")
        lc.pipeline(pipeline())
        reload(lc)
        wait_until(lambda: [p["name"] for p in lc.status()["pipelines"]] == ["p"], what="the end of q")
        lc.append("in2/b.log", f"b {number + 1}\n")
    lc.finish(daemon)
    assert lc.read("out/q.log") == b"b 1\nb 2\nb 3\n"
    assert lc.read("out/all.log") == b"a\n"


def test_options_of_a_file_monitor_apply_in_place(lc):
    sink = 'path = "out/all.ndjson", metadata = true'
    opens = []

    def add(text, records, monitor):
        lc.pipeline(pipeline(monitor=monitor, sink=sink))
        reload(lc)
        opens.append([r["id"] for r in lc.status()["resources"] if r["kind"] == "file_monitor"])
        lc.append("in/a.log", text)
        lc.wait_delivered(records)

    lc.write("in/a.log", "1\n")
    lc.pipeline(pipeline(monitor='labels = { v = "1" }', sink=sink))
    daemon = lc.start().ready()
    lc.wait_delivered(1)
    add("2\n", 2, 'labels = { v = "2" }, max_open_files = 1')
    add("x" * 600000 + "\n", 3, 'max_line = "1MiB"')
    add("BEGIN\n a\nBEGIN\n b\n", 4, 'multiline = { start = "^BEGIN", timeout = "1h" }')
    add("3\n", 7, "max_line = 100")  # without groups the lines of the open one are given out
    assert all(ids == opens[0] for ids in opens)  # the same monitor all the time
    lc.finish(daemon)
    found = ndjson(lc.read("out/all.ndjson"))
    assert [r["message"] for r in found] == ["1", "2", "x" * 600000, "BEGIN\n a", "BEGIN", " b", "3"]
    assert [r.get("@labels", {}).get("v") for r in found][:3] == ["1", "2", None]


def test_changed_paths_lose_no_deleted_tail(lc):
    """The monitor is replaced: the old one first reads what it alone can."""
    lines = "".join(f"{n:09} {'x' * 190}\n" for n in range(50000))
    lc.write("in/a.log", lines)
    lc.write("in/b.txt", "b\n")
    lc.write("out", "in the way")
    lc.pipeline(pipeline(memory='memory = "2MiB",'))
    daemon = lc.start().ready()
    wait_until(lambda: lc.status()["pipelines"][0]["sinks"][0]["in_flight"] > 0, what="a batch that waits")
    os.unlink(lc.path("in/a.log"))
    lc.pipeline(pipeline(memory='memory = "2MiB",').replace("in/*.log", "in/*.txt"))
    reload(lc)
    os.unlink(lc.path("out"))
    lc.wait_delivered(50001)
    lc.finish(daemon)
    assert lc.read("out/all.log").decode() == lines + "b\n"
    lc.audit(code=0)


def test_a_file_that_matches_no_more_is_read_to_its_end(lc):
    lc.write("in/a.log", "a 1\n")
    lc.pipeline(pipeline())
    daemon = lc.start().ready()
    lc.wait_delivered(1)
    lc.write("in/b.txt", "b 1\n")
    lc.pipeline(pipeline().replace("in/*.log", "in/*.txt"))
    reload(lc)
    lc.wait_delivered(2)
    lc.pipeline(pipeline().replace("in/*.log", "in/*"))
    lc.append("in/a.log", "a 2\n")
    reload(lc)
    lc.append("in/b.txt", "b 2\n")
    lc.wait_delivered(4)
    lc.finish(daemon)
    assert sorted(lc.read("out/all.log").decode().splitlines()) == ["a 1", "a 2", "b 1", "b 2"]


def test_a_stopped_pipeline_runs_again(lc):
    other = """logcap.pipeline { name = "q", from = logcap.file_monitor { paths = { "in2/*.log" } },
      to = logcap.null_sink {} }"""
    stop = 'logcap.stage { function(rec) error "bad" end, on_error = "stop" }'
    lc.write("in/a.log", "a\n")
    lc.pipeline(pipeline(stages=stop) + other)
    daemon = lc.start().ready()
    daemon.wait_log("stopped")
    for number in range(2):
        lc.pipeline(pipeline(stages=f"function(rec) local n = {number} end") + other)
        reload(lc)
        lc.append("in/a.log", f"{number}\n")
        lc.wait_delivered(number + 2, pipeline="p")
    lc.finish(daemon)
    assert lc.read("out/all.log") == b"a\n0\n1\n"


def test_a_shared_stage_can_be_split(lc):
    """Two that were one: the first keeps what was remembered, the second remembers by itself."""
    def two(first, second):
        return "".join(f"""logcap.pipeline {{ name = "{name}", stages = {{ {stage} }},
          from = logcap.file_monitor {{ paths = {{ "{name}/*.log" }}, start = "beginning" }},
          to = logcap.file_sink {{ path = "out/{name}.log", format = "raw" }} }}
        """ for name, stage in (("p", first), ("q", second)))

    make = 'logcap.dedup { name = "d", ttl = "1h" }'
    lc.write("p/a.log", "one\n")
    lc.write("q/a.log", "")
    lc.pipeline(f"local d = {make}\n" + two("d", "d"))
    daemon = lc.start().ready()
    lc.wait_delivered(1, pipeline="p")
    lc.append("q/a.log", "one\nq 1\n")
    lc.wait_delivered(1, pipeline="q")
    lc.pipeline(two(make, make))
    reload(lc)
    lc.append("p/a.log", "one\ntwo\n")
    lc.wait_delivered(2, pipeline="p")
    lc.append("q/a.log", "two\n")
    lc.wait_delivered(2, pipeline="q")
    lc.finish(daemon)
    assert lc.read("out/p.log") == b"one\ntwo\n" and lc.read("out/q.log") == b"q 1\ntwo\n"


def test_a_paused_pipeline_can_leave(lc):
    """With a deleted file that only its monitor can read to the end."""
    lc.write("in/a.log", "1\n")
    lc.pipeline(pipeline())
    daemon = lc.start().ready()
    lc.wait_delivered(1)
    assert lc.call("repl", "-e", 'pause("p")').returncode == 0
    lc.append("in/a.log", "2\n")
    os.unlink(lc.path("in/a.log"))
    lc.pipeline(pipeline().replace('name = "p"', 'name = "other"').replace("in/*.log", "in/*.txt"))
    reload(lc)
    wait_until(lambda: [p["name"] for p in lc.status()["pipelines"]] == ["other"], what="the end of the paused one")
    lc.finish(daemon)
    assert lc.read("out/all.log") == b"1\n2\n"


# --- failure changes nothing --------------------------------------------------------------------------------------------

FAILURES = {
    "syntax": ("logcap.pipeline {", "pipeline.lua:2:"),
    "unknown option": (pipeline(monitor="stat = 1"), 'did you mean "start"'),
    "wrong type": (pipeline(memory="memory = {},"), "memory"),
    "a constructor": (pipeline(sink='path = "out/all.log", compress = "gzip"'), "compress works on rotated files"),
    "an error at top level": ("error 'not today'\n" + pipeline(), "not today"),
    "no pipeline": ("local x = 1", "no pipeline is made here"),
    "a module that is not there": ('require "gone"\n' + pipeline(), 'module "gone"'),
    "an output of another owner": (pipeline() + """logcap.pipeline { name = "q", from = logcap.stdin_monitor {},
       to = logcap.file_sink { path = "taken.log" } }""", "taken.log"),
}
if LONG:
    FAILURES["a loop without an end"] = ("while true do end", "10 s")
    FAILURES["memory without an end"] = ("local t = {} while true do t[#t + 1] = ('x'):rep(100000) .. #t end", "MiB")


@pytest.fixture
def taken(lc):
    """taken.log is another logcap's."""
    lc.write("other.lua", """local logcap = require "logcap"
      logcap.pipeline { name = "q", from = logcap.file_monitor { paths = { "in3/*.log" }, start = "beginning" },
        to = logcap.file_sink { path = "taken.log" } }""")
    lc.write("in3/a.log", "x\n")
    process = subprocess.Popen([PROGRAM, "run", "--state-dir", lc.path("state2"), "other.lua"], cwd=lc.folder,
                               stderr=subprocess.DEVNULL)
    try:
        wait_until(lc.path("taken.log").exists, what="the other's output")
        yield
    finally:
        process.terminate()
        process.wait(60)


def test_failures_change_nothing(lc, taken):
    lc.path("in").mkdir()
    writer = Writer(lc.path("in/a.log"), 2000)
    lc.pipeline(pipeline(stages="logcap.json {}, function(rec) rec.ok = 1 end", sink='path = "out/all.ndjson"'))
    daemon = lc.start().ready()
    writer.start()
    lc.wait_delivered(100)
    descriptors = len(daemon.descriptors())
    rounds = 5 if LONG else 2
    for _ in range(rounds):
        for name, (text, expected) in FAILURES.items():
            lc.pipeline(text)
            done = reload(lc, code=1)
            assert expected in done.stderr and "pipeline.lua:" in done.stderr, (name, done.stderr)
    os.rename(lc.file, lc.path("aside.lua"))
    assert "cannot read pipeline file" in reload(lc, code=1).stderr
    writer.stopping.set()
    writer.join()
    lc.wait_delivered(writer.count)
    wait_until(lambda: len(daemon.descriptors()) <= descriptors, what="as many descriptors as before")
    lc.finish(daemon)
    records = ndjson(lc.read("out/all.ndjson"))
    assert [r["n"] for r in records] == list(range(writer.count)) and all(r["ok"] == 1 for r in records)


def test_a_failed_load_leaves_no_resource(lc):
    lc.pipeline(pipeline())
    daemon = lc.start().ready()
    before = [(r["kind"], r["name"]) for r in lc.status()["resources"]]
    lc.pipeline(pipeline(stages="logcap.json {}, function(rec) end") + "error 'late'")
    reload(lc, code=1)
    wait_until(lambda: [(r["kind"], r["name"]) for r in lc.status()["resources"]] == before, what="the resources of before")
    lc.finish(daemon)


def test_a_stop_does_not_wait_for_a_load(lc):
    lc.pipeline(pipeline())
    daemon = lc.start().ready()
    lc.pipeline('logcap.limits { load = "5m" }\nwhile true do end')
    asked = subprocess.Popen(lc.command("reload"), stderr=subprocess.PIPE, text=True)
    daemon.wait_log("loading the pipeline files")
    assert daemon.stop(25) == 0  # neither the load's end nor the deadline
    lc.assert_balanced()
    assert asked.wait(60) == 1 and "logcap is stopping" in asked.stderr.read()
    asked.stderr.close()


def test_many_ask_at_once(lc):
    """Hangups and commands in a storm: each is answered, and files are loaded as often as is needed."""
    lc.write("in/a.log", "a\n")
    lc.pipeline(pipeline())
    daemon = lc.start().ready()
    for _ in range(1000):
        daemon.process.send_signal(signal.SIGHUP)
    asked = [subprocess.Popen(lc.command("reload"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
             for _ in range(10)]
    for process in asked:
        assert process.wait(60) == 0, process.stderr.read()
        process.stderr.close()
    lc.wait_delivered(1)
    lc.finish(daemon)


def test_once_does_not_reload(lc):
    lc.write("out", "in the way")
    lc.write("in/a.log", "a\n")
    lc.pipeline(pipeline())
    daemon = lc.start("--once").ready()
    assert "--once cannot reload" in reload(lc, code=1).stderr
    os.unlink(lc.path("out"))
    assert daemon.process.wait(60) == 0


# --- --watch --------------------------------------------------------------------------------------------------------------

def save_by_rename(path, text):
    """As editors do."""
    temporary = path.with_suffix(".lua~")
    temporary.write_text(text)
    os.rename(temporary, path)


@pytest.mark.parametrize("save", [lambda path, text: path.write_text(text), save_by_rename])
def test_watch_reloads_what_was_saved(lc, save):
    head = 'local logcap = require "logcap"\nlocal tag = require "lib.tag"\n'
    text = head + pipeline(stages="function(rec) rec.tag = tag end", sink='path = "out/all.ndjson"')
    lc.write("lib/tag.lua", "return 1")
    lc.file.write_text(text)
    daemon = lc.start("--watch").ready()
    lc.append("in/a.log", "a\n")
    lc.wait_delivered(1)
    save(lc.path("lib/tag.lua"), "return 2")
    wait_until(lambda: daemon.text().count('"generation":2'), what="a reload")
    lc.append("in/a.log", "b\n")
    lc.wait_delivered(2)
    save(lc.file, text.replace("rec.tag = tag", "rec.other = tag"))
    wait_until(lambda: daemon.text().count('"generation":3'), what="a second reload")
    lc.append("in/a.log", "c\n")
    lc.wait_delivered(3)
    save(lc.file, "not Lua")
    daemon.wait_log("failed; what ran before goes on")
    save(lc.file, text)
    wait_until(lambda: daemon.text().count('"generation":4'), what="a reload of what was mended")
    lc.finish(daemon)
    assert [r.get("tag", r.get("other")) for r in ndjson(lc.read("out/all.ndjson"))] == [1, 2, 2]


def swap_link(folder, target):
    """As Kubernetes exchanges the files of a volume."""
    os.symlink(target, folder / "..data_tmp")
    os.rename(folder / "..data_tmp", folder / "..data")


def test_watch_sees_links_that_are_exchanged_and_folders_that_come_back(lc):
    head = 'local logcap = require "logcap"\nlocal tag = require "lib.tag"\n'
    lc.file.write_text(head + pipeline(stages="function(rec) rec.tag = tag end", sink='path = "out/all.ndjson"'))
    lib = lc.path("lib")
    lc.write("lib/..1/tag.lua", "return 1")
    swap_link(lib, "..1")
    os.symlink("..data/tag.lua", lib / "tag.lua")
    daemon = lc.start("--watch").ready()
    lc.write("lib/..2/tag.lua", "return 2")
    swap_link(lib, "..2")
    wait_until(lambda: daemon.text().count('"generation":2'), what="a reload of what the link leads to")
    lc.path("lib/..2/tag.lua").write_text("return 3")  # behind the link
    wait_until(lambda: daemon.text().count('"generation":3'), what="a reload of what was written there")
    os.rename(lib, lc.path("away"))
    lib.mkdir()
    lc.write("lib/tag.lua", "return 4")
    wait_until(lambda: daemon.text().count('"generation":4'), what="a reload of the new folder")
    lc.append("in/a.log", "a\n")
    lc.wait_delivered(1)
    lc.finish(daemon)
    assert [r["tag"] for r in ndjson(lc.read("out/all.ndjson"))] == [4]
