"""Power loss at any moment: with fsync = true a restart ends exact.

A run under load, with rotating inputs and outputs, is traced; then the power is lost at moments of the trace, what was
not synced is dropped (or, per seed, kept in part), logcap is started again on what is left, and the lines in each
sink's outputs must be those of the inputs. Records that the script fails on must be dead letters, at least once each.
$LOGCAP_CUTS says how many moments (24; scripts/powerloss-test: 500), $LOGCAP_SEED repeats a choice of them.
"""
import collections
import gzip
import json
import os
import random
import time

import pytest

from powerloss.replay import Disk, World, RENAME, SYNC, DATASYNC, UNLINK, MKDIR, build_tracer

CUTS = int(os.environ.get("LOGCAP_CUTS", "24"))
SEED = int(os.environ.get("LOGCAP_SEED", "1"))
SERVICES = 3

PIPELINE = '''
logcap.pipeline {
  name = "p",
  from = logcap.file_monitor { paths = { "in/app.log*" }, start = "beginning" },
  stages = { logcap.json {}, function(rec) if rec.n % 101 == 0 then error("refused") end end },
  to = {
    logcap.file_sink { name = "all", path = "world/out/all/all.log", format = "raw", fsync = true,
                       rotate = { size = "20KiB" } },
    logcap.file_sink { name = "split", path = "world/out/split/{service}.ndjson", fsync = true,
                       rotate = { size = "8KiB" }, compress = "gzip" },
  },
}
'''


@pytest.fixture(scope="module")
def tracer(tmp_path_factory):
    return build_tracer(tmp_path_factory.mktemp("tracer"))


class Load:
    """Inputs that grow and are rotated by rename."""

    def __init__(self, folder):
        self.folder, self.lines = folder, 0
        folder.mkdir()

    def write(self, count):
        with open(self.folder / "app.log", "ab") as file:
            for _ in range(count):
                file.write(b'{"service":"s%d","n":%d,"pad":"%s"}\n'
                           % (self.lines % SERVICES, self.lines, b"x" * (self.lines * 7 % 90)))
                self.lines += 1

    def rotate(self, number):
        os.rename(self.folder / "app.log", self.folder / f"app.log.{number}")

    def all(self):
        """The lines that a sink must have, and the numbers of those that the script refuses."""
        lines = [line for path in self.folder.iterdir() for line in path.read_bytes().splitlines()]
        assert len(lines) == self.lines
        refused = {number for number in range(self.lines) if number % 101 == 0}
        return collections.Counter(line for line in lines if json.loads(line)["n"] not in refused), refused


def outputs(folder):
    """Every line in the files below `folder`, compressed or not."""
    found = collections.Counter()
    for path in folder.rglob("*"):
        if path.is_dir():
            continue
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        assert data.endswith(b"\n") or not data, f"{path} ends in the middle of a line"
        found.update(data.splitlines())
    return found


def traced_run(lc, world, load, end, seconds):
    lc.state = world.root / "state"
    daemon = lc.start(env=world.environment())
    until, step = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        load.write(40)
        step += 1
        if step % 15 == 0:
            load.rotate(step)
        assert daemon.process.poll() is None, daemon.log()
        time.sleep(0.02)
    if end == "kill":
        daemon.kill()
    else:
        assert daemon.stop() == 0


def moments(disk, rng, count):
    """Where to cut: half of them beside syncs and changes of names, where protocols break; the end, too."""
    tricky = [i + d for i, event in enumerate(disk.log) for d in (0, 1)
              if event[0] in (RENAME, SYNC, DATASYNC, UNLINK, MKDIR)]
    chosen = set(rng.sample(tricky, min(len(tricky), count // 2)))
    chosen |= {rng.randrange(disk.events) for _ in range(count - count // 2)} | {disk.events}
    return sorted(chosen)


def difference(expected, found):
    lost, extra = expected - found, found - expected
    return f"{sum(lost.values())} lost, {sum(extra.values())} twice: {[*lost][:3]} {[*extra][:3]}"


def dead_letters(folder):
    return {json.loads(line)["record"]["n"] for path in folder.glob("*.ndjson")
            for line in path.read_bytes().splitlines()}


def restart(lc, world, expected, what, env=None):
    """A last run over what is left; then each sink has exactly what was in the inputs."""
    done = lc.call("run", "--once", lc.file, env=env)
    assert done.returncode == 0, f"{what}: exit {done.returncode}\n{done.stderr[-4000:]}"
    if env is not None:
        return
    lines, refused = expected
    for sink in ("all", "split"):
        found = outputs(world.root / "out" / sink)
        assert found == lines, f"{what}, {sink}: {difference(lines, found)}\n{done.stderr[-4000:]}"
    assert dead_letters(world.root / "state" / "dlq") == refused, what


@pytest.fixture
def loaded(lc, tmp_path):
    load = Load(tmp_path / "in")
    lc.pipeline(PIPELINE)
    load.write(200)
    return load


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_restart_ends_exact(lc, tmp_path, tracer, loaded, end):
    world = World(tmp_path, tracer)
    traced_run(lc, world, loaded, end, seconds=3.5)
    expected = loaded.all()
    whole = Disk(world)
    whole.advance(whole.events)
    if end == "stop":
        assert whole.seen() == world.files(), "the tracer missed something"
    assert sum(change.kind == "rename" for change in whole.changes) > 20, "too little happened"
    assert any(change.path.endswith(".gz") or (change.second or "").endswith(".gz") for change in whole.changes)

    disk = Disk(world)
    for number, cut in enumerate(moments(disk, random.Random(SEED), CUTS)):
        disk.advance(cut)
        disk.lose_power(None if number % 2 == 0 else random.Random(SEED * 1000003 + cut))
        kept = "all unsynced dropped" if number % 2 == 0 else "some kept"
        restart(lc, world, expected, f"seed {SEED}, cut {cut} of {disk.events}, {kept}")


def test_power_lost_again_while_recovering(lc, tmp_path, tracer, loaded):
    world = World(tmp_path, tracer)
    traced_run(lc, world, loaded, "kill", seconds=2.0)
    expected = loaded.all()
    disk, rng = Disk(world), random.Random(SEED)
    for number, cut in enumerate(moments(disk, rng, max(2, CUTS // 8))):
        disk.advance(cut)
        disk.lose_power(rng)
        again = World(tmp_path, tracer, f"-{number}")
        restart(lc, again, expected, f"seed {SEED}, cut {cut} of {disk.events}", env=again.environment())
        recovery = Disk(again)
        for second in moments(recovery, rng, 4):
            recovery.advance(second)
            recovery.lose_power(None)
            restart(lc, again, expected, f"seed {SEED}, cut {cut} of {disk.events}, then {second} of {recovery.events}")
