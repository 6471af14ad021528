"""`logcap run --watch`: a save is seen whatever else happens in the folders of the pipeline files."""
import threading

from conftest import wait_until


def pipeline(lc, number):
    lc.pipeline(f"""
    logcap.pipeline {{ name = "p", from = logcap.file_monitor {{ paths = {{ "in.log" }}, start = "beginning" }},
      stages = {{ function(rec) rec.generation = {number} end }}, to = logcap.file_sink {{ path = "out.ndjson" }} }}
    """)


def reloads(daemon):
    return sum(line["component"] == "reload" and line["message"] == "done" for line in daemon.log())


def test_a_module_in_a_new_folder_that_fails_to_load_is_watched(lc):
    pipeline(lc, 1)
    daemon = lc.start("--watch").ready()
    lc.write("new/part.lua", "return {")
    lc.write("pipeline.lua", lc.read("pipeline.lua").replace(b"logcap.pipeline", b'local _ = require "new.part"\nlogcap.pipeline', 1))
    failed = daemon.wait_log("failed; what ran before goes on")
    assert "new/part.lua:1" in failed["error"]
    lc.write("new/part.lua", "return {}")
    wait_until(lambda: reloads(daemon) == 1, what="the reload")
    lc.finish(daemon)


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
