"""Pipelines that stopped since somebody closed what they need: what a reload, a stop and a kill make of them."""
import collections
import os
import random
import signal
import subprocess
import time

import pytest

from conftest import wait_until
from test_life import repl
from test_reload import Writer, reload

SEED = int(os.environ.get("LOGCAP_SEED", str(random.randrange(10**6))))
ROUNDS = int(os.environ.get("LOGCAP_ROUNDS", "2"))
STEPS = 25


def pipeline(more=""):
    return """
    out = logcap.file_sink { name = "out", path = "bad/out.log", format = "raw" }
    logcap.pipeline { name = "p", from = logcap.file_monitor { paths = { "in.log" }, start = "beginning" }, to = out }
    """ + more


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk")
def test_a_half_written_batch_is_cut_before_it_is_written_again(lc):
    bad = lc.path("bad")
    bad.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", bad], check=True)
    try:
        lines = "".join(f"{n:09} {'x' * 90}\n" for n in range(20000))
        lc.write("in.log", lines)
        lc.pipeline(pipeline())
        daemon = lc.start().ready()
        daemon.wait_log("cannot write; what is queued waits, and is tried again")
        repl(lc, "out:close() return 1")
        daemon.wait_log("stopped")
        subprocess.run(["mount", "-o", "remount,size=8m", bad], check=True)
        reload(lc)
        lc.wait_delivered(20000)
        lc.finish(daemon)
        assert (bad / "out.log").read_text() == lines
    finally:
        subprocess.run(["umount", "-l", bad], check=False)


def test_an_idle_pipeline_notices_at_once(lc):
    lc.write("in.log", "1\n")
    lc.pipeline("""
    out = logcap.null_sink { name = "out" }
    logcap.pipeline { name = "p", from = logcap.file_monitor { paths = { "in.log" }, start = "beginning" }, to = out }
    """)
    daemon = lc.start().ready()
    lc.wait_delivered(1)
    wait_until(lambda: [c["position"] for s in lc.positions()["sources"] for c in s["cursors"]] == [2], what="a commit")
    repl(lc, "out:close() return 1")
    daemon.wait_log("stopped", 3)
    reload(lc)
    lc.finish(daemon)


def test_a_pause_outlives_it(lc):
    lc.write("in.log", "1\n")
    lc.path("bad").mkdir()
    lc.pipeline(pipeline())
    daemon = lc.start().ready()
    lc.wait_delivered(1)
    repl(lc, 'pause("p") out:close() return 1')
    daemon.wait_log("stopped")
    reload(lc)
    assert lc.status()["pipelines"][0]["state"] == "paused"
    lc.append("in.log", "2\n")
    repl(lc, 'resume("p") return 1')
    wait_until(lambda: lc.read("bad/out.log") == b"1\n2\n", what="the second line")
    lc.finish(daemon)


# --- at random --------------------------------------------------------------------------------------------------------

PARTS = ["ma", "mb", "mc", "oa", "ob", "both"]


def generation(without="", taken=False):
    """One pipeline lends its sink to its reader, one has a Lua function, and two share a sink."""
    pipelines = {
        "a": 'logcap.pipeline { name = "a", from = ma, to = oa }',
        "b": '''logcap.pipeline { name = "b", from = mb, to = { ob, both }, on_error = "stop",
          stages = { function(rec) if fails then error("so it shall") end end } }''',
        "c": 'logcap.pipeline { name = "c", from = mc, stages = { logcap.json {} }, to = both }',
        "d": 'logcap.pipeline { name = "d", from = logcap.file_monitor { paths = { "none" } }, to = logcap.null_sink {} }',
    }
    monitors = "".join(f'm{s} = logcap.file_monitor {{ name = "m{s}", paths = {{ "in/{s}.log*" }}, start = "beginning" }}\n'
                       for s in "abc")
    return monitors + f"""
    fails = false
    oa = logcap.file_sink {{ name = "oa", path = "out/a.log", format = "raw" }}
    ob = logcap.file_sink {{ name = "ob", path = "out/b.log", format = "raw", rotate = {{ size = "64KiB" }} }}
    both = logcap.file_sink {{ name = "both", path = "out/{'a' if taken else 'both'}.log", format = "raw" }}
    """ + "\n".join(text for name, text in pipelines.items() if name not in without)


