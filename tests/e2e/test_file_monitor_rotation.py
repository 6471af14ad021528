"""Rotation against the odds: order, late writes, stalled outputs, reused inodes, lost events."""
import itertools
import os
import re
import shutil
import signal
import time

import pytest

from conftest import wait_until
from test_file_monitor import follow, messages, numbered, output, wait_lines, wait_output

STALLED = '''
logcap.pipeline {
  name = "t", memory = "2MiB",
  from = logcap.file_monitor { paths = { "in/%(glob)s" }, start = "beginning" %(options)s },
  to = logcap.file_sink { path = "dest/out.log", format = "raw" },
}
'''


def stalled(lc, glob="*.log", options=""):
    """Its output cannot be written until let_go()."""
    lc.path("in").mkdir(exist_ok=True)
    lc.write("dest", "a file where a folder should be")
    lc.pipeline(STALLED % {"glob": glob, "options": ", " + options if options else ""})
    return lc


def let_go(lc):
    lc.path("dest").unlink()


def stats(lc, kind="file_monitor"):
    return next(entry for entry in lc.status()["resources"] if entry["kind"] == kind)["stats"]


def wait_stat(lc, name, value):
    wait_until(lambda: stats(lc)[name] >= value, what=f"{name} = {value}; {stats(lc)}")


def wait_sorted(lc, want, name="dest/out.log"):
    lines = sorted(want.encode().splitlines())

    def done():
        return lc.path(name).exists() and lc.read(name).count(b"\n") >= len(lines)
    wait_until(done, 20, f"{len(lines)} lines")
    assert sorted(lc.read(name).splitlines()) == lines


# --- order ---

@pytest.mark.parametrize("glob", ["app.log", "app.log*"])
def test_the_next_generation_waits_for_the_one_before(lc, glob):
    """Renamed, and a little later made anew, twice, while the output is stalled: nothing overtakes."""
    stalled(lc, glob).write("in/app.log", numbered(0, 150000))
    daemon = lc.start().ready()
    wait_until(lambda: stats(lc, "file_sink").get("attempts", 0) > 0, what="the stall")
    for generation in range(1, 3):
        scans = stats(lc)["discovery"]["scans"]
        lc.path("in/app.log").rename(lc.path(f"in/app.log.{3 - generation}"))
        wait_until(lambda: stats(lc)["discovery"]["scans"] > scans, what="the rename to be seen")
        lc.write("in/app.log", numbered(150000 * generation, 150000 if generation == 1 else 10))
        wait_stat(lc, "found", generation + 1)
    let_go(lc)
    wait_until(lambda: lc.path("dest/out.log").exists() and lc.read("dest/out.log").count(b"\n") == 300010, 20)
    assert lc.read("dest/out.log") == numbered(0, 300010).encode()
    lc.finish(daemon)
