"""`logcap run --watch`: a save is seen whatever else happens in the folders of the pipeline files."""
import subprocess
import threading

import pytest

from conftest import wait_until


def pipeline(lc, number):
    lc.pipeline(f"""
    logcap.pipeline {{ name = "p", from = logcap.file_monitor {{ paths = {{ "in.log" }}, start = "beginning" }},
      stages = {{ function(rec) rec.generation = {number} end }}, to = logcap.file_sink {{ path = "out.ndjson" }} }}
    """)


def reloads(daemon):
    return sum(line["component"] == "reload" and line["message"] == "done" for line in daemon.log())


@pytest.mark.parametrize("part, error", [("return {", "new/part.lua:1"), ('return "nowhere/a.sock"', "nowhere")],
                         ids=["when it is loaded", "when what it describes is opened"])
def test_a_module_in_a_new_folder_that_makes_a_reload_fail_is_watched(lc, part, error):
    pipeline(lc, 1)
    daemon = lc.start("--watch").ready()
    lc.write("new/part.lua", part)
    lc.pipeline("""
    logcap.pipeline { name = "p", from = logcap.file_monitor { paths = { "in.log" }, start = "beginning" },
      to = logcap.file_sink { path = "out.ndjson" } }
    logcap.admin { listen = "unix:" .. require "new.part" }
    """)
    failed = daemon.wait_log("failed; what ran before goes on")
    assert error in failed["error"]
    lc.write("new/part.lua", 'return "a.sock"')
    wait_until(lambda: reloads(daemon) == 1, what="the reload")
    lc.finish(daemon)


def test_a_stop_while_a_reload_waits(lc):
    """The stopped pipeline cannot leave, since nobody reads standard output."""
    lc.write("in.log", "x" * 100 + "\n" + ("y" * 100 + "\n") * 20000)
    lc.pipeline("""
    out = logcap.file_sink { name = "out", path = "out.log" }
    logcap.pipeline { name = "p", from = logcap.file_monitor { paths = { "in.log" }, start = "beginning" },
      to = { out, logcap.stdout_sink {} } }
    """)
    daemon = lc.start("--watch", stdout=subprocess.PIPE).ready()
    wait_until(lambda: lc.path("out.log").exists(), what="the first batch")
    assert lc.call("repl", "-e", "out:close()").returncode == 0
    daemon.wait_log("stopped")
    lc.write("pipeline.lua", lc.read("pipeline.lua") + b"\n")
    daemon.wait_log("loading the pipeline files")
    assert lc.call("repl", "-e", "1").returncode == 0  # the loop has turned since
    daemon.process.terminate()
    daemon.wait_log("stopping")
    daemon.process.terminate()  # at once
    assert daemon.process.wait(60) == 1
    assert "Sanitizer" not in daemon.text() and "was left" not in daemon.text(), daemon.text()[-4000:]


def test_files_that_change_all_the_time_do_not_keep_a_save_from_being_seen(lc):
    """A log beside the pipeline file, whose writer opens and closes it for each line."""
    pipeline(lc, 1)
    daemon = lc.start("--watch").ready()
    stopping = threading.Event()

    def write():
        while not stopping.wait(0.02):
            lc.append("busy.log", "a line\n")

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    wait_until(lambda: lc.path("busy.log").exists(), what="the first line")
    pipeline(lc, 2)
    wait_until(lambda: reloads(daemon) == 1, what="the reload")
    stopping.set()
    writer.join()
    lc.finish(daemon)
