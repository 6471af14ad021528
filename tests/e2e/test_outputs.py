"""Outputs that fail: a clear message, a counter, the others go on, and nothing is lost once the cause is gone."""
import json
import shutil
import subprocess

from conftest import wait_until

LINES = [f'{{"n":{n},"pad":"{"x" * 100}"}}' for n in range(20000)]
TEXT = "\n".join(LINES) + "\n"

PIPELINE = """
logcap.pipeline {
  name = "t", from = logcap.file_monitor { paths = { "in.log" }, start = "beginning" },
  to = { logcap.file_sink { path = "bad/out.log", format = "raw" }, logcap.file_sink { path = "good.log", format = "raw" } },
}
"""


def size(path):
    return path.stat().st_size if path.exists() else 0


def errors(daemon):
    return [entry for entry in daemon.log() if entry["level"] in ("error", "warn")]


def finish(lc, daemon):
    wait_until(lambda: size(lc.path("bad/out.log")) == len(TEXT), what="the bad output catches up")
    audit = lc.json("audit")
    assert audit["healthy"], audit
    assert daemon.stop() == 0
    assert lc.read("bad/out.log").decode() == TEXT
    assert lc.read("good.log").decode() == TEXT


def test_disk_full(lc, small_disk):
    bad = lc.path("bad")
    small_disk(bad, "512k")
    lc.write("in.log", TEXT)
    lc.pipeline(PIPELINE)
    daemon = lc.start()
    wait_until(lambda: size(lc.path("good.log")) == len(TEXT), what="the good output")
    message = wait_until(lambda: [entry for entry in errors(daemon) if "No space" in json.dumps(entry)],
                         what="a message about the full disk")
    assert "bad/out.log" in json.dumps(message[0])
    subprocess.run(["mount", "-o", "remount,size=16m", bad], check=True)
    finish(lc, daemon)


def test_folder_cannot_be_made(lc):
    lc.write("bad", "a file where a folder should be")
    lc.write("in.log", TEXT)
    lc.pipeline(PIPELINE)
    daemon = lc.start()
    wait_until(lambda: size(lc.path("good.log")) == len(TEXT), what="the good output")
    wait_until(lambda: errors(daemon), what="a message")
    lc.path("bad").unlink()
    finish(lc, daemon)


def test_folder_removed_while_running(lc):
    lc.write("in.log", TEXT)
    lc.pipeline(PIPELINE)
    daemon = lc.start()
    wait_until(lambda: size(lc.path("bad/out.log")) == len(TEXT), what="the first lines")
    wait_until(lambda: all(entry["committed"] for entry in lc.json("positions")["live"]["positions"]), what="a commit")
    shutil.rmtree(lc.path("bad"))
    lc.append("in.log", "after\n")
    wait_until(lambda: size(lc.path("good.log")) == len(TEXT) + 6, what="the good output")
    wait_until(lambda: lc.path("bad/out.log").exists() and lc.read("bad/out.log") == b"after\n",
               what="the folder made anew")
    assert daemon.stop() == 0
