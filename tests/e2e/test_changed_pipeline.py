"""A pipeline file that is edited between two runs, the first of which was killed."""
from conftest import wait_until

LINES = "".join(f"line {n}\n" for n in range(5000))


def pipeline(lc, source, sink="out.log"):
    lc.pipeline(f"""logcap.pipeline {{ name = "t", from = logcap.file_monitor {{ paths = {{ "{source}" }}, start = "beginning" }},
      to = logcap.file_sink {{ path = "{sink}", format = "raw" }} }}""")


def kill_in_between(lc):
    """What is written stands in the output, and is not committed."""
    daemon = lc.start()
    wait_until(lambda: lc.path("out.log").exists() and lc.path("out.log").stat().st_size == len(LINES), what="the output")
    daemon.kill()


def test_monitor_removed(lc):
    """Its lines in the output's tail cannot be written again: they stay."""
    lc.write("a.log", LINES)
    lc.write("b.log", "b\n")
    pipeline(lc, "a.log")
    kill_in_between(lc)
    pipeline(lc, "b.log")
    lc.once()
    assert lc.read("out.log").decode() == LINES + "b\n"
    lc.append("b.log", "c\n" * 1000)
    daemon = lc.start()  # the next tail is cut again
    wait_until(lambda: lc.path("out.log").stat().st_size == len(LINES) + 2002, what="the output")
    daemon.kill()
    lc.once()
    assert lc.read("out.log").decode() == LINES + "b\n" + "c\n" * 1000


def test_sink_renamed_and_back(lc):
    lc.write("a.log", LINES)
    pipeline(lc, "a.log")
    kill_in_between(lc)
    pipeline(lc, "a.log", "other.log")
    lc.once()
    assert lc.read("other.log").decode() == LINES
    lc.append("a.log", "more\n")
    pipeline(lc, "a.log")
    lc.once()
    assert lc.read("out.log").decode() == LINES + "more\n"
    pipeline(lc, "a.log", "other.log")
    lc.once()
    assert lc.read("other.log").decode() == LINES + "more\n"


def test_sink_added(lc):
    """It starts where the others are; the others get nothing twice."""
    lc.write("a.log", LINES)
    pipeline(lc, "a.log")
    lc.once()
    lc.append("a.log", "more\n")
    lc.pipeline("""logcap.pipeline { name = "t", from = logcap.file_monitor { paths = { "a.log" }, start = "beginning" },
      to = { logcap.file_sink { path = "out.log", format = "raw" }, logcap.file_sink { path = "new.log", format = "raw" } } }""")
    lc.once()
    assert lc.read("out.log").decode() == LINES + "more\n"
    assert lc.read("new.log").decode() == "more\n"