class Chaos:
    def __init__(self, lc, rng):
        self.lc, self.rng, self.daemon, self.done = lc, rng, lc.start().ready(), []

    def again(self):
        """With all pipelines: what others left half done in an output is only cut by a start that reads it again."""
        self.away(False)
        self.lc.pipeline(generation())
        self.daemon = self.lc.start().ready()

    def away(self, away):
        here, there = self.lc.state / "positions.db", self.lc.path("positions.aside")
        if away and here.exists():
            os.rename(here, there)
        elif not away and there.exists():
            os.rename(there, here)

    def close(self):
        names = self.rng.sample(PARTS, self.rng.randint(1, 3))
        self.lc.call("repl", "-e", " ".join(f"if {name} then {name}:close() end" for name in names) + " return 1")

    def fail(self):
        self.lc.call("repl", "-e", "fails = true return 1")

    def disk(self, full=True):
        out = self.lc.path("out")
        if not os.path.ismount(out):
            return
        used = sum(path.stat().st_blocks * 512 for path in out.iterdir())
        subprocess.run(["mount", "-o", f"remount,size={used + 16384 if full else '64m'}", out], check=False)

    def mend(self):
        """What would let a reload or a stop wait."""
        self.away(False)
        self.disk(False)

    def reload(self):
        self.lc.pipeline(generation(without=self.rng.choice(["", "", "", "a", "b", "c", "ab"])))
        self.lc.call("reload")

    def reload_in_the_background(self):
        self.lc.pipeline(generation())
        self.daemon.process.send_signal(signal.SIGHUP)

    def reload_that_fails(self):
        self.lc.pipeline(self.rng.choice(["not Lua", generation(taken=True)]))
        assert self.lc.call("reload").returncode != 0
        self.lc.pipeline(generation())

    def kill(self):
        self.daemon.kill()
        self.again()

    def stop(self):
        self.mend()
        assert self.daemon.stop() in (0, 1)
        self.again()

    def store(self):
        self.away(self.rng.random() < 0.5)

    def pause(self):
        self.lc.call("repl", "-e", f'{self.rng.choice(["pause", "resume"])}("{self.rng.choice("abc")}") return 1')

    def step(self):
        what = self.rng.choice([self.close] * 4 + [self.reload] * 2 + [self.reload_in_the_background] * 3 +
                               [self.reload_that_fails, self.kill, self.kill, self.stop, self.store, self.store, self.pause,
                                self.fail, self.disk, self.disk, self.mend])
        self.done.append(what.__name__)
        if what.__name__.startswith("reload") and what != self.reload_in_the_background:
            self.mend()
        what()
        time.sleep(self.rng.random() * 0.1)  # under load, at no particular moment
        text = self.daemon.text()
        assert "Sanitizer" not in text and "was left" not in text, text[-6000:]
        if self.daemon.process.poll() is not None:
            assert self.daemon.process.returncode in (0, 1), f"{self.done}\n{text[-6000:]}"
            self.again()


def lines_in(lc, pattern):
    for path in sorted(lc.path("out").glob(pattern)):
        yield from path.read_bytes().splitlines()


def assert_once(lc, pattern, writers, done):
    seen = collections.Counter(lines_in(lc, pattern))
    wanted = {b'{"source":"%s","n":%d}' % (w.path.stem.encode(), n) for w in writers for n in range(w.count)}
    twice = sorted(line for line, times in seen.items() if times > 1)
    lost, foreign = sorted(wanted - set(seen)), sorted(set(seen) - wanted)
    assert not twice and not lost and not foreign, (
        f"{pattern}: {len(lost)} lost {lost[:3]}, {len(twice)} twice {twice[:3]}, {foreign[:3]}\n{done}")


@pytest.fixture
def small_disk(lc):
    """For the outputs, where we may mount one."""
    out = lc.path("out")
    out.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", out],
                                                   check=False).returncode == 0
    yield
    if mounted:
        subprocess.run(["umount", "-l", out], check=False)


@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS))
@pytest.mark.usefixtures("small_disk")
def test_whatever_is_closed_reloaded_killed_and_stopped(lc, seed):
    rng = random.Random(seed)
    lc.path("in").mkdir()
    lc.pipeline(generation())
    writers = [Writer(lc.path(f"in/{name}.log"), 3000) for name in "abc"]
    for writer in writers:
        writer.start()
    chaos = Chaos(lc, rng)
    for _ in range(STEPS):
        chaos.step()
    for writer in writers:
        writer.stopping.set()
        writer.join()
    lc.pipeline(generation())
    chaos.mend()
    assert chaos.daemon.stop() in (0, 1)
    lc.once()
    a, b, c = writers
    assert_once(lc, "a.log", [a], chaos.done)
    assert_once(lc, "b.log*", [b], chaos.done)
    assert_once(lc, "both.log", [b, c], chaos.done)
    assert lc.audit()["healthy"]
