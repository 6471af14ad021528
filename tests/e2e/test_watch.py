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
