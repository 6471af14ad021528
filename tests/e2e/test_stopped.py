"""Pipelines that stopped since somebody closed what they need: what a reload, a stop and a kill make of them."""
import os
import subprocess

import pytest

from conftest import wait_until
from test_life import repl
from test_reload import reload


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
