"""A reload that replaces the monitor of thousands of files: others do not wait for it, and each line is read once.

Short here; LOGCAP_RELOADS=1000 (scripts/reload-test) is the long form.
"""
import collections
import json
import os
import pathlib
import subprocess
import time

import pytest

from conftest import PROGRAM, wait_until

LONG = int(os.environ.get("LOGCAP_RELOADS", "60")) >= 500
FILES = 10000 if LONG else 2000
BENCH = pathlib.Path(PROGRAM).parent / "bench" / "latency"


def load(lc, number, many=True):
    """The paths differ each time, so that the monitor is replaced, and all of its files change hands."""
    lc.pipeline(f"""
    logcap.pipeline {{ name = "p", from = logcap.file_monitor {{ name = "p", paths = {{ "in/p.log*" }} }},
      to = logcap.file_sink {{ path = "p.out", format = "raw" }} }}
    local from = {{ logcap.file_monitor {{ name = "few", paths = {{ "few/*.log" }} }} }}
    if {str(many).lower()} then
      from[2] = logcap.file_monitor {{ name = "many", start = "beginning",
        paths = {{ "many/*.log", "none{number}/*.log" }} }}
    end
    logcap.pipeline {{ name = "many", from = from, to = logcap.file_sink {{ path = "many.out", format = "raw" }} }}
    """)


def reload(lc, number, many=True):
    load(lc, number, many)
    done = lc.call("reload", timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def append(lc, word):
    for n in range(FILES):
        with open(lc.path(f"many/{n}.log"), "a", encoding="ascii") as file:
            file.write(f"{word} {n}\n")


def wait_for(lc, lines):
    wait_until(lambda: lc.path("many.out").exists() and lc.read("many.out").count(b"\n") >= lines, 120, "all lines")


@pytest.mark.skipif(not BENCH.exists(), reason="the benchmarks are not built")
def test_thousands_of_files_change_hands(lc):
    lc.path("many").mkdir()
    lc.write("in/p.log", "")
    append(lc, "first")
    load(lc, 0)
    daemon = lc.start().ready()
    wait_for(lc, FILES)
    bench = subprocess.Popen([BENCH, lc.path("in/p.log"), lc.path("p.out"), "1000", "12" if LONG else "4", "1"],
                             stdout=subprocess.PIPE, text=True)
    number = 0
    while bench.poll() is None:
        number += 1
        if number % 3 == 0:
            reload(lc, number, many=False)  # the next one finds its files on their way out
        reload(lc, number)
        time.sleep(1)
    found = json.loads(bench.stdout.read())
    print(f"\n{number} reloads with {FILES} files: {found}")
    assert bench.returncode == 0 and found["lost"] == found["twice"] == found["foreign"] == 0, found
    if LONG:  # the short form runs beside other tests
        assert found["p99_ms"] < 50, found
    append(lc, "second")
    wait_for(lc, 2 * FILES)
    lc.finish(daemon)
    seen = collections.Counter(lc.read("many.out").decode().splitlines())
    assert seen == collections.Counter(f"{word} {n}" for word in ("first", "second") for n in range(FILES))
