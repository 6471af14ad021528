"""The power-loss model on small programs: the careful one survives each cut, and each carelessness is found."""
import random
import sqlite3
import subprocess
import sys

import pytest

from powerloss.replay import Disk, World, build_tracer

# Appends lines and keeps their committed length in SQLite, as logcap does. A folder mark-N says that N stands.
PROGRAM = '''
import os, sqlite3, sys
root, careless = sys.argv[1], sys.argv[2]
def sync(path, flags=os.O_RDONLY):
    fd = os.open(path, flags)
    os.fsync(fd)
    os.close(fd)
db = sqlite3.connect(root + "/db", isolation_level=None)
db.execute("PRAGMA locking_mode=EXCLUSIVE")
db.execute("PRAGMA journal_mode=WAL")
db.execute("PRAGMA synchronous=" + ("NORMAL" if careless == "commit" else "FULL"))
db.execute("CREATE TABLE length (bytes INTEGER)")
db.execute("INSERT INTO length VALUES (0)")
db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
if careless != "database name": sync(root)
fd = os.open(root + "/out.tmp", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
if careless != "file": os.fsync(fd)
os.rename(root + "/out.tmp", root + "/out")
if careless != "rename": sync(root)
total = 0
for i in range(12):
    total += os.write(fd, b"line %d\\n" % i)
    if careless != "data": os.fsync(fd)
    db.execute("UPDATE length SET bytes = ?", (total,))
    os.mkdir(root + "/mark-%d" % i)
'''


@pytest.fixture(scope="module")
def tracer(tmp_path_factory):
    return build_tracer(tmp_path_factory.mktemp("tracer"))


def run(tmp_path, tracer, careless):
    world = World(tmp_path, tracer)
    subprocess.run([sys.executable, "-c", PROGRAM, str(world.root), careless], env=world.environment(), check=True,
                   timeout=120)
    return world


def recover(world):
    """What a restart finds: how many lines stand. Raises when it is not what was written."""
    db = sqlite3.connect(world.root / "db", isolation_level=None)
    try:
        db.execute("PRAGMA locking_mode=EXCLUSIVE")
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        (length,) = db.execute("SELECT bytes FROM length").fetchone()
    finally:
        db.close()
    content = (world.root / "out").read_bytes() if length else b""
    assert len(content) >= length, "the output is shorter than what was committed"
    lines = content[:length].split(b"\n")[:-1]
    assert lines == [b"line %d" % i for i in range(len(lines))]
    return len(lines)


def first_failure(world, seeds):
    """Cuts everywhere; the first cut after which too little is left, or None."""
    disk = Disk(world)
    for cut in range(disk.events + 1):
        disk.advance(cut)
        told = sum(1 for change in disk.changes if "mark-" in change.path)
        for seed in seeds:
            disk.lose_power(random.Random(seed * 1000 + cut) if seed else None)
            try:
                stands = recover(world) if told else 0
                assert stands >= told, f"{told} were committed, {stands} stand"
            except (AssertionError, sqlite3.Error, FileNotFoundError) as error:
                return cut, str(error)
    return None


def test_whole_trace_is_the_tree(tmp_path, tracer):
    world = run(tmp_path, tracer, "")
    disk = Disk(world)
    disk.advance(disk.events)
    assert disk.seen() == world.files()
    inode = (world.root / "out").stat().st_ino
    for path, node in disk.names.items():
        node.sync()
    for change in disk.changes:
        change.sure = True
    disk.lose_power(None)
    assert disk.seen() == world.files()
    assert (world.root / "out").stat().st_ino == inode


def test_trace_that_begins_later(tmp_path, tracer):
    world = run(tmp_path, tracer, "")
    kept = world.files()
    again = World(tmp_path, tracer, "again")
    program = "import os, sys; fd = os.open(sys.argv[1] + '/out', os.O_WRONLY | os.O_TRUNC); os.write(fd, b'new')"
    subprocess.run([sys.executable, "-c", program, str(world.root)], env=again.environment(), check=True, timeout=120)
    disk = Disk(again)
    disk.advance(disk.events)
    assert disk.seen() == again.files() == {**kept, "/out": b"new"}
    disk.lose_power(None)
    assert again.files() == kept


def test_careful_program_survives_every_cut(tmp_path, tracer):
    assert first_failure(run(tmp_path, tracer, ""), seeds=(0, 1, 2)) is None


@pytest.mark.parametrize("careless", ["data", "commit", "rename"])
def test_carelessness_is_found(tmp_path, tracer, careless):
    assert first_failure(run(tmp_path, tracer, careless), seeds=(0,)) is not None
